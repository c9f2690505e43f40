"""Runs every literal block of the handbook: ``pytest docs/``."""

import sys
from pathlib import Path

# Also where somebody runs pytest with another root or another configuration.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "machinery"))

from blocks.parser import close_page, parse
from blocks.skips import pytest_runtest_makereport
from sybil import Sybil

pytest_collect_file = Sybil(
    parsers=[parse], patterns=["*.rst"], teardown=close_page
).pytest()

__all__ = ["pytest_collect_file", "pytest_runtest_makereport"]
