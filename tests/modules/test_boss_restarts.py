"""The boss keeps its promises: deaths and restarts."""

import os
import select
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from support import procfs
from support.bosses import (
    LONG_GRACE,
    SHORT_GRACE,
    boss_of,
    child,
    children_of,
    died_of,
    kill_together,
    library,
    pid_in,
    read_until,
    values,
)
from support.reapers import SUBREAPER


def test_restarts_the_dead_without_delay(tmp_path: Path) -> None:
    with boss_of(tmp_path, child("a")) as program:
        first = pid_in(program.wait_for("child-started"))
        os.kill(first, signal.SIGKILL)
        second = pid_in(program.wait_for("child-started"))

        assert second != first
        assert values(program.output, "child-died", "signal") == ["9"]
        assert values(program.output, "child-backs-off", "seconds") == ["0.0"]


NEXT = SHORT_GRACE / 4

DELAYS = """
import sys, boss
import boss_supervisor as it
it.BACKOFF_FIRST, it.BACKOFF_CAP, it.STEADY = map(float, sys.argv[2:])
boss.Boss(boss.load(sys.argv[1])).run()
"""


def test_backs_off_twice_as_long_each_time_up_to_a_cap(tmp_path: Path) -> None:
    delays = [0.0, NEXT, 2 * NEXT, 4 * NEXT, 5 * NEXT, 5 * NEXT]
    args = (str(NEXT), str(5 * NEXT), str(LONG_GRACE))
    with library(tmp_path, DELAYS, child("a", "exit=1"), args=args) as program:
        for _ in delays:
            program.wait_for("child-backs-off")

        seen = values(program.output, "child-backs-off", "seconds")
        assert seen == [str(delay) for delay in delays]


def test_steady_child_is_restarted_without_delay_again(tmp_path: Path) -> None:
    args = (str(NEXT), str(LONG_GRACE), "0")
    with library(tmp_path, DELAYS, child("a", "exit=1"), args=args) as program:
        seen = [program.wait_for("child-backs-off")[-3:] for _ in range(3)]

        assert seen == ["0.0", "0.0", "0.0"]


def test_intensity_is_the_most_restarts_in_a_period(tmp_path: Path) -> None:
    tables = ("[boss]\nintensity = 2\n", child("a", "exit=1"), child("b"))
    with boss_of(tmp_path, *tables) as program:
        ended = program.wait()

        assert values(program.output, "child-backs-off", "seconds") == ["0.0", "0.1"]
        assert values(program.output, "too-many-restarts", "name") == ["a"]
        assert values(program.output, "child-asked", "name") == ["b"]
        assert (ended.code, ended.left) == (1, [])


def test_intensity_forgets_what_is_older_than_the_period(tmp_path: Path) -> None:
    # Two restarts can come at once; from then on each delay is longer than the period.
    limits = f"[boss]\nintensity = 2\nperiod = {SHORT_GRACE}\n"
    with boss_of(tmp_path, limits, child("a", "exit=1")) as program:
        for _ in range(4):
            program.wait_for("child-backs-off")
        program.send(signal.SIGTERM)

        assert died_of(program.wait(), signal.SIGTERM)
        assert values(program.output, "too-many-restarts", "name") == []


def test_intensity_counts_a_start_that_fails(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o755)
    fails = '[[child]]\nname = "a"\ncommand = ["./text"]\n'
    with boss_of(tmp_path, "[boss]\nintensity = 0\n", fails, child("b")) as program:
        ended = program.wait()

        assert values(program.output, "too-many-restarts", "name") == ["a"]
        assert values(program.output, "child-started", "name") == []
        assert (ended.code, ended.left) == (1, [])


