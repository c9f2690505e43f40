"""The promises of helpful_cleanup.py."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR2
from textwrap import dedent

import pytest
from support import FATAL, SETTLE
from support.program import Outcome, Program, run
from support.stops import AT_THE_SWAP, look, needs_compiler, preload, source

STOP = "__import__('helpful_cleanup').HelpfulCleanup"

HELPERS = f"""
LONG, SHORT = {FATAL}, {2 * SETTLE}
import helpful_cleanup


def block():
    threading.Event().wait()


def tell(*signums):
    for signum in signums:
        os.kill(os.getpid(), signum)


def told():
    tell(SIGTERM)
    block()
"""
"""Budgets, and cleanups: one that never ends, and one that is told to stop."""


def program(body: str) -> str:
    return source(STOP, HELPERS) + dedent(body)


def outcome(body: str) -> Outcome:
    return run(program(body))


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


def test_second_signal_cuts_short() -> None:
    body = """
    with StopFlag() as stop:
        with Stop(SHORT) as cleanup:
            cleanup.add("b", say, "begun")
            cleanup.add("a", told)
            tell(SIGTERM)
            say(stop.signum.name)
    for what, why in cleanup.undone:
        say(what, why)
    """
    came = ["SIGTERM", "a cut short: SIGTERM came", "b not begun: SIGTERM came"]
    assert outcome(body).lines == came


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


def test_remembers_the_first_signal() -> None:
    """Blocked everywhere, two signals come at once, the lower number first."""
    body = """
    both = {SIGINT, SIGTERM}

    def two():
        tell(SIGTERM, SIGINT)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)

    with Stop(LONG) as cleanup:
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        cleanup.add("two", two)
        cleanup.add("none", lambda: say(cleanup.signum))
    say(cleanup.signum.name)
    """
    assert outcome(body).lines == ["None", "SIGINT"]


@pytest.mark.parametrize("other", ["StopFlag", "StopWakeup"])
def test_outer_flags_note_it_too(other: str) -> None:
    body = f"""
    with {other}() as stop, {other}((SIGINT,)) as deaf:
        with Stop(LONG) as cleanup:
            cleanup.add("told", told)
        say(names(deaf.came), names(stop.came))
    """
    assert outcome(body).lines == ["none SIGTERM"]


def test_notes_and_returns() -> None:
    body = """
    with Stop(LONG) as cleanup:
        cleanup.add("told", told)
    say("end")
    """
    ended = outcome(body)
    assert (ended.code, ended.lines) == (0, ["end"])


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


@pytest.mark.parametrize("end", ["pass", "raise KeyError"])
def test_restores_what_was_there(end: str) -> None:
    body = f"""
    signal.pthread_sigmask(signal.SIG_BLOCK, {{SIGUSR2}})
    signal.signal(SIGTERM, lambda *_: os.write(1, b"mine\\n"))
    pause("before")
    try:
        with Stop(LONG) as cleanup:
            cleanup.add("told", told)
            {end}
    except KeyError:
        pass
    say(signal.getsignal(SIGINT) is signal.default_int_handler)
    pause("after")
    say("end")
    """
    with Program(program(body)) as running:
        before = look(running, "before")
        assert running.read_line() == "True"
        after = look(running, "after", SIGTERM)
        assert running.wait().code == 0
        assert after == before
        assert SIGUSR2 in after.blocked
        assert running.lines() == ["mine", "end"]


LIFE = """
def life():
    with Stop(LONG) as cleanup:
        cleanup.add("nothing", int)
    return "noted" if cleanup.signum else "lost"
"""


def test_loses_nothing_at_any_line() -> None:
    body = """
    at_every_line(SIGTERM, life)
    at_every_line(SIGINT, life)
    signal.signal(SIGINT, lambda *_: os._exit(7))
    at_every_line(SIGINT, life)
    """
    died = ["died of 15 noted", "noted raised", "died of -7 noted"]
    assert outcome(LIFE + dedent(body)).lines == died


@needs_compiler
def test_loses_nothing_within_the_swap(tmp_path: Path) -> None:
    """The C library sends SIGTERM at the instant when its default is put back."""
    ended = run(program(LIFE + "say(life())"), env=preload(tmp_path, AT_THE_SWAP))
    assert (ended.code, ended.output) == (-SIGTERM, "")


def test_ignored_stays_ignored() -> None:
    body = """
    signal.signal(SIGINT, SIG_IGN)
    with Stop(LONG) as cleanup:
        cleanup.add("look", pause, "cleaning")
    say(cleanup.signum)
    pause("after")
    """
    with Program(program(body)) as running:
        cleaning = look(running, "cleaning", SIGINT)
        assert running.read_line() == "None"
        after = look(running, "after")
        running.wait()
        assert SIGINT in cleaning.ignored & after.ignored


def test_forked_child_runs_its_own_only() -> None:
    body = """
    with Stop(LONG) as cleanup:
        cleanup.add("parent's", say, "parent's")
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            cleanup.add("child's", say, "child's")
    say("end")
    """
    assert outcome(body).lines == ["child's", "end", "parent's", "end"]


def test_other_thread_is_refused() -> None:
    body = """
    def enter():
        try:
            with Stop(LONG):
                say("entered")
        except Exception as error:
            say(type(error).__name__, error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    """
    line, *more = outcome(body).lines
    assert not more
    assert line.startswith("RuntimeError")
    assert "main thread" in line


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


WAITS = """
waits = []

class Watched(threading.Thread):
    def join(self, timeout=None):
        waits.append(timeout)
        super().join(timeout)

helpful_cleanup.Thread = Watched
"""


def test_second_signal_is_looked_for_twenty_times_a_second() -> None:
    body = """
    with Stop(LONG) as cleanup:
        cleanup.add("told", told)
    say(0 < max(waits) <= 1 / 20)
    """
    assert outcome(WAITS + dedent(body)).lines == ["True"]


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


def test_forked_child_with_a_lower_pid_runs_its_own_only() -> None:
    """As it is when the kernel has begun with the low numbers again."""
    body = """
    own = os.getpid
    with Stop(LONG) as cleanup:
        os.getpid = lambda: own() + 1
        cleanup.add("parent's", say, "parent's")
        os.getpid = own
        cleanup.add("child's", say, "child's")
    """
    assert outcome(body).lines == ["child's"]


def test_bounded_is_a_second_less_than_a_day() -> None:
    assert outcome("Stop(24 * 3600 - 1)\nsay('made')").lines == ["made"]


def test_restores_nothing_over_a_handler_that_came_meanwhile() -> None:
    body = """
    def meanwhile(*_):
        signal.signal(SIGTERM, theirs)

    def theirs(*_):
        pass

    signal.signal(SIGHUP, meanwhile)
    with Stop(LONG) as cleanup:
        cleanup.add("change", tell, SIGHUP)
    say(signal.getsignal(SIGTERM) is theirs)
    """
    assert outcome(body).lines == ["True"]


def test_restores_although_a_foreign_handler_raises() -> None:
    """At each line of the module; a first thread makes the C library set a handler."""
    body = """
    class Foreign(Exception):
        pass

    def foreign(*_):
        raise Foreign

    def life():
        before = state()
        try:
            with Stop(LONG) as cleanup:
                cleanup.add("nothing", int)
        except Foreign:
            pass
        return "whole" if state() == before else "half"

    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    signal.signal(SIGALRM, foreign)
    at_every_line(SIGALRM, life)
    """
    assert outcome(body).lines == ["whole"]
