"""Many short-lived children: forked, timed, reaped, and gone with all below them.

It is the second way to run something, beside :mod:`.keeper`, for what can't be handed
over as a command: a callable with all that it knows.  It is the faster one, too: a run
under the injector's trace takes 2 ms of processor time, where a command under a keeper
takes 26 ms before it has done anything (Linux 6.18, CPython 3.11).

The children are forked from a process that exists for this alone.  It has one thread
whatever the caller has, a crash of the code under test is none of the caller's, and it
is a subreaper: what a child leaves behind becomes its own child, is counted and killed.
Whose it was can be told by a mark that each child passes on to all below it.
It ends, with everything below it, when the caller closes a pipe or dies.
"""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import resource
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from .below import end_all
from .linux import adopt_orphans
from .procfs import own_children, turns
from .start import default_signals

IDLE = 0.2
"""Seconds after which a child that has not ended is taken for one that waits: it does
not keep another one from being started."""

MOST = 200
"""Children at a time: those that wait cost nothing but their descriptors."""

REST = 0.5
"""Seconds without a step after which we say that a child waits for something."""

LATE = 1.0
"""Seconds that the kernel's timer of a child gets before we kill it ourselves."""


@dataclass
class Running:
    """A child that is under way."""

    key: Any
    pid: int
    pidfd: int
    shared: memoryview[int]
    """Memory that it shares with us."""
    report: int
    output: int
    started: float
    turns: tuple[str, ...] = ()
    """What it did when we looked last."""


@dataclass
class Finished:
    """How a child ended, and what it has said."""

    key: Any
    code: int
    """The exit status, or minus the number of the signal that it died of."""
    took: float
    """Seconds."""
    shared: memoryview[int]
    """What it has written into the memory that it shared with us."""
    report: bytes
    output: str
    left: int
    """Processes that it has left behind."""


@dataclass
class Planned:
    """A child that is to be started."""

    key: Any
    """Whatever the caller wants to know it by."""
    work: Callable[[memoryview[int], int, int], NoReturn]
    """Runs in the child: shared memory, descriptors for report and output."""
    beside: Callable[[Forks, Running], None] | None = None
    """Runs in the parent once the child is started."""


class Forks:
    """Runs what is planned, several at a time.

    Args:
        seconds: after which a child is killed, if it has not ended by itself.
        leash: a descriptor; when it can be read, we end at once.
    """

    def __init__(self, seconds: float, leash: int) -> None:
        self._seconds = seconds
        self._leash = leash
        self._cores = len(os.sched_getaffinity(0))
        self._children: dict[int, Running] = {}
        self._poll = select.poll()
        self._poll.register(leash, select.POLLIN)

    def run(
        self,
        planned: Iterable[Planned],
        *,
        done: Callable[[Running], bool] | None = None,
    ) -> Iterator[Finished]:
        """Start a child for each plan, and give back each as it ends.

        Args:
            planned: what the children do.
            done: says of a child that it would have given its answer by now, if it
                rests; then it is ended.
        """
        waiting = iter(planned)
        more = True
        while more or self._children:
            while more and self._room():
                plan = next(waiting, None)
                if plan is None:
                    more = False
                else:
                    self._start(plan)
            yield from self._collect()
            if done:
                self._end_who_rests(done)

    def one(
        self, planned: Planned, *, done: Callable[[Running], bool] | None = None
    ) -> Finished:
        """Start a single child, and return it when it has ended."""
        return next(self.run([planned], done=done))

    def ended(self, child: Running, seconds: float) -> bool:
        """Wait for the end of a child, but only so long; for what is done beside it.

        Args:
            child: the child.
            seconds: how long.
        """
        ready, _, _ = select.select([self._leash, child.pidfd], [], [], seconds)
        if self._leash in ready:
            raise Unleashed
        return child.pidfd in ready

    def _room(self) -> bool:
        now = time.monotonic()
        busy = sum(now - child.started < IDLE for child in self._children.values())
        return busy < self._cores and len(self._children) < MOST

    def _start(self, plan: Planned) -> None:
        memory = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")
        report, output = os.memfd_create("report"), os.memfd_create("output")
        started = time.monotonic()
        # A collection in the child would write to each object that it shares with us,
        # and so copy all memory.
        gc.freeze()
        pid = os.fork()
        if not pid:
            try:
                os.close(self._leash)
                _mark(os.getpid())
                plan.work(memory, report, output)
            finally:
                os._exit(70)  # never reached by a sound plan: EX_SOFTWARE
        with suppress(OSError):
            os.setpgid(pid, pid)  # the child does so, too; whoever is first
        pidfd = os.pidfd_open(pid)
        self._poll.register(pidfd, select.POLLIN)
        child = Running(plan.key, pid, pidfd, memory, report, output, started)
        self._children[pidfd] = child
        if plan.beside:
            plan.beside(self, child)

    def _collect(self) -> Iterator[Finished]:
        due = min(c.started for c in self._children.values()) if self._children else 0
        idle = due + IDLE - time.monotonic()
        patience = max(idle, IDLE / 10) if self._children else 0
        for fd, _ in self._poll.poll(patience * 1000):
            if fd == self._leash:
                raise Unleashed
            yield self._reap(self._children.pop(fd))
        now = time.monotonic()
        for child in self._children.values():
            if now - child.started > self._seconds + LATE:
                os.kill(child.pid, signal.SIGKILL)

    def _end_who_rests(self, done: Callable[[Running], bool]) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if now - child.started > REST and done(child):
                earlier, child.turns = child.turns, turns(child.pid)
                if sleeps(child.turns) and child.turns == earlier:
                    os.kill(child.pid, signal.SIGKILL)

    def _reap(self, child: Running) -> Finished:
        took = time.monotonic() - child.started
        # The leader is not reaped yet, so its group's number is nobody else's.
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        left = _reap_all(os.P_PGID, child.pid) + self._reap_orphans()
        self._poll.unregister(child.pidfd)
        os.close(child.pidfd)
        report, output = (_read_all(fd) for fd in (child.report, child.output))
        return Finished(
            child.key,
            os.waitstatus_to_exitcode(status),
            took,
            child.shared,
            report,
            output.decode(errors="replace"),
            left,
        )

    def _reap_orphans(self) -> int:
        """End what has left its group; it became our child when its parent died.

        What bears the mark of a child that is still under way is left to that child.
        """
        known = {child.pid for child in self._children.values()}
        found = 0
        while orphans := {
            pid
            for pid in own_children()
            if pid not in known and _mark_of(pid) not in known
        }:
            # Those below it are our children next; left, they would count for another.
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            found += len(orphans)
        return found

    def close(self) -> None:
        """Kill what is still there, orphans in other groups too."""
        end_all()