def test_policy_decides_who_comes_back(tmp_path: Path) -> None:
    tables = (
        child("fails", "exit=3", restart="on-failure"),
        child("works", "exit=0", restart="on-failure"),
        child("never", "exit=3", restart="never"),
        child("always", "exit=0"),
    )
    with boss_of(tmp_path, *tables) as program:
        read_until(
            program,
            "child-backs-off: name=fails",
            "child-backs-off: name=always",
            "child-died: name=works",
            "child-died: name=never",
        )
        program.send(signal.SIGTERM)
        program.wait()

        back = set(values(program.output, "child-backs-off", "name"))
        assert back == {"fails", "always"}
        assert values(program.output, "child-started", "name").count("works") == 1


def test_failed_start_is_a_death_like_any_other(tmp_path: Path) -> None:
    table = child("a", "x")
    program_file = table.split('"')[3]
    copy = tmp_path / "copy"
    shutil.copy(program_file, copy)
    with boss_of(tmp_path, table.replace(program_file, str(copy))) as program:
        pid = pid_in(program.wait_for("child-started"))
        copy.rename(tmp_path / "away")
        os.kill(pid, signal.SIGKILL)
        refused = program.wait_for("child-not-started")
        assert program.read_line().startswith("boss child-backs-off: name=a")
        (tmp_path / "away").rename(copy)
        program.wait_for("child-started")

        assert refused == (
            "boss child-not-started: name=a error='No such file or directory'"
        )


@pytest.mark.parametrize(("word", "code"), [("exit=0", 0), ("exit=7", 1)])
def test_nothing_left_ends_the_boss(word: str, code: int, tmp_path: Path) -> None:
    tables = child("a", "exit=0", restart="never"), child("b", word, restart="never")
    with boss_of(tmp_path, *tables) as program:
        ended = program.wait()

        assert ended.code == code
        assert ended.left == []
        assert program.output.endswith(f"boss ended: failed={code}\n")


def test_group_goes_too_when_the_leader_has_died(tmp_path: Path) -> None:
    tables = child("a", "below", restart="never"), child("b")
    with boss_of(tmp_path, *tables) as program:
        lines = read_until(program, "a ready", "a below", "b ready")
        leader, below, _ = map(pid_in, lines)
        pidfd = os.pidfd_open(below)

        def dead_or_has_reported() -> bool:
            if select.select([pidfd], [], [], 0)[0]:
                return True
            with suppress(OSError):
                pending = procfs.signals(below, "pending")
                return procfs.state(below) == "S" and signal.SIGTERM not in pending
            return False

        os.kill(leader, signal.SIGTERM)
        program.wait_for("child-died: name=a")
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        procfs.until(dead_or_has_reported, "an end")
        os.close(pidfd)
        program.send(signal.SIGTERM)

        assert died_of(program.wait(), signal.SIGTERM)
        assert "below asked" not in program.output


def test_reaps_all_that_died_together_and_strangers(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(30)]
    stranger_to_be = "setsid sh -c 'echo stranger $$; exec sleep 1000'"
    script = ["sh", "-c", f"{stranger_to_be} & wait"]
    tables = [
        *[child(name) for name in names],
        child("stays", "stubborn", grace=LONG_GRACE),
        child("leaves", command=script, restart="never"),
    ]
    with boss_of(tmp_path, *tables, first=SUBREAPER) as program:
        ready = [f"{name} ready" for name in ("stays", *names)]
        lines = read_until(program, "name=leaves pid", "stranger ", *ready)
        leaves, stranger, stays, *pids = map(pid_in, lines)
        os.kill(leaves, signal.SIGKILL)
        program.wait_for("child-died: name=leaves")
        assert stranger in procfs.children(program.pid)
        kill_together(program, [stranger, *pids])
        program.send(signal.SIGTERM)
        program.send(signal.SIGCONT)
        program.wait_for("stays asked")
        procfs.asleep(program.pid)  # it has looked, and waits for who stays

        assert children_of(program.pid) == [stays]
        program.send(signal.SIGTERM)
        program.wait_for("boss ended")
        assert len(values(program.output, "child-died", "name")) == len(tables)
