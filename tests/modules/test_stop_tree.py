"""The promises of stop_tree.py, on families that do not want to end."""

from __future__ import annotations

import textwrap
from signal import SIGINT, SIGKILL, SIGSEGV, SIGTERM, SIGUSR1

import pytest
from support import FATAL, SETTLE, procfs
from support.program import Program, run

HEAD = f"""
import gc, math, os, select, signal, subprocess, sys, textwrap, threading
from signal import SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1
import stop_tree
from stop_tree import Tree

FATAL, SETTLE = {FATAL}, {SETTLE}
STAYS = "echo $$; exec sleep 1000"
DEAF = "trap '' TERM; " + STAYS


def say(*words):
    print(*words, flush=True)


def tree_of(*command, **options):
    return Tree([*command], stdout=subprocess.PIPE, text=True, **options)


def start(script, **options):
    \"\"\"Start a shell script; return the tree, and the pid that it has said.\"\"\"
    tree = tree_of("sh", "-c", script, **options)
    return tree, int(tree.stdout.readline())


def python(*texts, **options):
    \"\"\"Start a Python program, which says when it is ready.\"\"\"
    text = "\\n".join(map(textwrap.dedent, ("import os, signal", *texts)))
    tree = tree_of(sys.executable, "-c", text, **options)
    tree.stdout.readline()
    return tree


BLOCKED = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])"
READY = "print('ready', flush=True)"


def rest(tree):
    \"\"\"Return what a tree has said, or None if somebody holds its output still.\"\"\"
    said = b""
    while select.select([tree.stdout], [], [], 0)[0]:
        if not (data := os.read(tree.stdout.fileno(), 4096)):
            return said.decode()
        said += data
    return None


def state(pid):
    with open(f"/proc/{{pid}}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def freeze(pid, send):
    send(SIGSTOP)
    while state(pid) != "T":
        os.sched_yield()
"""

HIDDEN = {
    "a child": "sh -c 'echo $$; exec sleep 1000' & wait",
    "its own session": "setsid sh -c 'echo $$; exec sleep 1000' & wait",
    "an empty environment": "env -i sh -c 'echo $$; exec sleep 1000' & wait",
    "a double fork": "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000",
    "three sessions": "setsid sh -c 'setsid sh -c \"echo 1; exec sleep 1000\" & wait' &"
    "wait",
}


def lines(body: str, *words: str) -> list[str]:
    """Run a program to its end, and return its output; nothing may be left."""
    ended = run(HEAD + textwrap.dedent(body), *words)
    assert ended.ended.left == [], ended
    return ended.lines


def program(body: str, *, terminal: bool = False) -> Program:
    """Return a program that runs."""
    return Program(HEAD + textwrap.dedent(body), terminal=terminal)


def test_asks_the_command_and_nobody_else() -> None:
    body = """
    tree = python(BLOCKED, '''
    pid = os.fork()
    if not pid:
        signal.pause()  # SIGTERM would wait
    print('ready', flush=True)
    signal.sigwait([signal.SIGTERM])
    with open(f"/proc/{pid}/status") as file:
        print(*[line for line in file if line.startswith("ShdPnd")], flush=True)
    ''')
    say(tree.stop().status, rest(tree).split())
    """
    assert lines(body) == ["0 ['ShdPnd:', '0000000000000000']"]


@pytest.mark.parametrize(
    "freeze",
    [
        "freeze(pid, tree.send_signal)",
        "freeze(tree.pid, lambda s: os.kill(tree.pid,s))",
    ],
)
def test_asks_and_wakes_the_frozen(freeze: str) -> None:
    body = f"""
    tree, pid = start("trap 'exit 3' TERM; echo $$; read never", stdin=subprocess.PIPE)
    {freeze}
    say(tree.stop(FATAL))
    """
    assert lines(body) == ["Ended(status=3, killed=0, survivors={})"]


def test_waits_for_who_ends_within_the_grace() -> None:
    body = """
    tree = python(BLOCKED, READY, '''
    signal.sigwait([signal.SIGTERM])
    print("saved", flush=True)
    os._exit(4)
    ''')
    say(*tree.stop(FATAL), rest(tree))
    """
    assert lines(body) == ["4 0 {} saved", ""]


@pytest.mark.parametrize("how", ["", "freeze(pid, tree.send_signal)"])
def test_kills_when_the_grace_is_over(how: str) -> None:
    body = f"""
    tree, pid = start(DEAF)
    {how}
    say(tree.stop(SETTLE), repr(rest(tree)))
    """
    assert lines(body) == [f"Ended(status={-SIGKILL}, killed=1, survivors={{}}) ''"]


@pytest.mark.parametrize("script", HIDDEN.values(), ids=HIDDEN)
def test_finds_whatever_it_has_done_to_get_away(script: str) -> None:
    body = """
    tree, _ = start(sys.argv[1])
    ended = tree.stop(FATAL)
    say(ended.status, ended.killed > 0, ended.survivors, repr(rest(tree)))
    """
    assert lines(body, script) == [f"{-SIGTERM} True {{}} ''"]