# A limit that Linux no longer uses (getrlimit(2): only 2.4 has ever looked at it) goes
# through fork, setsid and exec to all that a child starts.  RLIMIT_LOCKS would do as
# well, but it is the mark of the bosses that run below us.
MARK = resource.RLIMIT_RSS


def _mark(number: int) -> None:
    """Mark ourselves and all that we start from now on."""
    with suppress(ValueError, OSError):  # the hard limit may be lower than our number
        resource.setrlimit(MARK, (number, resource.getrlimit(MARK)[1]))


def _mark_of(pid: int) -> int:
    """Return a process's mark, or -1 if there is none or if it is not ours to read."""
    try:
        return resource.prlimit(pid, MARK)[0]
    except (ProcessLookupError, PermissionError):
        return -1


def _reap_all(kind: int, number: int) -> int:
    reaped = 0
    with suppress(ChildProcessError):
        while os.waitid(kind, number, os.WEXITED):
            reaped += 1
    return reaped


def _read_all(fd: int) -> bytes:
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    os.close(fd)
    return data


def sleeps(found: tuple[str, ...]) -> bool:
    """Return whether a thread sleeps, by what ``turns`` says of it."""
    return found[:1] == ("S (sleeping)",)


class Unleashed(BaseException):
    """The caller is gone, or does not want to know any more."""


def apart(
    work: Callable[[int, Callable[[object], None]], object],
    told: Callable[[Any], None],
    refusal: type[Exception],
) -> Any:
    """Run ``work`` in a process of its own, and return what it returns.

    Args:
        work: gets the leash and a function that tells us something on the way.
        told: gets what ``work`` tells.
        refusal: what ``work`` raises when it can't be done; it is raised here, too.

    Raises:
        refusal: ``work`` has raised it, or its process was killed.
        RuntimeError: it has a fault; the text ends with its traceback.
    """
    leash, held = os.pipe()
    answers, far_end = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with warnings.catch_warnings():
        # From 3.12 on Python warns where the caller has threads; the child has one,
        # and does nothing but fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        os.close(held)
        os.close(answers)
        _be_apart(work, leash, far_end, refusal)
    os.close(leash)
    os.close(far_end)
    try:
        with open(answers, "rb") as stream:
            return _listen(stream, told, refusal)
    finally:
        os.close(held)
        os.waitpid(pid, 0)


def _listen(stream: Any, told: Callable[[Any], None], refusal: type[Exception]) -> Any:
    while True:
        try:
            kind, value = pickle.load(stream)
        except EOFError:
            text = "the process that does the work died; was it killed from outside?"
            raise refusal(text) from None
        if kind == "told":
            told(value)
        elif kind == "done":
            return value
        elif kind == "refused":
            raise refusal(value)
        else:
            raise RuntimeError(f"in the process apart:\n{value}")


def _be_apart(
    work: Callable[..., object], leash: int, out: int, refusal: type[Exception]
) -> NoReturn:
    try:
        _as_python_does()
        adopt_orphans()
        with open(out, "wb") as stream:

            def say(kind: str, value: object) -> None:
                pickle.dump((kind, value), stream)
                stream.flush()

            try:
                say("done", work(leash, lambda value: say("told", value)))
            except refusal as error:
                say("refused", str(error))
            except Exception:
                say("fault", traceback.format_exc())
    finally:
        os._exit(0)


def _as_python_does() -> None:
    """Put Python's own dispositions back: the caller's are none of our children's."""
    signal.set_wakeup_fd(-1)
    default_signals()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
