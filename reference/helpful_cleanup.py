# SPDX-License-Identifier: 0BSD
"""Cleanups that help others: one time budget for all, cut short by another stop signal.

Ways that we rejected:

* Cleaning up in the signal handler.  It runs at any line, on half-made things.
* ``finally``, ``ExitStack`` or ``atexit`` alone.  Nothing bounds them: one dead server,
  and the process stays until somebody kills it.
* A timeout in each cleanup.  They add up, and one of them is forgotten.
* An alarm whose handler raises.  It raises at any line, within a cleanup's own
  ``finally`` as well, and C code that does not look is not cut short.
* SIGALRM and the stop signals at their defaults.  The kernel ends us for certain, but
  before the caller has done the rest, with no word on what is left undone; and where
  we are PID 1, not at all.
* A forked child that is killed when its time is over.  It has one thread of ours, the
  locks as the others held them, and connections whose library may not bear a fork.
* A wakeup fd for the second signal.  It has another owner, and the wait is bounded
  anyway: we look twenty times a second, while a cleanup runs and not before.

So each cleanup runs in a daemon thread, which the main thread waits for and, when the
time is over, leaves behind.  We use it for what others would miss for a while: a lease,
a shared-memory segment.  We do not use it for what a restart needs, since ``kill -9``
runs no line of ours; nor for what the kernel does anyway, such as closing a socket.

What we promise, each line held by a test of the same name:

``reverse``: the cleanups run one by one, the last added first, also after an exception.
``one_budget``: together they have ``budget`` seconds; after that no other is begun.
``blocked``: one that waits is left behind at the end of the budget, and we go on.
``hung``: if C code lets nobody else run, we exit with 1, 1 s after the budget's end.
``second``: a stop signal during the cleanups cuts them short in the same way.
``failing``: one that raises, be it SystemExit, does not keep the next from running.
``reports``: ``undone`` has what was not finished, and why, in the order of running.
``remembers``: ``signum`` is the first stop signal that came during the cleanups.
``outer``: a ``StopFlag`` or ``StopWakeup`` around us notes that signal too.
``notes``: the handler notes the signal and returns; no line is cut short.
``nothing_before``: signals are left alone until the cleanups begin.
``restores``: handlers and mask are back after the block, also after an exception.
``loses_nothing``: a signal around the cleanups is noted, or is the earlier handler's.
``ignored_stays``: a signal that is ignored when the cleanups begin stays so.
``forked``: a child does not run what its parent has added.
``other_thread``: entering outside the main thread is an error.
``bounded``: a budget of zero, of a day or more, or of no number at all is refused.

Not promised.  What was left behind goes on in its thread until the process ends: end it
soon, by the signal that came.  A cleanup that needs the main thread fails.  A signal is
not heard before the cleanups begin, nor while C code lets nobody else run.  Against
that we use faulthandler's ``dump_traceback_later``, of which a process has one.  When a
handler for another signal raises, the rest is not run.  With no flag around us, Ctrl-C
can raise as we begin: no cleanup is run; or all are, but a second one is not heard.
"""

import faulthandler
import os
import signal
from collections.abc import Callable, Iterable
from functools import partial
from threading import Thread, current_thread, main_thread
from time import monotonic
from typing import Any, ParamSpec, Self

P = ParamSpec("P")

STOP = (signal.SIGINT, signal.SIGTERM)
TICK = 0.05  # seconds between two looks for a stop signal while a cleanup runs
MARGIN = 1.0  # seconds after the budget when a process that can't get on is ended


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


def _attempt(call: Callable[[], object], errors: list[str]) -> None:
    try:
        call()
    except BaseException as error:  # whatever it is, it must not reach the next one
        errors.append(repr(error))


