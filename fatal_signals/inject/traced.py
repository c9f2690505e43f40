"""A run under strace: started, watched, told to stop, and all below it ended.

This is the side of the helper, a process of its own.  It makes a run for each line of
JSON on its standard input, says in another one what came of it, and ends with
everything below it when the input does.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .trace import read_log

HOLD = 0.05
"""Seconds for which ``strace`` holds a call as it returns.  Who sends a signal later
than that, on a busy machine, notices it and tries again."""

LAST_WAIT = 10.0
"""Seconds; who is not dead so long after SIGKILL waits for a disk, or is beyond our
rights."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def help_out() -> None:
    """Be the helper: make a run for each line of standard input, until its end."""
    import ctypes  # noqa: PLC0415 - the caller may have a Python without it

    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    orders = b""
    try:
        while data := os.read(0, 1 << 16):
            orders += data
            if orders.endswith(b"\n"):
                job, orders = json.loads(orders), b""
                runner = _Runner(job, lambda: libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0))
                answer = json.dumps(runner.run()).encode() + b"\n"
                while answer:
                    answer = answer[os.write(1, answer) :]
    except (_Abandoned, BrokenPipeError):
        pass
    finally:
        _end_all()


class _Abandoned(Exception):
    """Whoever started us has closed us, or is gone."""


@dataclass
class _Runner:
    """One run."""

    job: dict[str, Any]
    before_exec: Callable[[], object]
    sent: float | None = None
    """When we told the program to stop, in seconds since the epoch."""
    shot: float | None = None
    """When we sent the signal ourselves, to a call that returned."""
    late: bool = False
    """It may have gone on by then."""
    not_yet: float = 0.0
    """When we last saw that it had not returned."""
    deadline: float = 0.0
    threads: set[int] = field(default_factory=set)
    """The program's own, as the trace names them."""

    def run(self) -> dict[str, Any]:
        """Make the run, and return what came of it."""
        job = self.job
        for file in (job["log"], job["out"]):
            Path(file).write_bytes(b"")
        if job["prepare"] and (wrong := self._aside("prepare")):
            return {"error": wrong}
        pid = self._start(job["argv"])
        hung = self._drive(pid)
        if hung:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        left = 0 if hung else self._settle()
        _end_all(job["argv"], LAST_WAIT)  # it has the end of the log to write
        output = Path(job["out"]).read_text(errors="replace")
        arrivals = self._arrivals()
        return {
            "status": os.waitstatus_to_exitcode(status),
            "hung": hung,
            "sent": self.sent,
            "left": left,
            "output": output,
            "arrivals": len(arrivals),
            "void": self.late or any(self._hidden(*arrival) for arrival in arrivals),
            "then": self._aside("then") if job["then"] and not hung else "",
        }

    def _start(self, argv: list[str]) -> int:
        """Start a command in a session of its own, with default signals."""
        pid = os.fork()
        self.deadline = time.monotonic() + self.job["seconds"]
        if pid:
            return pid
        try:
            self.before_exec()
            os.setsid()
            os.chdir(self.job["cwd"])
            # A file: no pipe that fills, and no reader that has to keep up.
            out = os.open(self.job["out"], os.O_WRONLY | os.O_APPEND)
            null = os.open(os.devnull, os.O_RDONLY)
            for fd, stream in ((null, 0), (out, 1), (out, 2)):
                os.dup2(fd, stream)
            for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(argv[0], argv, self.job["env"])
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _aside(self, kind: str) -> str:
        """Run a command beside the program's; return what is wrong, or nothing."""
        pid = self._start(self.job[kind])
        words = f"`{kind}` {shlex.join(self.job[kind])}"
        while not (ended := _ended(pid, 1.0)) and time.monotonic() < self.deadline:
            pass
        if not ended:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        _end_all()
        tail = Path(self.job["out"]).read_text(errors="replace").splitlines()[-1:]
        if not ended:
            return f"{words} hung"
        return f"{words} ended with {code}: {''.join(tail)}" if code else ""

    def _drive(self, pid: int) -> bool:
        """Tell the program to stop when that is due; return whether it hung."""
        rest, begun, left_alone = self.job["rest"], False, False
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
                if everything.lasted(now) > self.job["patience"]:
                    return True
            elif max(program.lasted(now), self._ready(now)) >= rest:
                # The one rule: a stop that has arrived and is lost must not be hidden
                # by one of ours.
                if self.threads.isdisjoint(thread for thread, _ in self._arrivals()):
                    self.sent = time.time()
                    os.kill(pid, self.job["end"])
                left_alone = True
        return False

    def _watch(self, pid: int, seconds: float) -> bool:
        """Wait for the program's end, but only so long, and send what is due."""
        if not self.job["after"] or self.shot:
            return _ended(pid, seconds)
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            if self._returned():
                self.shot = time.time()
                os.kill(pid, self.job["signum"])
                self.late = time.monotonic() > self.not_yet + HOLD
                return False
            self.not_yet = now
            if _ended(pid, 0.001):
                return True
        return False

    def _returned(self) -> bool:
        """Return whether the call at which the program is held has returned."""
        log = Path(self.job["log"]).read_text(errors="replace")
        calls = list(read_log(log[: log.rfind("\n") + 1]))
        return bool(calls) and calls[-1].nth >= int(self.job["count"])

    def _ready(self, now: float) -> float:
        """Return for how long the output has had the text in it."""
        text = self.job["ready"]
        if not text or text not in Path(self.job["out"]).read_text(errors="replace"):
            return 0.0
        self.job.setdefault("since", now)
        return now - float(self.job["since"])

    def _arrivals(self) -> list[tuple[int, float]]:
        """Return the threads at which the signal has been injected, and when."""
        if self.job["after"]:
            return [(0, self.shot)] if self.shot else []
        # As the call is entered, not as it returns: with the signal blocked, it may
        # wait with the signal pending, and that is a stop which is lost.
        point = self.job["name"], self.job["count"]
        log = Path(self.job["log"]).read_text(errors="replace")
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
        deadline = time.monotonic() + self.job["settle"]
        while True:
            _reap()
            left = [pid for pid in _below() if not _is_tracer(pid, self.job["argv"])]
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
        for pid in self._pids or _below():
            seen |= _threads(pid)
        self.threads |= set(seen)
        asleep = all(state in "SZ" for state, *_ in seen.values())
        if not asleep or not seen or seen != self._last:
            self._last, self._since = seen, now
        return now - self._since


