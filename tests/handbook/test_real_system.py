"""redis, nginx and http.server under the boss, with the files of the handbook's page.

Each check has a saboteur: a system that has lost what the check is about.
"""

import os
import signal

import pytest
from support import procfs
from support.bosses import kill_with_guard
from support.program import Program
from support.real_system import (
    MISSING,
    NOBODY,
    START_ORDER,
    started,
    stops,
    system,
    users,
)

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)}")

USER = os.getuid()

IN_TURN = [f"{name} {what}" for name in START_ORDER[::-1] for what in ("asked", "died")]


def died_together(program: Program) -> None:
    """Wait for the end of a boss that was killed with its family."""
    ended = program.wait()
    assert ended.code == -signal.SIGKILL
    assert ended.left == []


@pytest.mark.parametrize("user", users())
def test_serves_and_ctrl_c_takes_all_down_in_order(user: int) -> None:
    with system(user) as made, made.boss(terminal=True) as program:
        program.wait_for("boss all-started")
        made.wait_until_it_serves()
        assert made.ask_redis("SET word 1") == "OK"
        assert made.get() == "hello from the site\n"
        assert made.port_is_served()
        assert len(made.named()) == 4

        program.type("\x03")
        ended = program.wait()

        assert ended.code == -signal.SIGINT
        assert ended.left == []
        assert stops(program.output) == IN_TURN
        assert made.named() == []
        assert not made.port_is_served()


def test_without_after_the_order_is_lost() -> None:
    edits = {'after = "redis"\n': "", 'after = "site"\n': ""}
    with system(USER, edits) as made, made.boss() as program:
        program.wait_for("boss all-started")
        made.wait_until_it_serves()
        program.send(signal.SIGTERM)

        assert program.wait().code == -signal.SIGTERM
        assert stops(program.output) != IN_TURN


def test_a_stray_process_is_taken_down_too() -> None:
    script = "setsid sh -c 'echo strayed; exec sleep 1000' & wait"
    stray = f'[[child]]\nname = "stray"\ncommand = ["sh", "-c", "{script}"]\n'
    with system(USER, more=stray) as made, made.boss() as program:
        program.wait_for("strayed")
        program.send(signal.SIGTERM)

        assert program.wait().left == []


def test_killed_redis_comes_back_with_its_data() -> None:
    with system(USER) as made, made.boss() as program:
        program.wait_for("boss all-started")
        made.wait_until_it_serves()
        assert made.ask_redis("SET word kept") == "OK"
        os.kill(started(program)["redis"], signal.SIGKILL)
        program.wait_for("boss child-started: name=redis")
        made.wait_until_it_serves()

        assert made.ask_redis("GET word") == "kept"
        program.send(signal.SIGTERM)
        assert program.wait().left == []


def test_killed_nginx_takes_its_worker_along_and_comes_back() -> None:
    with system(USER) as made, made.boss() as program:
        program.wait_for("boss all-started")
        made.wait_until_it_serves()
        nginx = started(program)["nginx"]
        (worker,) = procfs.children(nginx)
        owner = os.stat(f"/proc/{worker}").st_uid
        assert owner == (USER or NOBODY)
        os.kill(nginx, signal.SIGKILL)
        program.wait_for("boss child-started: name=nginx")
        made.wait_until_it_serves()

        procfs.until(lambda: procfs.state(worker) == "", "the worker's end")
        assert procfs.children(started(program)["nginx"]) != []
        program.send(signal.SIGTERM)
        assert program.wait().left == []


@pytest.mark.parametrize("user", users())
def test_plain_restart_after_all_were_killed_loses_nothing(user: int) -> None:
    with system(user) as made:
        last = 0
        for _ in range(2):
            with made.boss() as program:
                program.wait_for("boss all-started")
                made.wait_until_it_serves()
                # One more was under way, and may have been done or not.
                assert int(made.ask_redis("INCR word")) in (last + 1, last + 2)
                last = made.count_until_killed(program, 20)
                died_together(program)
                assert len(made.named()) == 4
        with made.boss() as program:
            program.wait_for("boss all-started")
            made.wait_until_it_serves()

            assert int(made.ask_redis("GET word")) in (last, last + 1)
            program.send(signal.SIGTERM)
            assert program.wait().left == []
            assert made.named() == []


def test_without_its_file_redis_loses_all() -> None:
    edits = {'"--appendonly", "yes", "--appendfsync", "always", ': ""}
    with system(USER, edits) as made:
        with made.boss() as program:
            program.wait_for("boss all-started")
            made.wait_until_it_serves()
            assert made.count_until_killed(program, 20) == 20
            died_together(program)
        with made.boss() as program:
            program.wait_for("boss all-started")
            made.wait_until_it_serves()

            assert made.ask_redis("GET word") == "$-1"


def test_a_socket_that_nobody_removes_keeps_nginx_out() -> None:
    with system(USER, {"rm -f nginx.sock": ""}) as made:
        with made.boss() as program:
            program.wait_for("boss all-started")
            made.wait_until_it_serves()
            made.count_until_killed(program, 1)
            died_together(program)
        with made.boss() as program:
            assert program.wait_for("boss child-died: name=nginx").endswith(" exit=1")
            assert made.get() == ""


def test_family_that_outlives_boss_and_guard_is_ended_by_the_next_start() -> None:
    with system(USER) as made, made.boss() as program:
        program.wait_for("boss all-started")
        made.wait_until_it_serves()
        children = started(program)
        earlier = [*children.values(), *procfs.children(children["nginx"])]
        kill_with_guard(program.pid)

        assert len(program.wait().left) == len(earlier) == 4
        assert made.get() == "hello from the site\n"
        with made.boss() as second:
            second.wait_for("boss all-started")
            made.wait_until_it_serves()
            assert {procfs.state(pid) for pid in earlier} <= {"", "Z"}
            second.send(signal.SIGTERM)
            assert second.wait().left == []


def test_second_redis_takes_the_name_from_a_living_one() -> None:
    with system(USER) as made, made.boss() as program:
        program.wait_for("boss all-started")
        made.wait_until_it_serves()
        assert made.ask_redis("SET word first") == "OK"
        command = ["redis-server", "--port", "0", "--unixsocket", "redis.sock"]
        with Program([*command, "--save", ""], cwd=made.run) as second:
            second.wait_for("ready to accept")

            assert made.ask_redis("GET word") == "$-1"
            assert procfs.state(started(program)["redis"]) != ""
