"""A hook that turns every skip into a failure, for machines that have everything.

What no machine can have is spared: a block that is about another version of Python.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

OTHER_PYTHON = "for another Python: "
"""Starts the reason of a skip whose condition asks for the version and nothing else."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Fail what was skipped when ``SKIPS_ARE_FAILURES`` is set."""
    report = yield
    strict = os.environ.get("SKIPS_ARE_FAILURES")
    if report.skipped and strict and OTHER_PYTHON not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped, and here nothing may be: {report.longrepr}"
    return report
