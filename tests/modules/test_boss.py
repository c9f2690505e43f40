"""The boss keeps its promises: starting children."""

import os
import signal
from pathlib import Path

from support import procfs
from support.bosses import (
    boss_of,
    child,
    died_of,
    pid_in,
    read_until,
    values,
)


def test_bad_file_starts_nothing(tmp_path: Path) -> None:
    good = child("good", "exit=0", restart="never")
    bad = child("bad", restarts="never")
    with boss_of(tmp_path, good, bad) as program:
        ended = program.wait()

        problem = "child 2 (bad): unknown key 'restarts'; did you mean 'restart'?"
        assert program.output == f"{tmp_path}/boss.toml: {problem}\n"
        assert ended.code == 2


def test_start_order_is_that_of_after_then_that_of_the_file(tmp_path: Path) -> None:
    tables = (
        child("web", after=["db", "log"]),
        child("db", after="log"),
        child("other"),
        child("log"),
    )
    with boss_of(tmp_path, *tables) as program:
        program.wait_for("boss all-started")

        started = values(program.output, "child-started", "name")
        assert started == ["other", "log", "db", "web"]


def test_ready_is_waited_for_by_all_that_come_after(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    script = "echo db begins; read line < go; echo >&3; exec sleep 1000"
    keys = {"ready-fd": 3, "after": "log"}
    tables = (
        child("web", after="db"),
        child("last", after="web"),
        child("db", command=["sh", "-c", script], **keys),
        child("log"),
        child("other"),
    )
    with boss_of(tmp_path, *tables) as program:
        read_until(program, "db begins", "other ready", "child-started: name=db")
        procfs.asleep(program.pid)
        started = values(program.output, "child-started", "name")
        assert started == ["log", "other", "db"]
        (tmp_path / "go").write_text("go\n")
        program.wait_for("boss all-started")
        program.send(signal.SIGTERM)

        assert died_of(program.wait(), signal.SIGTERM)
        later = program.output.partition("boss child-ready: name=db")[2]
        assert values(later, "child-started", "name") == ["web", "last"]


def test_ready_is_not_waited_for_in_a_stop(tmp_path: Path) -> None:
    keys = {"ready-fd": 3}
    tables = (child("web", after="db"), child("db", **keys), child("log"))
    with boss_of(tmp_path, *tables) as program:
        read_until(program, "db ready", "log ready")
        program.send(signal.SIGTERM)

        assert died_of(program.wait(), signal.SIGTERM)
        assert "web" not in values(program.output, "child-started", "name")


def test_ready_or_ended_for_good(tmp_path: Path) -> None:
    once = child("once", "exit=0", restart="never", **{"ready-fd": 7})
    with boss_of(tmp_path, child("web", after="once"), once) as program:
        read_until(program, "child-died: name=once", "child-started: name=web")


def test_ready_again_after_a_restart_and_when_nobody_waits(tmp_path: Path) -> None:
    script = "[ -d a ] && echo ok >&3; mkdir -p a; exec sleep 1000 3>&-"
    db = child("db", command=["sh", "-c", script], **{"ready-fd": 3})
    with boss_of(tmp_path, child("web", after="db"), db) as program:
        pid = pid_in(program.wait_for("child-started: name=db"))
        procfs.until((tmp_path / "a").exists, "a first life")
        procfs.asleep(program.pid)
        os.kill(pid, signal.SIGKILL)
        texts = ("web ready", "child-ready: name=db", "child-started: name=web")
        web, *_ = map(pid_in, read_until(program, *texts))

        assert sorted(procfs.descriptors(web)) == [0, 1, 2]
        held = [fd for fd in procfs.descriptors(program.pid).values() if "pipe" in fd]
        program.send(signal.SIGTERM)
        assert died_of(program.wait(), signal.SIGTERM)
        assert len(held) == 4, held  # our log twice, and the wakeup fd's two ends


def test_own_group_keeps_ctrl_c_from_children(tmp_path: Path) -> None:
    with boss_of(tmp_path, child("a"), child("b"), terminal=True) as program:
        pids = [pid_in(program.wait_for("ready")) for _ in "ab"]
        groups = [procfs.group(pid) for pid in pids]
        program.type("\x03")
        ended = program.wait()

        assert groups == pids
        assert "interrupted" not in program.output
        assert died_of(ended, signal.SIGINT)


def test_clean_start_whatever_the_boss_was_given(tmp_path: Path) -> None:
    first = (
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGQUIT})"
    )
    with boss_of(tmp_path, child("a", "plain"), first=first) as program:
        pid = pid_in(program.wait_for("a ready"))

        assert procfs.signals(pid, "ignored") == set()
        assert procfs.signals(pid, "blocked") == set()
        assert procfs.signals(pid, "caught") == set()
        assert procfs.descriptors(pid)[0] == os.devnull
        assert sorted(procfs.descriptors(pid)) == [0, 1, 2]


def test_folder_and_env_are_for_the_child_only(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    both = child("a", cwd="below", env={"GREETING": "hi"}), child("b")
    with boss_of(tmp_path, *both) as program:
        started = ("child-started: name=a", "child-started: name=b")
        # Ready: a moment after its exec a process shows an empty environment.
        lines = read_until(program, *started, "a ready", "b ready")
        a, b = map(pid_in, lines[:2])

        below = [os.readlink(f"/proc/{pid}/cwd") for pid in (a, b, program.pid)]
        assert below == [f"{tmp_path}/below", str(tmp_path), str(tmp_path)]
        assert b"GREETING=hi\0" in Path(f"/proc/{a}/environ").read_bytes()
        assert b"GREETING" not in Path(f"/proc/{b}/environ").read_bytes()
        assert b"PATH=" in Path(f"/proc/{a}/environ").read_bytes()
