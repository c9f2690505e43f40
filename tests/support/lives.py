"""Lives to be tried at each point: code, and what is true wherever a signal comes.

A life of a module goes through all of it: set-up, run, stop, restore, nested use, and
an exception that leaves the block.  Each returns what its check looks at.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fatal_signals.inject import Run

from . import FATAL


class Life(NamedTuple):
    """Something to try at each point."""

    name: str
    function: Callable[[], object]
    check: Callable[[Run], object]
    signals: tuple[int, ...] = (signal.SIGTERM, signal.SIGINT)


class Leaving(Exception):
    """Leaves a block."""


def names(stop: Any) -> list[str]:
    """Return the names of the signals that a stop flag has noted."""
    return [signum.name for signum in stop.came]


# -- flag_handler and wakeup_fd --------------------------------------------------------


def flag_lives(make: Callable[[], Any]) -> list[Life]:
    """Return the lives that both classes have."""

    def nested() -> list[list[str]]:
        outer, inner = make(), make()
        with outer, inner:
            for _ in range(3):
                if outer:
                    break
        return [names(outer), names(inner)]

    def left() -> list[list[str]]:
        stop = make()
        try:
            with stop:
                raise Leaving
        except Leaving:
            pass
        return [names(stop)]

    def earlier() -> list[list[str]]:
        before: list[str] = []
        stop = make()
        signums = (signal.SIGTERM, signal.SIGINT)
        had = [
            signal.signal(s, lambda s, _: before.append(signal.Signals(s).name))
            for s in signums
        ]
        with stop:
            pass
        for signum, handler in zip(signums, had, strict=True):
            signal.signal(signum, handler)
        return [before + names(stop)]

    found = [Life(it.__name__, it, noted_once) for it in (nested, left)]
    return [*found, Life("earlier", earlier, noted_by_one)]


def noted_once(run: Run) -> None:
    """A signal is noted once, or is the earlier handler's; nothing stays changed."""
    clean(run)
    if run.how == "returned":
        outer, *inner = run.value
        sent = sorted({signum.name for signum in run.signals})
        assert sorted(outer) == sent, f"{sent} noted as {outer}"
        assert all(set(came) <= set(outer) for came in inner), run.value
    else:
        answered_by_default(run)


def noted_by_one(run: Run) -> None:
    """A signal is noted once, by the flag or by the handler that was there before."""
    if run.how == "returned":
        noted_once(run)
    else:
        answered_by_default(run)  # before that handler was in place, or after


def clean(run: Run) -> None:
    """Nothing stays changed, and nobody stays behind."""
    assert not run.changed, f"not put back: {', '.join(run.changed)}"
    assert not run.left, f"{run.left} processes left"


def answered_by_default(run: Run) -> None:
    """The signal has found Python's own disposition."""
    died = run.died_by in (signal.SIGTERM, signal.SIGINT)
    assert died or run.error == "KeyboardInterrupt()", str(run)


def wakeup_lives() -> list[Life]:
    """Return the lives of ``wakeup_fd.StopWakeup``: those of a flag, and its waits."""
    from wakeup_fd import StopWakeup

    def waits() -> list[list[str]]:
        with StopWakeup() as stop:
            while not stop:
                select.select([stop], [], [])
                stop.drain()
        return [names(stop)]

    def drains() -> list[list[str]]:
        got: list[str] = []
        with StopWakeup() as stop:
            for _ in range(2):
                ready = select.select([stop], [], [], 0)[0]
                came = stop.drain()
                assert came or not ready
                got += [signum.name for signum in came]
            seen = names(stop)
            in_step = bool(select.select([stop], [], [], 0)[0])
            assert got == seen or in_step, "noted, not returned, and not readable"
        return [names(stop)]

    def earlier_fd() -> list[list[str]]:
        pair = os.pipe2(os.O_NONBLOCK)
        signal.set_wakeup_fd(pair[1])
        try:
            with StopWakeup() as stop:
                pass
        finally:
            mine = signal.set_wakeup_fd(-1)
            os.close(pair[0])
            os.close(pair[1])
        assert mine == pair[1], "the earlier wakeup fd is not back"
        return [names(stop)]

    more = [waits, drains]
    found = [Life(life.__name__, life, noted_once) for life in more]
    found.append(Life("earlier_fd", earlier_fd, noted_once, (signal.SIGTERM,)))
    return [*flag_lives(StopWakeup), *found]


# -- true_death ------------------------------------------------------------------------


