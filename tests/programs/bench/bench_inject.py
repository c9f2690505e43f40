"""How many points a second?  Beside a bare loop of fork and wait, on one processor.

``python tests/programs/bench/bench_inject.py [--rounds N] [--json]``

Each round sweeps two callables, and forks as many processes that exit at once.  The
first callable is short, so its figure is the cost of a point.  The second enters and
leaves a stop flag, which takes tens of thousands of instructions in the standard
library: each run has to make its way to the point, traced, and that is the cost there.

A rate is the median over the rounds; everything runs on one processor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "reference")]

from flag_handler import StopFlag  # noqa: E402

from fatal_signals.inject import every_point  # noqa: E402

ROUNDS = 5
FORKS = 500


def short() -> int:
    """Move a coin, by some calls: a few dozen instructions."""
    purse = {"ours": 1, "yours": 0}
    purse["ours"] -= abs(1)
    purse["yours"] += abs(1)
    return sum(purse.values())


def flag() -> bool:
    """Enter and leave a stop flag."""
    with StopFlag() as stop:
        return bool(stop)


def points_per_second(work: Callable[[], object]) -> tuple[float, int]:
    """Sweep a callable; return the rate, and how many instructions it executes."""
    began = time.perf_counter()
    reports = every_point(work, signals=[signal.SIGURG], points=["conceivable"])
    tried = sum(len(report.tried) for report in reports)
    return tried / (time.perf_counter() - began), reports[0].course


def forks_per_second() -> float:
    """Fork and wait, without anything else."""
    began = time.perf_counter()
    for _ in range(FORKS):
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    return FORKS / (time.perf_counter() - began)


def measure(rounds: int) -> dict[str, Any]:
    """Return the medians."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    forks = statistics.median(forks_per_second() for _ in range(rounds))
    found: dict[str, Any] = {"python": platform.python_version(), "forks": round(forks)}
    for work in (short, flag):
        runs = [points_per_second(work) for _ in range(rounds)]
        rate = statistics.median(rate for rate, _ in runs)
        found[work.__name__] = {
            "instructions": runs[0][1],
            "points a second": round(rate),
            "ratio to forks": round(rate / forks, 2),
        }
    return found


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    print(f"Python {found.pop('python')}, one processor")
    print(f"bare fork and wait: {found.pop('forks'):,} a second")
    for name, it in found.items():
        rates = f"{it['points a second']:,} points a second, {it['ratio to forks']}"
        print(f"{name}, {it['instructions']:,} instructions: {rates} of the bare loop")


if __name__ == "__main__":
    main()
