"""What strace has written of a program: its system calls, each with its number."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple


class Call(NamedTuple):
    """A system call that a program has entered, as a line of the trace has it."""

    thread: int
    """The thread that made it, with ``-f``; else 0."""
    name: str
    nth: int
    """Which call of that name of that thread it is, as ``strace`` counts; from 1, but
    0 for the ``execve`` that starts the program, at which it does not inject."""
    text: str
    at: float
    """Seconds since the epoch."""


LINE = re.compile(r"^(?:(\d+) +)?(\d+\.\d+) ((\w+)\(.*)", re.MULTILINE)
"""The start of a call; neither its end, if that is another line, nor a signal."""

LAST_CALLS = ("exit", "exit_group")
"""What nothing can arrive in or after, except SIGKILL before it."""


def read_log(log: str) -> Iterator[Call]:
    """Read a trace that has been made with ``-ttt``, with or without ``-f``."""
    counts: Counter[tuple[int, str]] = Counter()
    for found in LINE.finditer(log):
        thread, at, text, name = found.groups()
        key = int(thread or 0), name
        counts[key] += 1 if counts or name != "execve" else 0
        yield Call(*key, counts[key], text, float(at))
