"""The promises of restart_check.py, on processes that are killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest
import restart_check
from support import FATAL, SETTLE, procfs
from support.bosses import runs_within_settle
from support.program import Outcome, Program, run

HEAD = r'''
import os, signal, socket, subprocess, sys, time
import restart_check as rc

open("file", "w").close()

KILLED = """
import os, signal, subprocess, sys
import restart_check as rc
run = rc.Run("file")
below, above = (os.open(os.devnull, os.O_RDONLY) for _ in range(2))
os.close(below)  # the guard's only descriptor gets its number, and has one above it
guard = run.guard() if "guard" in sys.argv[2:] else 0
with run:
    child = subprocess.Popen(["sh", "-c", sys.argv[1]], stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), guard, os.getpid(), flush=True)
if "wait" in sys.argv[2:]:
    sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def start(script, *words):
    """Start a run that starts a script; return it, and who it says that it is."""
    command = [sys.executable, "-c", KILLED, script, *words]
    killed = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    return killed, *map(int, killed.stdout.readline().split()[:2])


def leave(script):
    """Return the pid that a run has left, and that the script has said."""
    killed, pid, _ = start(script)
    killed.wait()
    return pid


def new_run():
    return rc.Run("file")


def say(*words):
    print(*words, flush=True)


def alive(pid):
    return not rc.wait(pid, 0)


def freeze(guard):
    """Stop a guard that is at work: its name is the last that it sets."""
    while open(f"/proc/{guard}/comm").read() != "guard\n":
        os.sched_yield()
    os.kill(guard, signal.SIGSTOP)


def sleeper():
    return subprocess.Popen(["sleep", "1000"])


STAYS = "echo $$; exec sleep 1000"
'''

USAGE = restart_check.HELP.partition("\n")[0]

HIDDEN = {
    "plain": "echo $$; exec sleep 1000",
    "its own session": "setsid sh -c 'echo $$; exec sleep 1000'",
    "an empty environment": "exec env -i sh -c 'echo $$; exec sleep 1000'",
    "a double fork": "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000",
    "another name": "exec sh -c 'echo $$; exec sleep 1000' innocent",
}


def outcome(body: str, *words: str) -> list[str]:
    """Run a program to its end, and return its output; nothing may be left."""
    ended: Outcome = run(HEAD + textwrap.dedent(body), *words)
    assert ended.ended.left == []
    return ended.lines


def program(body: str) -> Program:
    """Return a program that runs."""
    return Program(HEAD + textwrap.dedent(body))


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


def test_removes_what_the_run_calls_its_own() -> None:
    body = """
    for name in ("a.pid", "strange \\udcff"):
        open(name, "w").close()
    server = socket.socket(socket.AF_UNIX)
    server.bind("a.sock")
    rc.Run("file", ["a.pid", "strange \\udcff", "a.sock", "never was"])
    say(sorted(os.listdir()))
    """
    assert outcome(body) == ["['file', 'program.py']"]


def test_removes_names_only() -> None:
    body = """
    os.mkdir("folder")
    os.symlink("file", "link")
    os.symlink("folder", "link to a folder")
    rc.Run(None, ["link", "link to a folder"])
    say(sorted(os.listdir()))
    try:
        rc.Run("file", ["folder"])
    except rc.RunError as error:
        say(error)
        failed = error  # and with it all that its traceback knows
    say(sorted(os.listdir()))
    new_run()  # what has failed does not hold the lock
    """
    left = "['file', 'folder', 'program.py']"
    error = "'folder' is a folder; remove it yourself"
    assert outcome(body) == [left, error, left]


def test_removes_or_says_why_it_can_not() -> None:
    body = """
    try:
        rc.Run("file", ["file/below"])
    except rc.RunError as error:
        say(error)
    """
    assert outcome(body) == ["'file/below' can't be removed: Not a directory"]


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


def test_reports_what_is_left_and_ends_it() -> None:
    body = """
    def report(*words):
        command = [sys.executable, rc.__file__, *words]
        ran = subprocess.run(command, stdout=-1, stderr=subprocess.STDOUT, text=True)
        say(ran.returncode, ran.stdout.strip())

    run = new_run()
    report("file")
    run.close()
    pid = leave(STAYS)
    say(pid)
    report("file")
    report("file", "--end")
    report("file")
    report("no file")
    report("-x", "file")
    """
    running, pid, left, ended, nothing, missing, usage = outcome(body)
    assert re.fullmatch(r"75 file: runs already, pid \d+", running)
    assert left == f"1 {pid} sleep 1000"
    assert ended == f"0 {pid} sleep 1000"
    assert nothing.strip() == "0"
    assert missing == "2 no file: No such file or directory"
    assert usage == "2 usage: python restart_check.py [--end] FILE"


def test_reports_a_limit_that_is_taken() -> None:
    body = """
    import resource
    resource.setrlimit(rc.LOCKS, (5, 5))
    try:
        rc.Run("file")
    except rc.RunError as error:
        say(error)
    """
    said = "the hard limit of file locks is 5, and not unlimited"
    assert outcome(body) == [said]


def test_reports_a_proc_of_another_namespace() -> None:
    body = """
    os.getpid = lambda: 54321
    try:
        rc.Run()
    except rc.RunError as error:
        say(error)
    """
    assert outcome(body) == ["/proc is that of another pid namespace; mount a new one"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--help"], 0, restart_check.HELP),
        ([], 2, USAGE),
        (["file", "file"], 2, USAGE),
        (["--off", "file"], 2, USAGE),
        (["nothing"], 2, "nothing: No such file or directory"),
    ],
    ids=["help", "none", "two", "unknown", "missing"],
)
def test_reports_how_to_use_it(words: list[str], status: int, said: str) -> None:
    told = subprocess.run(
        ["python3", restart_check.__file__, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=FATAL,
        check=False,
    )
    assert (told.returncode, told.stdout) == (status, f"{said}\n")
