"""The boss keeps its promises: taking all down, and its own death."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from support import procfs
from support.bosses import (
    BOSS,
    LONG_GRACE,
    SHORT_GRACE,
    boss_of,
    child,
    died_of,
    kill_together,
    library,
    pid_in,
    read_until,
    values,
)
from support.program import Program
from support.reapers import as_pid_1


def order(program: Program, *texts: str) -> list[str]:
    """Return the texts in the order in which the output has them."""
    assert all(text in program.output for text in texts), texts
    return sorted(texts, key=program.output.index)


def test_asks_the_leader_and_not_its_group(tmp_path: Path) -> None:
    with boss_of(
        tmp_path, child("a", "stubborn", "below", grace=LONG_GRACE)
    ) as program:
        _, below = read_until(program, "a ready", "a below")
        program.send(signal.SIGTERM)
        program.wait_for("a asked")
        os.kill(pid_in(below), signal.SIGINT)  # it answers, an earlier SIGTERM first
        program.wait_for("a interrupted")
        program.send(signal.SIGTERM)
        ended = program.wait()

        assert "below asked" not in program.output
        assert died_of(ended, signal.SIGTERM)


def test_wakes_the_frozen_to_be_asked(tmp_path: Path) -> None:
    with boss_of(tmp_path, child("a", "obedient", grace=LONG_GRACE)) as program:
        pid = pid_in(program.wait_for("a ready"))
        os.kill(pid, signal.SIGSTOP)
        procfs.until(lambda: procfs.state(pid) == "T", "a frozen child")
        program.send(signal.SIGTERM)
        program.wait_for("child-died")

        assert values(program.output, "child-died", "exit") == ["0"]
        assert "a asked" in program.output


def test_all_at_once_where_nothing_orders(tmp_path: Path) -> None:
    tables = [child(name, "stubborn", grace=SHORT_GRACE) for name in "abc"]
    with boss_of(tmp_path, *tables) as program:
        read_until(program, "a ready", "b ready", "c ready")
        program.send(signal.SIGTERM)
        program.wait()

        lines = [line for line in program.output.splitlines() if "boss child" in line]
        assert [line.split()[1] for line in lines[3:6]] == ["child-asked:"] * 3


def test_stop_order_is_after_reversed(tmp_path: Path) -> None:
    tables = (
        child("db", "obedient", grace=LONG_GRACE),
        child("web", "stubborn", after="db", grace=LONG_GRACE),
        child("cron", "obedient", after="db", grace=LONG_GRACE),
    )
    with boss_of(tmp_path, *tables) as program:
        web, _, _ = read_until(program, "web ready", "db ready", "cron ready")
        program.send(signal.SIGTERM)
        read_until(program, "child-died: name=cron", "web asked")
        os.kill(pid_in(web), signal.SIGKILL)
        ended = program.wait()

        in_turn = ["child-died: name=web", "db asked"]
        assert order(program, *in_turn) == in_turn
        assert died_of(ended, signal.SIGTERM)


def test_escalates_when_the_grace_is_over_and_not_before(tmp_path: Path) -> None:
    tables = (
        child("short", "stubborn", "below", grace=SHORT_GRACE),
        child("long", "stubborn", grace=LONG_GRACE),
    )
    with boss_of(tmp_path, *tables) as program:
        for _ in tables:
            program.wait_for("ready")
        program.send(signal.SIGTERM)
        program.wait_for("child-died: name=short")
        program.send(signal.SIGTERM)
        ended = program.wait()

        in_turn = [
            "child-asked: name=short",
            "child-killed: name=short",
            "boss hurrying",
            "child-killed: name=long",
        ]
        assert order(program, *in_turn) == in_turn
        assert values(program.output, "child-died", "signal") == ["9", "9"]
        assert died_of(ended, signal.SIGTERM)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_hurry_kills_whatever_still_runs(
    second: signal.Signals, tmp_path: Path
) -> None:
    tables = (
        child("a", "obedient", grace=LONG_GRACE),
        child("b", "stubborn", after="a", grace=LONG_GRACE),
    )
    with boss_of(tmp_path, *tables) as program:
        for _ in tables:
            program.wait_for("ready")
        program.send(signal.SIGTERM)
        program.wait_for("b asked")
        program.send(second)
        ended = program.wait()

        assert "a asked" not in program.output
        assert values(program.output, "child-died", "signal") == ["9", "9"]
        assert died_of(ended, signal.SIGTERM)


def test_no_restart_in_stop_even_when_both_come_together(tmp_path: Path) -> None:
    tables = child("a", "obedient"), child("b")
    with boss_of(tmp_path, *tables) as program:
        pids = [pid_in(program.wait_for("ready")) for _ in tables]
        kill_together(program, pids)
        program.send(signal.SIGTERM)
        program.send(signal.SIGCONT)
        ended = program.wait()

        assert len(values(program.output, "child-died", "name")) == 2
        assert values(program.output, "child-backs-off", "name") == []
        assert len(values(program.output, "child-started", "name")) == 2
        assert died_of(ended, signal.SIGTERM)


def test_stop_in_start_up_starts_nothing_more(tmp_path: Path) -> None:
    source = """
        import signal, sys, boss

        class Interrupted(boss.Boss):
            def start(self, entry):
                super().start(entry)
                if entry.child.name == "b":
                    signal.raise_signal(signal.SIGINT)

        stopped_by = Interrupted(boss.load(sys.argv[1])).run()
        print(stopped_by.name)
    """
    tables = [child(name) for name in "abcd"]
    with library(tmp_path, source, *tables) as program:
        ended = program.wait()

        assert values(program.output, "child-started", "name") == ["a", "b"]
        assert "all-started" not in program.output
        assert program.output.endswith("SIGINT\n")
        assert ended.left == []


def test_stop_signal_is_the_childs_own(tmp_path: Path) -> None:
    keys = {"stop-signal": "SIGUSR1"}
    with boss_of(tmp_path, child("a", **keys), child("b")) as program:
        read_until(program, "a ready", "b ready")
        program.send(signal.SIGTERM)
        ended = program.wait()

        died = dict(
            re.findall(r"child-died: name=(\w) .* signal=(\d+)", program.output)
        )
        assert died == {
            "a": str(int(signal.SIGUSR1)),
            "b": str(int(signal.SIGTERM)),
        }
        assert died_of(ended, signal.SIGTERM)


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGQUIT])
def test_hangs_up_with_nobody_left(signum: signal.Signals, tmp_path: Path) -> None:
    first = "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
    with boss_of(tmp_path, child("a"), first=first) as program:
        program.wait_for("all-started")
        program.send(signum)
        ended = program.wait()

        assert died_of(ended, signum)
        assert "child-died: name=a" in program.output


def test_nohup_is_somebodys_choice(tmp_path: Path) -> None:
    first = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with boss_of(tmp_path, child("a"), first=first) as program:
        program.wait_for("all-started")
        program.send(signal.SIGHUP)
        program.send(signal.SIGTERM)
        ended = program.wait()

        assert values(program.output, "stopping", "signal") == ["SIGTERM"]
        assert values(program.output, "hurrying", "signal") == []
        assert died_of(ended, signal.SIGTERM)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_true_death_by_the_signal(signum: signal.Signals, tmp_path: Path) -> None:
    with boss_of(tmp_path, child("a")) as program:
        program.wait_for("all-started")
        program.send(signum)
        ended = program.wait()

        assert died_of(ended, signum)
        assert "Traceback" not in program.output


def test_pid_1_exits_with_128_and_the_number(tmp_path: Path) -> None:
    (tmp_path / "boss.toml").write_text(child("a"))
    command = [*as_pid_1(), sys.executable, str(BOSS), "boss.toml"]
    with Program(command, cwd=tmp_path) as program:
        program.wait_for("all-started")
        (boss,) = procfs.children(program.pid)
        os.kill(boss, signal.SIGTERM)
        ended = program.wait()

        assert ended.code == 128 + signal.SIGTERM
        assert "Traceback" not in program.output


def test_hears_anyway_what_was_ignored_or_blocked(tmp_path: Path) -> None:
    first = (
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGCHLD})"
    )
    with boss_of(tmp_path, child("a"), first=first) as program:
        ready, _ = read_until(program, "a ready", "all-started")
        heard = procfs.signals(program.pid, "caught")
        deaf = procfs.signals(program.pid, "blocked")

        assert heard >= {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}
        assert deaf == set()
        os.kill(pid_in(ready), signal.SIGKILL)
        program.wait_for("child-backs-off")
        program.wait_for("a ready")
        program.send(signal.SIGINT)
        assert died_of(program.wait(), signal.SIGINT)


def test_suspends_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "boss.toml").write_text(child("a"))
    # A group of its own, below us: who has no shell to continue it, SIGTSTP spares.
    source = """
        import subprocess, sys
        subprocess.Popen(sys.argv[1:], process_group=0).wait()
    """
    command = [sys.executable, str(BOSS), str(tmp_path / "boss.toml")]
    with Program(source, *command) as program:
        child_pid = pid_in(program.wait_for("a ready"))
        (boss,) = procfs.children(program.pid)
        procfs.asleep(boss)
        os.kill(boss, signal.SIGTSTP)
        procfs.until(lambda: procfs.state(boss) == "T", "a stopped boss")
        os.kill(child_pid, signal.SIGKILL)
        os.kill(boss, signal.SIGCONT)
        program.wait_for("a ready")
        os.kill(boss, signal.SIGTERM)

        assert program.wait().left == []
