"""Whole programs that get a signal at every system call, and the boss as one of them.

``python -m support.killed`` in ``tests/`` (with the top on the path) tries all of the
boss's points with SIGTERM, SIGINT and SIGKILL, which takes some minutes; a first
argument is the interpreter to run the boss in.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from fatal_signals.inject.run import Check, Progress, Report, Run
from fatal_signals.inject.syscalls import every_syscall

from . import FATAL, SETTLE
from .bosses import BOSS, child
from .program import environment

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")

HANGS = 2 * SETTLE
"""Seconds of sleep after which a program that is made to hang does."""

BRIEF = SETTLE / 5
"""Seconds of rest, for a program that never waits but at its rest."""

FAMILY: tuple[tuple[str, dict[str, str]], ...] = (
    ("first", {}),
    ("second", {"after": "first"}),
    ("third", {"after": "second"}),
)

FORKS = ("clone", "clone3", "vfork")
"""What starts a process; which one it is depends on the machine and the C library."""

OWN_FIRST = "rt_sigaction(SIGINT, {sa_handler=SIG_DFL"
"""In the trace, the first call of the boss's own lines."""


START_AGAIN = """
import subprocess, sys
import restart_check as rc
boss = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
log = iter(boss.stderr.readline, "")
if not any("all-started" in line for line in log):
    sys.exit("it does not start")
there = len(rc.left(rc.key_of(sys.argv[-1])))
boss.terminate()
boss.stderr.read()
if (there, boss.wait()) != (3, -15):
    sys.exit(f"{there} children, status {boss.returncode}")
"""
"""A plain restart: it has to give exactly one set, whatever was left."""


def write_family(folder: Path) -> Path:
    """Write the file of a boss with three children, and return it."""
    file = folder / "boss.toml"
    file.write_text("\n".join(child(name, **keys) for name, keys in FAMILY))
    return file


def nothing_outlives(run: Run) -> None:
    """Check a boss's death by SIGKILL, and that of everybody below it."""
    assert run.died_by == signal.SIGKILL, f"{run}\n{run.output}"
    assert not run.left, f"{run}\n{run.output}"


def boss_dies_well(signum: int) -> Check:
    """Return the check of a boss's death by SIGTERM or SIGINT."""

    def check(run: Run) -> None:
        assert run.died_by == signum, f"{run}\n{run.output}"
        assert not run.left, f"{run}\n{run.output}"
        assert "Traceback" not in run.output, run.output
        _, _, after = run.output.partition("boss stopping")
        assert "child-started" not in after, run.output

    return check


def sweep_boss(
    folder: Path,
    signum: int,
    *,
    python: str = sys.executable,
    boss: Path = BOSS,
    patience: float = FATAL,
    settle: float = FATAL,
    only: tuple[str, ...] = (),
    most: int | None = None,
    at: str | None = None,
    parallel: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Run a boss with three children, with a signal at each call from its own first.

    Args:
        folder: where its file is written.
        signum: the signal.  After SIGKILL nothing may be left, and the boss is started
            again.
        python: the interpreter to run it in.
        boss: the module, or a twin of it.
        patience: see :func:`every_syscall`, as for the others.
        settle: seconds that what is left behind has to end.
        only: names of calls.
        most: how many points.
        at: one point.
        parallel: how many at once.
        progress: is called after each point.
    """
    file = write_family(folder)
    kills = signum == signal.SIGKILL
    command = [python, str(boss), file.name]
    (report,) = every_syscall(
        command,
        nothing_outlives if kills else boss_dies_well(signum),
        cwd=folder,
        then=[python, "-c", START_AGAIN, *command] if kills else None,
        signals=[signum],
        end=signal.SIGTERM if kills else signum,
        env=environment(),
        seconds=FATAL,
        rest=BRIEF,
        patience=patience,
        settle=settle,
        first=OWN_FIRST,
        only=only,
        most=most,
        at=at,
        parallel=parallel,
        progress=progress,
    )
    return report


def main() -> int:
    """Try all points, and print what came of them."""
    python = sys.argv[1] if sys.argv[1:] else sys.executable
    broken, processors = 0, os.cpu_count() or 1
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        with tempfile.TemporaryDirectory(prefix="fatal-signals-") as folder:
            report = sweep_boss(
                Path(folder), signum, python=python, parallel=processors
            )
        print(f"{signum.name}: {report.summary}", flush=True)
        for tried in report.failures:
            print(f"  {tried.point.number} ({tried.point.where}): {tried.why}")
        broken += len(report.failures)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
