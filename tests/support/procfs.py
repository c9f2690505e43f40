"""What the kernel says about a process: state, mask, dispositions, children."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from blocks.clocks import GLANCE
from blocks.keeper import descendants, processes
from blocks.keeping import read

from . import FATAL

__all__ = ["children", "descendants", "descriptors", "group", "signals", "state"]

LIBC_INTERNAL = {32, 33}
"""glibc keeps these two for itself, and a child may find them ignored."""


def state(pid: int) -> str:
    """Return the state letter of a process; an empty string when it is gone."""
    after_name = read(f"/proc/{pid}/stat").rpartition(")")[2]
    return after_name.split()[0] if after_name else ""


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, zombies included."""
    return [child for child, row in processes().items() if row.parent == pid]


def group(pid: int) -> int:
    """Return the process group of a process."""
    return os.getpgid(pid)


def descriptors(pid: int | str = "self") -> dict[int, str]:
    """Return the open descriptors of a process and what each of them is."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
        except FileNotFoundError:  # the one that listed the folder
            continue
    return found


def signals(pid: int | str, which: str) -> set[int]:
    """Return a set of signals of a process.

    Args:
        pid: the process.
        which: ``blocked``, ``ignored``, ``caught`` or ``pending``.
    """
    names = {"blocked": "SigBlk", "ignored": "SigIgn", "caught": "SigCgt"}
    key = names.get(which, "ShdPnd")
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise AssertionError(f"pid {pid} is gone") from None
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            bits = int(line.split()[1], 16)
            numbers = {n for n in range(1, signal.NSIG) if bits >> (n - 1) & 1}
            return numbers - LIBC_INTERNAL
    raise AssertionError(f"no {key} for {pid}")


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
