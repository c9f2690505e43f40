"""The command and the fixtures: what a user sees of the injector."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from support import ROOT
from support.killed import needs_strace
from support.program import Outcome, Program

CODE = """
import signal

def stop(*_):
    raise SystemExit

def pay():
    purse = {"ours": 1, "yours": 0}
    signal.signal(signal.SIGTERM, stop)
    try:
        purse["ours"] -= 1
        purse["yours"] += abs(1)
    except SystemExit:
        pass
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return purse

def whole(run):
    if run.how == "returned":
        assert sum(run.value.values()) == 1, "lost"

def fine():
    return abs(1)

number = 7
"""
LINE = CODE.splitlines().index('        purse["yours"] += abs(1)') + 1


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "purse.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n")
    return tmp_path


def command(
    folder: Path, *words: str, module: str = "fatal_signals", **env: str
) -> Outcome:
    path = os.pathsep.join([str(ROOT), str(folder)])
    argv = [sys.executable, "-m", module, *words]
    with Program(argv, env={"PYTHONPATH": path, **env}, cwd=folder) as program:
        ended = program.wait()
        assert ended.left == []
        return Outcome(ended, program.output)


BROKEN = ("--points", "possible", "--signal", "TERM", "--check", "purse:whole")


def test_a_broken_point_is_shown_with_its_line_and_status_1(folder: Path) -> None:
    ended = command(folder, "inject", *BROKEN, "purse:pay")
    assert ended.code == 1
    assert f"purse.py:{LINE}: CALL in pay: broken: lost" in ended.output
    assert f" broken {LINE:>5}" in ended.output
    again = next(line for line in ended.lines if "one alone: " in line)
    words = again.partition("fatal-signals ")[2].split()
    alone = command(folder, *words)
    assert alone.code == 1
    assert "returned: {'ours': 0, 'yours': 0}" in alone.output


def test_what_is_broken_is_red_where_colors_are_wanted(folder: Path) -> None:
    words = ("inject", *BROKEN, "purse:pay")
    plain = command(folder, *words).output
    red = command(folder, *words, FORCE_COLOR="1").output
    assert "\033[31mbroken\033[0m: lost" in red
    assert red.replace("\033[31m", "").replace("\033[0m", "") == plain
    assert command(folder, *words, FORCE_COLOR="1", NO_COLOR="1").output == plain


def test_no_broken_point_is_status_0(folder: Path) -> None:
    ended = command(folder, "inject", "purse:fine")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.lines if line][:3] == [
        "points",
        "possible",
        "possible",
    ]


def test_json_has_every_run(folder: Path) -> None:
    ended = command(folder, "inject", *BROKEN, "--format", "json", "purse:pay")
    assert ended.code == 1
    data = json.loads(ended.output)
    assert data["format"] == 1
    (sweep,) = data["sweeps"]
    assert sweep["tried"] == len(sweep["runs"])
    assert sweep["counts"]["broken"] >= 1
    broken, *_ = [run for run in sweep["runs"] if run["verdict"] == "broken"]
    assert broken["line"] == LINE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name one"),
        (["nothing_of_this_name:f"], "no module 'nothing_of_this_name'"),
        (["broken:f"], "No module named 'nothing_of_this_name'"),
        (["purse"], "must be MODULE:FUNCTION"),
        (["purse:nothing"], "no 'nothing' in it"),
        (["purse:number"], "can't be called"),
        (["none.py"], "none.py"),
        (["--at", "99999", "purse:fine"], "no point 99999"),
        (["--signal", "FOO", "purse:fine"], "no signal 'FOO'"),
        (["--points", "all", "purse:fine"], "'all' is none of"),
        (["--most", "0", "purse:fine"], "no number from 1 up"),
        (["--seconds", "-1", "purse:fine"], "no number of seconds"),
        (["--", "no-such-program-here"], "no-such-program-here"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    words: list[str], said: str, folder: Path
) -> None:
    ended = command(folder, "inject", *words)
    assert ended.code == 2, ended
    assert said in ended.lines[-1]
    assert "Traceback" not in ended.output


FORMATS = ("${HOME}", "{at}", "{options}", "{", "%s %", "$x {0}")


@needs_strace
@pytest.mark.parametrize("text", FORMATS)
def test_no_text_of_a_user_is_a_format(text: str, folder: Path) -> None:
    words = ["--signal", "KILL", "--then", f"sh -c 'echo; exit 3' '{text}'"]
    words += ["--first", "sh", "--ready", text]
    program = ["sh", "-c", ":", text]
    one = ["--at", "exit_group:1"]
    ended = command(folder, "inject", *words, *one, "--", *program)
    assert ended.code == 1, ended
    again = next(line for line in ended.lines if "one alone: " in line)
    alone = shlex.split(again.partition("one alone: ")[2])
    parsed = dict(itertools.pairwise(alone))
    assert shlex.split(parsed["--then"])[-1] == text
    assert (parsed["--ready"], parsed["--at"]) == (text, "exit_group:1")
    assert alone[alone.index("--") + 1 :] == program


@pytest.mark.parametrize("text", FORMATS)
def test_nor_is_the_name_of_a_file_or_what_it_writes(text: str, folder: Path) -> None:
    file = folder / f"{text}.py"
    file.write_text(f"print({text!r})\nraise SystemExit(3)\n")
    words = ["--signal", "URG", "--points", "conceivable", "--at", "2"]
    words += ["--check", "purse:never"]
    (folder / "purse.py").write_text(f"def never(run): raise AssertionError({text!r})")
    ended = command(folder, "inject", *words, file.name)
    assert ended.code == 1, ended
    again = next(line for line in ended.lines if "one alone: " in line)
    assert shlex.split(again)[-1] == file.name
    assert f": broken: {text}" in ended.output


@needs_strace
def test_setup_is_called_for_a_program_too(folder: Path) -> None:
    (folder / "setups.py").write_text("def up(): open('log', 'a').write('up ')\n")
    words = ["--signal", "KILL", "--at", "exit_group:1", "--setup", "setups:up"]
    assert command(folder, "inject", *words, "--", "true").code == 0
    assert (folder / "log").read_text() == "up up "  # once without a signal


def test_help_teaches(folder: Path) -> None:
    ended = command(folder, "inject", "--help")
    assert ended.code == 0
    for word in ("examples:", "exit status:", "--check", "MODULE:FUNCTION"):
        assert word in ended.output


def test_three_lines_make_a_test(folder: Path) -> None:
    (folder / "test_purse.py").write_text(
        "from purse import fine, pay, whole\n"
        "def test_pay(every_point): every_point(pay, whole, signals=[15])\n"
        "def test_fine(every_point): every_point(fine)\n"
        "def test_true(every_syscall): every_syscall(['true'], signals=[9])\n"
    )
    plugin = (
        "-p",
        "fatal_signals.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "--basetemp=t",
    )
    ended = command(folder, "-q", *plugin, "test_purse.py", module="pytest")
    assert ended.code == 1
    assert "1 failed, 2 passed" in ended.output or "1 failed, 1 passed" in ended.output
    assert f"purse.py:{LINE}: CALL in pay: broken: lost" in ended.output