class HelpfulCleanup:
    """A context manager that runs, when it is left, the cleanups that were added.

    ``with StopFlag() as stop, HelpfulCleanup(budget=2) as cleanup:``, in this order.
    """

    def __init__(self, budget: float = 2.0, signals: Iterable[int] = STOP) -> None:
        """Name the seconds that all cleanups have together, and what cuts them short.

        ValueError: not above 0 s and below a day; or a signal that does not exist.
        """
        if not 0 < budget < 24 * 3600:
            raise ValueError(f"a budget is above 0 s and below a day, not {budget} s")
        self.undone: list[tuple[str, str]] = []
        self._budget = budget
        self._signals = frozenset(map(signal.Signals, signals))
        self._added: list[tuple[int, str, Callable[[], object]]] = []
        self._came: dict[int, None] = {}
        self._earlier: dict[int, Any] = {}
        self._outer: set[int] = set()

    @property
    def signum(self) -> signal.Signals | None:
        """The first stop signal that came during the cleanups, or None."""
        # tuple() first, in one C call: the handler may add to the dict at any other.
        return next(map(signal.Signals, tuple(self._came)), None)

    def add(
        self,
        what: str,
        function: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Add a cleanup: ``what`` it does, in words for the log, and its call.

        Add it first, then do what it undoes: it has to be harmless where that failed.
        """
        self._added.append((os.getpid(), what, partial(function, *args, **kwargs)))

    def __enter__(self) -> Self:
        """Begin; RuntimeError outside the main thread."""
        if current_thread() is not main_thread():
            raise RuntimeError("Python sets handlers in the main thread: enter there")
        self.undone, self._came, self._earlier = [], {}, {}
        return self

    def __exit__(self, *_: object) -> None:
        """Run the cleanups within the budget; an exception goes its way after them."""
        try:
            try:
                try:
                    _undisturbed(self._take)
                finally:  # with no flag around us, Ctrl-C may raise before it is done
                    self._run_all()
            finally:
                _undisturbed(self._give_back)
        except BaseException:  # a handler raised, perhaps in the midst of it
            _undisturbed(self._give_back)
            raise

    def _run_all(self) -> None:
        self._ends = monotonic() + self._budget
        while self._added:
            pid, what, call = self._added.pop()
            if pid == os.getpid() and (why := self._run(what, call)):
                self.undone.append((what, why))

    def _run(self, what: str, call: Callable[[], object]) -> str:
        """Run a cleanup; return why it is not finished, or nothing if it is."""
        if why := self._over():
            return f"not begun: {why}"
        errors: list[str] = []
        thread = Thread(target=_attempt, args=(call, errors), name=what, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            return f"not begun: {error!r}"
        while thread.is_alive() and not why:
            thread.join(min(TICK, max(0.0, self._ends - monotonic())))
            why = self._over()
        if thread.is_alive():
            return f"cut short: {why}"
        return f"failed: {errors[0]}" if errors else ""

    def _over(self) -> str:
        if signum := self.signum:
            return f"{signum.name} came"
        return "" if monotonic() < self._ends else f"{self._budget:g} s are over"

    def _take(self) -> None:
        now = {signum: signal.getsignal(signum) for signum in self._signals}
        alone = (signal.SIG_IGN, None)  # ignored, and set by C code: not ours to take
        had: dict[int, Any] = {s: h for s, h in now.items() if h not in alone}
        # Known by its name, not its class: no file of ours imports another one.
        self._outer = {s for s in had if getattr(had[s], "__name__", 0) == "_note_stop"}
        self._earlier = had
        faulthandler.dump_traceback_later(self._budget + MARGIN, file=2, exit=True)
        for signum in had:
            signal.signal(signum, self._note_stop)

    def _give_back(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        for signum, handler in self._earlier.items():
            if signal.getsignal(signum) == self._note_stop:
                signal.signal(signum, handler)

    def _note_stop(self, signum: int, _: object) -> None:
        # Stores, and no call after which Python looks for more: a storm can't nest us.
        self._came[signum] = None
        if signum in self._outer:
            self._earlier[signum](signum, None)
