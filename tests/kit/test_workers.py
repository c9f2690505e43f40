"""Among several processes a file of tests stays in one, and slow ones come first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import BARE, FATAL, PATH, ROOT
from support.workers import is_scattered

KEPT = """
import os, pathlib, pytest

@pytest.mark.parametrize("n", range(8))
def test_kept(n):
    pathlib.Path(f"kept-{os.getpid()}").touch()
"""

MET = """
import os, pytest

pytestmark = pytest.mark.scattered

def test_alone():
    pass

@pytest.mark.slow
@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_WRONLY])
def test_met(mode):
    os.open("meet", mode)  # waits until the other one has come, too
"""


def test_a_file_is_kept_together_and_slow_ones_meet_at_the_start(
    tmp_path: Path,
) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  slow\n  scattered\n")
    (tmp_path / "test_kept.py").write_text(KEPT)
    (tmp_path / "test_met.py").write_text(MET)
    os.mkfifo(tmp_path / "meet")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-n", "2"],
        cwd=tmp_path,
        env={**os.environ, **BARE, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=FATAL,
        check=False,
    )
    assert "11 passed" in run.stdout, run.stdout + run.stderr
    assert len(list(tmp_path.glob("kept-*"))) == 1


@pytest.mark.parametrize(
    ("file", "scattered"),
    [
        ("tests/modules/test_twins.py", True),
        ("tests/modules/test_boss.py", False),
        ("docs/index.rst", False),
    ],
)
def test_a_file_says_itself_that_it_is_scattered(file: str, scattered: bool) -> None:
    assert is_scattered(ROOT / file) == scattered
