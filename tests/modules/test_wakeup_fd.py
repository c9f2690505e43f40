"""The promises of wakeup_fd.py, those that it shares with flag_handler.py included."""

from __future__ import annotations

import os
from signal import SIGTERM

import pytest
import test_flag_handler
from support.procfs import asleep
from support.program import Program
from support.stops import look, source
from test_flag_handler import outcome

globals().update(
    {name: it for name, it in vars(test_flag_handler).items() if name[:5] == "test_"}
)


@pytest.fixture(name="stop")
def _stop() -> str:
    return "StopWakeup"


def test_wakes_a_wait(stop: str) -> None:
    """Keys come next: if these alone end the wait, then the signal did not.

    One key may get ahead of a signal, as the kernel looks for input before it runs the
    handler; a second one can't.
    """
    body = """
    import termios
    attributes = termios.tcgetattr(0)
    attributes[3] &= ~termios.ECHO  # an echo would get into the middle of our lines
    termios.tcsetattr(0, termios.TCSANOW, attributes)
    with Stop() as stop:
        say("waiting")
        for _ in range(2):
            ready = select.select([stop, 0], [], [])[0]
            say("woken by", "signal" if stop in ready else "key")
            if stop in ready:
                break
            os.read(0, 100)
    """
    with Program(source(stop, body), terminal=True) as program:
        program.wait_for("waiting")
        asleep(program.pid)
        program.send(SIGTERM)
        program.type("key\n")
        if program.wait_for("woken by") == "woken by key":
            program.type("key\n")
            assert program.wait_for("woken by") == "woken by signal"


def test_drains_all_and_returns_each_once(stop: str) -> None:
    body = """
    with Stop() as stop:
        for signum in SIGTERM, SIGINT, SIGTERM:
            raise_signal(signum)
        say(readable(stop), names(stop.drain()))
        say(readable(stop), names(stop.drain()))
        raise_signal(SIGTERM)
        say(readable(stop), names(stop.drain()))
        raise_signal(SIGINT)
    say(names(stop.drain()), names(stop.drain()))
    """
    assert outcome(stop, body).lines == [
        "True SIGTERM+SIGINT",
        "False none",
        "True SIGTERM",
        "SIGINT none",
    ]


def test_in_step_at_any_line(stop: str) -> None:
    """What comes at a line of ``drain()`` is returned, or ends the next wait."""
    body = """
    def life():
        with Stop(also=(SIGHUP,)) as stop:
            raise_signal(SIGTERM)
            returned = stop.drain()
            sys.settrace(None)
            if SIGHUP in returned:
                return "returned"
            woken = readable(stop)
            noted = SIGHUP in stop.drain()
            return "elsewhere" if not noted else "wakes" if woken else "sleeps"

    signal.signal(SIGHUP, lambda *_: None)
    at_every_line(SIGHUP, life)
    """
    assert outcome(stop, body).lines == ["elsewhere returned wakes"]


def test_in_step_with_a_signal_that_hits_another_thread(stop: str) -> None:
    """No interrupted call helps here: C writes the byte while Python runs elsewhere."""
    body = """
    def send():
        for number in range(20):
            while number > len(returned):
                pass
            signal.pthread_kill(threading.get_ident(), SIGTERM)

    returned = []
    with Stop() as stop:
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        while len(returned) < 20:
            if came := stop.drain():
                returned.append(names(came))
        thread.join()
    say(*set(returned))
    """
    assert outcome(stop, body).lines == ["SIGTERM"]


def test_also_wakes_and_is_no_stop(stop: str) -> None:
    body = """
    with Stop((SIGTERM,), also=(SIGHUP, SIGINT)) as stop:
        raise_signal(SIGHUP)
        say(readable(stop), names(stop.drain()), bool(stop), stop.signum)
        raise_signal(SIGTERM)
        raise_signal(SIGINT)
        say(names(stop.drain()), bool(stop), names(stop.came))
    """
    assert outcome(stop, body).lines == [
        "True SIGHUP False None",
        "SIGTERM+SIGINT True SIGTERM",
    ]


