"""restart_check keeps its promises: the look before a start."""

from __future__ import annotations

import re

import pytest
from support import SETTLE
from support.runs import HIDDEN, outcome


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN)
def test_finds_whatever_it_has_done_to_hide(script: str) -> None:
    body = """
    pid = leave(sys.argv[1])
    found = rc.left(rc.key_of("file"))
    say(pid in found)
    rc.end(lambda mark: mark >> rc.RUN_BITS == rc.key_of("file"))
    for pid in found:  # in a test only: whose double is dead is a zombie of its keeper
        say(alive(pid))
    """
    found, *still_alive = outcome(body, script)
    assert found == "True"
    assert set(still_alive) == {"False"}


def test_spares_who_is_not_marked_and_other_runs() -> None:
    body = """
    open("other", "w").close()
    double = sleeper()
    with rc.Run("other"):
        other = sleeper()
    pid = leave(STAYS)
    say(rc.left(rc.key_of("file")) == [pid])
    with new_run():
        say(alive(pid), alive(double.pid), alive(other.pid))
    double.kill(), other.kill()
    """
    assert outcome(body) == ["True", "False True True"]


def test_spares_runs_of_any_other_file() -> None:
    body = """
    names = [f"{number:x}" for number in range(1000)]
    for name in names:
        open(name, "w").close()
    keys = {rc.key_of(name) for name in names}
    say(len(keys), max(keys) < 2**40, max(keys) > 2**39)
    """
    assert outcome(body) == ["1000 True True"]


def test_spares_who_has_got_the_number_since() -> None:
    body = """
    key = rc.key_of("file")
    stranger = sleeper()
    # A look at a leftover that dies, before its number is given to the stranger.
    looks = [[(stranger.pid, key << rc.RUN_BITS)], [], []]
    rc.marks = lambda: iter(looks.pop(0))
    say(rc.end(lambda mark: mark >> rc.RUN_BITS == key), alive(stranger.pid), looks)
    stranger.kill()
    """
    assert outcome(body) == ["{} True [[]]"]


def test_spares_the_caller_who_is_a_leftover_itself() -> None:
    body = """
    run = rc.Run()
    with run:
        say(run.end())
    """
    assert outcome(body) == ["{}"]


def test_ends_what_is_started_meanwhile() -> None:
    body = """
    run = new_run()
    with run:
        children = [sleeper()]
    look = rc.marks

    def look_that_misses_one():
        yield from list(look())
        if len(children) < 3:
            with run:
                children.append(sleeper())

    rc.marks = look_that_misses_one
    say(run.end(), [alive(child.pid) for child in children])
    """
    assert outcome(body) == ["{} [False, False, False]"]


def test_names_survivors_that_we_may_not_kill() -> None:
    body = """
    run = rc.Run("file")
    with run:
        survivor = sleeper()

    def refuse(*_):
        raise PermissionError(1, "")

    send, signal.pidfd_send_signal = signal.pidfd_send_signal, refuse
    try:
        say(run.end() == {survivor.pid: "Operation not permitted"})
        run.close()
        new_run()
    except rc.RunError as error:
        say(error)
        print(survivor.pid)
    new = run.end
    signal.pidfd_send_signal = lambda *_: None
    began, patience = time.monotonic(), float(sys.argv[1])
    say(rc.end(lambda mark: mark == run.mark, patience))
    say(time.monotonic() - began >= patience)
    survivor.kill()
    """
    first, error, pid, late, waited = outcome(body, str(SETTLE))
    assert first == "True"
    assert (
        error == f"pid {pid} of an earlier run can't be ended: Operation not permitted"
    )
    assert late == f"{{{pid}: 'SIGKILL has not ended it'}}"
    assert waited == "True"


def test_one_at_a_time_and_the_second_says_who_is_the_first() -> None:
    body = """
    run = new_run()
    with run:
        child = sleeper()
    os.symlink("file", "link")
    again = [sys.executable, "-c", "import restart_check as rc; rc.Run('link')"]
    words = subprocess.run(again, stderr=subprocess.PIPE, text=True).stderr
    say(words.rpartition("Error: ")[2].strip(), "by", os.getpid(), alive(child.pid))
    run.close()
    say(subprocess.run(again).returncode, alive(child.pid))
    """
    said = "\n".join(outcome(body))
    assert re.fullmatch(r"runs already, pid (\d+) by \1 True\n0 False", said)


def test_one_at_a_time_and_the_first_does_not_answer() -> None:
    body = """
    first = socket.socket(socket.AF_UNIX)
    first.bind(f"\\0fatal-signals/{os.getuid()}/{rc.key_of('file'):x}")
    try:
        new_run()
    except rc.RunError as error:
        say(error)
    """
    error = "is being started or ended by somebody else; try again"
    assert outcome(body) == [error]


def test_not_held_by_the_dead_nor_by_what_they_leave() -> None:
    body = """
    pid = leave(STAYS)
    say(alive(pid))
    new_run()
    say(alive(pid))
    """
    assert outcome(body) == ["True", "False"]


def test_squatter_is_told_from_a_run() -> None:
    body = """
    os.getuid = lambda: 54321  # and in truth we are root, or somebody else again
    SQUAT = '''
    import os, sys, restart_check as rc
    os.getuid() or os.setuid(65534)
    us, os.getuid = os.getuid(), lambda: 54321
    lock = rc._hold(int(sys.argv[1]))
    print(os.getpid(), us, flush=True)
    sys.stdin.readline()
    '''
    import textwrap
    command = [sys.executable, "-c", textwrap.dedent(SQUAT), str(rc.key_of("file"))]
    squatter = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    say(squatter.stdout.readline().strip())
    try:
        new_run()
    except rc.RunError as error:
        say(error)
    squatter.communicate()
    """
    squatter, error = outcome(body)
    pid, uid = squatter.split()
    said = f"its lock is held by another user's process, pid {pid}, uid {uid}"
    assert error == said


def test_unmarks_after_the_start() -> None:
    body = """
    run = new_run()
    before = sleeper()
    with run:
        ours = sleeper()
    after = sleeper()
    marks = dict(rc.marks())
    say(marks.get(ours.pid) == run.mark, before.pid in marks, after.pid in marks)
    say(os.getpid() in marks)
    for child in (before, ours, after):
        child.kill()
    """
    assert outcome(body) == ["True False False", "False"]
