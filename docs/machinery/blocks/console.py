"""Terminal sessions: a real shell on a real terminal, and the screen is compared.

A ``console`` block is what a reader sees who types the commands by hand.  So we run an
interactive bash on a pseudo-terminal, with job control: a background job has its own
process group and does not ignore SIGINT, as it would in a script.  A line that starts
with ``^C`` (``^Z``, ``^\\``) is typed when everything above it has come.

In the expected text ``...`` matches any part of a line, or any lines if it is alone on
one.
"""

from __future__ import annotations

import difflib
import os
import re
import select
import subprocess
import time
from pathlib import Path

from fatal_signals.processes.below import left_behind
from fatal_signals.processes.clocks import BLOCK, GLANCE, SETTLE
from fatal_signals.processes.keeper import KeptCommand
from fatal_signals.processes.procfs import descendants, processes

MARK = "\x1e"
"""Starts each prompt: no program prints a record separator."""
KEYS = {"^C": "\x03", "^Z": "\x1a", "^\\": "\x1c"}


class ConsoleFailure(Exception):
    """The screen differs from the page, or something is left behind."""


class Shell:
    """An interactive bash on a terminal of its own, bounded in time."""

    def __init__(self, folder: Path, env: dict[str, str], fatal: float) -> None:
        self._deadline = time.monotonic() + fatal
        self._terminal, inner = os.openpty()
        self._kept = KeptCommand(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            seconds=2 * fatal,
            settle=SETTLE,
            cwd=folder,
            env={**env, "PS1": f"{MARK}$ ", "PS2": f"{MARK}> ", "HISTFILE": ""},
            stdin=inner,
            stdout=inner,
            stderr=subprocess.STDOUT,
            terminal=True,
        )
        os.close(inner)
        self.screen = ""
        self._prompts = 0

    def type(self, keys: str) -> None:
        """Type as slowly as a reader: when what runs has come to wait.

        Typed at once, a signal hits a program between the line that says it is ready
        and the wait that the page is about.
        """
        self._until_idle()
        os.write(self._terminal, keys.encode())

    def read_until_prompt(self) -> None:
        """Read until the shell waits for the next line."""
        self._prompts += 1
        while self.screen.count(MARK) < self._prompts:
            self._read_more()

    def read_until_matches(self, text: str) -> None:
        """Read until the screen is as expected, while a command runs."""
        while not pattern(text).fullmatch(self.shown()):
            self._read_more()

    def _until_idle(self) -> None:
        """Wait until all that the shell has started sleeps, or is stopped, or dead."""
        looks = 0
        while looks < 2 and (below := descendants(self._kept.pid)):
            if time.monotonic() > self._deadline:
                raise ConsoleFailure("hung: a program never waits, so we can't type")
            time.sleep(GLANCE)
            table = processes()
            awake = {table[pid].state for pid in below if pid in table} - set("STZ")
            looks = 0 if awake else looks + 1

    def _read_more(self) -> None:
        """Wait for output and add it to the screen."""
        patience = max(0.0, self._deadline - time.monotonic())
        if not select.select([self._terminal], [], [], patience)[0]:
            raise ConsoleFailure("hung: no prompt came")
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            raise ConsoleFailure(f"the shell {self._kept.wait()}") from None
        self.screen += data.decode(errors="replace").replace("\r\n", "\n")

    def shown(self) -> str:
        """Return the screen as the reader sees it, without the last prompt."""
        return self.screen.replace(MARK, "").removesuffix("$ ")

    def ended(self) -> str:
        """Return the screen after the last command; empty lines at its end are none."""
        return self.shown().rstrip("\n") + "\n"

    def left_behind(self) -> list[str]:
        """Describe the processes that are left besides the shell."""
        return left_behind(self._kept.keeper, SETTLE, self._kept.pid)

    def close(self) -> None:
        """Hang up and end everything."""
        self._kept.close()
        os.close(self._terminal)


def run(text: str, folder: Path, env: dict[str, str], fatal: float = BLOCK) -> str:
    """Type a block's commands into a new shell and return the screen.

    Raises:
        ConsoleFailure: there is no bash, a command hung, the shell died, or a process
            is left.
    """
    if not text.startswith("$ "):
        raise ConsoleFailure("a terminal session starts with a prompt: '$ '")
    try:
        shell = Shell(folder, env, fatal)
    except OSError as error:
        raise ConsoleFailure(f"no shell: {error}") from None
    try:
        lines = text.splitlines(keepends=True)
        for number, line in enumerate(lines):
            before = lines[number - 1][:2] if number else ""
            if line[:2] == "$ " or (line[:2] == "> " and before in ("$ ", "> ")):
                shell.read_until_prompt()
                shell.type(line[2:])
            elif line[:2] in KEYS:
                shell.read_until_matches("".join(lines[:number]))
                shell.type(KEYS[line[:2]])
        shell.read_until_prompt()
        if left := shell.left_behind():
            raise ConsoleFailure("left a child behind: " + "; ".join(left))
        return shell.ended()
    except ConsoleFailure as failure:
        raise ConsoleFailure(f"{failure}\nThe screen:\n{shell.shown()}") from None
    finally:
        shell.close()


def pattern(text: str) -> re.Pattern[str]:
    """Return the pattern of a screen that is as expected."""
    lines = []
    for line in text.splitlines(keepends=True):
        any_part = re.escape(line).replace(re.escape("..."), ".*")
        lines.append("(?:.*\n)*" if line == "...\n" else any_part)
    return re.compile("".join(lines))


def difference(expected: str, screen: str) -> str:
    """Show what was expected and what came, line by line."""
    return "\n".join(
        ["Expected (-), came (+):"]
        + [
            line.rstrip()
            for line in difflib.ndiff(expected.splitlines(), screen.splitlines())
            if line[:1] != "?"
        ]
    )
