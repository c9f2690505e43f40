"""What the tools share: mistakes, settings, colors, progress, digests, tables."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import shutil
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest
from support import ROOT

from fatal_signals.report.colors import Colors, colors_of
from fatal_signals.report.digests import digest, digests
from fatal_signals.report.mistakes import Mistake, did_you_mean
from fatal_signals.report.progress import PATIENCE, Progress
from fatal_signals.report.records import as_json
from fatal_signals.report.settings import Setting, read
from fatal_signals.report.text import row, short

PACKAGE = ROOT / "fatal_signals" / "report"


def test_it_imports_the_standard_library_and_itself_only() -> None:
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1
                assert (PACKAGE / f"{node.module}.py").exists()
            elif isinstance(node, ast.ImportFrom):
                assert str(node.module).partition(".")[0] in sys.stdlib_module_names
            elif isinstance(node, ast.Import):
                names = {it.name.partition(".")[0] for it in node.names}
                assert names <= sys.stdlib_module_names


# Mistakes


def test_a_mistake_is_one_line_with_place_and_cure() -> None:
    assert str(Mistake("no", where="here", cure="do this")) == "here: no; do this"
    assert str(Mistake("not\nthat\n")) == "not that"


def test_a_word_that_is_close_is_offered_and_else_all() -> None:
    assert did_you_mean("secnods", ["seconds", "most"]) == "did you mean 'seconds'?"
    assert did_you_mean("xyz", ["seconds", "most"]) == "there are most, seconds"


# Settings


def even(value: int) -> int:
    if value % 2:
        raise Mistake(f"{value} is odd")
    return value // 2


KNOWN = {
    "text": Setting(str),
    "flag": Setting(bool),
    "count": Setting(int, even),
    "seconds": Setting(float),
    "words": Setting(list),
}


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)

    def settings(text: str) -> dict[str, Any]:
        (tmp_path / "a" / "pyproject.toml").write_text(text)
        return read("it", KNOWN, folder)

    return settings


def test_settings_are_those_of_the_nearest_file(
    settings: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.fatal-signals.it]\ntext = 'far'\n")
    near = "text = 'near'\nflag = true\ncount = 8\nseconds = 2\nwords = ['a']\n"
    assert settings(f"[tool.fatal-signals.it]\n{near}") == {
        "text": "near",
        "flag": True,
        "count": 4,
        "seconds": 2,
        "words": ["a"],
    }
    assert settings("[tool.fatal-signals.other]\nanything = 1\n") == {}
    assert settings("") == {}
    assert read("it", KNOWN, tmp_path) == {"text": "far"}


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert read("it", KNOWN, tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("secnods = 1", "secnods: there is no such setting; did you mean 'seconds'?"),
        ("text = 1", "text: must be a string, and is 1"),
        ("flag = 1", "flag: must be true or false, and is 1"),
        ("count = true", "count: must be a whole number, and is True"),
        ("count = 1.5", "count: must be a whole number, and is 1.5"),
        ("count = 3", "count: 3 is odd"),
        ("seconds = true", "seconds: must be a number, and is True"),
        ("words = 'a'", "words: must be an array of strings, and is 'a'"),
        ("words = [1]", "words: must be an array of strings, and is [1]"),
    ],
)
def test_a_mistake_in_settings_names_file_and_key(
    text: str, said: str, settings: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(Mistake) as caught:
        settings(f"[tool.fatal-signals.it]\n{text}\n")
    file = tmp_path / "a" / "pyproject.toml"
    assert str(caught.value) == f"{file}: [tool.fatal-signals.it] {said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.fatal-signals.it", "can't be read: "),
        ("tool = 1", "tool: must be a table"),
        ("[tool]\nfatal-signals = []", "tool.fatal-signals: must be a table"),
        ("[tool.fatal-signals]\nit = 'x'", "tool.fatal-signals.it: must be a table"),
    ],
)
def test_broken_toml_is_a_mistake_that_names_the_file(
    text: str, said: str, settings: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(Mistake) as caught:
        settings(text)
    file = tmp_path / "a" / "pyproject.toml"
    assert str(caught.value).startswith(f"{file}: {said}")


# A terminal


class Terminal:
    """A pseudo-terminal: something to write to, and what was written."""

    def __init__(self, columns: int) -> None:
        self._outer, inner = pty.openpty()
        termios.tcsetwinsize(inner, (24, columns))
        self.stream: TextIO = os.fdopen(inner, "w")

    def written(self) -> str:
        """Return all that was written, and close it."""
        self.stream.write("end")
        self.stream.close()
        text = ""
        while not text.endswith("end"):
            text += os.read(self._outer, 65536).decode()
        os.close(self._outer)
        return text.removesuffix("end")


@pytest.fixture(name="terminal")
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal(40)


@pytest.mark.parametrize(
    ("environ", "on_terminal", "elsewhere"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"TERM": "xterm", "FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colors(
    environ: dict[str, str], on_terminal: bool, elsewhere: bool, terminal: Terminal
) -> None:
    assert colors_of(terminal.stream, environ).seen == on_terminal
    assert colors_of(io.StringIO(), environ).seen == elsewhere
    terminal.written()


def test_paint() -> None:
    assert Colors(True).paint("bad", "lost") == "\033[31mlost\033[0m"
    assert Colors(True).paint("bad", "") == ""
    assert Colors(False).paint("bad", "lost") == "lost"


def progressed(stream: TextIO, what: str, *moments: float) -> None:
    """Tell of progress at some moments after the start."""
    now = [0.0]
    with Progress(stream, lambda: now[0]) as progress:
        for number, now[0] in enumerate(moments, 1):
            progress(what, number, len(moments))


def test_progress_is_told_late_and_is_erased(terminal: Terminal) -> None:
    progressed(terminal.stream, "points", PATIENCE / 2, PATIENCE, PATIENCE * 2)
    line = "\r\033[Kpoints: {} of 3"
    assert terminal.written() == line.format(2) + line.format(3) + "\r\033[K"


def test_progress_of_what_is_quick_is_not_told(terminal: Terminal) -> None:
    progressed(terminal.stream, "points", PATIENCE / 2)
    assert terminal.written() == ""


def test_progress_is_for_terminals() -> None:
    file = io.StringIO()
    progressed(file, "points", PATIENCE * 2)
    assert file.getvalue() == ""


def test_progress_is_one_line_whatever_the_text(terminal: Terminal) -> None:
    progressed(terminal.stream, "{0}%s\n\033[2J" + "x" * 99, PATIENCE * 2)
    written = terminal.written()
    _, shown, erased = written.split("\r\033[K")
    assert shown.startswith("{0}%s??[2Jxx")
    assert len(shown) < 40
    assert erased == ""


# Digests, records, lines


def test_a_digest_is_of_content_and_name_not_of_the_path(tmp_path: Path) -> None:
    file = tmp_path / "it.py"
    file.write_text("1\n")
    moved = tmp_path / "elsewhere" / "it.py"
    moved.parent.mkdir()
    shutil.copy(file, moved)
    assert digests([file]) == digests([moved]) == {"it.py": digest("1\n")}
    assert digest("1\n") == digest(b"1\n") == "4355a46b19d348dc"
    moved.write_text("2\n")
    assert digests([file]) != digests([moved])
    with pytest.raises(ValueError, match="two files of one name"):
        digests([file, moved])


def test_a_record_has_a_line_for_each_result() -> None:
    text = as_json({"about": "it"}, [{"n": 1}, {"n": 2}])
    assert json.loads(text) == {"about": "it", "results": [{"n": 1}, {"n": 2}]}
    assert text.splitlines()[3:5] == ['  {"n": 1},', '  {"n": 2}']


def test_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row(["ab", "1", "x"], [4, -3, 4]) == "ab    1x"
    monkeypatch.chdir(tmp_path)
    assert short(str(tmp_path / "a.py")) == "a.py"
    assert short("/etc/passwd") == "/etc/passwd"
