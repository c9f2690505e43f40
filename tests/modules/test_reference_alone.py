"""A reference file, copied alone into an empty folder, works.

The boss is several, and each of them takes along what it imports.
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import FATAL, ROOT
from support.companions import BESIDE, MODULES, copy, part_with, parts

FILES = sorted((ROOT / "reference").glob("*.py"))
LICENSE = "# SPDX-License-Identifier: 0BSD"
SHORT = ["flag_handler", "wakeup_fd"]
ONE_SITTING = 470
"""Lines of a file that is read at one sitting."""

each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def python(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={"LANG": "C.UTF-8", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=FATAL,
        check=False,
    )


def public_classes(file: Path) -> list[str]:
    tree = ast.parse(file.read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return [name for name in names if not name.startswith("_")]


@each
def test_copied_alone_it_is_imported(file: Path, tmp_path: Path) -> None:
    """No site-packages, no environment, nothing but the standard library."""
    copied = copy(file.stem, tmp_path)
    text = f"import {file.stem}\nprint({file.stem}.__file__)\n"
    (tmp_path / "main.py").write_text(text)
    ran = python(tmp_path, "-E", "-s", "-S", "-B", "main.py")
    assert (ran.stderr, ran.stdout) == ("", f"{tmp_path / file.name}\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*copied, "main.py"])


@each
def test_in_the_package_it_imports_its_neighbors_from_there(file: Path) -> None:
    text = f"import sys, fatal_signals.reference.{file.stem}\nprint(*sys.modules)"
    ran = python(ROOT, "-E", "-s", "-B", "-c", text)
    assert ran.stderr == ""
    found = set(ran.stdout.split())
    wanted = {f"fatal_signals.reference.{it}" for it in (file.stem, *BESIDE[file.stem])}
    assert {it for it in found if it.startswith("fatal_signals.reference.")} == wanted
    assert not found & BESIDE.keys()


@pytest.mark.parametrize("name", SHORT)
def test_copied_alone_it_stops_a_loop(name: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "reference" / f"{name}.py", tmp_path)
    (kind,) = public_classes(tmp_path / f"{name}.py")
    (tmp_path / "main.py").write_text(
        "import signal\n"
        f"from {name} import {kind}\n"
        f"with {kind}() as stop:\n"
        "    while not stop:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "print(stop.signum.name)\n"
    )
    ran = python(tmp_path, "-E", "-s", "-S", "-B", "main.py")
    assert (ran.stderr, ran.stdout) == ("", "SIGTERM\n")


@each
@pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="needs mypy (the check extra)"
)
def test_copied_alone_its_types_are_right(file: Path, tmp_path: Path) -> None:
    copy(file.stem, tmp_path)
    cache = ["--cache-dir", str(tmp_path / "cache")]
    ran = python(tmp_path, "-m", "mypy", "--strict", *cache, file.name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@each
def test_head_names_the_license(file: Path) -> None:
    assert file.read_text().startswith(LICENSE)


@each
def test_a_file_is_read_at_one_sitting(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= ONE_SITTING


def test_only_the_boss_takes_files_along() -> None:
    with_others = {name for name in MODULES if BESIDE[name]}
    assert with_others == {"boss"}
    assert {*parts("boss"), "restart_check"} == {"boss", *BESIDE["boss"]}


def test_who_embeds_the_boss_needs_no_file_of_children() -> None:
    assert "boss_supervisor" in BESIDE["boss"]
    assert "boss_file" not in BESIDE["boss_supervisor"]
    assert BESIDE["boss_states"] == BESIDE["boss_log"] == ()


@pytest.mark.parametrize("text", ["no such text", "import os\n"])
def test_a_text_that_is_not_there_once_belongs_to_no_part(text: str) -> None:
    with pytest.raises(AssertionError, match="not once"):
        part_with("boss", text)


@each
def test_functions_fit_on_a_screen(file: Path) -> None:
    long = [
        f"{node.name}, line {node.lineno}"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= 40
    ]
    assert long == []


@pytest.mark.parametrize("name", [*SHORT, "helpful_cleanup", "true_death"])
def test_small_patterns_stay_small(name: str) -> None:
    file = ROOT / "reference" / f"{name}.py"
    assert len(file.read_text().splitlines()) < 200


SHARED = ("flag_handler", "wakeup_fd", "helpful_cleanup")
"""Each has a copy of the function that no other handler may disturb."""


def shared(name: str, text: str) -> str:
    """Return a function of a module as code alone."""
    (found,) = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    return ast.unparse(found)


def test_copies_of_one_function_are_equal() -> None:
    texts = [(ROOT / "reference" / f"{name}.py").read_text() for name in SHARED]
    assert len({shared("_undisturbed", text) for text in texts}) == 1
    changed = texts[0].replace("SIG_BLOCK", "SIG_UNBLOCK")
    assert shared("_undisturbed", changed) != shared("_undisturbed", texts[1])
