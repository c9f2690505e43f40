"""A small clone of the project, with pages of a test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import BARE, FATAL, HANG, ROOT, own_tmp_path

PARTS = (
    "docs/_static",
    "docs/_templates",
    "docs/machinery",
    "fatal_signals",
    "reference",
)
"""Folders of the project without which no page runs."""


@dataclass(frozen=True)
class Report:
    """One failed block of a page."""

    page: str
    line: int
    text: str


def make(folder: Path, pages: Iterable[Path]) -> None:
    """Copy the engine, the modules and these pages into an empty folder."""
    ignore = shutil.ignore_patterns("__pycache__")
    (folder / "docs").mkdir(parents=True)
    for name in ("conf.py", "pyproject.toml", "docs/conftest.py"):
        shutil.copy(ROOT / name, folder / name)
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=ignore, symlinks=True)
    (folder / "docs" / "index.rst").write_text("Pages\n=====\n")
    for page in pages:
        shutil.copy(page, folder / "docs" / page.name)


def run(
    folder: Path,
    *arguments: str,
    pages: Iterable[str] = ("docs",),
    hang: bool = False,
    skips: bool = True,
) -> tuple[dict[str, int], list[Report]]:
    """Run ``pytest docs/`` in a clone, or only what the arguments name.

    Returns:
        The number of blocks that passed on each page, and a report of each failure.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--junit-xml=report.xml"]
    with own_tmp_path() as basetemp:
        result = subprocess.run(
            [*command, basetemp, *pages, *arguments],
            cwd=folder,
            env={
                **os.environ,
                **BARE,
                "SKIPS_ARE_FAILURES": "" if skips else "1",
                **({"BLOCK_SECONDS": str(HANG)} if hang else {}),
            },
            capture_output=True,
            text=True,
            timeout=5 * FATAL,
            check=False,
        )
    passed: dict[str, int] = {}
    failed = []
    if not (folder / "report.xml").exists():
        raise AssertionError(result.stdout + result.stderr)
    for case in ET.parse(folder / "report.xml").iter("testcase"):
        page = case.get("classname", "").removesuffix(".rst").rpartition(".")[2]
        name = dict(part.split(":") for part in case.get("name", "").split(","))
        trouble = case.find("failure")
        if trouble is None:
            trouble = case.find("error")
        if trouble is None and case.find("skipped") is None:
            passed[page] = passed.get(page, 0) + 1
        elif trouble is not None:
            failed.append(Report(page, int(name["line"]), trouble.text or ""))
    return passed, failed
