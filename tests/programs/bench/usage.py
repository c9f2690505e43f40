"""What processes use, by what the kernel says."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from fatal_signals.processes import procfs


def memory(pids: Iterable[int]) -> tuple[int, int]:
    """Return what processes use together, in KiB: as their PSS, and as if alone.

    Their PSS is less where others map the same files, and we are a Python as well.
    Alone is what is theirs, and each file that they map as if nobody else did.
    """
    pss = own = 0
    files: dict[str, int] = {}
    for pid in pids:
        with suppress(OSError):
            share, alone = procfs.memory(pid)
            pss += share
            own += alone
            for name, kib in procfs.mapped(pid).items():
                files[name] = max(files.get(name, 0), kib)
    return pss, own + sum(files.values())


def switches(pids: Iterable[int]) -> int:
    """Return how often the threads of some processes have been switched away from."""
    tasks = [f"{pid}/task/{thread}" for pid in pids for thread in procfs.threads(pid)]
    return sum(int(count) for task in tasks for count in procfs.turns(task)[1:])
