# SPDX-License-Identifier: 0BSD
"""A stop flag that SIGINT and SIGTERM set, for loops that never block for long.

Ways that we rejected:

* ``sys.exit`` in the handler.  It raises at whatever line happens to run, and any
  ``except BaseException`` on the way eats the stop.
* ``KeyboardInterrupt``, which is the same: no line of ours may count on running whole.
* ``threading.Event.set`` in the handler.  It takes a lock that the interrupted line
  may hold, and then both wait forever; a storm of signals can also nest its body until
  RecursionError.
* A global that ``main`` assigns.  Forget one ``global`` statement, and SIGTERM is
  swallowed with no word said.
* A handler written in C, such as ``dict.setdefault``.  Nothing can interrupt it, but
  its second argument is the frame, which it would keep alive with all its locals.
* Signals blocked for good, and ``signal.sigpending``.  ``exec`` hands the mask on, and
  our children become deaf.

We use it where a loop comes round often: it computes, or waits in short steps.  We do
not use it where the loop waits for input: Python retries an interrupted wait, so the
flag is seen when data comes (that is what wakeup_fd.py is for); nor where dying on
the spot does no harm: then we leave the signals alone.

What we promise, each line held by a test of the same name:

``notes``: the handler notes the signal and returns; no line of the block is cut short.
``remembers``: ``signum`` is the first signal that came, ``came`` all, each once.
``restores``: handlers and mask are back after the block, also after an exception.
``loses_nothing``: a signal during entry or exit is noted, or is the earlier handler's.
``undoes``: when entering fails half-way, all is as it was before.
``ignored_stays``: a signal that is ignored on entry stays so; somebody chose that.
``other_thread``: entering outside the main thread is an error that changes nothing.
``foreign_handler``: so is a handler set by C code, which Python could not put back.
``uncatchable``: SIGKILL and SIGSTOP are refused as soon as they are named.
``twice``: entering a flag that is in use is an error; the use goes on.
``anew``: a flag that is used again starts unset.
``outer``: a ``StopFlag`` or ``StopWakeup`` around us notes it too, and nobody else:
a stop concerns the whole process.
``replaced``: a handler that somebody has put in place of ours is left alone.
``no_frame``: what the handler gets is not kept alive.
``storm``: a thousand signals in a row nest a handful of frames deep.

Not promised.  In a forked child the flag is a copy, and a signal between fork and exec
sets it and is gone: the child puts its own handlers in place first.  Where other
threads leave our signals unblocked, one that hits the few instructions in which
``signal.signal`` swaps a handler belongs to the interpreter, which may drop it.  A
handler for another signal that raises can hit the very first instruction of leaving,
as with any ``with``.  Flags are left in the reverse order of entering.
"""

import signal
from collections.abc import Callable, Iterable
from threading import current_thread, main_thread
from typing import Any, Self


def _undisturbed(step: Callable[[], None]) -> None:
    """Take a step while no signal can come; those that wait come after it."""
    # pthread_sigmask changes the mask and then runs the handlers that are due, which
    # may raise: so we ask for the mask first, and block within the try.  We block
    # every signal, because a handler of another one might raise in our midst.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        step()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class StopFlag:
    """A context manager that is true once a stop signal has come.

    ``with StopFlag() as stop:``, and in it ``while not stop:``.  What has come can
    still be asked after the block.
    """

    def __init__(
        self, signals: Iterable[int] = (signal.SIGINT, signal.SIGTERM)
    ) -> None:
        """Name the signals that mean stop.

        Args:
            signals: these signals.

        Raises:
            ValueError: one of them does not exist, or no process can catch it.
        """
        self._signals = frozenset(map(signal.Signals, signals))
        for signum in self._signals & {signal.SIGKILL, signal.SIGSTOP}:
            raise ValueError(
                f"no process can catch {signum.name}; leave it out of the signals"
            )
        self._in_use = False
        self._came: dict[int, None] = {}
        self._earlier: dict[int, Any] = {}
        self._outer: set[int] = set()

    def __bool__(self) -> bool:
        """Return whether a stop signal has come."""
        return bool(self._came)

    @property
    def came(self) -> tuple[signal.Signals, ...]:
        """All stop signals that came, each once, in the order of their first arrival.

        Of several that arrive between two looks of the interpreter, the one with the
        lower number comes first.
        """
        # tuple() first, in one C call: the handler may add to the dict at any other.
        return tuple(map(signal.Signals, tuple(self._came)))

    @property
    def signum(self) -> signal.Signals | None:
        """The first stop signal that came, or None."""
        return next(iter(self.came), None)

    def __enter__(self) -> Self:
        """Put our handlers in place.

        Raises:
            RuntimeError: not in the main thread; in use already; or C code has set a
                handler that Python could not put back.  Nothing has changed then.
        """
        had = self._earlier = self._look()
        # Known by its name, not its class: a second copy of this file is welcome.
        self._outer = {s for s in had if getattr(had[s], "__name__", 0) == "_note_stop"}
        self._came = {}
        try:
            _undisturbed(self._take)
            return self
        except BaseException:
            _undisturbed(self._give_back)
            raise

    def __exit__(self, *_: object) -> None:
        """Put the earlier handlers back; a signal that waits for them comes now."""
        try:
            _undisturbed(self._give_back)
        except BaseException:
            # Somebody's handler raised, perhaps before we were done.  Done twice, this
            # does no harm, and the exception goes its way after it.
            _undisturbed(self._give_back)
            raise

    def _look(self) -> dict[int, Any]:
        if current_thread() is not main_thread():
            raise RuntimeError(
                "a stop flag has to be entered in the main thread: Python sets and runs"
                " handlers nowhere else; enter it there, and hand it to the thread"
            )
        if self._in_use:
            raise RuntimeError(
                "this stop flag is in use: a second block would lose what the first has"
                " to put back; make another flag for the inner block"
            )
        earlier = {signum: signal.getsignal(signum) for signum in self._signals}
        for signum, handler in earlier.items():
            if handler is None:
                raise RuntimeError(
                    f"C code has set the handler of {signum.name}, and Python could not"
                    " put it back; leave the signal out, or set it in Python before"
                )
        return {s: h for s, h in earlier.items() if h != signal.SIG_IGN}

    def _take(self) -> None:
        self._in_use = True
        for signum in self._earlier:
            signal.signal(signum, self._note_stop)

    def _give_back(self) -> None:
        for signum, handler in self._earlier.items():
            if signal.getsignal(signum) == self._note_stop:
                signal.signal(signum, handler)
        self._in_use = False

    def _note_stop(self, signum: int, _: object) -> None:
        # One store, and no call after which the interpreter would look for the next
        # signal.  It looks once, on our first instruction: a storm can't pile us up.
        self._came[signum] = None
        if signum in self._outer:
            self._earlier[signum](signum, None)
