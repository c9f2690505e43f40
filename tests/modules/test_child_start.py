"""The promises of child_start.py, on real forks."""

from __future__ import annotations

import os
import signal
import textwrap
from signal import SIGPIPE, SIGTERM, SIGXFSZ

import pytest
from child_start import become_child, signals_held
from support import procfs
from support.program import Outcome, Program, run

from fatal_signals.inject import Run, every_point

HEAD = """
import os, select, signal, sys, threading
from signal import SIGINT, SIGKILL, SIGTERM, SIGUSR1, SIGUSR2
from child_start import become_child, signals_held

parent = os.getpid()


def say(*words):
    print(*words, flush=True)


def fork(child, *words):
    with signals_held():
        pid = os.fork()
        if not pid:
            become_child(parent, *words)
    if not pid:
        child()
        os._exit(0)
    return pid


def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def spoil():
    \"\"\"Take all signals, as a careless parent may.\"\"\"
    for signum in signal.valid_signals() - {SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(signum, lambda number, _: say("swallowed", number))
    signal.signal(SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [SIGUSR1])
"""


def outcome(body: str) -> Outcome:
    """Run a program to its end; nothing may be left."""
    ended = run(HEAD + textwrap.dedent(body))
    assert ended.ended.left == []
    return ended


WAITS = """
def child():
    say("ready", os.getpid())
    signal.pause()
"""


def program(body: str) -> Program:
    """Return a program that runs."""
    return Program(HEAD + WAITS + textwrap.dedent(body))


def test_clean_whatever_the_parent_has_set() -> None:
    body = """
    reader, writer = os.pipe2(os.O_NONBLOCK)
    signal.set_wakeup_fd(writer)
    spoil()

    def handles():
        signal.signal(SIGUSR2, lambda *_: None)
        signal.raise_signal(SIGUSR2)
        signal.signal(SIGUSR2, signal.SIG_DFL)
        child()

    say("status", wait(fork(handles)), select.select([reader], [], [], 0)[0])
    """
    with program(body) as it:
        pid = int(it.wait_for("ready").split()[1])
        assert procfs.signals(pid, "caught") == set()
        assert procfs.signals(pid, "blocked") == set()
        os.kill(pid, SIGTERM)
        assert it.wait_for("status") == f"status {-SIGTERM} []"


def test_as_python_two_signals_are_ignored() -> None:
    body = """
    spoil()
    wait(fork(child, ()))
    """
    with program(body) as it:
        pid = int(it.wait_for("ready").split()[1])
        assert procfs.signals(pid, "ignored") == {SIGPIPE, SIGXFSZ}
        os.kill(pid, SIGTERM)
        it.wait()


def test_no_ctrl_c_reaches_the_child() -> None:
    body = """
    def child():
        signal.raise_signal(SIGINT)
        say("alive")
        os.kill(os.getpid(), SIGTERM)

    say(wait(fork(child)))
    """
    assert outcome(body).lines == ["alive", str(-SIGTERM)]


def test_no_ctrl_c_or_what_is_named_instead() -> None:
    body = """
    def child():
        signal.raise_signal(SIGUSR1)
        say("alive")
        signal.raise_signal(SIGINT)

    say(wait(fork(child, [SIGUSR1])))
    """
    assert outcome(body).lines == ["alive", "-2"]


def test_dies_with_parent_however_that_ends() -> None:
    """The kernel sends it before the parent can be reaped: a later one comes after."""
    body = """
    LAST = signal.SIGRTMIN  # of two that wait, the kernel takes the lower number

    def middle():
        parent = os.getpid()
        if os.fork():
            signal.pause()
        become_child(parent)
        signal.pthread_sigmask(signal.SIG_BLOCK, [SIGTERM, LAST])
        os.write(writer, str(os.getpid()).encode())
        while (signum := signal.sigwait([SIGTERM, LAST])) != LAST:
            say(signum.name)
        os._exit(0)

    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        middle()
    os.close(writer)
    below = int(os.read(reader, 9))
    os.kill(pid, SIGKILL)
    wait(pid)
    os.kill(below, LAST)
    os.read(reader, 9)  # until it is gone
    say("end")
    """
    assert outcome(body).lines == ["SIGTERM", "end"]


def test_parent_gone_before_is_a_death_too() -> None:
    body = """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        parent = os.getpid()
        if os.fork():
            os._exit(0)
        while os.getppid() == parent:
            pass
        become_child(parent)
        os.write(writer, b"alive")
        os._exit(0)
    os.close(writer)
    wait(pid)
    say(os.read(reader, 9))
    """
    assert run(HEAD + textwrap.dedent(body)).lines == ["b''"]


def test_no_gap_between_the_fork_and_the_first_line() -> None:
    body = """
    spoil()
    reader, writer = os.pipe()
    with signals_held():
        pid = os.fork()
        if pid:
            os.kill(pid, SIGTERM)
            os.kill(parent, signal.SIGALRM)
            os.write(writer, b"!")
        else:
            os.read(reader, 1)  # it has come before our first line
            become_child(parent)
    if not pid:
        os._exit(0)
    say(wait(pid))
    """
    # The first line is the parent's own: it was held, and then it came.
    assert outcome(body).lines == ["swallowed 14", str(-SIGTERM)]


def test_held_signals_come_afterwards_and_the_mask_is_as_before() -> None:
    body = """
    signal.signal(SIGTERM, lambda *_: say("came"))
    signal.pthread_sigmask(signal.SIG_BLOCK, [SIGUSR1])
    try:
        with signals_held():
            signal.raise_signal(SIGTERM)
            say("held")
            1 / 0
    except ZeroDivisionError:
        say(signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {SIGUSR1})
    """
    assert outcome(body).lines == ["held", "came", "True"]


def test_main_thread_only() -> None:
    body = """
    def other():
        try:
            become_child(parent)
        except RuntimeError as error:
            say(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    say(signal.getsignal(SIGINT) is signal.default_int_handler)
    say(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    """
    lines = outcome(body).lines
    assert lines[0] == "become_child has to be called in the main thread"
    assert lines[1:] == ["True", "set()"]


def life() -> str:
    """Go through a child's first steps, without a fork, under a parent's handler."""
    came = []
    signal.signal(SIGTERM, lambda *_: came.append("before"))
    with signals_held():
        become_child(os.getppid(), ())
        # Here it is ready; what has come in the block has killed it.
    return "".join(came)


def dies_or_was_early(run: Run) -> None:
    """Demand that a signal kills, but for one that came before they were held."""
    assert run.died_by == SIGTERM or run.value == "before", run


@pytest.mark.parametrize("most", [12, pytest.param(None, marks=pytest.mark.long)])
@pytest.mark.parametrize("points", ["possible", "conceivable"])
def test_no_gap_at_any_point(points: str, most: int | None) -> None:
    (report,) = every_point(
        life, dies_or_was_early, points=[points], signals=[SIGTERM], most=most
    )
    assert any(tried.run.died_by for tried in report)
    assert not report.failures, report.failures
