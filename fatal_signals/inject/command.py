"""``fatal-signals inject``: a signal at every point of somebody's code.

Exit status: see :class:`fatal_signals.options.Status`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import sys
from collections.abc import Callable
from typing import Any

from ..options import (
    STATUSES,
    Option,
    Status,
    add_tool,
    command,
    number,
    one_of,
    positive,
    seconds,
    signal_of,
    some_of,
)
from ..report.colors import colors_of
from ..report.progress import Progress
from .errors import InjectionError, in_a_line
from .points import KINDS, every_point, harmless, script
from .report import as_json, as_text
from .run import KEPT, SECONDS, Report
from .syscalls import every_syscall

HELP = """\
Deliver a signal at every point where it can arrive, and report what came of it.

fatal-signals inject MODULE:FUNCTION
fatal-signals inject FILE.py
    calls the function, or runs the file, again and again, each time in a process of its
    own, with a real signal at one point more.  "possible" points are those at which
    this interpreter runs handlers; "conceivable" ones are all instructions; "pairs" are
    two signals, one shortly after the other.

fatal-signals inject -- COMMAND...
    runs a program, in any language, with a signal at every system call; needs strace.
    A program that waits is sent SIGTERM when it rests, so that its end is tried too.
"""


def add(commands: Any) -> None:
    """Add the tool to the parser of the command."""
    add_tool(
        commands,
        "inject",
        OPTIONS,
        run,
        target="(MODULE:FUNCTION | FILE.py | -- COMMAND...)",
        help="deliver a signal at every point of a function or a program",
        description=HELP,
        epilog=EXAMPLES,
    )


OPTIONS = (
    Option(
        "signal",
        "TERM, INT, ...; may be repeated (default: TERM and INT)",
        "NAME",
        signal_of,
        (signal.SIGTERM, signal.SIGINT),
        repeated=True,
        setting=list,
    ),
    Option(
        "points",
        f"of a function: {', '.join(KINDS)} (default: the first two)",
        "KINDS",
        some_of(*KINDS),
        KINDS[:2],
        setting=list,
    ),
    Option(
        "check",
        "says whether a run was as promised",
        "MODULE:FUNCTION",
        setting=str,
    ),
    Option(
        "setup",
        "called once before the runs of a function, or before each run of a program",
        "MODULE:FUNCTION",
        setting=str,
    ),
    Option(
        "then",
        "of a program: has to succeed after each run; a restart, for example",
        "COMMAND",
        command,
    ),
    Option(
        "first",
        "of a program: begin at the first system call that mentions this text",
        "TEXT",
        default="",
    ),
    Option(
        "ready",
        "of a program that ticks: it is up when it has written this text",
        "TEXT",
        default="",
    ),
    Option("follow", "of a program: its children's system calls, too", setting=bool),
    Option("at", "try this point alone, and show what the code writes", "POINT"),
    Option(
        "most",
        "points for each sweep; more are sampled",
        "N",
        positive,
        setting=int,
    ),
    Option("seed", "for the sampling", "N", number),
    Option(
        "seconds",
        f"after which a run hangs (default: {SECONDS:g})",
        "S",
        seconds,
        SECONDS,
        setting=float,
    ),
    Option(
        "format",
        "text or json (default: text)",
        "FORMAT",
        one_of("text", "json"),
        "text",
    ),
)
"""The options, in the order in which the help has them."""

EXAMPLES = f"""\
A run is kept if it ends by itself, leaves no process behind and, in a function, has put
back handlers, mask, wakeup fd, descriptors and timers.  Say more with --check: a
function that gets the run (see fatal_signals.inject.Run), and returns False or raises
AssertionError if it was broken; or with --then: a command that has to succeed after it.

examples:
  fatal-signals inject app.worker:one_job
  fatal-signals inject --signal TERM service.py
  fatal-signals inject --points possible,pairs --check app.tests:no_job_lost app:one_job
  fatal-signals inject --at 1204 app.worker:one_job
  fatal-signals inject --signal KILL --then './start.sh --check' -- ./start.sh

