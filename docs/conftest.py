"""Runs every literal block of the handbook: ``pytest docs/``."""

import sys
from pathlib import Path

# Also where somebody runs pytest with another root or another configuration.
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent / "machinery"))

import pytest
from blocks.parser import close_page, parse
from blocks.skips import pytest_runtest_makereport
from sybil import Sybil

pytest_collect_file = Sybil(
    parsers=[parse], patterns=["*.rst"], teardown=close_page
).pytest()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep a page's blocks in one worker process, where there are several."""
    if item.config.pluginmanager.hasplugin("xdist"):
        item.add_marker(pytest.mark.xdist_group(str(item.path)))


__all__ = ["pytest_collect_file", "pytest_runtest_makereport"]
