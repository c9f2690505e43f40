# SPDX-License-Identifier: 0BSD
"""The supervisor: starts children, restarts the dead, and takes all down on a stop.

It is what ``boss.py`` runs, for programs that describe their children themselves:
``Boss(System([Child("web", ["web"])])).run()``.  It needs ``boss_child.py``,
``boss_states.py``, ``boss_log.py`` and ``restart_check.py`` beside it.  The promises
are in ``boss.py``, and so are the ways that we rejected.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING or not __package__:
    import restart_check
    from boss_child import ChildError, Entry, System, find_program, in_order
    from boss_log import Log
    from boss_states import TABLE, Action, Event, State
else:
    from . import restart_check
    from .boss_child import ChildError, Entry, System, find_program, in_order
    from .boss_log import Log
    from .boss_states import TABLE, Action, Event, State

START, LOST, ENDED, DUE, STOP, HURRY = Event

BACKOFF_FIRST = 0.1
"""Seconds before the second restart; the first has no delay."""

BACKOFF_CAP = 10.0
"""Seconds; no delay is longer."""

STEADY = 10.0
"""Seconds of running after which a child's earlier deaths are forgotten."""

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that tell us to stop."""


class Boss:
    """Children that are started, restarted and stopped together.

    These are seams, for tests and for programs of their own: a subclass may do more in
    :meth:`start`, :meth:`fire`, :meth:`wait` and :meth:`look`, and may have a
    ``run_class`` of its own.

    Args:
        system: the children and their limits.

    Raises:
        ChildError: two children have one name; ``after`` has an unknown name or a ring;
            a folder or a program is not there.
    """

    run_class = restart_check.Run
    """What marks all that we start, guards it, and looks for an earlier run's."""

    failed: list[str]
    """The names of the children that ended in failure and were not restarted."""

    entries: list[Entry]
    """The children in the order of their starts, each with where it is."""

    def __init__(self, system: System) -> None:
        """Look at everything that the starts need, and start nothing."""
        self.failed = []
        self.entries = []
        self._system = system
        self._acts: dict[Action, Callable[[Entry], None]] = {
            Action.SPAWN: self.start,
            Action.BACK_OFF: self._back_off,
            Action.ASK: self._ask,
            Action.KILL: self._kill,
            Action.LET_GO: self._let_go,
            Action.NOTHING: self._nothing,
        }
        self._by_pid: dict[int, Entry] = {}
        self._deadlines: list[tuple[float, int]] = []  # a heap, and some are outdated
        self._log = Log()
        self._noted = bytearray(signal.NSIG)
        self._stopping = False
        self._stopped_by: signal.Signals | None = None
        self._restarts: deque[float] = deque()  # when, for the last of them
        self._enter(system)
        self._not_down = len(self.entries)  # how many are not down
        self._unstarted = len(self.entries)
        self._poll = select.poll()  # select.select knows no descriptor above 1023
        self._readers: dict[int, Entry] = {}

    def _enter(self, system: System) -> None:
        by_name: dict[str, Entry] = {}
        find, env = cache(find_program), dict(os.environb)
        for where, child in in_order(system.children):
            path = child.env.get("PATH") or os.environ.get("PATH") or os.defpath
            try:
                program = find(child.command[0], child.cwd, path)
            except ChildError as error:
                raise ChildError(f"{where}: {error}") from None
            entry = Entry(child, len(self.entries), program, env)
            entry.comes_after = [by_name[name] for name in {*child.after}]
            entry.not_up = len(entry.comes_after)
            for earlier in entry.comes_after:
                earlier.not_down += 1
                earlier.comes_before.append(entry)
            self.entries.append(entry)
            by_name[child.name] = entry

    def run(self) -> signal.Signals | None:
        """Run the children until a signal stops us or nothing is left to run.

        In the main thread, and once.  Until it returns, the signals to stop and SIGCHLD
        are ours, and so is every process that dies below us.

        Returns:
            The signal that stopped us, or None when nothing was left to run.

        Raises:
            RuntimeError: not the main thread; nothing has been changed or started.
            RunError: the file is being run; what an earlier run has left can't be
                ended or removed.
        """
        system = self._system
        with (
            self._listening() as wakeup,
            closing(self.run_class(system.file, system.remove)) as self._run,
        ):
            self._run.adopt()
            try:
                self._new_guard()
                self._poll.register(wakeup, select.POLLIN)
                self._start_all(self.entries)
                while self._not_down:
                    self.wait(wakeup)
                    self.look()
            finally:
                self._kill_all()
                for pid, reason in self._run.finish().items():
                    self._log.say("survivor", f"pid={pid} error={reason!r}")
                self._log.say("ended", f"failed={len(self.failed)}")
                self._log.flush()
        return self._stopped_by

    @contextmanager
    def _listening(self) -> Iterator[int]:
        heard = {*STOPS, signal.SIGCHLD}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            heard.remove(signal.SIGHUP)  # nohup; SIGINT may be ignored for an "&" only
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # Nothing comes while we change things: it waits, for us or for our caller.
            signal.pthread_sigmask(signal.SIG_BLOCK, heard)
            earlier_fd = self._wake_by(writer)
            earlier = {signum: signal.signal(signum, self._note) for signum in heard}
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
                yield reader
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, heard)
                for signum, handler in earlier.items():
                    signal.signal(signum, handler or signal.SIG_DFL)
                signal.set_wakeup_fd(earlier_fd)
        finally:
            os.close(reader)
            os.close(writer)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @staticmethod
    def _wake_by(fd: int) -> int:
        try:
            return signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        except ValueError:
            text = "Python sets handlers in the main thread: run there"
            raise RuntimeError(text) from None

    def _new_guard(self) -> None:
        try:
            self._run.guard()
        except OSError as error:
            if not self._run.guard_pid:
                self._log.say("no-guard", f"error={error.strerror!r}")

    def _note(self, signum: int, _: object) -> None:
        self._noted[signum] = 1

    def _start_all(self, entries: Iterable[Entry]) -> None:
        turn = deque(entries)
        while turn:
            if self._stopping or any(self._noted[signum] for signum in STOPS):
                return
            entry = turn.popleft()
            if entry.state is State.WAITING and not entry.not_up:
                self._unstarted -= 1
                self.fire(entry, START)
                if entry.is_up:
                    turn.extend(entry.comes_before)
                if not self._unstarted:
                    self._new_guard()  # which shares our memory as it is from now on
                    self._log.say("all-started", f"children={len(self.entries)}")

    def wait(self, wakeup: int) -> None:
        """Wait for a signal, a word from a child, or a deadline, and hear the child.

        Args:
            wakeup: the descriptor that each signal writes to.
        """
        self._log.flush()
        deadline = self._next_deadline()
        patience = deadline and max(0.0, deadline - time.monotonic()) * 1000
        found = [fd for fd, _ in self._poll.poll(patience)]
        # Empty it to the end, and before the look: a byte that comes later wakes again.
        with suppress(BlockingIOError):
            while len(os.read(wakeup, 4096)) == 4096:
                pass
        for fd in found:
            if entry := self._readers.get(fd):
                self._hear(fd, entry)

    def _hear(self, fd: int, entry: Entry) -> None:
        text = os.read(fd, 4096)
        if not text:  # closed without a newline: it will never be ready
            self._close(entry)
        elif b"\n" in text:
            self._close(entry)
            self._log.say("child-ready", entry.who)
            self._set_up(entry)
            self._start_all(entry.comes_before)

    def _close(self, entry: Entry) -> None:
        if entry.ready is not None:
            with suppress(KeyError):  # not yet registered: its start has failed
                del self._readers[entry.ready]
                self._poll.unregister(entry.ready)
            os.close(entry.ready)
            entry.ready = None

    def _set_up(self, entry: Entry) -> None:
        """Note that those after it need not wait for it any more."""
        if not entry.is_up:
            entry.is_up = True
            for later in entry.comes_before:
                later.not_up -= 1

    def _next_deadline(self) -> float | None:
        heap = self._deadlines
        while heap and self.entries[heap[0][1]].deadline != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def look(self) -> None:
        """Act on what has come: the stop, then the deaths, then the deadlines."""
        # In a storm of deaths the handler would run for each, and once is enough: this
        # saves a third of our processor time in a stop of a thousand (Linux 6.18).
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        # The stop first: who dies of the Ctrl-C that stops us is not restarted.
        for signum in STOPS:
            if self._noted[signum]:
                self._noted[signum] = 0
                self._stop(signum)
        if self._noted[signal.SIGCHLD]:
            self._noted[signal.SIGCHLD] = 0  # before the look, so that none is missed
            self._reap()
        now = time.monotonic()
        while (deadline := self._next_deadline()) is not None and deadline <= now:
            self.fire(self.entries[self._deadlines[0][1]], DUE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])

    def _stop(self, signum: signal.Signals) -> None:
        if self._stopping:
            self._log.say("hurrying", f"signal={signum.name}")
            for entry in self.entries:
                self.fire(entry, HURRY)
            return
        self._log.say("stopping", f"signal={signum.name}")
        self._log.flush()
        self._stopped_by = signum
        self._stop_all()

    def _stop_all(self) -> None:
        for entry in self.entries:
            # Nothing runs: nothing to wait for.
            if entry.state in (State.WAITING, State.BACKOFF):
                self.fire(entry, STOP)
        # From here on, a child that is let go gives those before it their turn.
        self._stopping = True
        for entry in reversed(self.entries):
            if not entry.not_down:
                self.fire(entry, STOP)

    def _reap(self) -> None:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            # WNOWAIT: we learn who is dead and leave it so; while the leader is not
            # reaped, its group's number is nobody else's.
            while dead := os.waitid(os.P_ALL, 0, flags):
                if entry := self._by_pid.pop(dead.si_pid, None):
                    try:  # noqa: SIM105 - suppress would take as long as the call
                        os.killpg(entry.pid, signal.SIGKILL)
                    except OSError:
                        pass
                os.waitpid(dead.si_pid, 0)
                if entry is None:
                    self._reaped_other(dead)
                    continue
                end = "exit" if dead.si_code == os.CLD_EXITED else "signal"
                self._log.say("child-died", f"{entry.who} {end}={dead.si_status}")
                self._lose(entry, failed=end == "signal" or dead.si_status != 0)

    def _reaped_other(self, dead: os.waitid_result) -> None:
        is_guard = dead.si_pid == self._run.guard_pid
        if is_guard:
            self._run.guard_pid = 0
        if is_guard and dead.si_code == os.CLD_EXITED:  # a next one would do no better
            self._log.say("no-guard", "error=it has ended")
        elif is_guard:
            self._new_guard()
            self._log.say("guard-replaced", f"pid={self._run.guard_pid}")
        elif dead.si_status != signal.SIGKILL:  # else we have killed it with its group
            self._log.say("stranger-reaped", f"pid={dead.si_pid}")

    def _lose(self, entry: Entry, failed: bool) -> None:
        restart = entry.child.restart
        if self._stopping:
            return self.fire(entry, ENDED)
        if restart == "always" or (restart == "on-failure" and failed):
            return self.fire(entry, LOST)
        self.failed += [entry.child.name] * failed
        self.fire(entry, ENDED)
        if not entry.is_up:  # nor will it be: nobody has to wait for it any more
            self._set_up(entry)
            self._start_all(entry.comes_before)
        return None

    def fire(self, entry: Entry, event: Event) -> None:
        """Do what the table says about an event.

        Args:
            entry: whom it happens to.
            event: what happens.

        Raises:
            AssertionError: it can't happen in this state.
        """
        cell = TABLE[entry.state][event]
        if cell is None:
            raise AssertionError(f"{entry.child.name} is {entry.state}: {event}?")
        action, entry.state = cell
        entry.deadline = None  # it belongs to the state that set it
        self._acts[action](entry)

    def _nothing(self, entry: Entry) -> None:
        pass

    def start(self, entry: Entry) -> None:
        """Start a child; a start that the system refuses is a death.

        Args:
            entry: the child.
        """
        self._log.flush()  # so that what it says comes after why it is started
        entry.started = time.monotonic()
        self._close(entry)  # that of its last life
        if entry.child.ready_fd is None:
            self._set_up(entry)
        try:
            with self._run:
                entry.pid = entry.start()
        except OSError as error:
            facts = f"name={entry.child.name} error={error.strerror!r}"
            self._log.say("child-not-started", facts)
            return self._lose(entry, failed=True)
        self._by_pid[entry.pid] = entry
        if entry.ready is not None:
            self._readers[entry.ready] = entry
            self._poll.register(entry.ready, select.POLLIN)
        entry.who = f"name={entry.child.name} pid={entry.pid}"
        self._log.say("child-started", entry.who)
        return self._log.flush()

    def _too_often(self) -> bool:
        intensity = self._system.intensity
        if intensity is None:
            return False
        now, recent = time.monotonic(), self._restarts
        recent.append(now)
        while now - recent[0] > self._system.period:
            recent.popleft()
        return len(recent) > intensity

    def _back_off(self, entry: Entry) -> None:
        if self._too_often():
            system = self._system
            limit = f"intensity={system.intensity} period={system.period}"
            self._log.say("too-many-restarts", f"name={entry.child.name} {limit}")
            self.failed.append(entry.child.name)
            return self._stop_all()
        if time.monotonic() - entry.started >= STEADY:
            entry.deaths = 0
        # Up to 64: a child can die more often than 2.0 can be doubled.
        delay = min(BACKOFF_FIRST * 2.0 ** min(entry.deaths - 1, 64), BACKOFF_CAP)
        delay = delay if entry.deaths else 0.0
        entry.deaths += 1
        self._set_deadline(entry, delay)
        facts = f"name={entry.child.name} seconds={delay}"
        return self._log.say("child-backs-off", facts)

    def _ask(self, entry: Entry) -> None:
        with suppress(OSError):
            os.kill(entry.pid, signal.Signals[entry.child.stop_signal])
            os.kill(entry.pid, signal.SIGCONT)  # a frozen one would not notice
        grace = entry.child.grace
        self._set_deadline(entry, grace)
        self._log.say("child-asked", f"{entry.who} grace={grace}")

    def _kill(self, entry: Entry) -> None:
        for kill in (os.kill, os.killpg):  # it may have left for another group
            with suppress(OSError):
                kill(entry.pid, signal.SIGKILL)
        self._log.say("child-killed", entry.who)

    def _let_go(self, entry: Entry) -> None:
        self._not_down -= 1
        self._close(entry)
        for earlier in entry.comes_after:
            earlier.not_down -= 1
            if self._stopping and not earlier.not_down:
                self._log.flush()  # so that what it says comes after why it is asked
                self.fire(earlier, STOP)

    def _set_deadline(self, entry: Entry, seconds: float) -> None:
        entry.deadline = time.monotonic() + seconds
        heappush(self._deadlines, (entry.deadline, entry.number))

    def _kill_all(self) -> None:
        # There is somebody left only when an exception leaves us.
        for entry in self.entries:
            self._close(entry)
        for pid, entry in self._by_pid.items():
            self._kill(entry)
            with suppress(OSError):
                os.waitpid(pid, 0)