Options that you always want stand in pyproject.toml, in [tool.fatal-signals.inject]:
{", ".join(option.name for option in OPTIONS if option.setting)}.

{STATUSES.format("every point was kept", "one was not")}
"""


def run(options: argparse.Namespace) -> int:
    """Inject, print the reports, and return the exit status."""
    signals = list(options.signal)
    program: list[str] | None = options.program
    if bool(program) == bool(options.target):
        raise InjectionError(
            "name one: MODULE:FUNCTION, FILE.py, or a program after --"
        )
    if options.at:
        signals, options.points = signals[:1], options.points[:1]
    with Progress() as progress:
        if program:
            reports = _program(program, signals, options, progress)
        else:
            reports = _function(options.target, signals, options, progress)
    for report in reports:
        kind = "" if program else f" --points {report.points}"
        name = report.signals[0].name.removeprefix("SIG")
        begin = f"fatal-signals inject --signal {name}{kind} --at "
        report.again = (begin, f" {_rest_of_the_words(options)}")
    colors = colors_of(sys.stdout)
    text = as_json(reports) if options.format == "json" else as_text(reports, colors)
    print(text, end="")
    if options.at and options.format == "text":
        _show(reports)
    kept = all(tried.verdict == KEPT for report in reports for tried in report)
    return Status.GOOD if kept else Status.FINDING


def _function(
    target: str, signals: Any, options: argparse.Namespace, progress: Any
) -> list[Report]:
    sys.path.insert(0, os.getcwd())  # as with python -m
    return every_point(
        script(target) if target.endswith(".py") else _found(target),
        _found(options.check) if options.check else harmless,
        signals=signals,
        points=options.points,
        setup=_found(options.setup) if options.setup else None,
        seconds=options.seconds,
        most=options.most,
        seed=options.seed,
        at=options.at,
        name=target,
        progress=progress,
    )


def _program(
    program: list[str], signals: Any, options: argparse.Namespace, progress: Any
) -> list[Report]:
    sys.path.insert(0, os.getcwd())
    return every_syscall(
        program,
        _found(options.check) if options.check else None,
        signals=signals,
        seconds=options.seconds,
        first=options.first,
        most=options.most,
        seed=options.seed,
        at=options.at,
        setup=_found(options.setup) if options.setup else None,
        then=options.then,
        ready=options.ready,
        follow=options.follow,
        progress=progress,
    )


def _found(target: str) -> Callable[..., Any]:
    """Return the callable that MODULE:FUNCTION names."""
    module, colon, path = target.partition(":")
    if not (module and colon and path):
        raise InjectionError(f"{target!r}: must be MODULE:FUNCTION, as in app.jobs:run")
    try:
        found: Any = importlib.import_module(module)
    except SystemExit as error:
        why = f"its import ends the process: {in_a_line(error)}"
        raise InjectionError(f"{target!r}: {why}") from None
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise InjectionError(
                f"{target!r}: there is no module {error.name!r} here or on the path"
            ) from None
        raise InjectionError(f"{target!r}: {in_a_line(error)}") from None
    except Exception as error:
        raise InjectionError(f"{target!r}: {in_a_line(error)}") from None
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise InjectionError(f"{target!r}: there is no {name!r} in it") from None
    if not callable(found):
        raise InjectionError(f"{target!r}: can't be called")
    return found  # type: ignore[no-any-return]


def _rest_of_the_words(options: argparse.Namespace) -> str:
    words = []
    for name in ("check", "setup", "first", "ready"):
        if value := getattr(options, name):
            words += [f"--{name}", shlex.quote(value)]
    words += ["--follow"] * options.follow
    if options.then:
        words += ["--then", shlex.quote(shlex.join(options.then))]
    command = ["--", *options.program] if options.program else [options.target]
    return " ".join([*words, shlex.join(command)])


def _show(reports: list[Report]) -> None:
    for tried in (tried for report in reports for tried in report):
        print(f"\npoint {tried.point.number}: {tried.point.where}: {tried.run}")
        if tried.run.value is not None:
            print(f"returned: {tried.run.value!r}")
        if tried.run.output:
            print(f"it wrote:\n{tried.run.output}", end="")
