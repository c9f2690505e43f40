"""A signal at every system call, from outside: what is found, missed, said, left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support import FATAL, ROOT, SETTLE, companions, procfs, unguarded
from support.bosses import BOSS, child_program
from support.killed import (
    BRIEF,
    FORKS,
    HANGS,
    needs_strace,
    nothing_outlives,
    sweep_boss,
    write_family,
)
from support.program import Program, environment

from fatal_signals.inject import InjectionError, Report, Run
from fatal_signals.inject.strace_log import read_log
from fatal_signals.inject.syscalls import every_syscall, killed, stopped
from fatal_signals.processes.clocks import GLANCE

pytestmark = pytest.mark.scattered

RESTART_CHECK = BOSS.with_name("restart_check.py")
TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
BARE = (sys.executable, "-I", "-S", "-c")
"""An interpreter whose start-up makes as few calls as it can."""


def source(text: str) -> list[str]:
    """Return a command that runs Python source, with two modules imported."""
    return [*BARE, f"import os, signal\n{textwrap.dedent(text)}"]


def verdicts(report: Report) -> dict[str, str]:
    """Return each point's verdict."""
    return {tried.point.number: tried.verdict for tried in report}


def forks(report: Report) -> dict[str, str]:
    """Return the verdicts for the calls that make a process, whatever their names."""
    calls = verdicts(report).items()
    return {
        number.lstrip("clonevfrk3"): verdict
        for number, verdict in calls
        if number.startswith(("clone", "fork", "vfork"))
    }


# How a trace is read


def test_calls_are_counted_by_thread_and_name_as_strace_does() -> None:
    log = textwrap.dedent("""\
        7 1.000001 execve("/bin/sh", ["sh"], 0x7 /* 1 var */) = 0
        7 1.1 write(1, "2.5 read(", 9)          = 9
        7 1.2 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>
        8 1.3 execve("/bin/true", ["true"], 0x7 <unfinished ...>
        7 1.4 <... clone resumed>)              = 8
        8 1.5 <... execve resumed>)             = 0
        7 1.6 wait4(-1,  <unfinished ...>
        8 1.7 exit_group(0)                     = ?
        8 1.8 +++ exited with 0 +++
        7 1.9 <... wait4 resumed>0x7, 0, NULL)  = ? ERESTARTSYS (To be restarted)
        7 2.0 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=1, si_uid=0} ---
        7 2.1 restart_syscall(<... resuming interrupted wait4 ...>) = 8
        7 2.2 write(1, "", 0) = 0
        7 2.3 write(1, "half a line""")
    assert [(call.thread, call.name, call.nth, call.at) for call in read_log(log)] == [
        (7, "execve", 0, 1.000001),
        (7, "write", 1, 1.1),
        (7, "clone", 1, 1.2),
        (8, "execve", 1, 1.3),
        (7, "wait4", 1, 1.6),
        (8, "exit_group", 1, 1.7),
        (7, "restart_syscall", 1, 2.1),
        (7, "write", 2, 2.2),
        (7, "write", 3, 2.3),
    ]


# What is found

GOOD = """
    import sys, time
    sys.path.insert(0, REFERENCE)
    from flag_handler import StopFlag
    with StopFlag() as stop:
        os.write(1, b"ready")
        while not stop:
            time.sleep(GLANCE)
"""


@needs_strace
@pytest.mark.parametrize("signum", [TERM, INT])
def test_a_program_that_stops_well_is_kept_at_every_call(signum: int) -> None:
    reference = repr(str(ROOT / "reference"))
    good = GOOD.replace("REFERENCE", reference).replace("GLANCE", str(GLANCE))
    (report,) = every_syscall(
        source(good),
        signals=[signum],
        first='"ready"',
        ready="ready",
        seconds=FATAL,
        most=5,
    )
    assert report.tried
    assert not report.failures, report.failures


@needs_strace
def test_a_stop_that_is_lost_before_a_wait_hangs_and_is_not_helped() -> None:
    lost = source("""
        got = []
        signal.signal(signal.SIGTERM, lambda *_: got.append(1))
        while not got:
            os.getppid()
            signal.pause()
    """)
    (report,) = every_syscall(
        lost,
        signals=[TERM],
        only=["getppid", "pause"],
        patience=HANGS,
        rest=BRIEF,
        seconds=FATAL,
    )
    assert verdicts(report) == {
        "getppid:1": "hung",
        "pause:1": "kept",
        "pause:1+": "kept",
    }
    assert report.failures[0].run.delivered == 1


