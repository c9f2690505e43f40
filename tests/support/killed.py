"""Whole programs that get a signal at every system call, and the boss as one of them.

``python -m support.killed`` in ``tests/`` (with ``docs`` on the path) tries all of the
boss's points with SIGTERM, SIGINT and SIGKILL, which takes some minutes; a first
argument is the interpreter to run the boss in.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from fatal_signals.inject.run import Check, Report, Run
from fatal_signals.inject.syscalls import every_syscall, killed

from . import FATAL, SETTLE
from .bosses import BOSS, child
from .program import environment

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
    only: tuple[str, ...] = (),
    most: int | None = None,
    at: str = "",
    parallel: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Run a boss with three children, with a signal at each call from its own first.

    Args:
        folder: where its file is written.
        signum: the signal.  SIGKILL, at which the boss promises nothing, is recorded
            only: each death by it is kept, and ``left`` says what it has left behind.
        python: the interpreter to run it in.
        boss: the module, or a twin of it.
        patience: see :func:`every_syscall`, as for the others.
        only: names of calls.
        most: how many points.
        at: one point.
        parallel: how many at once; the bosses share their file, which they only read.
        progress: is called after each point.
    """
    file = folder / "boss.toml"
    file.write_text("\n".join(child(name, **keys) for name, keys in FAMILY))
    kills = signum == signal.SIGKILL
    return every_syscall(
        [python, str(boss), str(file)],
        killed if kills else boss_dies_well(signum),
        signum=signum,
        end=signal.SIGTERM if kills else signum,
        env=environment(),
        seconds=FATAL,
        rest=BRIEF,
        patience=patience,
        first=OWN_FIRST,
        only=only,
        most=most,
        at=at,
        parallel=parallel,
        progress=progress,
    )


def main() -> int:
    """Try all points, and print what came of them."""
    python = sys.argv[1] if sys.argv[1:] else sys.executable
    broken, processors = 0, os.cpu_count() or 1
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        with tempfile.TemporaryDirectory(prefix="fatal-signals-") as folder:
            report = sweep_boss(
                Path(folder), signum, python=python, parallel=processors
            )
        left = Counter(tried.run.left for tried in report)
        leaves = ", ".join(f"{left[n]} left {n} processes" for n in sorted(left) if n)
        print(f"{signum.name}: {report.summary}{leaves and f'; {leaves}'}", flush=True)
        for tried in report.failures:
            print(f"  {tried.point.number} ({tried.point.where}): {tried.why}")
        broken += len(report.failures)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