def test_full_pair_loses_and_prints_nothing(stop: str) -> None:
    body = """
    import fcntl

    with Stop(also=(SIGHUP,)) as stop:
        room = fcntl.fcntl(stop.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        for _ in range(room + 100):
            raise_signal(SIGHUP)
        raise_signal(SIGTERM)
        say(bool(stop), names(stop.drain()), readable(stop))
    """
    assert outcome(stop, body).lines == ["True SIGHUP+SIGTERM False"]


def test_earlier_fd_is_back(stop: str) -> None:
    body = """
    ours, theirs = os.pipe2(os.O_NONBLOCK), os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(ours[1])
    for inside in None, theirs[1], -1:
        with Stop():
            if inside is not None:
                signal.set_wakeup_fd(inside)
        now = signal.set_wakeup_fd(ours[1])
        say("ours" if now == ours[1] else "theirs" if now == theirs[1] else now)
    """
    assert outcome(stop, body).lines == ["ours", "theirs", "ours"]


def test_earlier_fd_that_was_closed_is_forgotten(stop: str) -> None:
    body = """
    ours = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(ours[1])
    with Stop():
        os.close(ours[1])
    signal.signal(SIGTERM, lambda *_: None)
    raise_signal(SIGTERM)
    say(signal.set_wakeup_fd(-1))
    """
    assert outcome(stop, body).lines == ["-1"]


def test_handed_on_are_the_bytes_of_others(stop: str) -> None:
    body = """
    def arrived():
        try:
            return os.read(ours[0], 100)
        except BlockingIOError:
            return b"none"

    ours = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(ours[1])
    signal.signal(SIGHUP, lambda *_: None)
    with Stop() as stop:
        raise_signal(SIGTERM)
        raise_signal(SIGHUP)
        stop.drain()
        say(arrived() == bytes([SIGHUP]), arrived() == b"none")
        raise_signal(SIGHUP)
    say(arrived() == bytes([SIGHUP]))
    """
    assert outcome(stop, body).lines == ["True True", "True"]


def test_outer_descriptors_wake(stop: str) -> None:
    body = """
    with Stop(also=(SIGHUP,)) as outer:
        for signum in SIGTERM, SIGHUP:
            with Stop() as inner:
                raise_signal(signum)
            say(readable(outer), names(outer.drain()), readable(outer))
    """
    assert outcome(stop, body).lines == ["True SIGTERM False", "True SIGHUP False"]


def test_anew_there_is_nothing_to_return(stop: str) -> None:
    body = """
    stop = Stop()
    with stop:
        raise_signal(SIGTERM)
    with stop:
        say(readable(stop), names(stop.drain()))
    """
    assert outcome(stop, body).lines == ["False none"]


def test_no_leak_of_descriptors(stop: str) -> None:
    body = """
    pause("before")
    for _ in range(10):
        with Stop() as stop:
            raise_signal(SIGTERM)
    with Stop() as stop:
        say(stop.fileno())
        pause("inside")
    try:
        stop.fileno()
    except RuntimeError as error:
        say(error)
    pause("after")
    """
    with Program(source(stop, body)) as program:
        before = look(program, "before")
        own = int(program.read_line())
        inside = look(program, "inside")
        assert "outside the block" in program.read_line()
        after = look(program, "after")
        pair = inside.descriptors.keys() - before.descriptors.keys()
        assert after == before
        assert own in pair
        assert len(pair) == 2
        wanted = os.O_NONBLOCK | os.O_CLOEXEC
        assert all(inside.flags[fd] & wanted == wanted for fd in pair)


def test_earlier_fd_is_not_put_over_another_whatever_its_number(stop: str) -> None:
    body = """
    theirs = os.pipe2(os.O_NONBLOCK)
    for number in 0, 100:
        with Stop():
            os.dup2(theirs[1], number)
            signal.set_wakeup_fd(number)
        say(signal.set_wakeup_fd(-1))
    """
    assert outcome(stop, body).lines == ["0", "100"]


def test_earlier_fd_is_back_where_many_are_open(stop: str) -> None:
    """Python has one object for a small number, and a new one for each above 256."""
    body = """
    ours = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(ours[1])
    for _ in range(300):
        os.dup(1)
    with Stop() as stop:
        say(stop.fileno() > 256)
    say(signal.set_wakeup_fd(-1) == ours[1])
    """
    assert outcome(stop, body).lines == ["True", "True"]
