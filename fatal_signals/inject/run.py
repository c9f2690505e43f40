"""What came of one run, and of all of them.

A *point* is a place at which the signal is made to arrive; a *run* is one execution of
the code under test with the signal at one point.  The caller's check looks at a run
and says whether the promise was kept.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import InjectionError, in_a_line

KEPT, BROKEN, HUNG = "kept", "broken", "hung"


@dataclass(frozen=True)
class Point:
    """A place at which a signal arrives.

    ``number`` names the point for ``--at``: in process it counts instructions, as in
    ``17``, from outside it has the name of the call, as in ``write:12``; ``where`` says
    in words what happens there.  In process there are also the source file and line, in
    the standard library those of its caller; from outside, ``call`` and ``count``.
    """

    number: str
    where: str
    file: str = ""
    line: int = 0
    call: str = ""
    count: int = 0


@dataclass(frozen=True)
class Run:
    """How the code under test ended, as a check gets to see it."""

    how: str
    """``returned``, ``raised``, ``exited`` or ``died``; or ``hung``, which no check
    gets to see."""
    value: Any = None
    """What the callable returned; its ``repr`` where that can't be pickled."""
    error: str = ""
    """The exception that left the callable, as its ``repr``."""
    status: int = 0
    """The exit status, or minus the number of the signal that it died of."""
    delivered: int = 0
    """How many signals have arrived; from outside, the one that ends a program too."""
    changed: tuple[str, ...] = ()
    """What was not put back: handlers, mask, wakeup fd, descriptors, timers."""
    left: int = 0
    """How many processes it has left behind; they have been killed."""
    output: str = ""
    """What it has written on standard output and standard error."""
    point: Point | None = None
    """Where the signal came."""
    signals: tuple[signal.Signals, ...] = ()
    """Which signals were sent."""

    @property
    def died_by(self) -> signal.Signals | None:
        """The signal that it died of, or None."""
        return signal.Signals(-self.status) if self.status < 0 else None

    def __str__(self) -> str:
        """Return how it ended, in words."""
        match self.how:
            case "raised":
                words = f"raised {self.error}"
            case "exited":
                words = f"exited with {self.status}"
            case "died":
                words = f"died by {signal.Signals(-self.status).name}"
            case _:
                words = self.how
        if self.changed:
            words += f", changed {', '.join(self.changed)}"
        if self.left:
            words += f", left {self.left} process{'es' if self.left > 1 else ''}"
        return words


Check = Callable[[Run], object]
"""Says whether a run is as promised: it returns False or raises AssertionError if not.
Any other value, None too, means yes."""


Setup = Callable[[], object]
"""Makes what the runs start from."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and how much there is."""

SECONDS = 10.0
"""Seconds after which a run hangs.  Generous: those that hang wait side by side."""


def set_up(setup: Setup) -> None:
    """Call what somebody has named for that.

    Raises:
        InjectionError: it fails.
    """
    try:
        setup()
    except Exception as error:
        raise InjectionError(f"setup fails: {in_a_line(error)}") from error


@dataclass(frozen=True)
class Tried:
    """A point that was tried, and what came of it."""

    point: Point
    run: Run
    verdict: str
    """``kept``, ``broken`` or ``hung``."""
    why: str = ""
    """What the check had to say, if it was broken."""

    @property
    def kind(self) -> str:
        """The verdict in more words: ``died by SIGSEGV`` rather than ``broken``."""
        if self.verdict == BROKEN and self.run.how == "died":
            return str(self.run).partition(",")[0]
        return self.verdict


def judge(
    point: Point, run: Run, check: Check, signals: tuple[signal.Signals, ...] = ()
) -> Tried:
    """Ask the check about a run.

    Raises:
        InjectionError: the check itself fails, with something else than AssertionError.
    """
    run = replace(run, point=point, signals=signals)
    if run.how == HUNG:
        return Tried(point, run, HUNG)
    try:
        if check(run) is False:
            return Tried(point, run, BROKEN, str(run))
    except AssertionError as error:
        return Tried(point, run, BROKEN, str(error) or str(run))
    except InjectionError:
        raise
    except Exception as error:
        raise InjectionError(f"the check fails: {in_a_line(error)}") from error
    return Tried(point, run, KEPT)


@dataclass
class Report:
    """The outcome of one sweep."""

    target: str
    """What was tried."""
    signals: tuple[signal.Signals, ...]
    points: str
    """Which points: ``possible``, ``conceivable`` or ``system calls``."""
    tried: list[Tried] = field(default_factory=list)
    missed: list[Point] = field(default_factory=list)
    """Points that the runs did not reach, although an earlier run had passed them."""
    seed: int | None = None
    """The seed with which the points were sampled, or None if all were tried."""
    drawn_from: int = 0
    """How many points there were to draw from, if they were sampled."""
    course: int = 0
    """In process: how many instructions a run executes when no signal comes.  Those of
    the standard library that are passed again in the same way are tried twice."""
    again: tuple[str, str] = ("", "")
    """How to run one point alone: what stands before its number, and after it."""
    seconds: float = 0.0
    """How long the sweep took."""

    def alone(self, number: str) -> str:
        """Return how to run one point alone; nothing if that is not known."""
        return number.join(self.again) if any(self.again) else ""

    def __iter__(self) -> Iterator[Tried]:
        """Iterate over what was tried."""
        return iter(self.tried)

    @property
    def counts(self) -> Counter[str]:
        """How many points ended in which kind."""
        return Counter(tried.kind for tried in self.tried)

    @property
    def failures(self) -> list[Tried]:
        """All points at which the promise was not kept."""
        return [tried for tried in self.tried if tried.verdict != KEPT]

    @property
    def summary(self) -> str:
        """One line: the counts."""
        kinds = self.counts
        rest = sorted(set(kinds) - {KEPT, BROKEN, HUNG})
        words = [f"{kinds[k]} {k}" for k in (KEPT, BROKEN, HUNG, *rest)]
        words += [f"{len(self.missed)} missed"] if self.missed else []
        return f"{len(self.tried)} points: {', '.join(words)}"


def name_of(signals: Sequence[int]) -> str:
    """Return the names of signals, in order."""
    return ", ".join(signal.Signals(signum).name for signum in signals)
