"""All that is below us: look, wait until it has ended, reap it, end it."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from .procfs import descendants, describe, own_children

LULL = 0.002
"""Seconds between two looks at what can't be waited for: whoever is not our child."""

LAST_WAIT = 10.0
"""Seconds; whoever is not dead so long after SIGKILL waits for a disk, or is beyond our
rights."""


class Pidfds:
    """Pidfds of those of some processes that still exist; a context manager."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.fds: list[int] = []
        for pid in pids:
            with suppress(OSError):
                self.fds.append(os.pidfd_open(pid))

    def __enter__(self) -> list[int]:
        """Return the descriptors."""
        return self.fds

    def __exit__(self, *_: object) -> None:
        """Close them."""
        for fd in self.fds:
            os.close(fd)


def reap() -> bool:
    """Reap every child that is dead; return whether there are others."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def reap_all_but(leader: int) -> None:
    """Reap every dead child but one, whose pid has to stay valid."""
    for pid in own_children():
        if pid != leader:
            os.waitpid(pid, os.WNOHANG)


def left_behind(root: int, seconds: float, *besides: int) -> list[str]:
    """Describe what lives below a process and does not end in time.

    Args:
        root: the process; when it is ourselves, dead children are reaped.
        seconds: the time in which it may end by itself.
        besides: processes that do not count.
    """
    deadline = time.monotonic() + seconds
    while True:
        if root == os.getpid():  # a keeper: nobody else reaps its orphans
            reap_all_but(*besides)
        left = [pid for pid in descendants(root) if pid not in besides]
        if not left:
            return []
        if (remaining := deadline - time.monotonic()) <= 0:
            return [describe(pid) for pid in left]
        with Pidfds(left) as fds:  # a zombie's is readable: its parent never waits
            living = [f for f in fds if not select.select([f], [], [], 0)[0]]
            select.select(living, [], [], remaining if living else LULL)


def end_all(
    spared: Callable[[int], bool] = lambda pid: False, patience: float = 0.0
) -> None:
    """Kill everything below us, wave after wave, and reap it.

    We return without those that SIGKILL has not ended after ``LAST_WAIT`` seconds.

    Args:
        spared: says of a pid that it may go on for a while.
        patience: the seconds for which.
    """
    late = time.monotonic() + patience
    too_late = late + LAST_WAIT
    while time.monotonic() < too_late:
        if not reap():  # nobody is below us but through our children
            return
        for pid in descendants(os.getpid()):
            if time.monotonic() > late or not spared(pid):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(LULL)
