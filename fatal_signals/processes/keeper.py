"""Start a command so that nothing of it can outlive us, and say how it ended.

Ways that we rejected:

* ``subprocess`` with a time-out ends the child and leaves the grandchildren.
* Killing the process group misses whoever called ``setsid``.
* ``PR_SET_PDEATHSIG`` reaches one generation, and ``exec`` of a set-uid file drops it.

So between us and the command stands a keeper, a small process of its own, whose side is
:mod:`fatal_signals.processes.keeping`.

Linux only: it needs ``/proc``, subreapers and pidfds.
"""

from __future__ import annotations

import ast
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from . import keeping
from .start import helper


@dataclass(frozen=True)
class Ended:
    """How a kept command ended."""

    status: int
    """The wait status, as :func:`os.waitstatus_to_exitcode` wants it."""
    left: list[str]
    """What it left behind: one description for each process."""
    overdue: bool
    """True when the keeper had to end it because its time was over."""

    @property
    def code(self) -> int:
        """The exit status, or minus the number of the signal it died of."""
        return os.waitstatus_to_exitcode(self.status)

    def __str__(self) -> str:
        """Return the end in words."""
        if self.overdue:
            return "hung, and was killed when its time was over"
        if self.code < 0:
            return f"was killed by {signal.Signals(-self.code).name}"
        return f"ended with status {self.code}"


class KeptCommand:
    """A command under a keeper.

    Args:
        argv: the command and its arguments.
        seconds: the time after which the keeper ends it.
        settle: seconds that what is left behind gets to end by itself.
        env: the whole environment of the command.
        cwd: the folder in which it starts.
        stdin: a descriptor for its standard input; the null device when omitted.
        stdout: a descriptor, or ``subprocess.PIPE`` (the default).
        stderr: the same, or ``subprocess.STDOUT``.
        terminal: make ``stdin``, which is a terminal, its controlling terminal.
        pass_fds: further descriptors to hand on.

    Raises:
        OSError: the command can't be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        settle: float,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int = -1,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        terminal: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        report, far_end = os.pipe()
        asked = (far_end, stdin, int(terminal), seconds, settle)
        keeper = helper(keeping.__name__, *map(str, asked), *argv)
        self._keeper = subprocess.Popen(
            keeper,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            pass_fds=[far_end, *pass_fds, *([stdin] if stdin >= 0 else [])],
            start_new_session=True,
        )
        os.close(far_end)
        self._report = open(report, "rb", buffering=0)  # noqa: SIM115
        self._ended: Ended | None = None
        self.stdout: IO[bytes] = self._keeper.stdout  # type: ignore[assignment]
        self.stderr: IO[bytes] = self._keeper.stderr  # type: ignore[assignment]
        line = self._report.readline() or b'("error", 0, "no keeper")'
        kind, *told = ast.literal_eval(line.decode())
        if kind == "error":
            self.close()
            raise OSError(*told, argv[0])
        self.pid: int = told[0]

    @property
    def keeper(self) -> int:
        """The keeper's own pid: everything that the command starts is below it."""
        return self._keeper.pid

    def fileno(self) -> int:
        """Return a descriptor that is readable once the command has ended."""
        return self._report.fileno()

    def wait(self) -> Ended:
        """Wait for the command's end; its pid stays valid until :meth:`close`."""
        if self._ended is None:
            line = self._report.readline()
            if not line:
                raise RuntimeError("the keeper itself was killed")
            self._ended = Ended(*ast.literal_eval(line.decode()))
        return self._ended

    def send(self, signum: int) -> None:
        """Send a signal to the command."""
        os.kill(self.pid, signum)

    def close(self) -> None:
        """End the command and everything below it; harmless when repeated."""
        with suppress(BrokenPipeError):
            self._keeper.stdin.close()  # type: ignore[union-attr]
        self._keeper.wait()
        self._report.close()
        for pipe in (self._keeper.stdout, self._keeper.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> KeptCommand:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.close()
