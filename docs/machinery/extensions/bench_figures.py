"""What ``make bench`` has measured, as the words in which we say it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

EVIDENCE = Path(__file__).resolve().parents[2] / "evidence" / "bench.json"

COUNTED = ("KiB", "switches", "calls", "memory", "descriptors", "not reaped")
"""What is in the names of measures that are no times."""

Row = dict[str, Any]


def evidence() -> Row:
    """Return what was recorded."""
    data: Row = json.loads(EVIDENCE.read_text())
    return data


def value(row: Row | None) -> str:
    """Return a row's figure with its unit, or its facts; a dash for no row."""
    if row is None:
        return "\N{EN DASH}"
    if "facts" in row:
        facts: dict[str, int] = row["facts"]
        return "; ".join(
            fact if len(facts) == 1 else f"{fact} ({times} times)"
            for fact, times in facts.items()
        )
    if "over" in row:
        return f"> {row['over']:g} s"
    if "KiB" in row["measure"] or "memory" in row["measure"]:
        return f"{row['median'] / 1024:.1f} MiB"
    if any(word in row["measure"] for word in COUNTED):
        return f"{row['median']:,.0f}"
    return duration(row["median"])


def duration(seconds: float) -> str:
    """Return a time as people read it: ``42 ms``, ``1.3 s``."""
    unit, number = ("s", seconds) if seconds >= 0.9995 else ("ms", seconds * 1000)
    if number >= 99.95:
        return f"{number:.0f} {unit}"
    return f"{number:.1f} {unit}" if number >= 0.95 else f"{number:.2f} {unit}"


def factor(ratio: float) -> str:
    """Return a ratio as people read it: ``0.9``, ``12``, ``3,100``."""
    if ratio >= 100:
        return f"{float(f'{ratio:.2g}'):,.0f}"
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}"


class Figures:
    """The rows of a record, found by measure, peer and number of children."""

    def __init__(self, record: Row) -> None:
        self.record = record
        self._rows: dict[tuple[str, str, int], Row] = {}
        for row in record["results"]:
            key = (row["measure"], row["peer"], row["children"])
            # A wait may have a time and a fact, and we show the time.
            if "facts" not in row or key not in self._rows:
                self._rows[key] = row

    @property
    def peers(self) -> list[str]:
        """The peers that were there, in the order of the bench."""
        return list(self.record["versions"])

    def row(self, measure: str, peer: str, children: int) -> Row | None:
        """Return a row, or None if that was not measured."""
        return self._rows.get((measure, peer, children))

    def say(self, measure: str, peer: str, children: int) -> str:
        """Return a row's figure or facts in words."""
        return value(self.row(measure, peer, children))

    def ratio(self, measure: str, peer: str, children: int) -> str:
        """Return in words how many times the C boss's it is; a dash if nobody knows."""
        row = self.row(measure, peer, children)
        return factor(row["ratio"]) if row and "ratio" in row else "\N{EN DASH}"

    def sizes(self, measure: str, peer: str) -> Iterator[Row]:
        """Yield the rows of a peer in the order of the number of children."""
        keys = sorted(key for key in self._rows if key[:2] == (measure, peer))
        yield from (self._rows[key] for key in keys)

    def per_child(self, peer: str, children: int) -> float:
        """Return the seconds from one child's start to the next one's."""
        row = self._rows["from first to last", peer, children]
        return float(row["median"] / (children - 1))

    def bytes_each(self, peer: str, children: int) -> float:
        """Return the bytes of memory that a boss needs for each child but the first."""
        one, all_ = (self._rows["memory in KiB", peer, n] for n in (1, children))
        return float((all_["median"] - one["median"]) * 1024 / (children - 1))

    def rate(self, peer: str, children: int) -> float:
        """Return how many deaths a second a storm has, replaced ones."""
        row = self._rows["storm", peer, children]
        return float(children / row["median"])


def in_words(figures: Figures, title: str, measure: str, sizes: Iterable[int]) -> str:
    """Return all figures of a measure as sentences: an alternative text."""
    wanted = set(sizes)
    sentences = [f"{title}."]
    for peer in figures.peers:
        rows = [
            row for row in figures.sizes(measure, peer) if row["children"] in wanted
        ]
        parts = [f"{value(row)} with {row['children']}" for row in rows]
        if parts:
            sentences.append(f"{peer}: {', '.join(parts)}.")
    return " ".join(sentences)
