"""What the proofs share: starting programs, asking the kernel, breaking modules.

Helpers live here and assertions live in ``tests/test_*.py``; neither holds the other.
Every wait in here is bounded by ``FATAL``; ``SETTLE`` is spent on absence only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fatal_signals.processes.clocks import FATAL, SETTLE

ROOT = Path(__file__).resolve().parents[2]
"""The top of the project."""

PATH = ":".join(
    str(ROOT / part)
    for part in ("", "reference", "docs/machinery", "tests", "tests/programs")
)
"""Where Python finds what we import, for programs that run by themselves."""

HANG = 3.0
"""Seconds after which a block hangs, on pages that are made to hang."""

BARE = {"PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The environment of a pytest inside a test: plugins take a fifth of its start."""

__all__ = [
    "BARE",
    "FATAL",
    "HANG",
    "PATH",
    "ROOT",
    "SETTLE",
    "file_of_tests",
    "own_tmp_path",
]


def file_of_tests(name: str) -> Path:
    """Return a file of tests, in whichever room it is."""
    for found in (ROOT / "tests").rglob(f"{name}.py"):
        return found
    raise FileNotFoundError(f"no {name}.py in tests/")


@contextmanager
def own_tmp_path() -> Iterator[str]:
    """Yield the option that gives a pytest inside a test a folder of its own.

    Without it all of them share ``/tmp/pytest-of-USER``, where each removes the oldest
    folders at its end: one of thousands broke off there, with its summary unwritten.
    A folder below the test's own was rejected: names of sockets have 108 bytes.
    """
    with TemporaryDirectory() as folder:
        yield f"--basetemp={folder}"
