"""The patterns to avoid, to be tried at each point: how they run, what must hold.

The programs are the pages' own, word for word.  What a sweep needs around them is here:
each run gets an empty folder, and where a program's own boss, clock or reader is in the
way of a signal at each point, a patch takes its place.  What a sweep can't show has the
reason instead.

Standard library only: :mod:`tests.prove_avoided` runs this on any interpreter.
"""

from __future__ import annotations

import ast
import fcntl
import importlib
import os
import runpy
import signal
import socketserver
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from fatal_signals.inject import Run

from . import FATAL, SETTLE

HERE = __file__
"""Points in here belong to nobody: they are no part of the programs."""

PATIENCE = 10 * SETTLE
"""Seconds after which a wrong program hangs.  Many do, side by side; on a busy machine
this can only make more of them hang."""

FEW = 30
"""Bytes that a pipe has room for: some lines."""

LONG = FATAL / 30
"""Seconds after which a cure hangs.  None does; a question to one that waits may."""


class Avoided(NamedTuple):
    """A program of a page on a pattern to avoid, and how it is tried."""

    program: str
    check: Callable[[Run], object] = bool
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    runs: str = ""
    """The program that is started, if this one is only its argument."""
    patches: Mapping[str, object] = {}
    """What stands in for functions of modules, or names of the program, meanwhile."""
    stage: Callable[[], object] = int
    """Is called first in each run."""
    calls: tuple[str, ...] = ()
    """System calls at which it is tried from outside, its children as well."""
    but: str = ""
    """What stands in the only line of a cure at which it does not keep."""
    why_not: str = ""
    """Why no sweep can show it, or why there is nothing to be shown."""

    @property
    def cured(self) -> bool:
        """Whether it has to keep at every point."""
        return self.program.endswith("_cured.py") or self.program in MORE_CURES

    @property
    def seconds(self) -> float:
        """After how long a run of it hangs."""
        return LONG if self.cured or self.stage is slow_reader else PATIENCE

    def callable(self, folder: Path, runs: str) -> Callable[[], None]:
        """Return a callable that runs it as a program, in an empty folder of its own.

        Args:
            folder: where the page's programs lie.
            runs: where the empty folders are made.
        """
        path = folder / (self.runs or self.program)
        code = compile(path.read_bytes(), str(path), "exec")
        argv = [str(path), *[str(folder / self.program)] * bool(self.runs)]
        owners = {name: _owner(name) for name in self.patches if "." in name}
        own = {name: it for name, it in self.patches.items() if "." not in name}

        def program() -> None:
            own_folder = f"{runs}/{os.getpid()}"
            os.mkdir(own_folder)
            os.chdir(own_folder)
            self.stage()
            sys.argv[:] = argv
            module = ModuleType("__main__")
            vars(module).update(own, __file__=str(path))
            sys.modules["__main__"] = module
            before = {name: attrgetter(last)(it) for name, (it, last) in owners.items()}
            for name, (it, last) in owners.items():
                setattr(it, last, self.patches[name])
            try:
                exec(code, vars(module))
            finally:
                for name, (it, last) in owners.items():
                    setattr(it, last, before[name])

        return program

    def set_up(self, folder: Path, *, quick: bool = False) -> None:
        """Import what the program imports: the import is no part of what is tried.

        Args:
            folder: where the page's programs lie.
            quick: have no enums made in functions of ``signal``: they are most of the
                instructions of a cure that blocks signals for a moment.
        """
        sys.path.insert(0, str(folder))
        for name in imports((folder / (self.runs or self.program)).read_text()):
            importlib.import_module(name)
        if self.runs:
            runpy.run_path(os.devnull)  # it fills the caches of the import system
        if quick:
            for name in ("getsignal", "pthread_sigmask", "signal", "valid_signals"):
                setattr(signal, name, getattr(importlib.import_module("_signal"), name))

    def files(self, texts: Mapping[str, str]) -> list[str]:
        """Return which of a page's files its figures are about."""
        found = [self.program, *[self.runs] * bool(self.runs)]
        for file in found:
            used = [f"{name}.py" for name in imports(texts[file])]
            found += [name for name in used if name in texts and name not in found]
        return sorted(found)


