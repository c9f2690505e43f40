"""The promises of flag_handler.py; test_wakeup_fd.py holds its module to them too."""

from __future__ import annotations

from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR2

import pytest
from support.program import Outcome, Program, run
from support.stops import AT_THE_SWAP, look, needs_compiler, preload, source


@pytest.fixture(name="stop")
def _stop() -> str:
    return "StopFlag"


def outcome(stop: str, body: str, env: dict[str, str] | None = None) -> Outcome:
    return run(source(stop, body), env=env)


def test_notes_and_the_block_goes_on(stop: str) -> None:
    body = """
    with Stop() as stop:
        say(bool(stop))
        pause("inside")
        say(bool(stop))
    say("end")
    """
    with Program(source(stop, body)) as program:
        assert program.read_line() == "False"
        look(program, "inside", SIGTERM)
        assert program.wait().code == 0
        assert program.lines() == ["True", "end"]


def test_remembers_the_first_and_all_once(stop: str) -> None:
    body = """
    with Stop((SIGINT, SIGTERM, SIGHUP)) as stop:
        say(stop.signum, names(stop.came))
        for word in "abc":
            pause(word)
        say(stop.signum.name, names(stop.came))
    say(stop.signum.name, names(stop.came))
    """
    with Program(source(stop, body)) as program:
        assert program.read_line() == "None none"
        look(program, "a", SIGTERM)
        look(program, "b", SIGINT)
        look(program, "c", SIGTERM)
        program.wait()
        assert program.lines() == ["SIGTERM SIGTERM+SIGINT"] * 2


@pytest.mark.parametrize("end", ["pass", "raise KeyError", "return"])
def test_restores_what_was_there(stop: str, end: str) -> None:
    body = f"""
    def main():
        with Stop((SIGINT, SIGTERM, SIGHUP)):
            pause("inside")
            {end}

    signal.pthread_sigmask(signal.SIG_BLOCK, {{SIGUSR2}})
    signal.signal(SIGTERM, lambda *_: os.write(1, b"mine\\n"))
    pause("before")
    try:
        main()
    except KeyError:
        pass
    say(signal.getsignal(SIGINT) is signal.default_int_handler)
    pause("after")
    say("end")
    """
    with Program(source(stop, body)) as program:
        before = look(program, "before")
        inside = look(program, "inside")
        assert program.read_line() == "True"
        after = look(program, "after", SIGTERM)
        program.wait()
        assert after == before
        assert inside.caught == before.caught | {SIGHUP}
        assert inside.blocked == {SIGUSR2}
        assert program.lines() == ["mine", "end"]


FOREIGN = """
class Foreign(Exception):
    pass

def foreign(*_):
    raise Foreign

def life():
    before, entered = state(), False
    try:
        with Stop():
            entered = True
    except Foreign:
        pass
    word = "entered" if entered else "not"
    return f"{word}-{'whole' if state() == before else 'half'}"

signal.signal(SIGALRM, foreign)
ours = os.pipe2(os.O_NONBLOCK)
signal.set_wakeup_fd(ours[1], warn_on_full_buffer=False)
at_every_line(SIGALRM, life)
"""


def test_restores_although_a_foreign_handler_raises(stop: str) -> None:
    assert "entered-half" not in outcome(stop, FOREIGN).lines[0].split()


def test_undoes_a_half_entry(stop: str) -> None:
    assert outcome(stop, FOREIGN).lines == ["entered-whole not-whole"]


LIFE = """
def life():
    stop = Stop()
    with stop:
        pass
    return "noted" if stop.came else "lost"
"""


def test_loses_nothing_at_any_line(stop: str) -> None:
    body = """
    at_every_line(SIGTERM, life)
    at_every_line(SIGINT, life)
    signal.signal(SIGINT, lambda *_: os._exit(7))
    at_every_line(SIGINT, life)
    """
    ended = outcome(stop, LIFE + body.replace("\n    ", "\n"))
    assert ended.lines == ["died of 15 noted", "noted raised", "died of -7 noted"]


@needs_compiler
def test_loses_nothing_within_the_swap(stop: str, tmp_path: Path) -> None:
    """The C library sends SIGTERM at the instant when its default is put back."""
    ended = outcome(stop, LIFE + "say(life())", preload(tmp_path, AT_THE_SWAP))
    assert (ended.code, ended.output) == (-SIGTERM, "")


def test_ignored_stays_ignored(stop: str) -> None:
    body = """
    signal.signal(SIGINT, SIG_IGN)
    with Stop() as stop:
        pause("inside")
        say(names(stop.came))
    pause("after")
    """
    with Program(source(stop, body)) as program:
        inside = look(program, "inside", SIGINT, SIGTERM)
        assert program.read_line() == "SIGTERM"
        after = look(program, "after")
        program.wait()
        assert SIGINT in inside.ignored & after.ignored


