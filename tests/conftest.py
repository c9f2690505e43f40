"""Settings of the proofs; what they share is the package ``support``."""

from __future__ import annotations

import pytest
from blocks.skips import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]

SCATTERED = {"test_twins"}
"""Files whose tests share nothing and are long: any process may take the next one."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Keep a file's tests, and a page's blocks, in one worker process."""
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            if item.path.stem not in SCATTERED:
                item.add_marker(pytest.mark.xdist_group(item.path.name))
