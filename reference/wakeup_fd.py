# SPDX-License-Identifier: 0BSD
"""A stop flag with a descriptor, for loops that wait: a signal wakes ``select``.

Ways that we rejected:

* The flag alone.  Python retries an interrupted wait: the stop waits for data.
* A short timeout.  Every stop is late by it, and an idle process never sleeps.
* A handler that raises out of ``select``.  It raises out of any other line as well.
* A handler that writes into a pipe.  It may run too late: the wait has begun.
* ``signalfd``, ``sigwait``.  Signals stay blocked, and over ``exec`` children are deaf.
* A pair of sockets.  278 signals fill it; our pipe takes 65536 (Linux 6.18).

We use it where a loop waits in ``select`` or ``selectors``; not inside asyncio, which
needs the wakeup fd for itself, and not where dying on the spot does no harm.  A loop
waits, drains, and looks at the flag, in this order.  Looking before draining loses the
signal that comes between the two: its byte is gone, and the wait has no end.

What we promise, each line held by a test of the same name:

``wakes``: a signal makes the descriptor readable, so that a wait for it ends.
``drains``: ``drain()`` empties the pair and returns what came since, each signal once.
``in_step``: a signal that ``drain()`` does not return leaves the descriptor readable.
``also_wakes``: a signal in ``also`` wakes and is returned, and does not set the flag.
``full_pair``: what came is known, and nothing is printed, when no byte fits any more.
``earlier_fd``: the earlier wakeup fd is back after the block; one put over ours stays.
``handed_on``: an earlier wakeup fd gets the bytes of signals that are not ours.
``no_leak``: both ends are non-blocking, not inherited over exec, and closed at the end.
``notes``: the handler notes the signal and returns; no line of the block is cut short.
``remembers``: ``signum`` is the first stop signal that came, ``came`` all, each once.
``restores``: handlers and mask are back after the block, also after an exception.
``loses_nothing``: a signal during entry or exit is noted, or is the earlier handler's.
``undoes``: when entering fails half-way, all is as it was before.
``ignored_stays``: a signal that is ignored on entry stays so; somebody chose that.
``other_thread``: entering outside the main thread is an error that changes nothing.
``foreign_handler``: so is a handler set by C code, which Python could not put back.
``uncatchable``: SIGKILL and SIGSTOP are refused as soon as they are named.
``twice``: entering one that is in use is an error; the use goes on.
``anew``: one that is used again starts unset.
``outer``: a ``StopWakeup`` or ``StopFlag`` around us notes it too, and nobody else.
``replaced``: a handler that somebody has put in place of ours is left alone.
``no_frame``: what the handler gets is not kept alive.
``storm``: a thousand signals in a row nest a handful of frames deep.

Not promised: a forked child shares the pair, wakes its parent and steals its bytes; it
calls ``signal.set_wakeup_fd(-1)`` and sets its own handlers first.  Where other threads
leave our signals unblocked, the interpreter may drop one that hits the instructions in
which it swaps a handler.  A raising handler of another signal can hit the very first
instruction of leaving, as with any ``with``.  We leave in reverse order of entering.
"""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import current_thread, main_thread
from typing import Any, Self

STOP = (signal.SIGINT, signal.SIGTERM)


def _undisturbed(step: Callable[[], None]) -> None:
    """Take a step while no signal can come; those that wait come after it."""
    # pthread_sigmask changes the mask, then runs handlers that are due and may raise:
    # we ask for the mask first, and block all, so that none raises in our midst.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        step()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _set_wakeup_fd(fd: int) -> int:
    try:
        return signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
    except (OSError, ValueError):  # closed since, or made blocking
        return signal.set_wakeup_fd(-1)


