"""A hook that turns every skip into a failure, for machines that have everything.

What can't be installed is spared: another version of Python than the one that runs, and
a right that the machine does not give even to root.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

OTHER_PYTHON = "for another Python: "
"""Starts the reason of a skip whose condition asks for the version and nothing else."""

OTHER_MACHINE = "for another machine: "
"""Starts the reason of a skip for want of a right that can't be installed."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Fail what was skipped when ``SKIPS_ARE_FAILURES`` is set."""
    report = yield
    strict = os.environ.get("SKIPS_ARE_FAILURES")
    spared = (OTHER_PYTHON, OTHER_MACHINE)
    text = str(report.longrepr)
    if report.skipped and strict and not any(reason in text for reason in spared):
        report.outcome = "failed"
        report.longrepr = f"skipped, and here nothing may be: {report.longrepr}"
    return report
