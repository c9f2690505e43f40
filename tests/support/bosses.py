"""Bosses under test: their files, their children, and the steps of their table."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fatal_signals.processes.keeper import Ended
from fatal_signals.processes.procfs import name, runs

from . import FATAL, SETTLE, procfs
from .program import MODULES, Program

LONG_GRACE = 10 * FATAL
"""Seconds of a grace or a delay whose end no test sees: it would count as a hang."""

SHORT_GRACE = SETTLE / 5
"""Seconds of a grace whose end is what a test waits for."""

BOSS = MODULES / "boss.py"

_FOLDER = tempfile.TemporaryDirectory(prefix="fatal-signals-child-")


@functools.cache
def child_program() -> str:
    """Return the path of ``child.c``, compiled; skip the test where that can't be."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc), and so no child for the boss")
    file = Path(_FOLDER.name, "child")
    Path(_FOLDER.name).chmod(0o755)
    source = Path(__file__).with_name("child.c")
    subprocess.run([compiler, "-O1", "-o", file, source], check=True, timeout=FATAL)
    return str(file)


def toml(value: object) -> str:
    """Return a value as TOML writes it, tables inline."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {toml(it)}' for key, it in value.items())} }}"
    return json.dumps(value)


def child(name: str, *words: str, **keys: object) -> str:
    """Return a ``[[child]]`` table; see ``child.c`` for the words."""
    keys = {"name": name, "command": [child_program(), name, *words], **keys}
    lines = [f"{key} = {toml(value)}" for key, value in keys.items()]
    return "\n".join(["[[child]]", *lines, ""])


def boss_of(
    folder: Path, *tables: str, first: str = "", terminal: bool = False
) -> Program:
    """Start the boss with these tables as its file.

    Args:
        folder: where the file is written, and where the boss starts.
        tables: the text of the file.
        first: Python source that runs before, in the process that becomes the boss.
        terminal: run it on a terminal.
    """
    file = folder / "boss.toml"
    file.write_text("\n".join(tables))
    command = [sys.executable, str(BOSS), str(file)]
    if first:
        last = f"os.execv(sys.executable, {command})"
        return Program(f"import os, signal, sys\n{first}\n{last}\n", cwd=folder)
    return Program(command, cwd=folder, terminal=terminal)


def library(
    folder: Path, source: str, *tables: str, args: Sequence[str] = ()
) -> Program:
    """Start a program that uses the boss as a library; the file is its argument."""
    file = folder / "boss.toml"
    file.write_text("\n".join(tables))
    return Program(source, str(file), *args, cwd=folder)


def pid_in(line: str) -> int:
    """Return the pid in a line of the boss's log or in one of the child's."""
    found = re.search(r"pid=(\d+)|(?:ready|below|stranger) (\d+)$", line)
    assert found, line
    return int(found[1] or found[2])


def guard_of(pid: int) -> int:
    """Return the pid of a boss's guard that is at work; 0 if there is none."""
    for one in procfs.children(pid):
        if name(one) == "guard":
            return one
    return 0


def guard_at_work(pid: int) -> int:
    """Wait until a boss's guard sleeps, and return its pid."""
    procfs.until(lambda: procfs.state(guard_of(pid)) == "S", f"a guard of {pid}")
    return guard_of(pid)


def kill_with_guard(pid: int) -> None:
    """Kill a boss and its guard, both frozen before: neither sees the other's end."""
    both = [guard_at_work(pid), pid]
    for one in both:
        os.kill(one, signal.SIGSTOP)
    procfs.until(lambda: {procfs.state(one) for one in both} == {"T"}, "both frozen")
    for one in both:
        os.kill(one, signal.SIGKILL)


def children_of(pid: int) -> list[int]:
    """Return the pids of a boss's children without its guard, zombies included."""
    return [one for one in procfs.children(pid) if one != guard_of(pid)]


def values(output: str, message: str, key: str) -> list[str]:
    """Return the values of a key in all lines of a message, in order."""
    return re.findall(rf"^boss {message}:.* {key}=(\S+)", output, re.MULTILINE)


def runs_within_settle(pid: int) -> bool:
    """Return whether a process gets the processor at all while we wait ``SETTLE``."""
    before = runs(pid)  # not the time: that of the last turn may be added late
    time.sleep(SETTLE)
    return runs(pid) != before


STEP = """
import os, signal, sys
import boss
import boss_supervisor
from boss import Boss, Event, State

file, state, event, stop_at, fire_at, how = sys.argv[1:7]
deaths = int(sys.argv[7])
boss_supervisor.BACKOFF_FIRST = float(sys.argv[8])
boss_supervisor.BACKOFF_CAP = 2 * boss_supervisor.BACKOFF_FIRST


def caught(pid):
    with open(f"/proc/{pid}/status") as status:
        line = next(line for line in status if line.startswith("SigCgt:"))
    return int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1


class Watched(Boss):
    fired = False

    def start(self, entry):
        super().start(entry)
        while "stubborn" in entry.child.command and not caught(entry.pid):
            pass

    def fire(self, entry, what):
        before = entry.state
        super().fire(entry, what)
        moved = f"{entry.child.name} {entry.state.name}"
        line = f"{before.name} {what.name} {entry.state.name}"
        os.write(1, f"moved {entry.child.name} {line}\\n".encode())
        if moved == stop_at:
            signal.raise_signal(signal.SIGTERM)
        if moved == fire_at and entry.deaths < deaths and how == "die":
            os.kill(entry.pid, signal.SIGKILL)
        if moved == fire_at and entry.deaths >= deaths and not self.fired:
            self.fired = True
            it = next(one for one in self.entries if one.child.name == "it")
            assert it.state.name == state, (it.state, state)
            os.write(1, b"fire\\n")
            if how == "die":
                os.kill(it.pid, signal.SIGKILL)
            elif how == "signal":
                signal.raise_signal(signal.SIGTERM)
            elif how == "call":
                self.fire(it, Event[event])


Watched(boss.load(file)).run()
"""
"""Brings the child ``it`` into a state by a real route, and fires an event at it."""


def died_of(ended: Ended, signum: int) -> bool:
    """Return whether the boss died of a signal and left nothing behind."""
    assert ended.left == []
    return ended.code == -signum


def read_until(program: Program, *texts: str) -> list[str]:
    """Read until there has been a line with each text, in any order; return them."""
    found: dict[str, str] = {}
    while len(found) < len(texts):
        line = program.read_line()
        found |= {text: line for text in texts if text in line}
    return [found[text] for text in texts]


def freeze(program: Program) -> None:
    """Stop a boss that waits: what comes now, it finds together, in one look."""
    procfs.asleep(program.pid)
    program.send(signal.SIGSTOP)
    procfs.until(lambda: procfs.state(program.pid) == "T", "a frozen boss")


def kill_together(program: Program, pids: list[int]) -> None:
    """Kill children of a frozen boss; return when all are dead, and none reaped."""
    freeze(program)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    procfs.until(lambda: {procfs.state(pid) for pid in pids} == {"Z"}, "zombies")
