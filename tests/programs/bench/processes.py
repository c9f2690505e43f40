"""A boss that is being measured: started, watched and ended from outside.

Each child says by itself that it runs, into a fifo, with its pid and the time on the
clock that all processes share; so nobody has to be awake while a boss starts, and what
wakes us late does not count.  Deaths are seen through pidfds.
"""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path

from fatal_signals.processes.below import Pidfds
from fatal_signals.processes.procfs import descendants, pid_of

RECORD = struct.Struct("qq")
"""What a child says: its pid, and ``CLOCK_MONOTONIC`` in nanoseconds."""

ROOM = 1 << 20
"""Bytes of the fifo: a hundred thousand starts; as much as any user may ask for."""

LULL = 0.002
"""Seconds between two looks into a fifo that fills: we do not wake for each child."""

SEES_REAPING = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (6, 9)
"""Whether a pidfd says that its process has been reaped: Linux 6.9."""


@contextmanager
def held(pids: Iterable[int]) -> Iterator[list[int]]:
    """Hold a pidfd for each of these that is below us, dead or alive.

    A number that we have known may be a stranger's by now: after a hundred thousand
    deaths each has been used several times.  So we look who is below us when we hold
    it, since then it can't become anybody else's.
    """
    known = [*pids]
    with Pidfds(known) as fds:
        below = {*descendants(os.getpid())}
        yield [fd for fd in fds if pid_of(fd) in below]


def sweep() -> None:
    """Kill and reap everything below us."""
    while below := descendants(os.getpid()):
        with held(below) as fds:
            for fd in fds:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def dead(fds: Iterable[int]) -> set[int]:
    """Return those of some pidfds whose processes are dead."""
    return {fd for fd, _ in _poll(fds, select.POLLIN).poll(0)}


def reaped(fds: Iterable[int]) -> set[int]:
    """Return those of some pidfds whose processes have been reaped."""
    return {fd for fd, events in _poll(fds, 0).poll(0) if events & select.POLLHUP}


def _poll(fds: Iterable[int], events: int) -> select.poll:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, events)
    return poll


class Fifo:
    """Where the children of one boss say that they run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "runs"
        os.mkfifo(self.path)
        # For writing too: it has no end then, and no child waits for a reader.
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        fcntl(self.fd, F_SETPIPE_SZ, ROOM)

    def read(self) -> dict[int, float]:
        """Return the pids that have come, each with its time in seconds."""
        data = b""
        with suppress(BlockingIOError):
            while more := os.read(self.fd, ROOM):
                data += more
        return {pid: ns / 1e9 for pid, ns in RECORD.iter_unpack(data)}

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)


@dataclass(frozen=True)
class End:
    """How a boss has ended; the times are seconds from the signal, inf for never."""

    gone: float
    """Until it, and all that it had started, were dead."""
    status: int | None
    """Its exit status, or minus the number of its signal; None: it has not ended."""
    left: int
    """How many that it had started were still alive then."""


@dataclass(frozen=True)
class Replaced:
    """What came of a killed child, in seconds from the signal; inf for never."""

    runs: float
    reaped: float | None
    """None where the kernel does not show it."""


@dataclass
class Started:
    """A boss that we have started.

    Args:
        command: its command.
        fifo: what its children say is read here; closed with this.
        folder: where it is started, and its output goes into a file there.
        env: its whole environment.
        patience: the seconds after which a wait is given up.
    """

    command: Sequence[str]
    fifo: Fifo
    folder: Path
    env: dict[str, str]
    patience: float
    runs: dict[int, float] = field(default_factory=dict)
    """When each child said that it runs, by its pid; the dead ones too."""

    def __post_init__(self) -> None:
        """Start it."""
        with open(self.folder / "log", "wb") as log:
            self.began = time.monotonic()
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.env,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)

    def wait_for(self, children: int) -> dict[int, float] | None:
        """Wait until so many more children have said that they run.

        Returns:
            When each of them did, by its pid; None: the patience or the boss has ended
            before it.
        """
        seen: dict[int, float] = {}
        deadline = time.monotonic() + self.patience
        poll = _poll([self.fifo.fd, self._pidfd], select.POLLIN)
        while len(seen) < children:
            found = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            if self.fifo.fd not in found:
                return None
            seen |= self.fifo.read()
            self.runs |= seen
            time.sleep(LULL)
        return seen

    def helpers(self) -> list[int]:
        """Return all that belongs to the boss, itself too, and is no child."""
        return [self.pid, *(p for p in descendants(self.pid) if p not in self.runs)]

    def members(self) -> list[int]:
        """Return all that the boss has started, and numbers that are used no more."""
        return [*{*descendants(self.pid), *self.runs}]

    def end(self, *signals: int, pause: float = 0.0) -> End:
        """Send the boss signals, a pause between two; see how it ends.

        The time counts from the last of them.
        """
        with held(self.members()) as members:
            told = time.monotonic()
            for number, signum in enumerate(signals):
                if number and self._wait(pause):
                    break
                told = time.monotonic()
                self._process.send_signal(signum)
            ended = self._wait(self.patience)
            gone = time.monotonic()
            status = self._process.wait() if ended else None
            living = {*members} - dead(members)
            while living and gone - told < self.patience:
                _poll(living, select.POLLIN).poll(
                    max(0.0, told + self.patience - gone) * 1000
                )
                gone = time.monotonic()
                living -= dead(living)
        whole = ended and not living
        return End(gone - told if whole else float("inf"), status, len(living))

    def _wait(self, seconds: float) -> bool:
        return bool(_poll([self._pidfd], select.POLLIN).poll(seconds * 1000))

    def kill_child(self, pid: int) -> Replaced:
        """Kill a child; see when it has been reaped and when the next one runs."""
        with held([pid]) as (pidfd,):
            return self._kill_child(pidfd)

    def _kill_child(self, pidfd: int) -> Replaced:
        waiting = {self.fifo.fd: select.POLLIN}
        if SEES_REAPING:
            waiting[pidfd] = 0  # POLLHUP comes unasked
        at: dict[int, float] = {}
        told = time.monotonic()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        while waiting and (left := told + self.patience - time.monotonic()) > 0:
            poll = select.poll()
            for fd, events in [*waiting.items(), (self._pidfd, select.POLLIN)]:
                poll.register(fd, events)
            found = poll.poll(left * 1000)
            now = time.monotonic()
            for fd in [fd for fd, _ in found if waiting.pop(fd, None) is not None]:
                at[fd] = now - told
            if self._pidfd in dict(found):
                break  # it has taken all down
        fresh = self.fifo.read()
        self.runs |= fresh
        runs = min(fresh.values(), default=float("inf")) - told
        return Replaced(runs, at.get(pidfd, float("inf")) if SEES_REAPING else None)

    def close(self) -> None:
        """Kill the boss, and what we know that it has started; see :func:`sweep`."""
        with held(self.members()) as members:
            self._process.kill()
            self._process.wait()
            for fd in members:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(self._pidfd)
        self.fifo.close()

    def output(self) -> str:
        """Return the last line of its output, for a report."""
        text = (self.folder / "log").read_text(errors="replace").strip()
        return text.rpartition("\n")[2]


@contextmanager
def closing_all(started: Iterable[Started]) -> Iterator[None]:
    """Close all of them at the end, and kill what else is below us."""
    try:
        yield
    finally:
        for boss in started:
            boss.close()
        sweep()
