"""Nothing outlives us: the keeper ends what we started, whatever happens to us."""

import signal
import sys
from pathlib import Path

import pytest
from support import FATAL, ROOT, SETTLE
from support.procfs import descendants, descriptors, signals, state, until
from support.program import Program

from fatal_signals.processes.keeper import KeptCommand

# A daemon: no session of ours, no group of ours, no parent of ours.
DAEMON = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        signal.sigwait([signal.SIGUSR1])
    os._exit(0)
os.wait()
"""


def test_a_daemon_that_is_left_behind_is_named_and_ended() -> None:
    with Program(DAEMON) as program:
        pid = int(program.read_line())
        ended = program.wait()
        assert ended.code == 0
        assert [line for line in ended.left if f"pid {pid} " in line]
    assert state(pid) == ""


def test_what_runs_is_ended_when_the_one_who_started_it_is_killed() -> None:
    starter = f"""
    import signal, sys
    sys.path.insert(0, {str(ROOT)!r})
    from fatal_signals.processes.keeper import KeptCommand
    sleepers = ["sh", "-c", "sleep 1000 & setsid sleep 1000 & wait"]
    kept = KeptCommand(sleepers, seconds={FATAL}, settle={FATAL}, stdout=1, stderr=1)
    print(kept.keeper, flush=True)
    signal.pause()
    """
    # Under a keeper of its own, which must not be what ends the orphans: we look at
    # the inner keeper, and that one ends only after all that is below it.
    with Program(starter) as program:
        inner = int(program.read_line())
        until(lambda: len(descendants(inner)) == 3, "the shell and two children")
        program.send(signal.SIGKILL)
        until(lambda: state(inner) in ("", "Z"), "the inner keeper gone")
        assert descendants(inner) == []


def test_a_command_that_hangs_is_ended() -> None:
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with KeptCommand(command, seconds=SETTLE, settle=SETTLE) as kept:
        ended = kept.wait()
    assert ended.overdue
    assert "hung" in str(ended)


def test_a_command_starts_clean() -> None:
    with Program("import signal; print(flush=True); signal.pause()") as program:
        program.read_line()
        assert signals(program.pid, "blocked") == set()
        # Python itself ignores these two.
        assert signals(program.pid, "ignored") == {signal.SIGPIPE, signal.SIGXFSZ}
        assert descriptors(program.pid).keys() == {0, 1, 2}


def test_a_missing_command_is_an_error_of_the_one_who_starts(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-command"):
        KeptCommand([str(tmp_path / "no-such-command")], seconds=SETTLE, settle=SETTLE)
