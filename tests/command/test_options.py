"""One grammar and one set of exit statuses for all tools of the command."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
from support import ROOT, procfs
from support.killed import needs_strace
from support.program import Outcome, Program

from fatal_signals import options
from fatal_signals.options import Option, Parser, Status, add_tool, parse
from fatal_signals.report.mistakes import Mistake

CODE = """
import pathlib

def fine():
    return abs(1)

def runs_on():
    pathlib.Path("told").touch()
    while True:
        pass

def divides(run):
    1 / 0

def broken(run):
    raise AssertionError
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(CODE)
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


def argv(package: Path, folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    path = os.pathsep.join([str(package), str(folder)])
    return [sys.executable, "-m", "fatal_signals", *words], {"PYTHONPATH": path}


def command(folder: Path, *words: str, package: Path = ROOT) -> Outcome:
    line, env = argv(package, folder, *words)
    with Program(line, env=env, cwd=folder) as program:
        ended = program.wait()
        assert ended.left == []
        return Outcome(ended, program.output)


ONE = ("inject", "--points", "conceivable", "--at", "2", "--signal", "URG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "arguments are required: COMMAND; see fatal-signals --help"),
        (["expect"], "invalid choice: 'expect'"),
        (
            ["inject", "--signl", "TERM"],
            "no option '--signl'; did you mean '--signal'?",
        ),
        (["inject", "--sign=TERM"], "no option '--sign'; did you mean '--signal'?"),
        (["inject", "app:fine", "more"], "there is no use for 'more'"),
        (
            ["inject", "--most"],
            "expected one argument; see fatal-signals inject --help",
        ),
        (["inject", "--seed", "x"], "argument --seed: 'x' is no whole number"),
        (["inject", "--format", "xml"], "'xml' is none of text, json"),
        (["inject", "--then", "a 'b", "--", "true"], '"a \'b": No closing quotation'),
        (["inject", "--then", "", "--", "true"], "there is no command in it"),
        (["inject", "ends:f"], "its import ends the process: SystemExit: 0 ("),
        (
            [*ONE, "--check", "app:divides", "app:fine"],
            "check fails: ZeroDivisionError",
        ),
        ([*ONE, "--setup", "app:divides", "app:fine"], "setup fails: TypeError: "),
    ],
)
def test_the_users_mistake_is_one_line_and_status_2(
    words: list[str], said: str, folder: Path
) -> None:
    ended = command(folder, *words)
    assert ended.code == Status.MISTAKE, ended
    (line,) = ended.lines
    assert line.startswith("fatal-signals: ")
    assert said in line


@needs_strace
def test_a_check_of_a_program_that_fails_is_a_mistake(folder: Path) -> None:
    words = ["--signal", "KILL", "--at", "exit_group:1", "--check", "app:divides"]
    ended = command(folder, "inject", *words, "--", "true")
    assert ended.code == Status.MISTAKE
    assert "check fails: ZeroDivisionError" in ended.lines[0]
    assert len(ended.lines) == 1


PLANTED = [
    ("command.py", "    signals = list(options.signal)\n", ("app:fine",)),
    ("points.py", "        began = time.monotonic()\n", ("app:fine",)),
    pytest.param(
        "traced.py",
        "        job = self.job\n",
        ("--signal", "KILL", "--", "true"),
        marks=needs_strace,
    ),
]


@pytest.mark.parametrize("error", ["ValueError", "RuntimeError", "KeyError"])
@pytest.mark.parametrize(("file", "before", "words"), PLANTED)
def test_our_own_fault_keeps_its_traceback_and_is_status_70(
    file: str, before: str, words: tuple[str, ...], error: str, folder: Path
) -> None:
    """In the command, in the process that runs the points, and in the helper."""
    shutil.copytree(ROOT / "fatal_signals", folder / "twin" / "fatal_signals")
    twin = folder / "twin" / "fatal_signals" / "inject" / file
    text = twin.read_text()
    assert text.count(before) == 1
    indent = before[: -len(before.lstrip())]
    twin.write_text(text.replace(before, f"{indent}raise {error}('planted')\n"))
    ended = command(folder, "inject", *words, package=folder / "twin")
    assert ended.code == Status.FAULT, ended
    assert "Traceback (most recent call last)" in ended.output
    assert re.search(f"{error}: '?planted", ended.output)
    assert ended.lines[-1] == "fatal-signals: a fault of ours; please report the above"


