"""What the kernel says about a process, and waiting until it says so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from fatal_signals.processes.clocks import GLANCE
from fatal_signals.processes.procfs import (
    LIBC_INTERNAL,
    children,
    descendants,
    descriptors,
    state,
)
from fatal_signals.processes.procfs import signals as signals_of

from . import FATAL

__all__ = [
    "LIBC_INTERNAL",
    "children",
    "descendants",
    "descriptors",
    "group",
    "signals",
    "state",
]


def signals(pid: int | str, which: str) -> set[int]:
    """Return a set of signals of a process, as :mod:`fatal_signals.processes` does.

    Raises:
        AssertionError: it is gone, and a test that asks for them wants it there.
    """
    try:
        return signals_of(pid, which)
    except ProcessLookupError as gone:
        raise AssertionError(str(gone)) from None


def group(pid: int) -> int:
    """Return the process group of a process."""
    return os.getpgid(pid)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until the kernel shows a state that nobody announces.

    There is no event for "that process sleeps now", so this one helper polls.

    Raises:
        AssertionError: it did not come within ``FATAL`` seconds.
    """
    deadline = time.monotonic() + FATAL
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"never seen: {what}")
        time.sleep(GLANCE)


def asleep(pid: int) -> None:
    """Wait until a process sleeps in a blocking call."""
    until(lambda: state(pid) == "S", f"pid {pid} asleep")
