"""What counts as library code is tried once and once more; all else each time."""

from __future__ import annotations

import signal
import site
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from support import FATAL

from fatal_signals.inject import Run, arrival, every_point, points
from fatal_signals.inject.library import is_library

STDLIB = sysconfig.get_path("stdlib")

LOOP = "def life():\n    for number in range(9):\n        abs(number)\n"


@pytest.mark.parametrize(
    ("file", "library"),
    [
        (f"{STDLIB}/json/decoder.py", True),
        (f"{STDLIB}/site-packages/app.py", False),
        (f"{STDLIB}/dist-packages/app.py", False),
        (f"{STDLIB}-of-ours/app.py", False),
        (f"{STDLIB}/json/../../app.py", False),
        (f"{site.getsitepackages()[0]}/app.py", False),
        (arrival.__file__, True),
        (f"{Path(arrival.__file__).parent}_of_ours/app.py", False),
        ("<frozen os>", True),
        ("<string>", False),
        ("app.py", False),
    ],
)
def test_what_counts_as_library_code(file: str, library: bool) -> None:
    assert is_library(file) == library


def test_a_link_to_the_library_is_the_library(tmp_path: Path) -> None:
    (tmp_path / "lib").symlink_to(STDLIB)
    assert is_library(f"{tmp_path}/lib/json/decoder.py")
    (tmp_path / "app").symlink_to(tmp_path / "real")
    assert not is_library(f"{tmp_path}/app/json/decoder.py")


def from_file(file: str) -> Callable[[], object]:
    """Return a loop as a callable whose code says that it is from a file."""
    space: dict[str, Callable[[], object]] = {}
    exec(compile(LOOP, file, "exec"), space)
    return space["life"]


def tried(file: str) -> tuple[int, int]:
    """Return how many instructions are tried, and of how many."""

    def died(run: Run) -> bool:
        return run.died_by == signal.SIGTERM

    (report,) = every_point(
        from_file(file),
        died,
        points=["conceivable"],
        signals=[signal.SIGTERM],
        seconds=FATAL,
    )
    assert not report.failures
    return len(report.tried), report.course


def test_what_pip_has_installed_is_tried_at_each_instruction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed, library = (f"{STDLIB}/{name}.py" for name in ("site-packages/a", "a"))
    each, course = tried(installed)
    assert each == course
    once, course = tried(library)
    assert once < course
    # The twin tells by the beginning of the path.
    monkeypatch.setattr(points, "is_library", lambda file: file.startswith(STDLIB))
    assert tried(installed) == (once, course)
