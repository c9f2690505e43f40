"""Fixtures for pytest: a test of three lines tries a signal at every point.

pytest finds this module once the package is installed, by its entry point.  It loads
the injector only where a test asks for it: each run of pytest imports this file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import inject


@pytest.fixture
def every_point() -> Callable[..., list[inject.Report]]:
    """Return :func:`fatal_signals.inject.every_point`, made an assertion.

    The test fails with the table and the source lines if a point was not kept.
    """

    from . import inject  # noqa: PLC0415

    def run(function: Callable[[], object], *args: Any, **options: Any) -> Any:
        return _kept(inject.every_point(function, *args, **options))

    return run


@pytest.fixture
def every_syscall() -> Callable[..., list[inject.Report]]:
    """Return :func:`fatal_signals.inject.every_syscall`, made an assertion.

    The test is skipped where strace is not installed.
    """

    from . import inject  # noqa: PLC0415

    def run(command: list[str], *args: Any, **options: Any) -> Any:
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed")
        return _kept(inject.every_syscall(command, *args, **options))

    return run


def _kept(reports: list[inject.Report]) -> list[inject.Report]:
    from .inject.report import as_text  # noqa: PLC0415

    if any(report.failures for report in reports):
        pytest.fail("not kept at every point\n" + as_text(reports), pytrace=False)
    if not any(report.tried for report in reports):
        pytest.fail("no point was tried", pytrace=False)
    return reports
