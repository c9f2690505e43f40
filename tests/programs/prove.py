"""Try lives at each point on the interpreter that runs this, and print what came of it.

``python tests/programs/prove.py flag_handler`` tries that module; further words name
lives of it.  The output is JSON: one result for each life, kind of points and signal.
Standard library only, so that it runs on any interpreter without an environment.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULES = os.environ.get("MODULES_UNDER_TEST", str(ROOT / "reference"))
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), MODULES]

from support import FATAL  # noqa: E402
from support.lives import Life  # noqa: E402
from support.process_lives import LIVES  # noqa: E402

from fatal_signals.inject import Report, every_point  # noqa: E402

POSSIBLE_ONLY = {
    "flag_handler": ("left", "earlier"),
    "helpful_cleanup": ("left", "nested"),
    "unguarded": ("unguarded",),
    "stop_tree": ("leaves", "flagged"),
}
"""Lives whose conceivable points are those of the module's other lives, or nearly; and
one that breaks at too many to list."""


def result(life: Life, report: Report) -> dict[str, Any]:
    """Return what a report says, in a form that does not change from run to run."""
    verdicts = Counter(tried.verdict for tried in report)
    where = Counter(
        (Path(t.point.file).name, t.point.line, t.point.where, t.kind)
        for t in report.failures
    )
    return {
        "python": platform.python_version(),
        "life": life.name,
        "points": report.points,
        "signal": report.signals[0].name,
        "instructions": report.course,
        "tried": len(report.tried),
        **{kind: verdicts[kind] for kind in ("kept", "broken", "hung")},
        "missed": len(report.missed),
        "where": [[f"{f}:{n}", w, k, count] for (f, n, w, k), count in where.items()],
        "why": sorted({t.why for t in report.failures if t.why})[:5],
        "seed": report.seed,
        "seconds": round(report.seconds, 2),
    }


def prove(lives: list[Life], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Try lives; return the results."""
    results = []
    for life in lives:
        if options.lives and life.name not in options.lives:
            continue
        print(f"{platform.python_version()}: {life.name}", file=sys.stderr, flush=True)
        reports = every_point(
            life.function,
            life.check,
            signals=options.signal or life.signals,
            points=[
                kind
                for kind in options.points.split(",")
                if kind != "conceivable"
                or life.name not in POSSIBLE_ONLY.get(options.module, ())
            ],
            seconds=FATAL / 10,
            most=options.most,
            seed=options.seed,
        )
        results += [result(life, report) for report in reports]
    return results


def main() -> None:
    """Read the words, print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", choices=sorted(LIVES))
    parser.add_argument("lives", nargs="*")
    parser.add_argument("--points", default="possible,conceivable")
    parser.add_argument("--signal", type=lambda name: [signal.Signals[name]])
    parser.add_argument("--most", type=int)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    json.dump(prove(LIVES[options.module](), options), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
