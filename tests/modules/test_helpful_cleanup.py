"""helpful_cleanup keeps its promises: order, budget and reports."""

from __future__ import annotations

from datetime import timedelta
from signal import SIGTERM
from textwrap import dedent

import pytest
from support import SETTLE
from support.cleanups import WAITS, outcome, program
from support.program import Program
from support.stops import look


@pytest.mark.parametrize("end", ["pass", "raise KeyError", "return", "sys.exit()"])
def test_reverse_order_whatever_the_end(end: str) -> None:
    body = f"""
    def main():
        with Stop(LONG) as cleanup:
            for word in "first", "second", "third":
                cleanup.add(word, say, word, "again")
            say("body")
            {end}

    try:
        main()
    except (KeyError, SystemExit) as error:
        say(type(error).__name__)
    """
    came = {"raise KeyError": ["KeyError"], "sys.exit()": ["SystemExit"]}.get(end, [])
    words = ["body", "third again", "second again", "first again"]
    assert outcome(body).lines == words + came


def test_one_budget_for_all() -> None:
    body = """
    with Stop(SHORT) as cleanup:
        cleanup.add("quick", say, "quick")
        cleanup.add("b", block)
        cleanup.add("a", block)
    say(*[why.split(":")[0] for what, why in cleanup.undone])
    """
    assert outcome(body).lines == ["cut short not begun not begun"]


def test_blocked_ones_are_left_behind() -> None:
    """That it took less than a second more is what the watchdog sees to."""
    body = """
    reader, writer = os.pipe()
    with Stop(SHORT) as cleanup:
        cleanup.add("read", os.read, reader, 1)
    say("away")
    """
    ended = outcome(body)
    assert (ended.code, ended.lines) == (0, ["away"])


def test_hung_in_c_code_the_process_ends() -> None:
    body = """
    import ctypes
    with Stop(SHORT) as cleanup:
        cleanup.add("hang", ctypes.PyDLL(None).pause)
    say("away")
    """
    ended = outcome(body)
    assert ended.code == 1
    assert ended.lines[0].startswith("Timeout")
    assert "away" not in ended.lines


def test_hung_is_nobody_after_the_block() -> None:
    body = """
    helpful_cleanup.MARGIN = 0
    with Stop(SHORT) as cleanup:
        pass
    signal.sigtimedwait({SIGUSR1}, 2 * SHORT)
    say("here")
    """
    ended = outcome(body)
    assert (ended.code, ended.lines) == (0, ["here"])


@pytest.mark.parametrize("error", ["ValueError", "SystemExit", "KeyboardInterrupt"])
def test_failing_ones_do_not_stop_the_next(error: str) -> None:
    body = f"""
    def fail():
        raise {error}("no")

    with Stop(LONG) as cleanup:
        cleanup.add("next", say, "next")
        cleanup.add("fail", fail)
    say("end")
    """
    ended = outcome(body)
    assert (ended.code, ended.lines) == (0, ["next", "end"])


def test_reports_what_is_undone() -> None:
    body = """
    with Stop(LONG) as cleanup:
        cleanup.add("d", say, "never")
        cleanup.add("c", told)
        cleanup.add("b", int, "two")
        cleanup.add("a", say, "done")
    for what, why in cleanup.undone:
        say(what, why)
    with cleanup:
        say(cleanup.undone)
    """
    done, *undone, anew = outcome(body).lines
    assert done == "done"
    assert undone[0].startswith("b failed: ValueError(")
    assert undone[1:] == ["c cut short: SIGTERM came", "d not begun: SIGTERM came"]
    assert anew == "[]"


def test_nothing_before_the_cleanups() -> None:
    body = """
    pause("before")
    with Stop(LONG) as cleanup:
        cleanup.add("look", pause, "cleaning")
        pause("inside")
    """
    with Program(program(body)) as running:
        before, inside = look(running, "before"), look(running, "inside")
        cleaning = look(running, "cleaning")
        running.wait()
        assert inside == before
        assert cleaning.caught == before.caught | {SIGTERM}


@pytest.mark.parametrize("budget", ["0", "-1", "24 * 3600", "float('inf')", "-0.0"])
def test_bounded_budgets_only(budget: str) -> None:
    body = f"""
    for budget in {budget}, float("nan"), SHORT:
        try:
            Stop(budget)
            say("made")
        except ValueError as error:
            say(error)
    """
    bad, none, good = outcome(body).lines
    assert "a budget is above 0 s" in bad
    assert "a budget is above 0 s" in none
    assert good == "made"


def test_reports_nothing_before_the_block() -> None:
    assert outcome(
        "cleanup = Stop(LONG)\nsay(cleanup.undone, cleanup.signum)"
    ).lines == ["[] None"]


def test_reports_what_no_thread_was_left_for() -> None:
    body = """
    class Refused(threading.Thread):
        def start(self):
            raise RuntimeError("no more threads")

    helpful_cleanup.Thread = Refused
    with Stop(LONG) as cleanup:
        cleanup.add("b", say, "never")
    for what, why in cleanup.undone:
        say(what, why)
    """
    assert outcome(body).lines == ["b not begun: RuntimeError('no more threads')"]


def test_one_budget_is_two_seconds_when_nobody_says() -> None:
    """The clock that it reads is ours, and leaps."""
    body = """
    now = 0.0
    helpful_cleanup.monotonic = lambda: now

    def late():
        global now
        now = LONG
        block()

    with Stop() as cleanup:
        cleanup.add("late", late)
    say(*cleanup.undone[0])
    """
    assert outcome(body).lines == ["late cut short: 2 s are over"]


def test_blocked_ones_have_no_longer_than_the_budget() -> None:
    body = """
    helpful_cleanup.TICK = LONG
    with Stop(SHORT) as cleanup:
        cleanup.add("b", block)
    say(0 < max(waits) <= SHORT)
    """
    assert outcome(WAITS + dedent(body)).lines == ["True"]


def test_hung_ends_a_second_after_the_budget() -> None:
    """The watchdog says so on standard error, and how long it has waited."""
    body = """
    import ctypes
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with Stop(SHORT) as cleanup:
        cleanup.add("hang", ctypes.PyDLL(None).pause)
    """
    ended = outcome(body)
    assert ended.code == 1
    assert ended.lines[0] == f"Timeout ({timedelta(seconds=2 * SETTLE + 1)})!"


def test_bounded_is_a_second_less_than_a_day() -> None:
    assert outcome("Stop(24 * 3600 - 1)\nsay('made')").lines == ["made"]
