"""The boss keeps its promises: what it uses, and what it gives back."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import procfs
from support.bosses import (
    BOSS,
    LONG_GRACE,
    boss_of,
    child,
    died_of,
    guard_at_work,
    library,
    runs_within_settle,
)
from support.program import Program

BROKEN_LOGS = {
    "closed": "os.close(2)",
    "broken": "r, w = os.pipe(); os.dup2(w, 2); os.close(r); os.close(w)",
    "full": """
r, w = os.pipe()
os.dup2(w, 2)
os.set_inheritable(r, True)
os.set_blocking(w, False)
try:
    while True:
        os.write(w, bytes(4096))
except BlockingIOError:
    os.set_blocking(w, True)
""",
}


def test_idle_boss_does_not_run_at_all(tmp_path: Path) -> None:
    with boss_of(tmp_path, *[child(f"n{number}") for number in range(10)]) as program:
        program.wait_for("all-started")
        procfs.asleep(program.pid)
        guard = guard_at_work(program.pid)

        assert not runs_within_settle(program.pid)
        assert not runs_within_settle(guard)


def last_line(file: Path) -> str:
    """Return what comes after the last end of a line: in a trace, an unended call."""
    return file.read_text().rpartition("\n")[2]


def test_idle_boss_makes_no_system_call(tmp_path: Path) -> None:
    strace = ["strace", "-o", "trace"]
    if shutil.which("strace") is None or subprocess.call(
        [*strace, "true"], cwd=tmp_path, stderr=subprocess.DEVNULL
    ):
        pytest.skip("no trace: strace is missing, or ptrace is not allowed here")
    (tmp_path / "boss.toml").write_text("\n".join(child(f"n{n}") for n in range(10)))
    command = [*strace, sys.executable, str(BOSS), "boss.toml"]
    with Program(command, cwd=tmp_path) as program:
        program.wait_for("all-started")
        (boss,) = procfs.children(program.pid)
        trace = tmp_path / "trace"
        procfs.until(lambda: "POLLIN}" in last_line(trace), "a boss that waits")
        procfs.asleep(boss)  # strace has written of a call that is still to begin
        before = trace.read_text()
        assert not runs_within_settle(boss)

        assert trace.read_text() == before
        os.kill(boss, signal.SIGTERM)
        program.wait_for("boss ended")


@pytest.mark.parametrize("log", BROKEN_LOGS)
def test_log_is_no_leash(log: str, tmp_path: Path) -> None:
    stop_the_boss = ["sh", "-c", "kill -TERM $PPID; exec sleep 1000"]
    table = child("a", command=stop_the_boss)
    with boss_of(tmp_path, table, first=BROKEN_LOGS[log]) as program:
        assert died_of(program.wait(), signal.SIGTERM)


GIVES_BACK = """
    import os, resource, signal, sys, boss, restart_check

    def stop(*_):
        pass

    def world():
        handlers = [signal.getsignal(n) for n in (2, 15, 17)]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        wakeup = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(wakeup)
        fds = os.listdir("/proc/self/fd")
        limits = resource.getrlimit(10)
        parent = restart_check._subreaper()
        return handlers, mask, wakeup, fds, os.getcwd(), limits, parent

    class Fails(boss.Boss):
        def look(self):
            raise OSError("on purpose")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    pair = os.pipe()
    os.set_blocking(pair[1], False)
    signal.set_wakeup_fd(pair[1])
    before = world()
    boss.Boss(boss.load(sys.argv[1])).run()
    print("same" if world() == before else (before, world()))
    try:
        Fails(boss.load(sys.argv[1])).run()
    except OSError:
        print("same" if world() == before else (before, world()))
"""


def test_gives_back_all_that_it_took(tmp_path: Path) -> None:
    table = child("a", "exit=0", restart="never", cwd="/")
    with library(tmp_path, GIVES_BACK, table) as program:
        program.wait()

        said = [line for line in program.output.splitlines() if "boss " not in line]
        assert said == ["same", "same"]


def test_no_child_left_by_an_exception(tmp_path: Path) -> None:
    source = """
        import sys, boss

        class Fails(boss.Boss):
            def look(self):
                raise OSError("on purpose")

        try:
            Fails(boss.load(sys.argv[1])).run()
        except OSError as error:
            with open("/proc/thread-self/children") as file:
                print(error, file.read().split())
    """
    tables = child("a", "stubborn", grace=LONG_GRACE), child("b", "exit=0")
    with library(tmp_path, source, *tables) as program:
        program.wait()

        assert program.output.endswith("on purpose []\n")


def test_main_thread_only(tmp_path: Path) -> None:
    source = """
        import signal, sys, threading, boss

        def run():
            try:
                boss.Boss(boss.load(sys.argv[1])).run()
            except RuntimeError as error:
                print(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
    """
    with library(tmp_path, source, child("a")) as program:
        program.wait()

        words = "Python sets handlers in the main thread: run there\nTrue\n"
        assert program.output == words