FIELDS = re.compile(r"^(?:State|\w*voluntary_ctxt_switches):\s+(\w+)", re.MULTILINE)


def _threads(pid: int) -> dict[int, tuple[str, ...]]:
    """Return for each thread its state, and how often it has been switched."""
    found = {}
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
            found[int(thread)] = tuple(FIELDS.findall(status))
    return found


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


def _below() -> list[int]:
    """Return the pids of all processes below us; ``strace`` is one of them."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            # The name in parentheses may hold spaces and parentheses itself.
            stat = Path("/proc", entry, "stat").read_text(errors="replace")
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


TRACER = re.compile(r"^TracerPid:\s+(\d+)", re.MULTILINE)


def _has_begun(pid: int) -> bool:
    """Return whether the program has been executed, and is traced.

    Until then ``strace`` is in its place: it has forked the tracer off, sleeps until
    that has attached, which takes long on a busy machine, and executes the program.
    """
    with suppress(OSError):
        found = TRACER.search(Path(f"/proc/{pid}/status").read_text())
        tracer = int(found[1]) if found else 0
        return bool(tracer) and _words(pid) != _words(tracer)
    return False


def _words(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _is_tracer(pid: int, argv: Sequence[str]) -> bool:
    with suppress(OSError):
        return _words(pid) == b"".join(os.fsencode(word) + b"\0" for word in argv)
    return False


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_all(argv: Sequence[str] = (), patience: float = 0.0) -> None:
    """Kill everything below us; ``strace`` has ``patience`` to end by itself."""
    now = time.monotonic()
    late, too_late = now + patience, now + patience + LAST_WAIT
    while time.monotonic() < too_late:
        _reap()
        found = _below()
        if not found:
            return
        for pid in found:
            if time.monotonic() > late or not _is_tracer(pid, argv):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