@needs_strace
def test_a_stop_that_is_blocked_hangs() -> None:
    blocks = source("""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        signal.sigwait([signal.SIGUSR1, signal.SIGINT])
    """)
    names = ["rt_sigtimedwait"]
    (report,) = every_syscall(
        blocks,
        signals=[TERM],
        end=INT,
        only=names,
        patience=HANGS,
        rest=BRIEF,
        seconds=FATAL,
    )
    # At the second, we had told it to stop, and it returned for that.
    assert [*verdicts(report).values()] == ["hung", "kept"]
    assert [tried.run.delivered for tried in report] == [1, 2]


@needs_strace
def test_only_the_calls_at_which_a_signal_is_ignored_are_found() -> None:
    deaf = source("""
        os.getpgid(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.getppid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.getpgrp()
        signal.pause()
    """)
    names = ["getpgid", "getppid", "getpgrp", "pause"]
    (report,) = every_syscall(
        deaf, signals=[TERM], only=names, patience=HANGS, rest=BRIEF, seconds=FATAL
    )
    found = verdicts(report)
    assert [name for name in found if found[name] == "hung"] == ["getppid:1"]
    assert set(found) >= {"getpgid:1", "getpgrp:1", "pause:1", "pause:1+"}


PARENT = """
    pid = os.fork()
    if not pid:
        signal.pause()

    def stop(*_):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    while True:
        signal.pause()
"""


@needs_strace
def test_a_child_that_is_left_is_found_right_after_its_fork() -> None:
    (report,) = every_syscall(
        source(PARENT), signals=[TERM], only=["clone", "pause"], rest=BRIEF
    )
    assert forks(report) == {":1": "kept", ":1+": "broken"}
    (failure,) = report.failures
    assert (failure.run.left, failure.kind) == (1, "died by SIGTERM")


