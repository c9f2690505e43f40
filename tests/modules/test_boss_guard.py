"""The boss keeps its promises: nothing outlives it."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import procfs
from support.bosses import (
    boss_of,
    child,
    died_of,
    guard_at_work,
    kill_with_guard,
    library,
    pid_in,
    read_until,
)


def test_one_for_a_file_and_the_second_says_so(tmp_path: Path) -> None:
    with boss_of(tmp_path, child("a")) as first:
        first.wait_for("a ready")
        with boss_of(tmp_path, child("a")) as second:
            said = f"{tmp_path}/boss.toml: runs already, pid {first.pid}"
            assert second.read_line() == said
            assert second.wait().code == 75
        first.send(signal.SIGTERM)
        assert died_of(first.wait(), signal.SIGTERM)


LEAVERS = {
    "its child": [],
    "a session of its own": ["setsid"],
    "an empty environment": ["setsid", "env", "-i"],
}


def leaver(words: Sequence[str]) -> str:
    """Return a child that leaves a process behind, out of its own group."""
    below = " ".join([*words, "sh", "-c", "'echo below $$; exec sleep 1000'"])
    return child("leaver", command=["sh", "-c", f"({below} &); exec sleep 1000"])


@pytest.mark.parametrize("words", LEAVERS.values(), ids=LEAVERS)
@pytest.mark.parametrize("how", ["guard", "guard first"])
def test_guarded_against_sigkill(
    tmp_path: Path, words: Sequence[str], how: str
) -> None:
    with boss_of(tmp_path, child("a"), leaver(words)) as program:
        read_until(program, "all-started", "a ready", "below ")
        if how == "guard first":
            os.kill(guard_at_work(program.pid), signal.SIGKILL)
            program.wait_for("guard-replaced")
        guard_at_work(program.pid)
        program.send(signal.SIGKILL)

        assert died_of(program.wait(), signal.SIGKILL)


def test_guarded_or_it_says_so(tmp_path: Path) -> None:
    source = """
        import os, sys, boss, restart_check

        class Unguarded(restart_check.Run):
            def watch(self, us):
                os._exit(1)

        boss.Boss.run_class = Unguarded
        boss.Boss(boss.load(sys.argv[1])).run()
    """
    with library(tmp_path, source, child("a")) as program:
        read_until(program, "no-guard: error=it has ended", "a ready")
        procfs.asleep(program.pid)
        program.send(signal.SIGTERM)

        assert program.wait().left == []
        assert "guard-replaced" not in program.output


@pytest.mark.parametrize("words", LEAVERS.values(), ids=LEAVERS)
def test_next_start_ends_what_is_left(tmp_path: Path, words: Sequence[str]) -> None:
    (tmp_path / "stale.sock").touch()
    tables = ('[boss]\nremove = ["stale.sock"]', child("a"), leaver(words))
    texts = ("all-started", "name=a pid", "name=leaver pid", "below ", "a ready")
    with boss_of(tmp_path, *tables) as first:
        _, *lines = read_until(first, *texts)
        (tmp_path / "stale.sock").touch()
        kill_with_guard(first.pid)
        assert len(first.wait().left) == 3
        with boss_of(tmp_path, *tables) as second:
            read_until(second, *texts)

            assert {procfs.state(pid_in(line)) for line in lines} <= {"", "Z"}
            assert not (tmp_path / "stale.sock").exists()
            second.send(signal.SIGTERM)
            assert died_of(second.wait(), signal.SIGTERM)


def test_next_start_is_refused_where_it_could_not_be_clean(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with boss_of(tmp_path, '[boss]\nremove = ["data"]', child("a")) as program:
        said = f"'{tmp_path}/data' is a folder; remove it yourself"
        assert program.read_line() == f"{tmp_path}/boss.toml: {said}"
        assert program.wait().code == 75
        assert (tmp_path / "data").exists()


def test_hidden_ones_are_taken_down_too(tmp_path: Path) -> None:
    with boss_of(tmp_path, leaver(["setsid"])) as program:
        below = pid_in(program.wait_for("below "))
        assert procfs.group(below) == below
        program.send(signal.SIGTERM)

        assert died_of(program.wait(), signal.SIGTERM)
