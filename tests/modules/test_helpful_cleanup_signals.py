"""helpful_cleanup keeps its promises: signals, handlers, threads and forks."""

from __future__ import annotations

from pathlib import Path
from signal import SIGINT, SIGTERM, SIGUSR2
from textwrap import dedent

import pytest
from support.cleanups import WAITS, outcome, program
from support.program import Program, run
from support.stops import AT_THE_SWAP, look, needs_compiler, preload


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


def test_second_signal_is_looked_for_twenty_times_a_second() -> None:
    body = """
    with Stop(SHORT) as cleanup:
        cleanup.add("told", told)
    say(0 < max(waits) <= 1 / 20)
    """
    assert outcome(WAITS + dedent(body)).lines == ["True"]


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
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()  # a joined thread may not be gone: fork would warn of it
    signal.signal(SIGALRM, foreign)
    at_every_line(SIGALRM, life)
    """
    assert outcome(body).lines == ["whole"]