@needs_strace
def test_a_child_that_is_left_by_a_kill_is_counted_and_gone(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    text = PARENT.replace("if not pid:", f"if not pid:\n        {WRITES_ITS_PID}")
    parent = source(text.replace("FILE", repr(str(file))))
    (report,) = every_syscall(parent, only=["pause"], rest=BRIEF)
    assert [(tried.verdict, tried.run.left) for tried in report] == [("kept", 1)]
    assert not Path(f"/proc/{file.read_text()}").exists()
    (strict,) = every_syscall(
        parent, lambda run: not run.left, only=["pause"], rest=BRIEF
    )
    assert [tried.kind for tried in strict] == ["died by SIGKILL"]


WRITES_ITS_PID = (
    "os.write(os.open(FILE, os.O_CREAT | os.O_WRONLY), b'%d' % os.getpid())"
)


@needs_strace
def test_a_child_that_notices_in_time_is_not_left() -> None:
    notices = source("""
        r, w = os.pipe()
        if not os.fork():
            os.close(w)
            os.read(r, 1)
            os._exit(0)
        signal.pause()
    """)
    (report,) = every_syscall(notices, only=["pause"], rest=BRIEF)
    assert [(tried.verdict, tried.run.left) for tried in report] == [("kept", 0)]


@needs_strace
def test_who_leaves_for_a_session_of_its_own_is_left_all_the_same() -> None:
    shell = ["sh", "-c", "(setsid sleep infinity &); echo up; exec sleep infinity"]
    (report,) = every_syscall(
        shell, signals=[TERM], only=["pause", "clock_nanosleep"], seconds=FATAL
    )
    assert {(tried.verdict, tried.run.left) for tried in report} == {("broken", 1)}


@needs_strace
def test_a_program_in_c() -> None:
    compiled = [child_program(), "it", "obedient"]
    (report,) = every_syscall(
        compiled, signals=[TERM], first="SIGTERM, {sa_handler=0x", rest=BRIEF
    )
    assert set(verdicts(report).values()) == {"kept"}
    assert {"pause:1", "pause:1+"} <= set(verdicts(report))
    assert all("it asked" in tried.run.output for tried in report)


@needs_strace
def test_a_program_in_sh() -> None:
    shell = "sleep infinity & trap 'kill $!; exit 3' TERM; echo up; wait"
    (report,) = every_syscall(
        ["sh", "-c", shell],
        lambda run: run.status == 3 and not run.left,
        signals=[TERM],
        first='"up',
        rest=BRIEF,
    )
    assert set(verdicts(report).values()) == {"kept"}
    assert any(number.endswith("+") for number in verdicts(report))


@needs_strace
def test_a_trap_that_comes_before_a_read_is_lost(tmp_path: Path) -> None:
    (report,) = every_syscall(
        ["sh", "-c", "exec 3<> fifo; trap 'exit 3' TERM; echo up; read line <&3"],
        lambda run: run.status == 3,
        signals=[TERM],
        first='"up',
        only=["write", "dup2", "dup3"],
        cwd=tmp_path,
        prepare=["sh", "-c", "rm -f fifo; mkfifo fifo"],
        patience=HANGS,
        rest=BRIEF,
        seconds=FATAL,
    )
    found = verdicts(report)
    assert len(found) >= 3
    # Once there was a fourth point, on a busy machine; we do not know which call's.
    hung = [number for number, verdict in found.items() if verdict != "kept"]
    assert hung in (["dup2:1"], ["dup3:1"]), found


@needs_strace
def test_a_child_gets_it_too_where_it_is_followed() -> None:
    shell = ["sh", "-c", "(cd /); echo $?"]
    said = {}
    for follow in (False, True):
        (report,) = every_syscall(shell, signals=[TERM], follow=follow, at="chdir:1")
        said[follow] = [tried.run.output.endswith("143\n") for tried in report]
    assert said == {False: [], True: [True]}


# What is missed


@needs_strace
def test_a_program_whose_number_of_calls_varies(tmp_path: Path) -> None:
    varies = source("""
        count = int(open("count").read()) - 1
        open("count", "w").write(str(count))
        for _ in range(count):
            os.getppid()
        os.getpgid(0)
    """)
    (tmp_path / "count").write_text("6")
    names = ["getppid", "getpgid"]
    (report,) = every_syscall(varies, only=names, cwd=tmp_path)
    kept = {"getppid:1": "kept", "getppid:2": "kept", "getpgid:1": "kept"}
    assert verdicts(report) == kept
    missed = [point.number for point in report.missed]
    assert missed == ["getppid:3", "getppid:4", "getppid:5"]
    assert report.summary.endswith(", 3 missed")


@needs_strace
def test_each_signal_has_a_report() -> None:
    one = every_syscall(["true"], signals=[TERM, KILL], at="close:1")
    assert [report.signals for report in one] == [(TERM,), (KILL,)]
    assert [verdicts(report) for report in one] == [{"close:1": "kept"}] * 2


@needs_strace
def test_a_call_without_a_name_is_missed_and_said_so() -> None:
    nameless = source("import ctypes\nctypes.CDLL(None).syscall(9999)")
    (report,) = every_syscall(nameless, first="syscall_0x270f", most=1)
    assert [point.number for point in report.missed] == ["syscall_0x270f:1"]


# Options


@needs_strace
def test_the_draw_can_be_repeated() -> None:
    runs = [every_syscall(["true"], most=3, seed=seed)[0] for seed in (None, 5, 5)]
    first, second, third = ([*verdicts(report)] for report in runs)
    assert len(first) == len(second) == 3
    assert second == third
    assert runs[1].seed == 5
    assert runs[0].seed is not None


@needs_strace
def test_one_point_alone_and_all_the_others_in_the_order_of_the_trace() -> None:
    done: list[tuple[str, int, int]] = []
    (report,) = every_syscall(
        ["sh", "-c", "echo up"],
        first='"up',
        progress=lambda *told: done.append(told),
    )
    assert [*verdicts(report)] == ["write:1", "exit_group:1"]
    assert done == [("system calls, SIGKILL", n, 2) for n in (1, 2)]
    assert [tried.point.where[:14] for tried in report] == [
        "before write(1",
        "before exit_gr",
    ]
    with pytest.raises(InjectionError, match="makes no such call"):
        every_syscall(["true"], signals=[TERM], only=["exit_group"])
    (alone,) = every_syscall(["sh", "-c", "echo up"], at="write:1")
    assert verdicts(alone) == {"write:1": "kept"}
    assert alone.failures == []
    assert alone.alone("write:1").endswith("signals=[9], at='write:1')")


BREAKS_A_FILE = "echo 1 > new; mv -f new file; exec sleep infinity"
LOOK = ["sh", "-c", "test -s file || { echo 'no file'; exit 1; }"]


@needs_strace
def test_a_look_after_each_run_can_reject_it(tmp_path: Path) -> None:
    in_place = ["sh", "-c", "echo 1 > file; exec sleep infinity"]
    prepare = ["sh", "-c", "echo 0 > file"]
    (report,) = every_syscall(
        in_place, only=["write", "dup2"], cwd=tmp_path, prepare=prepare, then=LOOK
    )
    assert "broken" in verdicts(report).values()
    assert report.failures[0].why.endswith("ended with 1: no file")
    by_rename = ["sh", "-c", BREAKS_A_FILE]
    (report,) = every_syscall(
        by_rename, only=["write", "dup2"], cwd=tmp_path, prepare=prepare, then=LOOK
    )
    assert set(verdicts(report).values()) == {"kept"}


@needs_strace
def test_runs_at_once_have_a_folder_each(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    os.mkfifo(tmp_path / "fifo")
    prepared: list[None] = []
    makes = ["sh", "-c", "set -C; echo one > made/one"]
    (report,) = every_syscall(
        makes,
        first='"made/one"',
        signals=[INT],
        cwd=tmp_path,
        parallel=3,
        setup=lambda: prepared.append(None),
    )
    assert not report.failures, report.failures
    assert len(prepared) > len(report.tried) > 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["fifo", "made"]


# A busy machine

LATE = f"""#!{sys.executable} -IS
import os, select, signal, sys
{{before}}
os.execv({shutil.which("strace")!r}, sys.argv)
"""
RESTS = f"select.select([], [], [], {HANGS})"
DIES = "os.kill(os.getpid(), signal.SIGALRM)"
DIES_ONCE = f"if not os.path.exists('once'): os.mkdir('once'); {DIES}"

PAUSES = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from fatal_signals.inject import InjectionError, every_syscall
    try:
        rest = float(sys.argv[2])
        (report,) = every_syscall(sys.argv[3:], at="pause:1", rest=rest)
        print(report.summary)
    except InjectionError as error:
        print(error)
"""


def late_strace(folder: Path, before: str, package: Path = ROOT) -> str:
    """Sweep with a strace before which something happens; return what is said."""
    strace = folder / "strace"
    strace.write_text(LATE.format(before=before))
    strace.chmod(0o755)
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    words = str(package), str(BRIEF), *source("signal.pause()")
    with Program(PAUSES, *words, env={"PATH": path}, cwd=folder) as program:
        assert program.wait().left == []
        return program.output


@needs_strace
def test_a_strace_that_is_late_is_waited_for(tmp_path: Path) -> None:
    assert late_strace(tmp_path, RESTS).startswith("1 points: 1 kept,")


@needs_strace
def test_a_strace_that_is_late_is_no_program_at_rest(tmp_path: Path) -> None:
    """The twin looks only whether something sleeps."""
    shutil.copytree(ROOT / "fatal_signals", tmp_path / "fatal_signals")
    traced = tmp_path / "fatal_signals" / "inject" / "traced.py"
    looks = "begun = begun or _has_begun(pid)"
    text = traced.read_text()
    assert text.count(looks) == 1
    traced.write_text(text.replace(looks, "begun = True"))
    assert "can't trace the program" in late_strace(tmp_path, RESTS, tmp_path)


@needs_strace
def test_a_strace_that_came_too_late_for_itself_is_tried_again(tmp_path: Path) -> None:
    assert late_strace(tmp_path, DIES_ONCE).startswith("1 points: 1 kept,")
    assert "can't trace the program" in late_strace(tmp_path, DIES)


# What can't be done


@needs_strace
@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        (["no-such-program"], {}, "there is no command no-such-program"),
        (["./no-such-program"], {}, "there is no command ./no-such-program"),
        (["true"], {"cwd": "no-such-folder"}, "there is no folder .*no-such-folder"),
        (["sh", "-c", "echo oh dear; exit 4"], {}, "exited with 4; oh dear"),
        (["sh", "-c", "kill -9 $$"], {}, "died by SIGKILL"),
        (
            ["sh", "-c", "trap '' TERM; sleep infinity"],
            {"patience": HANGS},
            "runs on after SIGTERM",
        ),
        (
            ["sh", "-c", "while :; do :; done"],
            {"seconds": SETTLE},
            "never at rest .*`ready`",
        ),
        (["true"], {"first": "no such text"}, "no call mentions 'no such text'"),
        (["true"], {"only": ["fork"]}, "makes no such call"),
        (["true"], {"at": "write"}, "no point 'write'; one would be write:12"),
        (["true"], {"at": "exit_group:1", "signals": [TERM]}, "nothing but SIGKILL"),
        (["true"], {"prepare": ["sh", "-c", "echo no; exit 5"]}, "ended with 5: no"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    command: list[str], options: dict[str, object], words: str
) -> None:
    with pytest.raises(InjectionError, match=words) as caught:
        every_syscall(command, **options)  # type: ignore[arg-type]
    assert len(str(caught.value).splitlines()) == 1


def test_no_strace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InjectionError, match="there is no strace on the PATH"):
        every_syscall([sys.executable])


def test_no_right_to_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    strace = tmp_path / "strace"
    words = "strace: ptrace(PTRACE_SEIZE, 7): Operation not permitted"
    strace.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    strace.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InjectionError, match=r"can't trace .*; strace: .* permitted"):
        every_syscall([sys.executable])


def test_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="positive"):
        every_syscall(["true"], parallel=0)


def test_the_default_checks() -> None:
    assert stopped(TERM)(Run("exited"))
    assert stopped(TERM, INT)(Run("died", status=-INT))
    assert not stopped(TERM)(Run("died", status=-INT))
    assert not stopped(TERM)(Run("exited", status=1))
    assert not stopped(TERM)(Run("exited", left=1))
    assert killed(Run("died", status=-KILL, left=1))
    assert not killed(Run("exited"))


SWEEPS = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from fatal_signals.inject.syscalls import every_syscall
    command = ["sh", "-c", "sleep infinity & echo > told; wait"]
    fatal = float(sys.argv[2])
    every_syscall(command, seconds=fatal, rest=fatal)
"""


@needs_strace
@pytest.mark.parametrize("signum", [KILL, INT])
def test_nothing_outlives_who_asked(signum: int, tmp_path: Path) -> None:
    folder = {"TMPDIR": str(tmp_path)}
    with Program(SWEEPS, str(ROOT), str(FATAL), env=folder, cwd=tmp_path) as program:
        procfs.until((tmp_path / "told").exists, "the program under test")
        program.send(signum)
        ended = program.wait()
    assert (ended.code, ended.left) == (-signum, [])


# The boss


@needs_strace
@pytest.mark.parametrize("signum", [TERM, INT])
def test_the_boss_takes_all_down_at_every_call(signum: int, tmp_path: Path) -> None:
    # All of them take a minute: support.killed is a program as well.
    report = sweep_boss(tmp_path, signum, most=8)
    numbers = f"seed {report.seed}, {report.summary}"
    assert not report.failures, f"{numbers}\n{report.failures[0]}"
    assert len(report.tried) + len(report.missed) == 8, numbers


@needs_strace
def test_the_boss_right_after_each_start(tmp_path: Path) -> None:
    report = sweep_boss(tmp_path, TERM, only=FORKS)
    assert list(forks(report).values()) == ["kept"] * 6, report.failures


@needs_strace
@pytest.mark.parametrize(
    "most", [8, pytest.param(80, marks=pytest.mark.long, id="many")]
)
def test_nothing_outlives_a_boss_that_is_killed_at_any_call(
    most: int | None, tmp_path: Path
) -> None:
    report = sweep_boss(tmp_path, KILL, most=most)
    assert not report.failures, f"{report.summary}\n{report.failures[0]}"
    assert report.tried


def boss_without(folder: Path, edits: Mapping[str, str]) -> Path:
    """Write a boss with edits into a folder, and return its file."""
    companions.copy("boss", folder)
    companions.edit("boss", folder, edits)
    return folder / "boss.py"


@needs_strace
def test_a_boss_without_marks_is_found(tmp_path: Path) -> None:
    marks = "            with self._run:\n                entry.pid"
    twin = boss_without(
        tmp_path, {marks: "            if True:\n                entry.pid"}
    )
    report = sweep_boss(tmp_path, KILL, boss=twin, only=("waitid",), settle=HANGS)
    assert "broken" in verdicts(report).values()


@needs_strace
@pytest.mark.parametrize(
    "most", [6, pytest.param(80, marks=pytest.mark.long, id="many")]
)
def test_a_restart_is_clean_when_boss_and_guard_were_killed_at_any_call(
    most: int,
) -> None:
    points = random.sample(unguarded.all_calls(), most)
    assert unguarded.sweep(points) == {}


@needs_strace
def test_a_restart_that_does_not_look_is_found(tmp_path: Path) -> None:
    looks = "            if not self._is_pid_1:\n                _end_earlier(key)\n"
    twin = boss_without(tmp_path, {})
    companions.edit("restart_check", tmp_path, {looks: ""})
    write_family(tmp_path)
    calls = unguarded.calls(tmp_path)
    at_rest = next(call for call in calls if call.name == "kill")
    wrong = unguarded.try_point(tmp_path, at_rest, boss=twin)
    assert "children, status" in wrong


@needs_strace
def test_a_boss_that_forgets_a_stop_in_its_start_is_found(tmp_path: Path) -> None:
    start = "                self.fire(entry, START)\n"
    forgets = "                self._noted[signal.SIGTERM] = 0\n"
    twin = boss_without(tmp_path, {start: start + forgets})
    report = sweep_boss(tmp_path, TERM, boss=twin, only=FORKS, patience=HANGS)
    assert "hung" in verdicts(report).values(), report.tried


# The look before the start, and the guard

HIDES = "(setsid sh -c 'echo; exec sleep 1000' &); exec sleep 1000"

A_RUN = """
import subprocess, sys
import restart_check as rc
open("file", "w").close()
run = rc.Run("file", remove=["socket"])
run.adopt()
run.guard()
open("socket", "w").close()
with run:
    child = subprocess.Popen(["sh", "-c", sys.argv[1]], stdout=-1)
child.stdout.readline()
run.finish()
run.close()
"""

THE_NEXT_RUN = """
import os, sys
import restart_check as rc
run = rc.Run("file", remove=["socket"])
sys.exit(os.path.exists("socket") or bool(rc.left(rc.key_of("file"))))
"""


def sweep_run(folder: Path, text: str, settle: float = FATAL, **which: Any) -> Report:
    """Send SIGKILL to a run at its calls; a next run has to begin each time."""
    (folder / "restart_check.py").write_text(text)
    (folder / "file").touch()
    (report,) = every_syscall(
        [sys.executable, "-c", A_RUN, HIDES],
        nothing_outlives,
        then=[sys.executable, "-c", THE_NEXT_RUN],
        cwd=folder,
        env=environment(),
        seconds=FATAL,
        settle=settle,
        first='"file"',
        **which,
    )
    return report


@needs_strace
@pytest.mark.parametrize(
    "most", [8, pytest.param(200, marks=pytest.mark.long, id="many")]
)
def test_nothing_outlives_a_run_that_is_killed_at_any_call(
    most: int, tmp_path: Path
) -> None:
    report = sweep_run(tmp_path, RESTART_CHECK.read_text(), most=most)
    numbers = f"seed {report.seed}, {report.summary}"
    assert not report.failures, f"{numbers}\n{report.failures[0]}"
    assert len(report.tried) + len(report.missed) == most, numbers


@needs_strace
def test_a_guard_that_only_waits_is_found(tmp_path: Path) -> None:
    waits = "            _dead(us, None)\n"
    text = RESTART_CHECK.read_text()
    works = f"{waits}            self.end()\n"
    assert text.count(works) == 1
    # The last of these calls comes when the child has been started.
    marks = "prlimit64", "setrlimit"
    report = sweep_run(tmp_path, text.replace(works, waits), SETTLE, only=marks)
    assert any("left" in tried.why for tried in report.failures), report.summary
