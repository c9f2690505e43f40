"""The promises of pid1.py, on real processes, with and without a PID namespace."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from signal import SIGCHLD, SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1

import pytest
from support import FATAL, SETTLE, procfs
from support.bosses import runs_within_settle
from support.killed import needs_strace
from support.program import MODULES, Outcome, Program, environment
from support.reapers import SUBREAPER, as_pid_1

from fatal_signals.inject import Run, every_syscall

PID1 = MODULES / "pid1.py"
FORWARDED = signal.valid_signals() - {SIGKILL, SIGSTOP, SIGCHLD}

LISTENS = """
import os, signal, sys

everything = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
print("ready", os.getpid(), flush=True)
while (signum := signal.sigwait(everything)) != signal.SIGTERM:
    print("got", int(signum), flush=True)
print("got", int(signum), flush=True)
sys.exit(7)
"""
"""Says which signals it gets; SIGTERM is the last one."""


def command(folder: Path, source: str) -> list[str]:
    """Return the command of a Python program of a test."""
    (folder / "command.py").write_text(source)
    return [sys.executable, "command.py"]


def pid1(*words: str, first: str = "") -> list[str]:
    """Return the command of a first process, run after some lines of Python."""
    if not first:
        return [sys.executable, str(PID1), *words]
    lines = f"""
import os, signal, sys
sys.argv = {[str(PID1), *words]!r}
{first}
"""
    return [sys.executable, "-c", lines]


EXEC = "os.execv(sys.executable, [sys.executable, *sys.argv])"
RUN = "exec(open(sys.argv[0]).read())"


def outcome(words: list[str], folder: Path) -> Outcome:
    """Run a command to its end; nothing may be left."""
    with Program(words, cwd=folder) as program:
        ended = program.wait()
        assert ended.left == []
        return Outcome(ended, program.output)


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 7", 7), ("exit 255", 255)]
    + [(f"kill -{n} $$", 128 + n) for n in (1, 9, 15, 64)],
)
def test_status_is_that_of_the_command(
    script: str, status: int, tmp_path: Path
) -> None:
    ended = outcome(pid1("sh", "-c", script), tmp_path)
    assert (ended.code, ended.output) == (status, "")


def test_forwards_all_signals_once_and_only_to_the_command(tmp_path: Path) -> None:
    # The last one is the last for the kernel, too: it delivers the lowest number first.
    words = command(tmp_path, LISTENS.replace("SIGTERM", "SIGRTMAX"))
    with Program(pid1(*words), cwd=tmp_path) as program:
        program.wait_for("ready")
        program.send(SIGCONT)  # alone: a stop signal takes back one that is pending
        assert program.read_line() == f"got {int(SIGCONT)}"
        for signum in sorted(FORWARDED - {SIGCONT}):
            program.send(signum)
        ended = program.wait()
        got = [int(line.removeprefix("got ")) for line in program.lines()]
        assert sorted(got) == sorted(FORWARDED - {SIGCONT})
        assert (ended.code, ended.left) == (7, [])


def test_forwards_to_a_command_that_is_dead_without_harm(tmp_path: Path) -> None:
    """Frozen, it finds the death and the signal in one look."""
    with Program(pid1(*command(tmp_path, LISTENS)), cwd=tmp_path) as program:
        child = int(program.wait_for("ready").split()[1])
        procfs.asleep(program.pid)
        program.send(SIGSTOP)
        procfs.until(lambda: procfs.state(program.pid) == "T", "frozen")
        os.kill(child, SIGKILL)
        procfs.until(lambda: procfs.state(child) == "Z", "a dead command")
        program.send(SIGTERM)
        program.send(SIGCONT)
        assert program.wait().code == 128 + SIGKILL
        assert "Traceback" not in program.output


OF_A_GROUP = """
import os, signal, subprocess, sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
if sys.argv[1:]:
    print("ready", flush=True)
    sys.stdin.read()
    print("inner", len(signal.sigpending()), flush=True)
else:
    inner = subprocess.Popen([sys.executable, __file__, "inner"], stdin=-1)
    signal.sigwait([signal.SIGTERM])
    print("outer 1", flush=True)
    inner.communicate()
