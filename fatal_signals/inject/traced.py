"""A run under strace: started, watched, told to stop, and all below it ended.

This is the side of the helper, a process of its own.  It makes a run for each line of
JSON on its standard input, says in another one what came of it, and ends with
everything below it when the input does.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..processes.below import LAST_WAIT, end_all, reap
from ..processes.linux import adopt_orphans, die_with_parent
from ..processes.procfs import command_line, descendants, status, threads, turns
from ..processes.start import start
from .job import Job, Result
from .strace_log import read_log

HOLD = 0.05
"""Seconds for which ``strace`` holds a call as it returns.  Who sends a signal later
than that, on a busy machine, notices it and tries again."""


def main() -> None:
    """Be the helper: make a run for each line of standard input, until its end.

    The argument is the folder that we work in; whoever has started us may be killed, so
    we remove it at our end.
    """
    adopt_orphans()
    orders = b""
    try:
        while data := os.read(0, 1 << 16):
            orders += data
            if orders.endswith(b"\n"):
                job, orders = Job.from_json(orders), b""
                answer = _Runner(job).run().to_json().encode() + b"\n"
                while answer:
                    answer = answer[os.write(1, answer) :]
    except (_Abandoned, BrokenPipeError):
        pass
    finally:
        end_all()
        shutil.rmtree(sys.argv[1], ignore_errors=True)


class _Abandoned(Exception):
    """Whoever started us has closed us, or is gone."""


@dataclass
class _Runner:
    """One run."""

    job: Job
    sent: float | None = None
    """When we told the program to stop, in seconds since the epoch."""
    shot: float | None = None
    """When we sent the signal ourselves, to a call that returned."""
    late: bool = False
    """It may have gone on by then."""
    not_yet: float = 0.0
    """When we last saw that it had not returned."""
    deadline: float = 0.0
    ready: float | None = None
    """When we first saw the text in the output after which the program is at rest."""
    threads: set[int] = field(default_factory=set)
    """The program's own, as the trace names them."""

    def run(self) -> Result:
        """Make the run, and return what came of it."""
        job = self.job
        for file in (job.log, job.out):
            Path(file).write_bytes(b"")
        if job.prepare and (wrong := self._aside("prepare", job.prepare)):
            return Result(wrong)
        try:
            pid = self._start(job.argv)
        except OSError as error:
            return Result(f"{error.filename}: {error.strerror}")
        hung = self._drive(pid)
        if hung:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        left = 0 if hung else self._settle()
        # It has the end of the log to write.
        end_all(partial(_is_tracer, argv=job.argv), LAST_WAIT)
        output = Path(job.out).read_text(errors="replace")
        arrivals = self._arrivals()
        return Result(
            status=os.waitstatus_to_exitcode(status),
            hung=hung,
            sent=self.sent,
            left=left,
            output=output,
            arrivals=len(arrivals),
            void=self.late or any(self._hidden(*arrival) for arrival in arrivals),
            then=self._aside("then", job.then) if job.then and not hung else "",
        )

    def _start(self, argv: Sequence[str]) -> int:
        """Start a command; its output goes into a file."""
        self.deadline = time.monotonic() + self.job.seconds
        # A file: no pipe that fills, and no reader that has to keep up.
        out = os.open(self.job.out, os.O_WRONLY | os.O_APPEND)
        try:
            return start(
                argv,
                {1: out, 2: out},
                env=self.job.env,
                cwd=self.job.cwd,
                first=die_with_parent,
            )
        finally:
            os.close(out)

    def _aside(self, kind: str, argv: Sequence[str]) -> str:
        """Run a command beside the program's; return what is wrong, or nothing."""
        words = f"`{kind}` {shlex.join(argv)}"
        try:
            pid = self._start(argv)
        except OSError as error:
            return f"{words}: {error.strerror}"
        while not (ended := _ended(pid, 1.0)) and time.monotonic() < self.deadline:
            pass
        if not ended:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        end_all()
        tail = Path(self.job.out).read_text(errors="replace").splitlines()[-1:]
        if not ended:
            return f"{words} hung"
        return f"{words} ended with {code}: {''.join(tail)}" if code else ""

    def _drive(self, pid: int) -> bool:
        """Tell the program to stop when that is due; return whether it hung."""
        rest, begun, left_alone = self.job.rest, False, False
        program, everything = _Calm([pid]), _Calm()
        self.threads = program.threads
        while not self._watch(pid, rest / 10):
            now = time.monotonic()
            if now > self.deadline:
                return True
            begun = begun or _has_begun(pid)
            if not begun:
                continue
            if left_alone:
                if everything.lasted(now) > self.job.patience:
                    return True
            elif max(program.lasted(now), self._ready(now)) >= rest:
                # The one rule: a stop that has arrived and is lost must not be hidden
                # by one of ours.
                if self.threads.isdisjoint(thread for thread, _ in self._arrivals()):
                    self.sent = time.time()
                    os.kill(pid, self.job.end)
                left_alone = True
        return False

    def _watch(self, pid: int, seconds: float) -> bool:
        """Wait for the program's end, but only so long, and send what is due."""
        if not self.job.after or self.shot:
            return _ended(pid, seconds)
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            if self._returned():
                self.shot = time.time()
                os.kill(pid, self.job.signum)
                self.late = time.monotonic() > self.not_yet + HOLD
                return False
            self.not_yet = now
            if _ended(pid, 0.001):
                return True
        return False

    def _returned(self) -> bool:
        """Return whether the call at which the program is held has returned."""
        log = Path(self.job.log).read_text(errors="replace")
        calls = list(read_log(log[: log.rfind("\n") + 1]))
        return bool(calls) and calls[-1].nth >= self.job.count

    def _ready(self, now: float) -> float:
        """Return for how long the output has had the text in it."""
        text = self.job.ready
        if not text or text not in Path(self.job.out).read_text(errors="replace"):
            return 0.0
        self.ready = self.ready or now
        return now - self.ready

    def _arrivals(self) -> list[tuple[int, float]]:
        """Return the threads at which the signal has been injected, and when."""
        if self.job.after:
            return [(0, self.shot)] if self.shot else []
        # As the call is entered, not as it returns: with the signal blocked, it may
        # wait with the signal pending, and that is a stop which is lost.
        point = self.job.name, self.job.count
        log = Path(self.job.log).read_text(errors="replace")
        return [
            (call.thread, call.at)
            for call in read_log(log)
            if (call.name, call.nth) == point
        ]

    def _hidden(self, thread: int, at: float) -> bool:
        """Return whether it came in the instant in which we sent ours.

        If it was lost, that can't be seen any more.  1 ms is for the two clocks.
        """
        sent = self.sent
        return sent is not None and thread in self.threads and at < sent - 0.001

    def _settle(self) -> int:
        """Return how many processes are left, when they have had their time to end."""
        deadline = time.monotonic() + self.job.settle
        while True:
            reap()
            left = [
                pid
                for pid in descendants(os.getpid())
                if not _is_tracer(pid, self.job.argv)
            ]
            if not left or time.monotonic() > deadline:
                return len(left)
            if select.select([0], [], [], 0.01)[0]:
                raise _Abandoned


