"""stop_tree keeps its promises: the block around a tree, and the status."""

from __future__ import annotations

import textwrap
from signal import SIGINT, SIGKILL, SIGSEGV, SIGTERM

import pytest
from support import FATAL, procfs
from support.program import run
from support.trees import HEAD, lines, program


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        *((f"kill -{n} $$", -n) for n in (SIGINT, SIGTERM, SIGKILL, SIGSEGV)),
    ],
)
def test_status_is_that_of_the_command(end: str, status: int) -> None:
    body = """
    tree, _ = start("ulimit -c 0; echo $$; " + sys.argv[1])
    say(tree.wait(), tree.returncode, tree.stop(), tree.args)
    """
    args = ["sh", "-c", f"ulimit -c 0; echo $$; {end}"]
    ended = f"Ended(status={status}, killed=0, survivors={{}})"
    assert lines(body, end) == [f"{status} {status} {ended} {args}"]


INTERRUPTED = """
    tree, pid = start(DEAF)
    signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
    asked = Tree.send_signal

    def ask(self, signum):
        asked(self, signum)
        say("asked", signum)

    Tree.send_signal = ask
    try:
        tree.stop(FATAL)
    except (KeyboardInterrupt, ZeroDivisionError) as error:
        say(type(error).__name__, tree.returncode, repr(rest(tree)))
"""


@pytest.mark.parametrize(
    ("name", "error"),
    [("SIGINT", "KeyboardInterrupt"), ("SIGALRM", "ZeroDivisionError")],
)
def test_interrupted_it_kills_at_once(name: str, error: str) -> None:
    with program(INTERRUPTED) as it:
        it.wait_for("asked 18")
        procfs.asleep(it.pid)
        it.send({"SIGINT": 2, "SIGALRM": 14}[name])
        it.wait()
        last = f"{error} {-SIGKILL} ''"
        assert it.lines()[-1:] == [last], it.report()


@pytest.mark.parametrize("who", ["os.fdopen(reader)", "reader", "StopWakeup"])
def test_hurry_ends_the_grace(who: str) -> None:
    """It would end by itself in a while, and with another status."""
    body = f"""
    from wakeup_fd import StopWakeup

    slow = f"trap 'sleep {FATAL / 20}; exit 7' TERM; echo $$; while :; do read a; done"
    reader, writer = os.pipe()
    os.write(writer, b"!")
    tree, _ = start(slow, stdin=subprocess.PIPE)
    with StopWakeup() as stop:
        signal.raise_signal(SIGTERM)
        who = stop if {who!r} == "StopWakeup" else {who.replace("StopWakeup", "None")}
        say(tree.stop(FATAL, hurry=who).status)
    """
    assert lines(body) == [str(-SIGKILL)]


def test_block_left_by_an_exception_stops_the_tree() -> None:
    body = """
    try:
        with start(STAYS)[0] as tree:
            1 / 0
    except ZeroDivisionError:
        say(tree.returncode, tree.stdout.closed)
    """
    assert lines(body) == [f"{-SIGTERM} True"]


def test_block_interrupted_while_it_waits_stops_the_tree() -> None:
    body = """
    try:
        with start(STAYS)[0] as tree:
            tree.stdout.close()
            say("waits")
    except KeyboardInterrupt:
        say(tree.returncode)
    """
    with program(body) as it:
        it.wait_for("waits")
        procfs.asleep(it.pid)
        it.send(SIGINT)
        it.wait()
        assert it.lines() == [str(-SIGTERM)]


def test_block_waits_as_popen_does() -> None:
    body = """
    with start("echo $$; exit 3")[0] as tree:
        pass
    say(tree.returncode)
    """
    assert lines(body) == ["3"]


LOST = {
    "killed": "os.kill(os.getpid(), SIGKILL)",
    "with a fork that lives on": "os.fork() and os.kill(os.getpid(), SIGKILL)",
    "out of reach": "del tree; gc.collect()",
}