class StopWakeup:
    """A context manager, true once a stop signal has come, that can be waited for."""

    def __init__(self, stop: Iterable[int] = STOP, also: Iterable[int] = ()) -> None:
        """Name the signals that mean ``stop``, and others that ``also`` wake.

        One that does not exist, or that no process can catch, raises ValueError.
        """
        self._stop = frozenset(map(signal.Signals, stop))
        self._signals = self._stop.union(map(signal.Signals, also))
        for signum in self._signals & {signal.SIGKILL, signal.SIGSTOP}:
            raise ValueError(f"no process can catch {signum.name}: leave it out")
        self._pair: list[int] = []
        self._earlier, self._outer = dict[int, Any](), set[int]()
        self._came, self._fresh = dict[int, None](), dict[int, None]()

    def __bool__(self) -> bool:
        """Return whether a stop signal has come."""
        return bool(self._came)

    @property
    def came(self) -> tuple[signal.Signals, ...]:
        """The stop signals that came; of those between two looks the lowest first."""
        # tuple() first, in one C call: the handler may add to the dict at any other.
        return tuple(map(signal.Signals, tuple(self._came)))

    @property
    def signum(self) -> signal.Signals | None:
        """The first stop signal that came, or None."""
        return next(iter(self.came), None)

    def fileno(self) -> int:
        """Return the descriptor to wait for; RuntimeError outside the block."""
        if not self._pair:
            raise RuntimeError("there is no descriptor outside the block: wait inside")
        return self._pair[0]

    def drain(self) -> tuple[signal.Signals, ...]:
        """Empty the pair; return what came since the last time, ordered as ``came``."""
        # The bytes only wake; the handler notes, and has run for each byte we read:
        # C marks the signal, then writes, and the main thread looks after os.read.
        self._empty()
        fresh, self._fresh = self._fresh, {}
        return tuple(map(signal.Signals, fresh))

    def __enter__(self) -> Self:
        """Open the pair, then put our handlers in place.

        RuntimeError, with nothing changed: not in the main thread; in use already; or
        C code has set a handler that Python could not put back.
        """
        had = self._earlier = self._look()
        # Known by its name, not its class: a second copy of this file is welcome.
        self._outer = {s for s in had if getattr(had[s], "__name__", 0) == "_note_stop"}
        self._came, self._fresh, self._earlier_fd = {}, {}, -1
        try:
            _undisturbed(self._take)
            return self
        except BaseException:
            _undisturbed(self._give_back)
            raise

    def __exit__(self, *_: object) -> None:
        """Put all back; a signal that waits for the earlier handlers comes now."""
        try:
            _undisturbed(self._give_back)
        except BaseException:  # a foreign handler raised, perhaps in the midst of it
            _undisturbed(self._give_back)
            raise

    def _look(self) -> dict[int, Any]:
        if current_thread() is not main_thread():
            raise RuntimeError("Python sets handlers in the main thread: enter there")
        if self._pair:
            raise RuntimeError("in use: make another one for the inner block")
        found = {signum: signal.getsignal(signum) for signum in self._signals}
        for signum, handler in found.items():
            if handler is None:
                why = f"C code handles {signum.name}; Python could not put it back"
                raise RuntimeError(f"{why}: leave that signal out")
        return {s: h for s, h in found.items() if h != signal.SIG_IGN}

    def _take(self) -> None:
        pair = [*os.pipe()]
        for fd in pair:
            os.set_blocking(fd, False)
        self._pair = pair
        self._earlier_fd = _set_wakeup_fd(self._pair[1])
        for signum in self._earlier:
            signal.signal(signum, self._note_stop)

    def _give_back(self) -> None:
        for signum, handler in self._earlier.items():
            if signal.getsignal(signum) == self._note_stop:
                signal.signal(signum, handler)
        if self._pair and (now := _set_wakeup_fd(self._earlier_fd)) != self._pair[1]:
            _set_wakeup_fd(now if now >= 0 else self._earlier_fd)
        self._empty()
        pair, self._pair = self._pair, []
        for fd in pair:
            os.close(fd)

    def _empty(self) -> None:
        while self._pair:
            try:
                data = os.read(self._pair[0], 65536)
            except BlockingIOError:
                return
            lent = bytes(n for n in data if n not in self._earlier or n in self._outer)
            with suppress(OSError):  # full, and so awake already; closed; or none
                os.write(self._earlier_fd, lent)

    def _note_stop(self, signum: int, _: object) -> None:
        # Stores, and no call after which Python looks for more: a storm can't nest us.
        self._fresh[signum] = None
        if signum in self._stop:
            self._came[signum] = None
        if signum in self._outer:
            self._earlier[signum](signum, None)
