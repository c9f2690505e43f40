"""A Sphinx extension: what came of a signal at every point, as tables.

The figures stand in ``evidence/points/NAME.json``, which ``make evidence`` writes; the
directive ``points-table`` shows those of one name, added up over its lives.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .tables import table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

EVIDENCE = Path(__file__).resolve().parents[2] / "evidence" / "points"

HEAD = (
    "Python",
    "Points",
    "Signal",
    "Tried",
    "Kept",
    "Broken",
    "Hung",
    "Missed",
)


def evidence(name: str) -> dict[str, Any]:
    """Return what was recorded under a name."""
    data: dict[str, Any] = json.loads((EVIDENCE / f"{name}.json").read_text())
    return data


def rows(results: Iterable[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each program, interpreter, kind of points and signal."""
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * 5)
    for it in results:
        key = (it.get("program", ""), it["python"], it["points"], it["signal"])
        numbers = (it[kind] for kind in ("tried", "kept", "broken", "hung", "missed"))
        sums[key] = [a + b for a, b in zip(sums[key], numbers, strict=True)]
    return [[*key, *(f"{n:,}" for n in numbers)] for key, numbers in sums.items()]


class PointsTable(SphinxDirective):
    """``points-table``: the figures of its argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        (name,) = self.arguments
        self.env.note_dependency(str(EVIDENCE / f"{name}.json"))
        found = rows(evidence(name)["results"])
        programs = any(row[0] for row in found)
        head = ("Program", *HEAD) if programs else HEAD
        cells = [[f"``{row[0]}``", *row[1:]] if programs else row[1:] for row in found]
        widths = " ".join(["20"] * programs + ["10", "15", "12", *["10"] * 5])
        text = table(head, cells, widths)
        return self.parse_text_to_nodes(text)


class BombardmentTable(SphinxDirective):
    """``bombardment-table``: how many deliveries, and how many where nobody knew."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.env.note_dependency(str(EVIDENCE / "bombardment.json"))
        found = [
            [
                it["python"],
                f"{it['deliveries']:,}",
                f"{it['places']:,}",
                str(len(it["outside"])),
            ]
            for it in evidence("bombardment")["results"]
        ]
        head = ("Python", "Deliveries", "Places", "Places outside the sweep")
        return self.parse_text_to_nodes(table(head, found, "20 25 25 30"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("points-table", PointsTable)
    app.add_directive("bombardment-table", BombardmentTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