class _Calm:
    """Watches whether threads sleep.

    Args:
        pids: the processes to look at; all that are below us by default.
    """

    def __init__(self, pids: Sequence[int] = ()) -> None:
        self.threads = {0}
        """All threads that have been seen, and 0 for a trace without pids."""
        self._pids = pids
        self._last: object = None
        self._since = 0.0

    def lasted(self, now: float) -> float:
        """Return for how many seconds they have slept without waking once."""
        seen: dict[int, tuple[str, ...]] = {}
        for pid in self._pids or descendants(os.getpid()):
            seen |= {n: turns(f"{pid}/task/{n}") for n in threads(pid)}
        self.threads |= set(seen)
        asleep = all(turn[:1] and turn[0][0] in "SZ" for turn in seen.values())
        if not asleep or not seen or seen != self._last:
            self._last, self._since = seen, now
        return now - self._since


def _ended(pid: int, seconds: float) -> bool:
    """Wait for the end of a child, but only so long."""
    fd = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([0, fd], [], [], seconds)
    finally:
        os.close(fd)
    if 0 in ready:
        raise _Abandoned
    return fd in ready


def _has_begun(pid: int) -> bool:
    """Return whether the program has been executed, and is traced.

    Until then ``strace`` is in its place: it has forked the tracer off, sleeps until
    that has attached, which takes long on a busy machine, and executes the program.
    """
    tracer = int(status(pid).get("TracerPid", "0"))
    return bool(tracer) and command_line(pid) != command_line(tracer)


def _is_tracer(pid: int, argv: Sequence[str]) -> bool:
    return command_line(pid) == [*argv]
