"""What the proofs share: starting programs, asking the kernel, breaking modules.

Helpers live here and assertions live in ``tests/test_*.py``; neither holds the other.
Every wait in here is bounded by ``FATAL``; ``SETTLE`` is spent on absence only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from blocks.clocks import FATAL, SETTLE

ROOT = Path(__file__).resolve().parents[2]
"""The top of the project."""

HANG = 3.0
"""Seconds after which a block hangs, on pages that are made to hang."""

BARE = {"PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The environment of a pytest inside a test: plugins take a fifth of its start."""

__all__ = ["BARE", "FATAL", "HANG", "ROOT", "SETTLE", "own_tmp_path"]


@contextmanager
def own_tmp_path() -> Iterator[str]:
    """Yield the option that gives a pytest inside a test a folder of its own.

    Without it all of them share ``/tmp/pytest-of-USER``, where each removes the oldest
    folders at its end: one of thousands broke off there, with its summary unwritten.
    A folder below the test's own was rejected: names of sockets have 108 bytes.
    """
    with TemporaryDirectory() as folder:
        yield f"--basetemp={folder}"
