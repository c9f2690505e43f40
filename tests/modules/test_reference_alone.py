"""A reference module is one file: copied alone into an empty folder, it works.

The boss takes a second one with it.
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

FILES = sorted((ROOT / "reference").glob("*.py"))
LICENSE = "# SPDX-License-Identifier: 0BSD"
BESIDE = {"boss": ["restart_check"]}
"""What a module takes with it."""

SHORT = ["flag_handler", "wakeup_fd"]

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


def copy(file: Path, folder: Path) -> list[str]:
    """Copy a module, and what it takes with it; return the names."""
    names = [file.name, *(f"{name}.py" for name in BESIDE.get(file.stem, []))]
    for name in names:
        shutil.copy(file.parent / name, folder)
    return names


def public_classes(file: Path) -> list[str]:
    tree = ast.parse(file.read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return [name for name in names if not name.startswith("_")]


@each
def test_copied_alone_it_is_imported(file: Path, tmp_path: Path) -> None:
    """No site-packages, no environment, nothing but the standard library."""
    copied = copy(file, tmp_path)
    text = f"import {file.stem}\nprint({file.stem}.__file__)\n"
    (tmp_path / "main.py").write_text(text)
    ran = python(tmp_path, "-E", "-s", "-S", "-B", "main.py")
    assert (ran.stderr, ran.stdout) == ("", f"{tmp_path / file.name}\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*copied, "main.py"])


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
    copy(file, tmp_path)
    cache = ["--cache-dir", str(tmp_path / "cache")]
    ran = python(tmp_path, "-m", "mypy", "--strict", *cache, file.name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@each
def test_head_names_the_license(file: Path) -> None:
    assert file.read_text().startswith(LICENSE)


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