@pytest.mark.parametrize("how", LOST.values(), ids=LOST)
def test_leash_ends_it_when_the_caller_is_lost(how: str) -> None:
    """Whoever holds the keeper's pidfd knows when the keeper is done."""
    body = """
    import warnings

    warnings.simplefilter("ignore", ResourceWarning)
    held, writer = os.pipe()
    told, teller = os.pipe()
    go, goer = os.pipe()
    caller = os.fork()
    if not caller:
        os.close(held)
        tree, _ = start(DEAF, pass_fds=[writer])
        os.close(writer)
        os.write(teller, str(tree.pid).encode())
        os.read(go, 1)
        exec(sys.argv[1])
        signal.pause()
    os.close(writer)
    pidfd = os.pidfd_open(int(os.read(told, 9)))
    os.write(goer, b"!")
    select.select([pidfd], [], [])
    # The fork that lives on has closed its copy of the writer as well.
    os.set_blocking(held, False)
    say(os.read(held, 1))  # the end, since nobody holds it any more
    """
    ended = run(HEAD + textwrap.dedent(body), how)
    assert ended.lines == ["b''"]


def test_nests_a_tree_in_a_tree() -> None:
    body = """
    tree = python('''
    from stop_tree import Tree
    tree = Tree(["sh", "-c", "trap '' TERM; setsid sleep 1000 & echo; sleep 1000"])
    signal.pause()
    ''')
    ended = tree.stop(FATAL)
    say(ended.status, ended.survivors, repr(rest(tree)))
    """
    assert lines(body) == [f"{-SIGTERM} {{}} ''"]


@pytest.mark.parametrize(
    ("kill", "reason"),
    [
        ("raise PermissionError(1, '')", "Operation not permitted"),
        ("pass", "SIGKILL has not ended it"),
    ],
)
def test_names_survivors_with_the_reason(kill: str, reason: str) -> None:
    """Played by a keeper whose SIGKILL does nothing, and that has no patience."""
    body = """
    with open(stop_tree.KEEPER) as file:
        text = file.read()
    with open("keeper.py", "w") as file:
        assert "PATIENCE = 10.0" in text
        text = text.replace("PATIENCE = 10.0", "PATIENCE = 0.0")
        print("import os, signal", file=file)
        print("def kill(pid, signum, kill=os.kill):", file=file)
        print("    if signum != signal.SIGKILL: return kill(pid, signum)", file=file)
        print("   ", sys.argv[1], file=file)
        print("os.kill = kill", file=file)
        print(f"exec({text!r})", file=file)
    stop_tree.KEEPER = os.path.abspath("keeper.py")
    tree, pid = start(DEAF)
    ended = tree.stop(0)
    say(ended.status, ended.survivors == {pid: sys.argv[2]})
    os.kill(pid, SIGKILL)
    tree.stdout.read()
    """
    assert run(HEAD + textwrap.dedent(body), kill, reason).lines == ["125 True"]


def test_keeper_killed_is_an_error() -> None:
    body = """
    tree, pid = start(STAYS)
    os.kill(tree.pid, SIGKILL)
    try:
        tree.stop()
    except RuntimeError as error:
        say(error)
    os.kill(pid, SIGKILL)
    tree.stdout.read()
    """
    words = "the keeper was killed; what was below it may run on"
    assert run(HEAD + textwrap.dedent(body)).lines == [words]


def test_threads_side_by_side() -> None:
    body = """
    ends = []

    def work():
        tree, _ = start(HIDDEN)
        ends.append((*tree.stop(), rest(tree)))

    HIDDEN = "setsid sleep 1000 & " + STAYS
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(len(ends), set((status, killed, said) for status, killed, _, said in ends))
    """
    assert lines(body) == [f"8 {{({-SIGTERM}, 1, '')}}"]


def test_threads_that_end_take_nothing_with_them() -> None:
    """The kernel tells the keeper; a later signal of a higher number comes after."""
    body = """
    trees = []
    text = '''
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
    print("ready", flush=True)
    signal.sigwait([signal.SIGRTMIN])
    print("alive", flush=True)
    signal.pause()
    '''
    thread = threading.Thread(target=lambda: trees.append(python(text)))
    thread.start()
    thread.join()
    while len(os.listdir("/proc/self/task")) > 1:
        os.sched_yield()
    (tree,) = trees
    os.kill(tree.pid, signal.SIGRTMIN)
    say(tree.stdout.readline().strip(), tree.stop().status)
    """
    assert lines(body) == [f"alive {-SIGTERM}"]
