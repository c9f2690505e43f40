"""The figures, for people and for the handbook."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from extensions.bench_figures import value
from record_points import measured
from support.companions import BESIDE

from fatal_signals.report.records import as_json

__all__ = ["as_json", "as_text", "digests"]

MEASURED = (
    *(f"reference/{name}.py" for name in ("boss", *BESIDE["boss"])),
    "tests/programs/bench/boss.c",
    "tests/programs/bench/pause.c",
)
"""The files that the figures are about: when one changes, they are out of date."""


def digests() -> dict[str, str]:
    """Return the digests of the files that the figures are about."""
    return measured(*MEASURED)


def as_text(head: dict[str, Any], rows: Iterable[dict[str, Any]]) -> str:
    """Return it as lines for people, measure by measure."""
    lines = [
        f"Python {head['python']}, {head['system']}, {head['processors']} processors;"
        f" {head['rounds']} rounds, medians; x: how many times the C boss's"
    ]
    found = sorted(rows, key=lambda row: (row["measure"], row["children"]))
    last = None
    for row in found:
        title = (row["measure"], row["children"])
        if title != last:
            lines += ["", f"{title[0]}, {title[1]}"]
            last = title
        ratio = f"{row['ratio']:10.2f}x" if "ratio" in row else ""
        lines.append(f"  {row['peer']:12} {value(row):>12}{ratio}")
    lines += ["", *(f"{name}: {why}" for name, why in head["absent"].items())]
    return "\n".join(lines)
