"""Under real signals from another process, no handler runs where the sweep has none."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from record_points import BOMBED, DELIVERIES, EVIDENCE, measured
from support import ROOT
from support.program import Program

pytestmark = [pytest.mark.scattered, pytest.mark.slow]

A_FEW = "3000"

FEWER = "300"
"""What is wrong at every function's entry is seen at once."""

FORGETFUL = """
import bombard

bombard.SHARES = {bombard.calls: 1}
known = bombard.where_handlers_run
bombard.where_handlers_run = lambda: {it for it in known() if it.name != "RESUME"}
bombard.main()
"""


def bombard(*words: str, deliveries: str = A_FEW) -> dict[str, Any]:
    """Run a small bombardment on the interpreter that runs us."""
    env = {"PYTHONPATH": str(ROOT / "tests" / "programs")}
    with Program([sys.executable, *words, deliveries], env=env) as program:
        ended = program.wait()
        assert ended.code == 0, program.report()
        assert ended.left == []
    result: dict[str, Any] = json.loads(program.output)
    return result


def test_no_handler_runs_outside_the_sweep() -> None:
    result = bombard(str(ROOT / "tests" / "programs" / "bombard.py"))
    assert result["deliveries"] >= int(A_FEW)
    assert result["outside"] == {}


def test_what_a_sweep_does_not_know_is_named() -> None:
    outside = bombard("-c", FORGETFUL, deliveries=FEWER)["outside"]
    assert outside
    assert all(place.startswith("RESUME in ") for place in outside)


def test_the_record_is_a_million_on_each_version_about_this_code() -> None:
    record = json.loads((EVIDENCE / "bombardment.json").read_text())
    assert record["digests"] == measured(*BOMBED), "changed: run 'make evidence'"
    versions = {it["python"].rpartition(".")[0] for it in record["results"]}
    assert versions >= {"3.11", "3.12", "3.13"}
    for result in record["results"]:
        assert result["deliveries"] >= DELIVERIES
        assert result["outside"] == {}
