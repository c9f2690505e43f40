"""Settings of the proofs; what they share is the package ``support``."""

from __future__ import annotations

import pytest
from blocks.skips import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]

collect_ignore = ["handbook/site"]
"""These need a browser; ``make test-site`` names the file."""

SCATTERED = {
    "test_avoid",
    "test_inject_avoided",
    "test_inject_modules",
    "test_inject_points",
    "test_inject_syscalls",
    "test_site",
    "test_systemd",
    "test_twins",
}
"""Files whose tests share nothing and are long: any process may take the next one."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep a file's tests in one worker process: they share what is made once."""
    if item.config.pluginmanager.hasplugin("xdist") and item.path.stem not in SCATTERED:
        item.add_marker(pytest.mark.xdist_group(str(item.path)))