def imports(text: str) -> list[str]:
    """Return the modules that a program imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


MORE_CURES = ("blocked_fork.py",)
"""Cures that do not cure a program of their own name."""


def _owner(name: str) -> tuple[Any, str]:
    """Return what a dotted name is an attribute of, and the attribute."""
    module, _, rest = name.partition(".")
    inner, _, last = rest.rpartition(".")
    found = importlib.import_module(module)
    return (attrgetter(inner)(found) if inner else found), last


# -- checks ----------------------------------------------------------------------------


def ends(run: Run) -> None:
    """It ends by itself or dies of the signal, and without a traceback."""
    assert run.how != "raised", str(run)
    assert run.died_by in (None, signal.SIGTERM), str(run)


def not_eaten(run: Run) -> None:
    """It does not come to its end as if nobody had told it to stop."""
    ends(run)
    assert run.how != "returned" or "\nstopped\n" in f"\n{run.output}", "works on"


def interrupted(run: Run) -> None:
    """Ctrl-C ends it."""
    assert run.error == "KeyboardInterrupt()", f"works on, and {run}"


def whole(run: Run) -> None:
    """There is a whole report, or none."""
    ends(run)
    report = Path(run.output.partition("\n")[0], "report")
    text = report.read_text() if report.exists() else None
    assert text in (None, "ada,10\ntotal,10\n"), f"the report is {text!r}"


def together(run: Run) -> None:
    """What it says of the money is that nothing of it is lost."""
    words = run.output.partition("together ")[2].split()
    assert words[:1] in ([], ["100"]), f"together {words[0]}"


def not_swallowed(run: Run) -> None:
    """The client does not take our alarm for a fault of its server."""
    assert "no luck" not in run.output, "the alarm is taken for the server's fault"


def not_reentrant(run: Run) -> None:
    """No buffer of Python's is entered a second time."""
    said = f"{run.error} {run.output}"
    assert "reentrant call" not in said, "reentrant call"


def not_nested(run: Run) -> None:
    """Its handler does not call itself until there is no room."""
    assert not run.error.startswith("RecursionError"), "RecursionError"
    ends(run)


def sleeps(run: Run) -> None:
    """It does not compute for good."""
    assert run.died_by != signal.SIGPROF, "computes, and does not sleep"


def reaped(run: Run) -> None:
    """Each job has been reaped, and has left the table."""
    assert run.how == "returned", str(run)
    assert not run.left, f"{run.left} zombies left"
    assert "still running:\n" in run.output, "a job counts as running"


def job_ends(run: Run) -> None:
    """The launcher is not left with a job that has not heard of its stop."""
    assert not run.left, "a job is left"


# -- what stands in for something ------------------------------------------------------


NO_BOSS = {"os.kill": max}
"""The sweep is the boss.  What stands in for a function in C is one in C, so that the
interpreter looks for signals where it did; ``bool`` does for those of one argument."""

ONE_LONG_WAIT = {"socketserver.BaseServer.serve_forever.__defaults__": (FATAL,)}
"""The server looks up twice a second by default, and so is never seen at rest."""


def three(_: int) -> range:
    """Stand in for ``range``: three rounds show what ten thousand do."""
    return range(3)


def stopped_when_idle(server: socketserver.BaseServer) -> None:
    """Stand in for a pause in which nobody comes: in the second the boss stops us."""
    vars(server)["pauses"] = vars(server).get("pauses", 0) + 1
    if vars(server)["pauses"] == 2:
        os.kill(os.getpid(), signal.SIGTERM)


def say_where() -> None:
    """Write the folder's name as the first line, so that the check finds it."""
    os.write(1, f"{os.getcwd()}\n".encode())


def slow_reader() -> None:
    """Have a reader that reads when the writer has slept in a full pipe for a while.

    The sleep is long enough to be found at rest first.
    """
    source, sink = os.pipe()
    room: int = fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, os.sysconf("SC_PAGESIZE"))
    os.write(sink, b" " * (room - FEW))
    reader = ["sh", "-c", f"sleep {PATIENCE}; exec cat > /dev/null"]
    actions = [(os.POSIX_SPAWN_DUP2, source, 0)]
    os.posix_spawnp("sh", reader, os.environ, file_actions=actions)
    os.dup2(sink, 1)
    for fd in (source, sink):
        os.close(fd)


def leave_one_open() -> None:
    """Leave a descriptor open: who does so is not tried out in the sweep's own process.

    This one fails there, as nobody tells it to stop, and it wants to say who did.
    """
    os.open(os.devnull, os.O_RDONLY)


def be_judged_by_the_kernel() -> None:
    """Let the kernel say whether we compute or sleep: SIGPROF or SIGALRM kills us.

    The sleep is long enough to be found at rest first.
    """
    signal.setitimer(signal.ITIMER_PROF, SETTLE)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)


# -- the pages -------------------------------------------------------------------------

NO_HANDLER = "It has no handler: wherever the signal comes, it kills the program."
"""Nothing to be shown: any program without one would pass."""

BY_ITSELF = "It goes wrong on each run, without a signal from outside."

