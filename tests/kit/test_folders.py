"""What a killed process has left in the temporary folder the next one removes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from support import ROOT
from support.killed import needs_strace
from support.procfs import until
from support.program import Program

from fatal_signals.processes.folders import PREFIX

HEAD = f"""
import signal, sys
sys.path.insert(0, {str(ROOT)!r})
from fatal_signals.processes import folders
"""
HOLDS = f"""{HEAD}
own = folders.OwnFolder()
(own.path / "file").touch()
print(own.path, flush=True)
signal.pause()
"""
COMES_AND_GOES = f"""{HEAD}
with folders.OwnFolder() as path:
    print(path.is_dir(), oct(path.stat().st_mode & 0o777))
print(path.exists())
"""
CARELESS = COMES_AND_GOES.replace("with", "folders.flock = lambda *_: None\nwith", 1)


def left(folder: Path) -> list[Path]:
    return [*folder.glob(f"{PREFIX}*")]


def run(source: str, folder: Path) -> list[str]:
    with Program(source, env={"TMPDIR": str(folder)}) as program:
        assert program.wait().code == 0, program.report()
        return program.lines()


def test_a_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    assert run(COMES_AND_GOES, tmp_path) == ["True 0o700", "False"]
    assert left(tmp_path) == []


def test_what_a_killed_one_has_left_the_next_one_removes(tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path)}
    with Program(HOLDS, env=env) as dead, Program(HOLDS, env=env) as living:
        paths = [Path(dead.read_line()), Path(living.read_line())]
        assert sorted(left(tmp_path)) == sorted(paths)
        dead.send(signal.SIGKILL)
        dead.wait()
        run(COMES_AND_GOES, tmp_path)
        assert left(tmp_path) == [paths[1]]
        assert (paths[1] / "file").exists()
        # Its twin does not ask for the lock, and takes the living one's.
        run(CARELESS, tmp_path)
        assert left(tmp_path) == []


def test_what_is_no_folder_of_ours_is_spared(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / "fatal-signals-other").mkdir()
    before = sorted(os.listdir(tmp_path))
    run(COMES_AND_GOES, tmp_path)
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "elsewhere" / "file").exists()


@needs_strace
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_command_leaves_nothing_when_it_is_killed(
    signum: signal.Signals, tmp_path: Path
) -> None:
    words = ["--signal", "KILL", "--then", "true", "--", "sh", "-c", "sleep 1000"]
    command = [sys.executable, "-m", "fatal_signals", "inject", *words]
    env = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with Program(command, env=env) as program:
        until(
            lambda: any((it / "out").exists() for it in left(tmp_path)),
            "a run's output",
        )
        program.send(signum)
        assert program.wait().code == -signum
        until(lambda: not left(tmp_path), "the folder gone")