"""


@pytest.mark.parametrize(("option", "got"), [("-g", "inner 1"), ("--", "inner 0")])
def test_group_gets_the_signals_if_asked_for(
    option: str, got: str, tmp_path: Path
) -> None:
    words = pid1(option, *command(tmp_path, OF_A_GROUP))
    with Program(words, cwd=tmp_path) as program:
        program.wait_for("ready")
        program.send(SIGTERM)
        assert program.wait().code == 0
        assert program.lines() == ["outer 1", got]


LATE = """
class Late:
    def find_spec(self, name, *_):
        if name == "contextlib":
            os.kill(os.getpid(), signal.SIGTERM)

sys.modules.pop("contextlib", None)
sys.meta_path.insert(0, Late())
"""
LATER = """
spawn = os.posix_spawnp

def late(*words, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    return spawn(*words, **more)

os.posix_spawnp = late
"""


@pytest.mark.parametrize("moment", [LATE, LATER], ids=["imports", "spawn"])
def test_from_the_start_no_signal_is_lost(moment: str, tmp_path: Path) -> None:
    words = command(tmp_path, LISTENS)
    ended = outcome(pid1(*words, first=f"{moment}\n{RUN}"), tmp_path)
    # It can come to the command before its own mask is set, too: then it dies of it.
    assert ended.code in (7, 128 + SIGTERM), ended
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("inside", [False, True])
def test_pid_1_forwards_from_inside_and_outside(inside: bool, tmp_path: Path) -> None:
    words = [*as_pid_1(), *pid1(*command(tmp_path, LISTENS))]
    if inside:
        sends = "os.kill(1, signal.SIGUSR1)\nos.kill(1, signal.SIGTERM)\nwhile ("
        source = LISTENS.replace("while (", sends).replace("getpid", "getppid")
        command(tmp_path, source)
    with Program(words, cwd=tmp_path) as program:
        ready = program.wait_for("ready")
        if inside:
            assert ready == "ready 1"
        else:
            (first,) = procfs.children(program.pid)
            os.kill(first, SIGUSR1)
            os.kill(first, SIGTERM)
        assert program.wait().code == 7
        assert program.lines() == [f"got {int(SIGUSR1)}", f"got {int(SIGTERM)}"]


def test_hears_anyway_what_was_ignored_or_blocked(tmp_path: Path) -> None:
    first = f"""
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
{EXEC}
"""
    words = pid1(*command(tmp_path, LISTENS), first=first)
    with Program(words, cwd=tmp_path) as program:
        program.wait_for("ready")
        program.send(SIGINT)
        program.send(SIGTERM)
        assert program.wait().code == 7
        assert f"got {int(SIGINT)}" in program.output


def test_clean_start_whatever_we_were_given(tmp_path: Path) -> None:
    first = f"""
for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
    signal.signal(signum, signal.SIG_IGN)
{EXEC}
"""
    words = pid1("sh", "-c", "echo ready $$; read line", first=first)
    with Program(words, cwd=tmp_path, terminal=True) as program:
        pid = int(program.wait_for("ready").split()[1])
        assert procfs.signals(pid, "ignored") == set()
        assert procfs.signals(pid, "blocked") == set()
        assert procfs.group(pid) == pid
        program.type("\n")
        assert program.wait().code == 0


ORPHANS = 200
LEAVES_ORPHANS = f"""
import os

for _ in range({ORPHANS}):
    reader, writer = os.pipe()
    if not os.fork():
        os.close(writer)
        if os.fork():
            os._exit(0)
        os.read(reader, 1)  # until the one between us is gone
        os._exit(0)
    os.close(reader)
    os.wait()
    os.close(writer)
"""


def alive(first: int) -> list[int]:
    """Return the children of the first process that are no zombies."""
    return [pid for pid in procfs.children(first) if procfs.state(pid) in "RS"]


@pytest.mark.parametrize("namespace", [False, True])
def test_reaps_whoever_is_left_to_us(namespace: bool, tmp_path: Path) -> None:
    """Without a namespace it is a subreaper, which is the same to an orphan."""
    words = command(tmp_path, LEAVES_ORPHANS + LISTENS)
    subreaper = f"{SUBREAPER}\n{EXEC}"
    words = pid1(*words, first="" if namespace else subreaper)
    if namespace:
        words = [*as_pid_1(), *words]
    with Program(words, cwd=tmp_path) as program:
        program.wait_for("ready")
        first = procfs.children(program.pid)[0] if namespace else program.pid
        procfs.until(lambda: len(alive(first)) == 1, "all orphans dead")
        for _ in range(2):  # when the second arrives, it has looked after the first
            os.kill(first, SIGUSR1)
            program.wait_for("got")
        assert len(procfs.children(first)) == 1
        os.kill(first, SIGTERM)
        assert program.wait().code == 7


COUNTS = """
import os, signal, sys

got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("ready", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
for line in sys.stdin:
    print("interrupted", len(got), flush=True)
"""


def test_terminal_is_the_commands_and_then_ours_again(tmp_path: Path) -> None:
    words = " ".join(pid1(*command(tmp_path, COUNTS)))
    script = f"{words}; echo end; read line; echo read $line"
    with Program(["sh", "-c", script], cwd=tmp_path, terminal=True) as program:
        assert program.wait_for("ready") == "ready True"
        program.type("\x03")
        program.type("a line\n")
        assert program.wait_for("interrupted") == "interrupted 1"
        program.type("\x04")
        program.wait_for("end")
        program.type("ours\n")
        program.wait()
        assert "read ours" in program.output.splitlines()


JOB_CONTROL = """
import os, signal, sys

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, setpgroup=0,
                     setsigdef=[signal.SIGTTOU])
os.tcsetpgrp(0, job)
stopped = os.WIFSTOPPED(os.waitpid(job, os.WUNTRACED)[1])
os.tcsetpgrp(0, os.getpgrp())
print("job", "suspended" if stopped else "ended", flush=True)
sys.stdin.readline()
os.tcsetpgrp(0, job)
os.killpg(job, signal.SIGCONT)
print("ended", os.waitstatus_to_exitcode(os.waitpid(job, 0)[1]), flush=True)
"""
"""A shell with job control, as far as one job needs it."""


def test_suspends_with_the_command_and_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "shell.py").write_text(JOB_CONTROL)
    words = [sys.executable, "shell.py", *pid1(*command(tmp_path, COUNTS))]
    with Program(words, cwd=tmp_path, terminal=True) as program:
        program.wait_for("ready")
        program.type("\x1a")
        assert "suspended" in program.wait_for("job")
        program.type("fg\n")
        program.type("a line\n")
        program.wait_for("interrupted 0")
        program.type("\x04")
        program.wait_for("ended 0")
        assert program.wait().left == []


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("nobody", 127, "no such command"), ("./text", 126, "can't be started")],
)
def test_no_command_is_one_line(
    name: str, status: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "text").write_text("no program\n")
    ended = outcome(pid1(name), tmp_path)
    assert ended.code == status
    assert ended.output.startswith(f"pid1: {name}: ")
    assert words in ended.output
    assert len(ended.lines) == 1


@pytest.mark.parametrize("words", [[], ["-x", "true"], ["--"], ["-g"], [""]], ids=str)
def test_usage_mistake_is_one_line(words: list[str], tmp_path: Path) -> None:
    ended = outcome(pid1(*words), tmp_path)
    assert ended.code == 2
    assert len(ended.lines) == 1
    assert "usage: python pid1.py" in ended.output


def test_usage_is_told_to_those_who_ask(tmp_path: Path) -> None:
    ended = outcome(pid1("--help"), tmp_path)
    assert ended.code == 0
    assert "exit status:" in ended.output


def test_idle_first_process_does_not_run(tmp_path: Path) -> None:
    with Program(pid1(*command(tmp_path, LISTENS)), cwd=tmp_path) as program:
        program.wait_for("ready")
        procfs.asleep(program.pid)
        assert not runs_within_settle(program.pid)
        program.send(SIGTERM)
        assert program.wait().code == 7


OWN_FIRST = "rt_sigprocmask(SIG_BLOCK, ~["
"""In the trace, the first call of pid1's own lines."""


def goes_through(run: Run) -> None:
    """Demand that the signal has gone through to the command, or has found it ended."""
    assert run.status in (7, 128 + SIGTERM), f"{run}\n{run.output}"
    assert not run.left, f"{run}\n{run.output}"
    assert "Traceback" not in run.output


@needs_strace
@pytest.mark.parametrize(
    "most", [6, pytest.param(None, marks=pytest.mark.long, id="all")]
)
def test_from_the_start_no_call_loses_a_signal(most: int, tmp_path: Path) -> None:
    (report,) = every_syscall(
        pid1(*command(tmp_path, LISTENS)),
        goes_through,
        signals=[SIGTERM],
        first=OWN_FIRST,
        cwd=tmp_path,
        env=environment(),
        seconds=FATAL,
        rest=SETTLE,
        patience=FATAL,
        most=most,
    )
    assert report.tried
    assert not report.failures, report.failures
    assert not report.missed
