"""What has been measured, in the order in which it was."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str, int]
"""A measure, a peer, a number of children."""

MEASURE = "C"
"""The peer that the others are compared with."""


@dataclass
class Book:
    """Figures and facts, a list of each under its key.

    A figure of inf is a wait that was given up.  A fact is a few words.
    """

    patience: float
    figures: dict[Key, list[float]] = field(default_factory=dict)
    facts: dict[Key, Counter[str]] = field(default_factory=dict)

    def add(self, measure: str, peer: str, size: int, figure: float) -> None:
        """Add a figure; times are in seconds."""
        self.figures.setdefault((measure, peer, size), []).append(figure)

    def say(self, measure: str, peer: str, size: int, fact: str) -> None:
        """Add a fact."""
        self.facts.setdefault((measure, peer, size), Counter())[fact] += 1

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each key: the median and its ratio, or the facts."""
        rows = [self._row(*key) for key in self.figures]
        for (measure, peer, size), facts in self.facts.items():
            head = {"measure": measure, "peer": peer, "children": size}
            rows.append({**head, "facts": dict(facts.most_common())})
        return rows

    def _row(self, measure: str, peer: str, size: int) -> dict[str, Any]:
        figures = self.figures[measure, peer, size]
        middle = statistics.median(figures)
        row: dict[str, Any] = {"measure": measure, "peer": peer, "children": size}
        row["samples"] = len(figures)
        if math.isinf(middle):
            return {**row, "over": self.patience}
        row["median"] = round(middle, 6)
        row["least"] = round(min(figures), 6)
        if not math.isinf(max(figures)):
            row["most"] = round(max(figures), 6)
        reference = statistics.median(self.figures.get((measure, MEASURE, size), [0]))
        if reference and not math.isinf(reference):
            row["ratio"] = round(middle / reference, 2)
        return row
