"""Every promise has a test, and every test fails for a twin that breaks the promise."""

from __future__ import annotations

import importlib
import re
import runpy
from pathlib import Path

import pytest
from support import ROOT
from support.twins import Twin, failing_tests, files, promises, twins

pytestmark = pytest.mark.scattered

MODULES = sorted(file.stem for file in (ROOT / "tests" / "twins").glob("*.toml"))

TWINS = [
    pytest.param(twin, id=f"{module}-{twin.promise}")
    for module in MODULES
    for twin in twins(module)
]

SLIPS = re.compile(r"\b(NameError|UnboundLocalError|ImportError|SyntaxError): ")
"""What a twin must not fail with: then it would be broken Python, not a broken word."""


def with_tests(module: str, promised: list[str]) -> set[str]:
    """Return what the module's tests test; a test of no promise stands for itself."""
    found = set()
    for file in files(module):
        for name, it in vars(importlib.import_module(file.stem)).items():
            if name.startswith("test_") and callable(it):
                own = [p for p in promised if f"{name}_".startswith(f"test_{p}_")]
                found.add(max(own, key=len, default=name))
    return found


def test_there_are_modules_with_promises() -> None:
    assert {"flag_handler", "wakeup_fd"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_promises_twins_and_tests_are_the_same(module: str) -> None:
    promised = promises(module)
    assert len(promised) == len(set(promised)), "promised twice"
    assert {twin.promise for twin in twins(module)} == set(promised)
    assert with_tests(module, promised) == set(promised)


def test_promises_of_both_stop_classes_are_the_same() -> None:
    assert set(promises("flag_handler")) < set(promises("wakeup_fd"))


def judge(twin: Twin, folder: Path, *options: str) -> None:
    """Demand that a twin fails the tests of its promise, and for nothing else."""
    changed = twin.write(folder)
    runpy.run_path(str(changed), run_name=changed.stem)
    failed, report = failing_tests(twin.module, twin.promise, folder, *options)
    if not failed and (skipped := re.search(r"^SKIPPED .*", report, re.MULTILINE)):
        pytest.skip(f"so is the promise's own test: {skipped[0]}")
    assert failed, f"the twin passes\n{report}"
    assert all(f"{name}_".startswith(f"{twin.promise}_") for name in failed), report
    reasons = re.findall(r"^(?:FAILED|ERROR) \S.*?(?: - (.*))?$", report, re.MULTILINE)
    assert all(re.match("assert|AssertionError", why) for why in reasons), report
    assert not SLIPS.search(report), report


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # so that pytest does not cut reasons off


@pytest.mark.parametrize("twin", TWINS)
def test_broken_promise_fails_its_test(twin: Twin, tmp_path: Path) -> None:
    judge(twin, tmp_path, "-x")  # the first to fail is enough


@pytest.mark.long
@pytest.mark.parametrize("twin", TWINS)
def test_all_that_fails_is_about_the_broken_promise(twin: Twin, tmp_path: Path) -> None:
    judge(twin, tmp_path)
