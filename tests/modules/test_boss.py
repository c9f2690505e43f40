"""The boss keeps its promises, each proved on real processes."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from support import procfs
from support.bosses import (
    BOSS,
    LONG_GRACE,
    SHORT_GRACE,
    boss_of,
    child,
    children_of,
    guard_at_work,
    kill_with_guard,
    library,
    pid_in,
    runs_within_settle,
    values,
)
from support.program import Program
from support.reapers import SUBREAPER, as_pid_1

from fatal_signals.processes.keeper import Ended

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


def died_of(ended: Ended, signum: int) -> bool:
    """Return whether the boss died of a signal and left nothing behind."""
    assert ended.left == []
    return ended.code == -signum


def read_until(program: Program, *texts: str) -> list[str]:
    """Read until there has been a line with each text, in any order; return them."""
    found: dict[str, str] = {}
    while len(found) < len(texts):
        line = program.read_line()
        found |= {text: line for text in texts if text in line}
    return [found[text] for text in texts]


def freeze(program: Program) -> None:
    """Stop a boss that waits: what comes now, it finds together, in one look."""
    procfs.asleep(program.pid)
    program.send(signal.SIGSTOP)
    procfs.until(lambda: procfs.state(program.pid) == "T", "a frozen boss")


def kill_together(program: Program, pids: list[int]) -> None:
    """Kill children of a frozen boss; return when all are dead, and none reaped."""
    freeze(program)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    procfs.until(lambda: {procfs.state(pid) for pid in pids} == {"Z"}, "zombies")


def order(program: Program, *texts: str) -> list[str]:
    """Return the texts in the order in which the output has them."""
    assert all(text in program.output for text in texts), texts
    return sorted(texts, key=program.output.index)


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