def test_other_thread_is_refused(stop: str) -> None:
    body = """
    def enter():
        try:
            with Stop():
                say("entered")
        except Exception as error:
            say(type(error).__name__, error)

    thread = threading.Thread(target=enter)
    pause("before")
    thread.start()
    thread.join()
    pause("after")
    """
    with Program(source(stop, body)) as program:
        before = look(program, "before")
        line = program.read_line()
        assert line.startswith("RuntimeError")
        assert "main thread" in line
        after = look(program, "after")
        program.wait()
        assert after == before


@needs_compiler
def test_foreign_handler_is_refused(stop: str, tmp_path: Path) -> None:
    code = """
    #include <signal.h>

    static void handle(int number) { (void)number; }

    __attribute__((constructor)) static void install(void)
    {
        signal(SIGTERM, handle);
    }
    """
    body = """
    pause("before")
    try:
        with Stop():
            say("entered")
    except RuntimeError as error:
        say(error)
    pause("after")
    """
    env = preload(tmp_path, code)
    with Program(source(stop, body), env=env) as program:
        before = look(program, "before")
        line = program.read_line()
        assert "SIGTERM" in line
        assert "C code" in line
        after = look(program, "after", SIGTERM)
        assert program.wait().code == 0
        assert SIGTERM in before.caught
        assert after == before


def test_uncatchable_signals_are_refused(stop: str) -> None:
    body = """
    for signum in SIGKILL, SIGSTOP, SIGTERM, 0:
        try:
            Stop((SIGINT, signum))
            say("made")
        except ValueError as error:
            say(error)
    """
    kill, halt, term, none = outcome(stop, body).lines
    assert "catch SIGKILL" in kill
    assert "catch SIGSTOP" in halt
    assert term == "made"
    assert "not a valid Signals" in none


def test_twice_is_refused_and_the_use_goes_on(stop: str) -> None:
    body = """
    pause("before")
    stop = Stop()
    with stop:
        try:
            with stop:
                say("entered")
        except RuntimeError as error:
            say(error)
        pause("inside")
        say(names(stop.came))
    pause("after")
    """
    with Program(source(stop, body)) as program:
        before = look(program, "before")
        assert "in use" in program.read_line()
        look(program, "inside", SIGTERM)
        assert program.read_line() == "SIGTERM"
        assert look(program, "after") == before


def test_anew_it_starts_unset(stop: str) -> None:
    body = """
    stop = Stop()
    for _ in range(2):
        with stop:
            say(bool(stop), names(stop.came))
            raise_signal(SIGTERM)
        say(bool(stop), names(stop.came))
    """
    assert outcome(stop, body).lines == ["False none", "True SIGTERM"] * 2


@pytest.mark.parametrize("other", ["StopFlag", "StopWakeup"])
@pytest.mark.parametrize("place", ["inside", "around"])
def test_outer_ones_note_it_too(stop: str, other: str, place: str) -> None:
    body = f"""
    classes = {other}, Stop
    Outer, Inner = classes if {place == "inside"} else reversed(classes)
    with Outer() as outer, Outer((SIGINT,)) as deaf:
        with Inner() as inner:
            pause("inside")
            say(names(inner.came), names(deaf.came), names(outer.came))
        with Inner() as inner:
            say(names(inner.came))
        say(names(outer.came))
    """
    with Program(source(stop, body)) as program:
        look(program, "inside", SIGTERM)
        program.wait()
        assert program.lines() == ["SIGTERM none SIGTERM", "none", "SIGTERM"]


def test_outer_handlers_of_others_are_not_called(stop: str) -> None:
    body = """
    signal.signal(SIGTERM, lambda *_: say("mine"))
    with Stop() as stop:
        raise_signal(SIGTERM)
        say(names(stop.came))
    raise_signal(SIGTERM)
    """
    assert outcome(stop, body).lines == ["SIGTERM", "mine"]


def test_replaced_handlers_are_left_alone(stop: str) -> None:
    body = """
    with Stop():
        signal.signal(SIGTERM, SIG_IGN)
    pause("after")
    """
    with Program(source(stop, body)) as program:
        after = look(program, "after")
        program.wait()
        assert SIGTERM in after.ignored


def test_no_frame_is_kept(stop: str) -> None:
    body = """
    class Thing:
        pass

    def work():
        thing = Thing()
        raise_signal(SIGTERM)
        return weakref.ref(thing)

    with Stop() as stop:
        thing = work()
        gc.collect()
        say(names(stop.came), thing() is None)
    """
    assert outcome(stop, body).lines == ["SIGTERM True"]


def test_storm_does_not_nest(stop: str) -> None:
    body = """
    with Stop((SIGALRM,)) as stop:
        sys.setrecursionlimit(40)
        storm()
        say(names(stop.came))
    """
    assert outcome(stop, body).lines == ["SIGALRM"]


def test_remembers_nothing_before_the_first_block(stop: str) -> None:
    body = """
    stop = Stop()
    say(bool(stop), stop.signum, names(stop.came))
    """
    assert outcome(stop, body).lines == ["False None none"]
