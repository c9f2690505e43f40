"""The figures, for people and for the handbook."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from .environments import HERE, ROOT

EVIDENCE = ROOT / "docs" / "evidence" / "bench.json"
MEASURED = (
    ROOT / "reference" / "boss.py",
    ROOT / "reference" / "restart_check.py",
    HERE / "boss.c",
    HERE / "pause.c",
)
"""The files that the figures are about: when one changes, they are out of date."""

COUNTED = ("KiB", "context", "calls", "memory", "descriptors", "not reaped")
"""What is in the names of measures that are no times."""


def digests() -> dict[str, str]:
    """Return the digests of the files that the figures are about."""
    return {
        str(file.relative_to(ROOT)): hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        for file in MEASURED
    }


def as_json(head: dict[str, Any], rows: Iterable[dict[str, Any]]) -> str:
    """Return it as JSON, a line for each row."""
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    return f'{{\n {json.dumps(head)[1:-1]},\n "results": [\n  {lines}\n ]\n}}\n'


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
        lines.append(f"  {row['peer']:12} {value(row):>14}{ratio}")
    lines += ["", *(f"{name}: {why}" for name, why in head["absent"].items())]
    return "\n".join(lines)


def value(row: dict[str, Any]) -> str:
    """Return a row's figure with its unit, or its facts."""
    if "facts" in row:
        return "; ".join(
            fact if len(row["facts"]) == 1 else f"{fact} ({times} times)"
            for fact, times in row["facts"].items()
        )
    if "over" in row:
        return f"> {row['over']:g} s"
    if any(word in row["measure"] for word in COUNTED):
        return f"{row['median']:,.0f}"
    seconds = row["median"]
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
