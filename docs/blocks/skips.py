"""A hook that turns every skip into a failure, for machines that have everything."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Fail what was skipped when ``SKIPS_ARE_FAILURES`` is set."""
    report = yield
    if report.skipped and os.environ.get("SKIPS_ARE_FAILURES"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and here nothing may be: {report.longrepr}"
    return report