def test_good_is_0_and_a_finding_1(folder: Path) -> None:
    assert command(folder, *ONE, "app:fine").code == Status.GOOD
    broken = command(folder, *ONE, "--check", "app:broken", "app:fine")
    assert broken.code == Status.FINDING


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_kills_the_command_truly(signum: int, folder: Path) -> None:
    line, env = argv(ROOT, folder, "inject", "app:runs_on")
    with Program(line, env=env, cwd=folder) as program:
        procfs.until((folder / "told").exists, "the function under test")
        program.send(signum)
        ended = program.wait()
        assert (ended.code, ended.left) == (-signum, [])
        assert "Traceback" not in program.output


# Settings


TOOL = (
    Option("stop-signal", "", "NAME", options.signal_of, repeated=True, setting=list),
    Option("kinds", "", "KINDS", options.some_of("a", "b"), ("a",), setting=list),
    Option("most", "", "N", options.positive, setting=int),
    Option("seconds", "", "S", options.seconds, 10.0, setting=float),
    Option("all", "", setting=bool),
    Option("at", "", "POINT"),
)


def parsed(folder: Path, settings: str, *words: str) -> argparse.Namespace:
    """Return what a command line says to a tool beside a file of settings."""
    (folder / "pyproject.toml").write_text(f"[tool.fatal-signals.it]\n{settings}")
    parser = Parser(prog="fatal-signals")
    commands = parser.add_subparsers(required=True)
    add_tool(commands, "it", TOOL, lambda _: Status.GOOD)
    return parse(parser, ["it", *words])


@pytest.fixture(name="here")
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults_settings_and_the_command_line_in_this_order(here: Path) -> None:
    it = parsed(here, "")
    assert (it.stop_signal, it.kinds, it.most, it.seconds) == (None, ("a",), None, 10)
    assert (it.all, it.at, it.program) == (False, None, [])
    settings = "stop-signal = ['TERM']\nkinds = ['a', 'b']\nmost = 3\nseconds = 1\n"
    it = parsed(here, settings + "all = true")
    assert (it.stop_signal, it.kinds) == ([signal.SIGTERM], ("a", "b"))
    assert (it.most, it.seconds, it.all) == (3, 1.0, True)
    words = ("--stop-signal", "2", "--kinds", "b", "--most", "4", "--seconds", "2")
    it = parsed(here, settings, *words, "--all", "--", "sh", "--", "-c")
    assert (it.stop_signal, it.kinds) == ([signal.SIGINT], ("b",))
    assert (it.most, it.seconds, it.all) == (4, 2.0, True)
    assert it.program == ["sh", "--", "-c"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("stop-signal = ['FOO']", "stop-signal: there is no signal 'FOO'"),
        ("kinds = ['c']", "kinds: 'c' is none of a, b"),
        ("most = 0", "most: '0' is no number from 1 up"),
        ("seconds = 1e9", "seconds: '1000000000.0' is no number of seconds"),
        ("at = '1'", "at: there is no such setting; there are all, kinds, most,"),
    ],
)
def test_a_setting_is_read_as_the_option_is(
    settings: str, said: str, here: Path
) -> None:
    with pytest.raises(Mistake) as caught:
        parsed(here, settings)
    file = here / "pyproject.toml"
    assert str(caught.value).startswith(f"{file}: [tool.fatal-signals.it] {said}")


def test_the_injector_has_settings(folder: Path) -> None:
    file = folder / "pyproject.toml"
    words = ("inject", "--format", "json", "--at", "2", "app:fine")
    file.write_text(
        "[tool.fatal-signals.inject]\n"
        "points = ['conceivable']\nsignal = ['URG']\ncheck = 'app:broken'\n"
    )
    ended = command(folder, *words)
    assert ended.code == Status.FINDING, ended
    assert '"SIGURG"' in ended.output
    file.write_text("[tool.fatal-signals.inject]\ncheek = 'app:broken'\n")
    ended = command(folder, *words)
    assert ended.code == Status.MISTAKE
    said = "cheek: there is no such setting; did you mean 'check'?"
    assert ended.lines == [f"fatal-signals: {file}: [tool.fatal-signals.inject] {said}"]