def death_lives() -> list[Life]:
    """Return the lives of ``true_death.die_of``: they end the process."""
    from flag_handler import StopFlag
    from true_death import die_of

    def within_a_flag() -> None:
        with StopFlag():
            die_of(signal.SIGTERM)

    def after_a_flag() -> None:
        with StopFlag():
            pass
        die_of(signal.SIGTERM)

    def in_a_finally() -> None:
        try:
            raise Leaving
        finally:
            die_of(signal.SIGTERM)

    lives = (within_a_flag, after_a_flag, in_a_finally)
    return [Life(life.__name__, life, dies) for life in lives]


def dies(run: Run) -> None:
    """It dies by SIGTERM, unless a Ctrl-C comes before ``die_of`` has begun to act."""
    if run.died_by == signal.SIGTERM:
        return
    assert run.error == "KeyboardInterrupt()", str(run)
    assert run.point is not None
    if os.path.basename(run.point.file) == "true_death.py":
        lines = Path(run.point.file).read_text().splitlines()
        begin, acts, refuse, put = (
            next(n for n, line in enumerate(lines, 1) if text in line)
            for text in ("def die_of", "    try:", "def _refuse", "def _put_default")
        )
        line = run.point.line
        assert begin <= line < acts or refuse <= line < put, "saved from its death"


# -- helpful_cleanup -------------------------------------------------------------------

BUDGET = 2 * FATAL
"""Seconds: no life comes near it."""


def cleanup_lives() -> list[Life]:
    """Return the lives of ``helpful_cleanup.HelpfulCleanup``, with a flag around it."""
    from flag_handler import StopFlag
    from helpful_cleanup import HelpfulCleanup

    def result(stop: Any, cleanup: Any, ran: list[str]) -> list[Any]:
        came = cleanup.signum.name if cleanup.signum else ""
        return [names(stop), came, ran, cleanup.undone]

    def two() -> list[Any]:
        ran: list[str] = []
        with StopFlag() as stop, HelpfulCleanup(BUDGET) as cleanup:
            cleanup.add("first", ran.append, "first")
            cleanup.add("second", ran.append, "second")
        return result(stop, cleanup, ran)

    def left() -> list[Any]:
        ran: list[str] = []
        try:
            with StopFlag() as stop, HelpfulCleanup(BUDGET) as cleanup:
                cleanup.add("first", ran.append, "first")
                cleanup.add("second", ran.append, "second")
                raise Leaving
        except Leaving:
            pass
        return result(stop, cleanup, ran)

    def nested() -> list[Any]:
        ran: list[str] = []
        with StopFlag() as stop, HelpfulCleanup(BUDGET) as cleanup:
            cleanup.add("first", ran.append, "first")
            with HelpfulCleanup(BUDGET) as inner:
                inner.add("second", ran.append, "second")
        undone = [*inner.undone, *cleanup.undone]
        signum = cleanup.signum or inner.signum
        return [names(stop), signum.name if signum else "", ran, undone]

    lives = (two, left, nested)
    return [Life(life.__name__, life, cleaned_up) for life in lives]


def cleaned_up(run: Run) -> None:
    """Each cleanup has run, in reverse order, or is reported as cut short."""
    clean(run)
    if run.how != "returned":
        answered_by_default(run)
        return
    stopped, second, ran, undone = run.value
    assert len(stopped) == 1, f"noted as {stopped}"
    assert second in ("", stopped[0])
    if not second:
        assert ran == ["second", "first"], ran
        assert not undone, undone
    else:
        known = {*ran, *(what for what, _ in undone)}
        assert known == {"second", "first"}, (ran, undone)
        assert all(f"{second} came" in why for _, why in undone), undone


def unguarded_life() -> Life:
    """Return a cleanup with no flag around it: what Ctrl-C can skip."""
    from helpful_cleanup import HelpfulCleanup

    def unguarded() -> list[Any]:
        try:
            ran: list[str] = []
            with HelpfulCleanup(BUDGET) as cleanup:
                cleanup.add("it", ran.append, "it")
        except KeyboardInterrupt:
            pass
        signum = cleanup.signum.name if cleanup.signum else ""
        return [signum, ran, cleanup.undone]

    return Life("unguarded", unguarded, cleaned_up_anyway, (signal.SIGINT,))


def cleaned_up_anyway(run: Run) -> None:
    """Once the block was entered, its cleanup runs, or is reported."""
    if run.how == "returned":
        signum, ran, undone = run.value
        assert ran or undone or signum, "skipped"


def _flag_handler() -> list[Life]:
    from flag_handler import StopFlag

    return flag_lives(StopFlag)


LIVES: dict[str, Callable[[], list[Life]]] = {
    "flag_handler": _flag_handler,
    "wakeup_fd": wakeup_lives,
    "true_death": death_lives,
    "helpful_cleanup": cleanup_lives,
    "unguarded": lambda: [unguarded_life()],
}
"""For each module a function that imports it and returns its lives."""
