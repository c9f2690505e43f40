"""stop_tree keeps its promises: who is asked, and who is killed."""

from __future__ import annotations

from signal import SIGKILL, SIGTERM

import pytest
from support.trees import lines

HIDDEN = {
    "a child": "sh -c 'echo $$; exec sleep 1000' & wait",
    "its own session": "setsid sh -c 'echo $$; exec sleep 1000' & wait",
    "an empty environment": "env -i sh -c 'echo $$; exec sleep 1000' & wait",
    "a double fork": "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000",
    "three sessions": "setsid sh -c 'setsid sh -c \"echo 1; exec sleep 1000\" & wait' &"
    "wait",
}


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
    """It takes its time, else a kill that comes at once could come too late."""
    body = """
    tree = python(BLOCKED, READY, f'''
    signal.sigwait([signal.SIGTERM])
    signal.sigtimedwait([signal.SIGUSR1], {SETTLE})
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