AVOIDED: dict[str, list[Avoided]] = {
    "blocking_wakeup_fd": [
        Avoided("blocking_wakeup_fd.py", ends),
        Avoided("blocking_wakeup_fd_cured.py", ends),
    ],
    "crash_signal_handler": [
        Avoided(
            "crash_signal_handler.py",
            why_not="Its fault is an instruction of the processor's: it hangs on each"
            " run, and a SIGSEGV that somebody sends is no fault.",
        ),
        Avoided("crash_signal_handler_cured.py", why_not="It dies on each run."),
    ],
    "exit_in_handler": [
        Avoided("half_report.py", whole, stage=say_where),
        Avoided("half_report_cured.py", whole, stage=say_where),
        Avoided("stuck.py", ends, patches=ONE_LONG_WAIT),
        Avoided(
            "stuck_cured.py",
            ends,
            patches={"socketserver.BaseServer.handle_timeout": stopped_when_idle},
        ),
        Avoided("eaten.py", not_eaten, patches=NO_BOSS),
        Avoided("eaten_cured.py", not_eaten, patches=NO_BOSS),
    ],
    "fork_and_exec": [
        Avoided("fork_and_exec.py", job_ends, calls=("dup2", "dup3", "execve")),
        Avoided("fork_and_exec_cured.py", job_ends, calls=("dup2", "dup3", "execve")),
        Avoided("blocked_fork.py", job_ends, calls=("dup2", "dup3", "execve")),
    ],
    "handler_at_import": [
        Avoided("counters.py", not_eaten, runs="service.py", patches=NO_BOSS),
        Avoided(
            "counters_cured.py",
            not_eaten,
            runs="service.py",
            patches=NO_BOSS,
        ),
    ],
    "ignored_sigchld": [
        Avoided("ignored_sigchld.py", why_not=BY_ITSELF),
        Avoided("ignored_sigchld_cured.py", why_not=NO_HANDLER),
    ],
    "inherited_handler": [
        Avoided("inherited_handler.py", why_not=BY_ITSELF),
        Avoided("inherited_handler_cured.py", why_not="Its signals go to a child."),
        Avoided("server.py", why_not=BY_ITSELF),
        Avoided("server_cured.py", why_not="Its signals go to a child."),
    ],
    "killpg_own_group": [
        Avoided("killpg_own_group.py", why_not=BY_ITSELF),
        Avoided("killpg_own_group_cured.py", why_not=NO_HANDLER),
    ],
    "lock_in_handler": [
        Avoided("lock.py", ends),
        Avoided("lock_cured.py", ends),
        Avoided("event_wait.py", ends),
        Avoided("event_wait_cured.py", ends),
        Avoided("queue_get.py", ends),
        Avoided("queue_get_cured.py", ends, but="jobs.get()"),
        Avoided("pass_on.py", not_nested, patches=NO_BOSS),
        Avoided("pass_on_cured.py", not_nested),
        Avoided(
            "overrun.py",
            why_not="One signal is not enough: it takes as many as there is room for.",
        ),
        Avoided("overrun_cured.py", why_not=NO_HANDLER),
    ],
    "output_in_handler": [
        Avoided("print_stop.py", not_reentrant, stage=slow_reader),
        Avoided("print_stop_cured.py", not_reentrant, stage=slow_reader),
        Avoided("log_stop.py", not_reentrant, patches={"range": three}),
        Avoided(
            "log_stop_cured.py",
            not_reentrant,
            patches={"range": three},
            stage=leave_one_open,
        ),
    ],
    "preexec_fn": [
        Avoided("preexec_fn.py", why_not=BY_ITSELF),
        Avoided("preexec_fn_cured.py", why_not=NO_HANDLER),
    ],
    "raising_alarm": [
        Avoided(
            "raising_alarm.py",
            together,
            (signal.SIGALRM,),
            patches={"signal.alarm": bool, "time.sleep": bool},
        ),
        Avoided("raising_alarm_cured.py", why_not=NO_HANDLER),
        Avoided(
            "swallowed_alarm.py",
            not_swallowed,
            (signal.SIGALRM,),
            patches={"signal.alarm": bool},
        ),
        Avoided("swallowed_alarm_cured.py", why_not=NO_HANDLER),
    ],
    "reap_once": [
        Avoided("reap_once.py", reaped, (signal.SIGCHLD,)),
        Avoided("reap_once_cured.py", reaped, (signal.SIGCHLD,)),
    ],
    "swallowed_stop": [
        Avoided("jobs.py", interrupted, (signal.SIGINT,)),
        Avoided("jobs_cured.py", interrupted, (signal.SIGINT,), but="time.sleep(1000)"),
        Avoided("fetch.py", interrupted, (signal.SIGINT,)),
        Avoided(
            "fetch_cured.py", interrupted, (signal.SIGINT,), but="time.sleep(1000)"
        ),
    ],
    "test_then_pause": [
        Avoided("test_then_pause.py", ends),
        Avoided("test_then_pause_cured.py", ends),
    ],
    "unbound_daemon_in_handler": [
        Avoided("unbound.py", ends),
        Avoided("unbound_cured.py", ends),
    ],
    "undrained_wakeup_fd": [
        Avoided(
            "undrained_wakeup_fd.py",
            sleeps,
            (signal.SIGHUP,),
            stage=be_judged_by_the_kernel,
        ),
        Avoided(
            "undrained_wakeup_fd_cured.py",
            sleeps,
            (signal.SIGHUP,),
            stage=be_judged_by_the_kernel,
        ),
        Avoided(
            "flood.py",
            why_not="One signal is not enough: it takes as many as fill the pair.",
        ),
        Avoided("flood_cured.py", why_not="One signal more is nothing to it."),
    ],
    "unwoken_wait": [
        Avoided("unwoken_wait.py", ends),
        Avoided("unwoken_wait_cured.py", ends),
        Avoided("queue_worker.py", ends),
        Avoided("queue_worker_cured.py", ends, but="jobs.get()"),
    ],
}
"""For each page its programs, wrong ones and cures."""
