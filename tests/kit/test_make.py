"""The two commands on a machine that lacks something: one clear line."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import FATAL, ROOT

TOOLS = ("sh", "rm", "touch", "echo")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make with a PATH of nothing but ``folder / "bin"``."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool) or "")
    return subprocess.run(
        [shutil.which("make") or "make", *arguments],
        cwd=folder,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        timeout=FATAL,
        check=False,
    )


def python(folder: Path, script: str) -> None:
    """Put a ``python3`` on the PATH."""
    (folder / "bin").mkdir()
    file = folder / "bin" / "python3"
    file.write_text(f"#!{shutil.which('sh')}\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("target", ["html", "test", "check", "test-all"])
def test_without_python_there_is_one_clear_line(tmp_path: Path, target: str) -> None:
    run = make(tmp_path, target)
    first, *rest = run.stderr.splitlines()
    assert "no Python 3.11 or later on the PATH" in first
    assert [line for line in rest if "Error 2" not in line] == []
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_is_none(tmp_path: Path) -> None:
    python(tmp_path, "exit 1")
    assert "no Python 3.11 or later" in make(tmp_path, "html").stderr


def test_without_venv_there_is_one_clear_line(tmp_path: Path) -> None:
    python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac')
    first, *rest = make(tmp_path, "html").stderr.splitlines()
    assert "python3 has no venv module" in first
    assert [line for line in rest if "Error 2" not in line] == []


def test_help_lists_every_target() -> None:
    run = subprocess.run(
        ["make", "help"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=FATAL,
        check=True,
    )
    makefile = (ROOT / "Makefile").read_text()
    phony = makefile.partition(".PHONY: ")[2].splitlines()[0].split()
    listed = [line.split()[1] for line in run.stdout.splitlines()]
    assert sorted(listed) == sorted(set(phony) - {"help"})
