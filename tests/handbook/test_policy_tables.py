"""The policy's tables name what exists, and nothing that exists is left out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from extensions import policy_tables
from support import ROOT, file_of_tests
from support.companions import MODULES

CLAUSES = list(policy_tables.clauses().values())

each = pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.id)


def test_there_are_thirteen_clauses_in_order() -> None:
    assert [clause.id for clause in CLAUSES] == [f"P{n:02}" for n in range(1, 14)]


@each
def test_a_clause_has_its_page_and_the_page_its_clause(
    clause: policy_tables.Clause,
) -> None:
    page = ROOT / "docs" / f"{clause.page.lstrip('/')}.rst"
    assert f"\n.. clause:: {clause.id}\n" in page.read_text()


@each
def test_a_clause_is_one_sentence(clause: policy_tables.Clause) -> None:
    assert re.fullmatch(r"[A-Z][^.]*\.", clause.sentence)


@each
def test_modules_and_tests_exist_or_the_reason_does(
    clause: policy_tables.Clause,
) -> None:
    assert all((ROOT / "reference" / f"{m}.py").is_file() for m in clause.modules)
    for entry in clause.tests:
        name, _, promises = entry.partition(": ")
        text = file_of_tests(name).read_text()
        for promise in promises.split(", "):
            assert f"def test_{promise}" in text, entry
    assert bool(clause.modules) != bool(clause.no_modules)
    assert bool(clause.tests) != bool(clause.no_tests)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "P14"},
        {"name": "nobody"},
        {"sentence": "It says this. And that."},
        {"modules": ["nobody"]},
        {"modules": []},
        {"tests": ["test_nobody"]},
        {"tests": ["test_boss: nobody"]},
        {"no_tests": "there are some"},
    ],
    ids=str,
)
def test_a_broken_clause_is_found_out(wrong: dict[str, Any]) -> None:
    clause = replace(next(c for c in CLAUSES if c.id == "P04"), **wrong)
    checks = [
        test_a_clause_has_its_page_and_the_page_its_clause,
        test_a_clause_is_one_sentence,
        test_modules_and_tests_exist_or_the_reason_does,
    ]
    with pytest.raises((AssertionError, FileNotFoundError)):
        [check(clause) for check in checks]


def test_each_module_serves_a_clause_and_has_its_page_and_test() -> None:
    assert {m for clause in CLAUSES for m in clause.modules} == set(MODULES)
    for name in MODULES:
        assert (ROOT / "docs" / "patterns" / f"{name}.rst").is_file()
        assert file_of_tests(f"test_{name}").is_file()


def test_a_pattern_to_avoid_breaks_a_clause_that_exists() -> None:
    known = {clause.id for clause in CLAUSES}
    for entry in policy_tables.avoided():
        assert set(entry.ids) <= known
        assert entry.damage.endswith(".")


def test_a_page_without_a_head_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "headless.rst"
    page.write_text("Headless\n========\n")
    with pytest.raises(ValueError, match="headless"):
        _ = policy_tables.Avoided(page).ids
