"""Programs under test: started by us, bounded in time, gone at the end.

A test hands over the source of a small Python program.  The program runs in an
interpreter and a folder of its own, and talks in lines: it prints ``ready`` when it is,
and the test waits for that line, never for a time.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fatal_signals.processes.keeper import Ended, KeptCommand

from . import FATAL, ROOT, SETTLE

MODULES = Path(os.environ.get("MODULES_UNDER_TEST", ROOT / "reference"))
"""The folder of the reference modules, or of their broken twins."""


def environment(**more: str) -> dict[str, str]:
    """Return a clean environment that finds the modules under test."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(MODULES),
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


class Program:
    """A command that runs under a keeper, with its output read line by line.

    Standard output and standard error come as one stream.

    Args:
        command: Python source, or a command as a list.
        args: arguments for Python source.
        env: further environment variables.
        cwd: the folder to start in; an empty one of its own when omitted.
        terminal: run it on a new pseudo-terminal, as its session's leader.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        *args: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        terminal: bool = False,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fatal-signals-")
        self.folder = Path(self._folder.name)
        if isinstance(command, str):
            file = self.folder / "program.py"
            file.write_text(textwrap.dedent(command))
            command = [sys.executable, str(file), *args]
        self.output = ""
        self._unread = ""
        self._control, inner = os.openpty() if terminal else os.pipe()
        try:
            self._kept = KeptCommand(
                command,
                seconds=FATAL,
                settle=SETTLE,
                env=environment(**(env or {})),
                cwd=cwd or self.folder,
                stdin=inner if terminal else -1,
                stdout=inner,
                stderr=subprocess.STDOUT,
                terminal=terminal,
            )
        except BaseException:
            os.close(self._control)
            self._folder.cleanup()
            raise
        finally:
            os.close(inner)
        self.pid = self._kept.pid
        self.keeper = self._kept.keeper

    def type(self, keys: str) -> None:
        """Type on the program's terminal; ``"\\x03"`` is Ctrl-C."""
        os.write(self._control, keys.encode())

    def send(self, signum: int) -> None:
        """Send the program a signal."""
        self._kept.send(signum)

    def read_line(self) -> str:
        """Return the next line of output without its end.

        Raises:
            AssertionError: no line came, or the program has ended before it.
        """
        deadline = time.monotonic() + FATAL
        while "\n" not in self._unread:
            if not self._fill(deadline):
                raise AssertionError(f"no further line\n{self.report()}")
        line, _, self._unread = self._unread.partition("\n")
        return line.rstrip("\r")

    def wait_for(self, text: str) -> str:
        """Read lines until one contains ``text``, and return that line."""
        while text not in (line := self.read_line()):
            pass
        return line

    def wait(self) -> Ended:
        """Read the output to its end and return how the program ended."""
        sources: list[Any] = [self._control, self._kept]
        while self._kept not in select.select(sources, [], [])[0]:
            if not self._fill(time.monotonic()):
                break
        ended = self._kept.wait()
        deadline = time.monotonic() + SETTLE
        while self._fill(deadline):
            pass
        return ended

    def lines(self) -> list[str]:
        """Return all output lines that :meth:`read_line` has not returned."""
        return self._unread.splitlines()

    def report(self) -> str:
        """Return all output so far, for a failure message."""
        return f"--- output of pid {self.pid} ---\n{self.output}---"

    def _fill(self, deadline: float) -> bool:
        """Read once; return False at the end of the output or of the time."""
        patience = max(0.0, deadline - time.monotonic())
        if not select.select([self._control], [], [], patience)[0]:
            return False
        data = b""
        with suppress(OSError):  # a terminal that nobody holds any more: EIO
            data = os.read(self._control, 65536)
        self.output += data.decode(errors="replace")
        self._unread += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        """End the program with all that it started, and remove its folder."""
        self._kept.close()
        os.close(self._control)
        self._folder.cleanup()

    def __enter__(self) -> Program:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: object,
        error: BaseException | None,
        traceback: object,
    ) -> None:
        """End everything; an error gets the output as a note."""
        if error is not None:
            error.add_note(self.report())
        self.close()


def run(source: str, *args: str, env: Mapping[str, str] | None = None) -> Outcome:
    """Run Python source to its end and return its output and how it ended."""
    with Program(source, *args, env=env) as program:
        ended = program.wait()
        return Outcome(ended, program.output)


class Outcome:
    """The end of a program and everything that it printed."""

    def __init__(self, ended: Ended, output: str) -> None:
        self.ended = ended
        self.code = ended.code
        self.output = output
        self.lines = output.splitlines()

    def __repr__(self) -> str:
        """Return both for a failure message."""
        return f"<{self.ended}, left {self.ended.left}; output:\n{self.output}>"


def proved(command: Sequence[str], **env: str) -> list[dict[str, Any]]:
    """Return the results that a prover prints, after what its programs say.

    Args:
        command: the prover; it has to end with 0, and to leave nothing.
        env: further environment variables.
    """
    with Program(command, env=env) as prover:
        ended = prover.wait()
        assert ended.code == 0, prover.report()
        assert ended.left == []
        output = f"\n{prover.output}"
    results: list[dict[str, Any]] = json.loads(output[output.rindex("\n[\n") :])
    return results
