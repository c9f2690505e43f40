"""The engine's end of a page's interpreter."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from fatal_signals.processes.below import left_behind
from fatal_signals.processes.clocks import BLOCK, SETTLE
from fatal_signals.processes.keeper import KeptCommand

INTERPRETER = Path(__file__).with_name("interpreter.py")
FELL_THROUGH = "forked a child that fell out of the block's end"


class SessionFailure(Exception):
    """A session block did not do what its page says; the text says what it did."""


class Session:
    """An interpreter that keeps a page's namespace from block to block.

    Args:
        folder: the folder to start in.
        env: its environment.
        fatal: seconds that one block may take.
    """

    def __init__(self, folder: Path, env: dict[str, str], fatal: float = BLOCK) -> None:
        self._fatal = fatal
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._control, far_end = socket.socketpair()
        self._kept = KeptCommand(
            ["python", str(INTERPRETER), str(far_end.fileno())],
            seconds=60 * fatal,
            settle=SETTLE,
            cwd=folder,
            env=env,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=[far_end.fileno()],
        )
        far_end.close()
        self._answers = self._control.makefile("rb", buffering=0)

    def run(
        self, language: str, source: str, name: str, first: int
    ) -> tuple[str, set[int]]:
        """Run one block.

        Returns:
            What it printed, and the lines that have run in this session so far.

        Raises:
            SessionFailure: it raised, differed, died, hung or left something behind.
                After the last three the session can't be used any more.
        """
        at = os.fstat(self._log.fileno()).st_size
        request = {"language": language, "source": source, "name": name, "first": first}
        self._control.sendall(json.dumps(request).encode() + b"\n")
        problems: list[str] = []
        answer: dict[str, object] | None = None
        deadline = time.monotonic() + self._fatal
        while answer is None:
            words = self._read(deadline)
            if "fell_through" in words:
                problems.append(FELL_THROUGH)
            else:
                answer = words
        error, left = answer["error"], answer["leftovers"]
        assert isinstance(left, list)
        problems += [f"left {what} behind" for what in left]
        children = left_behind(self._kept.keeper, SETTLE, self._kept.pid)
        problems += [f"left a child behind: {child}" for child in children]
        if children and select.select([self._control], [], [], 0)[0]:
            problems.append(FELL_THROUGH)
        printed = os.pread(self._log.fileno(), 1 << 20, at).decode(errors="replace")
        if error:
            problems.insert(0, str(error))
        if problems:
            raise SessionFailure("\n".join([*problems, *_came(printed)]))
        lines = answer["lines"]
        assert isinstance(lines, list)
        return printed, set(lines)

    def _read(self, deadline: float) -> dict[str, object]:
        """Read one answer; raise SessionFailure when none can come."""
        patience = max(0.0, deadline - time.monotonic())
        sources: list[Any] = [self._control, self._kept]
        ready, _, _ = select.select(sources, [], [], patience)
        if not ready:
            self._kept.send(signal.SIGKILL)
            raise SessionFailure(f"hung: no end after {self._fatal:g} seconds")
        if self._control not in ready:
            raise SessionFailure(f"killed its interpreter, which {self._kept.wait()}")
        words: dict[str, object] = json.loads(self._answers.readline())
        return words

    def close(self) -> None:
        """End the interpreter with everything that it started."""
        self._kept.close()
        self._answers.close()
        self._control.close()
        self._log.close()


def _came(printed: str) -> list[str]:
    return ["What it printed:", printed] if printed else []
