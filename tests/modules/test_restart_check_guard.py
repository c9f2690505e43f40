"""restart_check keeps its promises: the guard, and the end of a run."""

from __future__ import annotations

import os
import signal
import textwrap
from pathlib import Path

import pytest
from support import FATAL, procfs
from support.bosses import runs_within_settle
from support.program import Program
from support.runs import HEAD, HIDDEN, outcome


def program(body: str) -> Program:
    """Return a program that runs."""
    return Program(HEAD + textwrap.dedent(body))


def test_nests_and_both_are_ended() -> None:
    body = """
    outer = rc.Run("file")
    INNER = '''
    import os, restart_check as rc, subprocess, sys
    run = rc.Run(None)
    guard = run.guard()
    with run:
        child = subprocess.Popen(["sleep", "1000"])
    print(run.mark, os.getpid(), guard, child.pid, flush=True)
    sys.stdin.readline()
    '''
    import textwrap
    with outer:
        command = [sys.executable, "-c", textwrap.dedent(INNER)]
        inner = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    mark, pid, guard, below = map(int, inner.stdout.readline().split())
    marks = dict(rc.marks())
    say(marks[pid] == outer.mark, marks[below] == mark)
    freeze(guard)
    say(outer.end(), alive(guard), alive(below))
    os.kill(guard, signal.SIGCONT)
    say(rc.wait(guard, float(sys.argv[1])), rc.wait(pid, 0), rc.wait(below, 0))
    """
    assert outcome(body, str(FATAL)) == ["True True", "{} True True", "True True True"]


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN)
def test_finishes_with_all_that_is_below_us(script: str) -> None:
    body = """
    rc.PATIENCE = 0.0  # nobody who is not marked is waited for
    before = sleeper()
    run = new_run()
    run.adopt()
    guard = run.guard()
    with run:
        child = subprocess.Popen(["sh", "-c", sys.argv[1]], stdout=-1, text=True)
    pid = int(child.stdout.readline())
    say(run.finish(), alive(pid), alive(before.pid))
    say(rc.wait(guard, float(sys.argv[2])))
    run.close()
    say(alive(guard), run.guard_pid)
    with open("/proc/thread-self/children") as file:
        say(file.read().split() == [str(before.pid)], rc._subreaper())
    before.kill()
    """
    said = ["{} False True", "True", "False 0", "True False"]
    assert outcome(body, script, str(FATAL)) == said


@pytest.mark.parametrize("was_subreaper", [0, 1])
def test_finishes_and_leaves_its_caller_as_before(was_subreaper: int) -> None:
    body = """
    def state():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        return os.listdir("/proc/self/fd"), mask, rc._subreaper(), os.getcwd()

    rc._subreaper(sys.argv[1] == "1")
    before = state()
    run = new_run()
    run.adopt()
    say(rc._subreaper(), run.guard() == run.guard_pid > 0)
    with run:
        sleeper()
    say(run.finish())
    run.close()
    say(state() == before)
    """
    assert outcome(body, str(was_subreaper)) == ["True True", "{}", "True"]


def test_finishes_although_somebody_is_not_marked() -> None:
    body = """
    rc.PATIENCE = 0.0
    run = new_run()
    run.adopt()
    child = sleeper()
    say(run.finish() == {child.pid: "not marked as ours, and does not end"})
    child.kill()
    """
    assert outcome(body) == ["True"]


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN)
def test_guards_against_sigkill(script: str) -> None:
    body = """
    killed, pid, guard = start(sys.argv[1], "guard")
    killed.wait()
    say(killed.returncode, rc.wait(guard, float(sys.argv[2])), rc.wait(pid, 0))
    say(rc.left(rc.key_of("file")))
    """
    assert outcome(body, script, str(FATAL)) == ["-9 True True", "[]"]


def test_guards_in_place_of_the_one_before() -> None:
    body = """
    run = new_run()
    first = run.guard()
    second = run.guard()
    say(alive(first), alive(second), run.guard_pid == second)
    """
    assert outcome(body) == ["False True True"]


def test_guard_is_quiet() -> None:
    body = """
    killed, pid, guard = start(STAYS, "guard", "wait")
    say(guard)
    signal.pause()
    """
    with program(body) as it:
        guard = int(it.read_line())
        name = Path(f"/proc/{guard}/comm")
        procfs.until(lambda: name.read_text() == "guard\n", "a guard at work")
        procfs.asleep(guard)
        assert set(procfs.descriptors(guard).values()) == {"anon_inode:[pidfd]"}
        catchable = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
        assert procfs.signals(guard, "blocked") >= {int(signum) for signum in catchable}
        os.kill(guard, signal.SIGTERM)
        assert not runs_within_settle(guard)
        assert os.getsid(guard) == guard
        assert os.readlink(f"/proc/{guard}/cwd") == "/"
        # Its call has no timeout: poll's is -1, ppoll's has no address.
        timeout = Path(f"/proc/{guard}/syscall").read_text().split()[3]
        assert int(timeout, 16) in (0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF), timeout


def test_guard_spares_the_next_run() -> None:
    body = """
    killed, pid, guard = start(STAYS, "guard", "wait")
    freeze(guard)
    killed.kill(), killed.wait()
    with new_run():
        child = sleeper()
    say(alive(pid), alive(guard))
    os.kill(guard, signal.SIGCONT)
    say(rc.wait(guard, float(sys.argv[1])), alive(child.pid))
    child.kill()
    """
    assert outcome(body, str(FATAL)) == ["False True", "True True"]


def test_guard_spares_since_marks_are_new() -> None:
    body = """
    marks = []
    for _ in range(40):
        run = new_run()
        marks.append(run.mark)
        run.close()
    say({mark >> rc.RUN_BITS for mark in marks} == {rc.key_of("file")})
    new = [mark % 2**rc.RUN_BITS for mark in marks]
    say(len(set(new)) > 35, max(new) > 2 ** (rc.RUN_BITS - 1))
    """
    assert outcome(body) == ["True", "True True"]
