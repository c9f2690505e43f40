"""Settings of the proofs; what they share is the package ``support``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from blocks.skips import pytest_runtest_makereport

if TYPE_CHECKING:
    from support.workers import ByFile

__all__ = ["pytest_runtest_makereport"]

collect_ignore = ["handbook/site"]
"""These need a browser; ``make test-site`` names the file."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say how many processes ``-n auto`` means."""
    from support.workers import how_many  # noqa: PLC0415 - it needs xdist

    return how_many()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Say which tests stay in one process."""
    from support.workers import ByFile  # noqa: PLC0415 - it needs xdist

    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Start with what is slow, where several processes share the tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
