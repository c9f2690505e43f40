"""stop_tree keeps its promises: how the command starts."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM, SIGUSR1

import pytest
from support import procfs
from support.trees import lines, program


def test_no_ctrl_c_for_the_command() -> None:
    """Our own stop comes only when a Ctrl-C for the command would have ended it."""
    body = """
    tree, _ = start(STAYS)
    signal.signal(SIGINT, lambda *_: None)
    say("ready")
    signal.pause()
    signal.sigtimedwait([SIGUSR1], SETTLE)
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
