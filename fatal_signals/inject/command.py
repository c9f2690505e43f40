"""``fatal-signals inject``: a signal at every point of somebody's code.

Exit status: 0 when every point was kept, 1 when one was not, 2 for a mistake.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from ..report.progress import Progress
from .errors import InjectionError
from .points import KINDS, SECONDS, every_point, harmless, script
from .report import as_json, as_text
from .run import KEPT, Report
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

EXAMPLES = """\
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

exit status: 0 every point was kept; 1 one was not; 2 a mistake, in one line
"""


def add(commands: Any) -> None:
    """Add the subcommand to the parser of the command."""
    parser = commands.add_parser(
        "inject",
        help="deliver a signal at every point of a function or a program",
        description=HELP,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="fatal-signals inject [options] "
        "(MODULE:FUNCTION | FILE.py | -- COMMAND...)",
    )
    parser.set_defaults(run=run)
    for option, how in OPTIONS.items():
        parser.add_argument(f"--{option}", **how)
    parser.add_argument("target", nargs="?", help=argparse.SUPPRESS)


def _signal(text: str) -> signal.Signals:
    name = text.upper().removeprefix("SIG")
    with suppress(KeyError):
        return signal.Signals[f"SIG{name}"]
    with suppress(ValueError):
        return signal.Signals(int(text))
    raise argparse.ArgumentTypeError(f"there is no signal {text!r}: TERM, INT, KILL, …")


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(","))
    if unknown := set(kinds) - set(KINDS):
        wrong = sorted(unknown)[0]
        raise argparse.ArgumentTypeError(f"{wrong!r} is none of {', '.join(KINDS)}")
    return kinds


def _positive(text: str) -> int:
    with suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < float(text) < 24 * 3600:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds below a day")


OPTIONS: dict[str, dict[str, Any]] = {
    "signal": {
        "metavar": "NAME",
        "action": "append",
        "type": _signal,
        "help": "TERM, INT, ...; may be repeated (default: TERM and INT)",
    },
    "points": {
        "metavar": "KINDS",
        "default": KINDS[:2],
        "type": _kinds,
        "help": f"of a function: {', '.join(KINDS)} (default: the first two)",
    },
    "check": {
        "metavar": "MODULE:FUNCTION",
        "help": "says whether a run was as promised",
    },
    "setup": {
        "metavar": "MODULE:FUNCTION",
        "help": "of a function: called once before all runs",
    },
    "then": {
        "metavar": "COMMAND",
        "type": shlex.split,
        "help": "of a program: has to succeed after each run; a restart, for example",
    },
    "first": {
        "metavar": "TEXT",
        "default": "",
        "help": "of a program: begin at the first system call that mentions this text",
    },
    "ready": {
        "metavar": "TEXT",
        "default": "",
        "help": "of a program that ticks: it is up when it has written this text",
    },
    "follow": {
        "action": "store_true",
        "help": "of a program: its children's system calls, too",
    },
    "at": {
        "metavar": "POINT",
        "help": "try this point alone, and show what the code writes",
    },
    "most": {
        "metavar": "N",
        "type": _positive,
        "help": "points for each sweep; more are sampled",
    },
    "seed": {"metavar": "N", "type": int, "help": "for the sampling"},
    "seconds": {
        "metavar": "S",
        "default": SECONDS,
        "type": _seconds,
        "help": f"after which a run hangs (default: {SECONDS:g})",
    },
    "format": {
        "choices": ("text", "json"),
        "default": "text",
        "help": "text or json (default: text)",
    },
}
"""The options, in the order in which the help has them."""


def run(options: argparse.Namespace) -> int:
    """Inject, print the reports, and return the exit status."""
    signals = options.signal or [signal.SIGTERM, signal.SIGINT]
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
    print(as_json(reports) if options.format == "json" else as_text(reports), end="")
    if options.at and options.format == "text":
        _show(reports)
    return any(tried.verdict != KEPT for report in reports for tried in report)


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
    command: list[str], signals: Any, options: argparse.Namespace, progress: Any
) -> list[Report]:
    sys.path.insert(0, os.getcwd())
    reports = []
    for signum in signals:
        told = partial(progress, f"system calls, {signum.name}")
        report = every_syscall(
            command,
            _found(options.check) if options.check else None,
            signum=signum,
            seconds=options.seconds,
            first=options.first,
            most=options.most,
            seed=options.seed,
            at=options.at or "",
            then=options.then,
            ready=options.ready,
            follow=options.follow,
            progress=told,
        )
        reports.append(report)
    return reports


def _found(target: str) -> Callable[..., Any]:
    """Return the callable that MODULE:FUNCTION names."""
    module, colon, path = target.partition(":")
    if not (module and colon and path):
        raise InjectionError(f"{target!r}: must be MODULE:FUNCTION, as in app.jobs:run")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise InjectionError(
                f"{target!r}: there is no module {error.name!r} here or on the path"
            ) from None
        raise InjectionError(f"{target!r}: {_last_line(error)}") from None
    except Exception as error:
        raise InjectionError(f"{target!r}: {_last_line(error)}") from None
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise InjectionError(f"{target!r}: there is no {name!r} in it") from None
    if not callable(found):
        raise InjectionError(f"{target!r}: can't be called")
    return found  # type: ignore[no-any-return]


def _last_line(error: Exception) -> str:
    """Return an error that somebody's module raises, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}".replace("\n", " ")


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
