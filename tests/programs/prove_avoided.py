"""Try patterns to avoid at each point, on the interpreter that runs this.

``python tests/programs/prove_avoided.py FOLDER STEM...`` tries the programs of those
pages, which lie in ``FOLDER/STEM``, and prints JSON: one result for each program and
signal.  Points in what stands around a program are left out.  Standard library only, so
that it runs on any interpreter without an environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULES = os.environ.get("MODULES_UNDER_TEST", str(ROOT / "reference"))
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), MODULES]

from support.avoided_lives import AVOIDED, HERE, Avoided  # noqa: E402

from fatal_signals.inject import (  # noqa: E402
    Point,
    Report,
    Tried,
    every_point,
    every_syscall,
)


def result(it: Avoided, report: Report) -> dict[str, Any]:
    """Return what a report says, in a form that does not change from run to run."""
    tried = [t for t in report if t.point.file != HERE]
    missed = [point for point in report.missed if point.file != HERE]
    verdicts = Counter(t.verdict for t in tried)
    failures = [t for t in tried if t.verdict != "kept"]
    where = Counter((_place(t.point), _what(t.point), _kind(t)) for t in failures)
    return {
        "python": platform.python_version(),
        "life": it.program,
        "program": it.program,
        "points": report.points,
        "signal": report.signals[0].name,
        "instructions": report.course,
        "tried": len(tried),
        **{kind: verdicts[kind] for kind in ("kept", "broken", "hung")},
        "missed": len(missed),
        "where": [[*row, count] for row, count in where.items()],
        "why": sorted({t.why for t in failures if t.why})[:5],
        "seed": report.seed,
        "seconds": round(report.seconds, 2),
    }


def _place(point: Point) -> str:
    return f"{Path(point.file).name}:{point.line}" if point.file else point.number


def _what(point: Point) -> str:
    return f"entering {point.call}" if point.call else point.where


def _kind(tried: Tried) -> str:
    # From outside it is we who kill a launcher that is left with its job.
    return tried.verdict if tried.point.call else tried.kind


def prove(
    it: Avoided, folder: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Try one program; return its results."""
    print(f"{platform.python_version()}: {it.program}", file=sys.stderr, flush=True)
    if it.calls:
        return [result(it, report) for report in _from_outside(it, folder)]
    with tempfile.TemporaryDirectory(prefix="fatal-signals-") as runs:
        reports = every_point(
            it.callable(folder, runs),
            it.check,
            signals=it.signals,
            points=["possible"],
            setup=partial(it.set_up, folder, quick=options.quick),
            seconds=it.seconds,
            most=options.most if it.cured else None,
            seed=options.seed,
            name=it.program,
        )
    return [result(it, report) for report in reports]


def _from_outside(it: Avoided, folder: Path) -> list[Report]:
    return every_syscall(
        [sys.executable, str(folder / it.program)],
        it.check,
        signals=it.signals,
        # It waits for a job that does not end; who is not told to stop is ended so.
        end=9,
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": MODULES},
        seconds=it.seconds,
        only=it.calls,
        follow=True,
    )


def main() -> None:
    """Read the words, print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("stems", nargs="+", choices=sorted(AVOIDED), metavar="STEM")
    parser.add_argument("--program", action="append", help="only these")
    parser.add_argument("--most", type=int, help="so many points of each cure")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--quick", action="store_true", help="leave out the enums")
    options = parser.parse_args()
    # What the programs print goes the other way.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    results = []
    for stem in options.stems:
        for it in AVOIDED[stem]:
            if not it.why_not and it.program in (options.program or [it.program]):
                folder = options.folder.resolve() / stem
                results += prove(it, folder, options)
    json.dump(results, answers, indent=1)
    answers.close()


if __name__ == "__main__":
    main()