def test_meanwhile_started_is_killed_too() -> None:
    """Each one's death makes its child start another."""
    body = """
    tree = python(BLOCKED, '''
    for generation in range(50):
        reader, writer = os.pipe()
        if os.fork():
            signal.pause()
        os.close(writer)
        if not generation:
            print("ready", flush=True)
        os.read(reader, 1)  # until the parent is dead
    signal.pause()
    ''')
    ended = tree.stop(0)
    say(ended.killed > 1, ended.survivors, repr(rest(tree)))
    """
    assert lines(body) == ["True {} ''"]


def test_left_behind_is_killed_when_the_command_ends() -> None:
    body = """
    tree, _ = start("sleep 1000 & setsid sleep 1000 & echo $$; exit 3")
    say(tree.wait(), repr(rest(tree)), tree.stop())
    """
    ended = "Ended(status=3, killed=2, survivors={})"
    assert lines(body) == [f"3 '' {ended}"]


def test_spares_the_caller_and_all_beside_it() -> None:
    """A member of the tree joins the caller's group, and another child stands by."""
    body = """
    signal.signal(SIGTERM, lambda *_: say("hit"))
    child = subprocess.Popen(["sleep", "1000"])
    other, _ = start(STAYS)
    tree = python('''
    os.setpgid(0, int(os.environ["GROUP"]))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("ready", flush=True)
    signal.pause()
    ''', env={"GROUP": str(os.getpgrp())})
    say(tree.stop(0).status, child.poll(), other.poll())
    child.kill()
    say(other.stop().status)
    """
    assert lines(body) == [f"{-SIGKILL} None None", str(-SIGTERM)]


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


def test_no_ctrl_c_for_the_command() -> None:
    """Of two signals that wait the kernel takes the lower number, SIGINT, first."""
    body = """
    tree, _ = start(STAYS)
    signal.signal(SIGINT, lambda *_: None)
    say("ready")
    signal.pause()
    say(tree.stop())
    """
    with program(body, terminal=True) as it:
        it.wait_for("ready")
        procfs.asleep(it.pid)
        it.type("\x03")
        assert "status=-15, killed=0" in it.wait_for("Ended"), it.report()


def test_clean_start_whatever_the_caller_has_set() -> None:
    body = """
    for signum in (SIGINT, SIGUSR1, SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [SIGTERM, signal.SIGALRM])
    reader, writer = os.pipe()
    with tree_of("cat", "/proc/self/status") as tree:
        facts = [line.split() for line in tree.stdout if line.startswith("Sig")]
    internal = 0b11 << 31  # glibc keeps two signals for itself
    bits = {key: int(value, 16) & ~internal for key, value in facts if "/" not in value}
    say(bits["SigBlk:"], bits["SigIgn:"])
    with tree_of("ls", "/proc/self/fd", pass_fds=[writer]) as tree:
        descriptors = tree.stdout.read().split()
    say(len(descriptors), str(writer) in descriptors)  # one is the folder itself
    """
    assert lines(body) == ["0 0", "5 True"]


@pytest.mark.parametrize("way", ["tree.send_signal", "partial(os.kill, tree.pid)"])
def test_passes_on_other_signals(way: str) -> None:
    body = f"""
    from functools import partial

    tree = python(BLOCKED, READY, '''
    while True:
        print(signal.sigwait([signal.SIGTERM, signal.SIGUSR1]).name, flush=True)
    ''')
    send = {way}
    send(SIGUSR1)
    send(SIGTERM)
    say(tree.stdout.readline())
    tree.kill()
    say(tree.wait())
    """
    assert lines(body) == [SIGUSR1.name, "", str(-SIGKILL)]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("nope", "FileNotFoundError(2, 'No such file or directory') nope"),
        ("/", "PermissionError(13, 'Permission denied') /"),
    ],
)
def test_no_command_is_the_error_of_popen(command: str, error: str) -> None:
    body = """
    for kind in subprocess.Popen, Tree:
        try:
            kind([sys.argv[1], "argument"])
        except OSError as error:
            say(repr(error), error.filename)
    try:
        os.wait()
    except ChildProcessError:
        say("nobody left")
    """
    assert lines(body, command) == [error, error, "nobody left"]


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


def test_refuses_what_makes_no_sense() -> None:
    body = """
    tree, _ = start(STAYS)
    for words in [-1], [math.nan], [math.inf], [1, 0], [1, 99]:
        try:
            tree.stop(*words)
        except ValueError as error:
            say(error)
    say(tree.poll(), tree.stop().status)
    for command, options in ("true", {}), ([], {}), (["true"], {"shell": True}):
        try:
            Tree(command, **options)
        except TypeError as error:
            say(error)
    """
    assert lines(body) == [
        "a grace is 0 s or more and below a day, not -1 s",
        "a grace is 0 s or more and below a day, not nan s",
        "a grace is 0 s or more and below a day, not inf s",
        "there is no signal 0",
        "there is no signal 99",
        f"None {-SIGTERM}",
        *[
            "a Tree takes a list, such as ['sh', '-c', text], "
            "and no executable, preexec_fn, shell"
        ]
        * 3,
    ]


def test_elsewhere_it_is_one_clear_error() -> None:
    body = """
    sys.platform = "darwin"
    try:
        Tree(["true"])
    except NotImplementedError as error:
        say(error)
    """
    assert lines(body) == ["stop_tree needs Linux: a child subreaper"]
