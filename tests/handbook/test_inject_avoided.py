"""The patterns to avoid break where a signal comes at a bad point; their cures do not.

The first wrong program of each page and a sample of its cure's points are tried here.
``docs/evidence/points`` has all programs and points, on every interpreter, and a test
below holds it to the pages.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from record_points import EVIDENCE, SWEPT, avoided_topic, swept
from support import ROOT, avoided
from support.avoided_lives import AVOIDED, Avoided
from support.pages import blocks_of, files_of
from support.program import proved

pytestmark = pytest.mark.scattered

PROVER = str(ROOT / "tests" / "programs" / "prove_avoided.py")

SAMPLE = ("--most", "12", "--seed", "1", "--quick")
"""Points of a cure.  A wrong program is tried at all: it may be wrong at one only."""

each_page = pytest.mark.parametrize("path", avoided.PAGES, ids=lambda path: path.stem)


def page(stem: str) -> Path:
    """Return the page of a pattern."""
    return ROOT / "docs" / "avoid" / f"{stem}.rst"


@each_page
def test_each_program_of_a_page_is_tried_or_has_a_reason(path: Path) -> None:
    entries = {it.program: it for it in AVOIDED.get(path.stem, [])}
    pairs = avoided.pairs(blocks_of(path))
    assert pairs.keys() | set(pairs.values()) <= entries.keys()
    for wrong, cured in pairs.items():
        assert not entries[wrong].cured
        assert entries[cured].cured
        if entries[wrong].why_not:
            assert entries[cured].why_not, f"{cured} alone shows nothing"
    text = path.read_text()
    assert "\nAt every point\n------" in text
    swept = any(not it.why_not for it in entries.values())
    assert swept == (f".. points-table:: {path.stem}\n" in text)


def test_no_entry_is_without_a_page() -> None:
    assert sorted(AVOIDED) == [path.stem for path in avoided.PAGES]


def first_pair(stem: str) -> list[Avoided]:
    """Return the first wrong program of a page, and its cure."""
    pairs = avoided.pairs(blocks_of(page(stem)))
    entries = {it.program: it for it in swept(stem)}
    wrong = next(name for name in pairs if name in entries)
    return [entries[name] for name in (wrong, pairs[wrong]) if name in entries]


def prove(folder: Path, stem: str, program: str) -> list[dict[str, Any]]:
    """Run the prover on the interpreter that runs us; return its results."""
    words = [str(folder), stem, "--program", program, *SAMPLE]
    return proved([sys.executable, PROVER, *words])


def judge(it: Avoided, result: dict[str, Any], texts: dict[str, str]) -> None:
    """Demand that a wrong program has broken, and a cure has not."""
    assert result["tried"], result
    assert result["kept"] + result["broken"] + result["hung"] == result["tried"]
    if not it.cured:
        assert result["broken"] + result["hung"], f"{it.program} is not wrong"
    for place, *_ in result["where"] if it.cured else []:
        file, _, line = place.partition(":")
        source = texts[file].splitlines()[int(line) - 1] if file in texts else ""
        assert it.but, f"{it.program} is no cure: {result}"
        assert it.but in source, f"{it.program} is no cure: {result}"


LONG = ("reap_once", "handler_at_import", "output_in_handler", "unwoken_wait")


@pytest.mark.parametrize(
    "stem",
    [pytest.param(s, marks=pytest.mark.long if s in LONG else ()) for s in SWEPT],
)
def test_the_wrong_program_breaks_at_some_points_and_its_cure_does_not(
    stem: str, tmp_path: Path
) -> None:
    avoided_topic(stem, tmp_path)
    texts = files_of(page(stem))
    for it in first_pair(stem):
        if it.calls and not shutil.which("strace"):
            pytest.skip("needs strace")
        results = prove(tmp_path, stem, it.program)
        assert results
        for result in results:
            judge(it, result, texts)


@pytest.mark.parametrize("stem", SWEPT)
def test_the_evidence_is_about_the_programs_of_the_page(
    stem: str, tmp_path: Path
) -> None:
    evidence = json.loads((EVIDENCE / f"{stem}.json").read_text())
    texts = files_of(page(stem))
    digests = avoided_topic(stem, tmp_path).digests
    assert evidence["digests"] == digests, "changed: run 'make evidence'"
    tried = {it.program: it for it in swept(stem)}
    found = {(result["python"], result["program"]) for result in evidence["results"]}
    pythons = {python for python, _ in found}
    assert found == {(python, name) for python in pythons for name in tried}
    assert {python.rpartition(".")[0] for python in pythons} >= {"3.11", "3.12", "3.13"}
    for result in evidence["results"]:
        assert result["seed"] is None, "a sample"
        judge(tried[result["program"]], result, texts)
