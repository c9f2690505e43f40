"""What the kernel says of a process: the one reader of ``/proc``.

Nothing is imported that a helper process, of which there is one for each command that
we start, would have to pay for: ``pathlib`` and ``typing`` cost 5 ms each, a third of
what it takes to start Python.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

LIBC_INTERNAL = {32, 33}
"""Signals that glibc keeps for itself; a child may find them ignored."""

STATUS = {"blocked": "SigBlk", "ignored": "SigIgn", "caught": "SigCgt"}


class Process:
    """What ``/proc/PID/stat`` says first: parent, state letter, process group."""

    __slots__ = ("group", "parent", "state")

    def __init__(self, parent: int, state: str, group: int) -> None:
        self.parent = parent
        self.state = state
        self.group = group


def text(pid: int | str, name: str) -> str:
    """Return a file of a process.

    Args:
        pid: the process, or ``self``.
        name: the file below ``/proc/PID``.

    Raises:
        OSError: it is gone, or not ours to read.
    """
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read().decode(errors="replace")


def process(pid: int | str) -> Process | None:
    """Return what is first said of one process; None when it is gone."""
    with suppress(OSError):
        # The name in parentheses may hold spaces and parentheses itself.
        words = text(pid, "stat").rpartition(")")[2].split(None, 3)
        return Process(int(words[1]), words[0], int(words[2]))
    return None


def processes() -> dict[int, Process]:
    """Return every process by its pid."""
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))
    return {pid: row for pid in pids if (row := process(pid))}


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below ``root``, zombies included."""
    below: dict[int, list[int]] = {}
    for pid, row in processes().items():
        below.setdefault(row.parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(below.get(pid, ()))
    return found[1:]


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, zombies included."""
    return [child for child, row in processes().items() if row.parent == pid]


def own_children() -> list[int]:
    """Return the pids of the calling thread's children, in a time that is theirs."""
    return [*map(int, text("thread-self", "children").split())]


def state(pid: int) -> str:
    """Return the state letter of a process; an empty string when it is gone."""
    return row.state if (row := process(pid)) else ""


def command_line(pid: int) -> list[str]:
    """Return the words of a process's command; none for a zombie, and when gone."""
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    return []


def describe(pid: int) -> str:
    """Return one process in a few words for a failure message."""
    words = " ".join(command_line(pid))
    if not (letter := state(pid)):
        return f"pid {pid} (gone since)"
    kind = "zombie" if letter == "Z" else "running"
    return f"pid {pid} ({kind}) {words}".rstrip()


def status(pid: int | str) -> dict[str, str]:
    """Return the fields of ``/proc/PID/status``; none when it is gone.

    Args:
        pid: the process, ``self``, or ``PID/task/TID`` for one of its threads.
    """
    with suppress(OSError):
        lines = (line.partition(":") for line in text(pid, "status").splitlines())
        return {key: value.strip() for key, _, value in lines}
    return {}


def turns(pid: int | str) -> tuple[str, ...]:
    """Return the state of a thread, and how often it has been switched away from.

    Two equal answers, some time apart, are a thread that has not run in between.
    """
    found = status(pid)
    names = ("State", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    return tuple(found[name] for name in names if name in found)


def threads(pid: int | str) -> Iterator[int]:
    """Yield the numbers of a process's threads; none when it is gone."""
    with suppress(OSError):
        yield from map(int, os.listdir(f"/proc/{pid}/task"))


def descriptors(pid: int | str = "self") -> dict[int, str]:
    """Return the open descriptors of a process, and what each of them is."""
    found = {}
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # the one that listed the folder
            found[int(entry)] = os.readlink(f"/proc/{pid}/fd/{entry}")
    return found


def signals(pid: int | str, which: str) -> set[int]:
    """Return a set of signals of a process.

    Args:
        pid: the process.
        which: ``blocked``, ``ignored``, ``caught`` or ``pending``.

    Raises:
        ProcessLookupError: it is gone.
    """
    if not (found := status(pid)):
        raise ProcessLookupError(f"pid {pid} is gone")
    bits = int(found[STATUS.get(which, "ShdPnd")], 16)
    return {n for n in range(1, 65) if bits >> (n - 1) & 1} - LIBC_INTERNAL


def name(pid: int) -> str:
    """Return the name that a process has given itself; an empty string when gone."""
    with suppress(OSError):
        return text(pid, "comm").rstrip("\n")
    return ""


def memory(pid: int) -> tuple[int, int]:
    """Return a process's memory in KiB: its share (PSS), and what is its own in that.

    Raises:
        OSError: it is gone, or not ours to read.
    """
    rollup = text(pid, "smaps_rollup")
    return _kib("Pss", rollup), _kib("Pss_Anon", rollup)


def mapped(pid: int) -> dict[str, int]:
    """Return for each file that a process maps the KiB of it that are in memory.

    What the process has written to is its own, and does not count.

    Raises:
        OSError: it is gone, or not ours to read.
    """
    found: dict[str, int] = {}
    path = ""
    for line in text(pid, "smaps").splitlines():
        key, *values = line.split(None, 5)
        if not key.endswith(":"):  # the head of a mapping: its addresses
            path = values[4] if values[3] != "0" else ""
        elif path and key in ("Rss:", "Anonymous:"):
            kib = int(values[0])
            found[path] = found.get(path, 0) + (kib if key == "Rss:" else -kib)
    return found


def _kib(key: str, lines: str) -> int:
    return int(lines.partition(f"\n{key}:")[2].split(None, 1)[0])


def runs(pid: int) -> int:
    """Return how often a process has been given a processor."""
    return int(text(pid, "schedstat").split()[2])


def open_flags(pid: int, fd: int) -> int:
    """Return the flags with which a process holds a descriptor."""
    return int(text(pid, f"fdinfo/{fd}").partition("\nflags:")[2].split()[0], 8)


def pid_of(pidfd: int) -> int:
    """Return whose pidfd it is; -1 when that process has been reaped."""
    return int(text("self", f"fdinfo/{pidfd}").partition("\nPid:")[2].split()[0])
