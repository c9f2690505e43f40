"""A Sphinx extension: the bench's figures as charts, as tables, and in the text.

All of them come from ``evidence/bench.json``, which ``make bench`` writes.

* ``bench-charts``: its arguments are measures; for each a chart, a row for each peer.
* ``bench-table``: its argument is the name of a table below.
* the role ``bench``: a figure in a sentence, such as ``stop boss.py 10``; ``ratio`` in
  front makes it a ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

from .bench_figures import (
    EVIDENCE,
    Figures,
    Row,
    duration,
    evidence,
    factor,
    in_words,
    value,
)
from .drawing import node, path, svg, text
from .tables import table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

WIDTH, LEFT, RIGHT = 380, 88, 14
TOP, STEP, BOTTOM = 52, 22, 20
RADII = {1: 2.4, 10: 3.8, 100: 5.4, 1000: 7.2}
"""Of a dot, in pixels, by the number of children."""

FROM, TO = 1e-4, 30.0
"""The ends of the axis, in seconds."""

TITLES = {
    "stop": "From the signal until all are gone",
    "start": "From the start until all run",
}
TICKS = {
    1e-4: "0.1 ms",
    1e-3: "1 ms",
    1e-2: "10 ms",
    1e-1: "0.1 s",
    1: "1 s",
    10: "10 s",
}


def across(seconds: float) -> float:
    """Return where a time is on the axis, which is logarithmic."""
    share = math.log(max(seconds, FROM) / FROM) / math.log(TO / FROM)
    return LEFT + min(share, 1.0) * (WIDTH - LEFT - RIGHT)


def mark(row: Row, y: float) -> str:
    """Draw one figure: a dot, or a triangle for a wait that was given up."""
    radius = RADII[row["children"]]
    if "over" in row:
        x = across(row["over"])
        return path(f"M{x:.1f} {y - 6}l10 6l-10 6z", "over")
    return f'<circle cx="{across(row["median"]):.1f}" cy="{y}" r="{radius}"/>'


def line(rows: Sequence[Row], y: float) -> str:
    """Draw a peer's row: its figures, and a line from the first to the last."""
    ends = [across(row["over"] if "over" in row else row["median"]) for row in rows]
    between = path(f"M{min(ends):.1f} {y}H{max(ends):.1f}")
    return between + "".join(mark(row, y) for row in rows)


def legend(sizes: Sequence[int]) -> str:
    """Draw what the sizes of the dots mean."""
    found, x = "", float(LEFT)
    for size in sizes:
        found += f'<circle cx="{x:.1f}" cy="32" r="{RADII[size]}"/>'
        found += text(x + RADII[size] + 4, 36, str(size), "event", "start")
        x += 40 + 5 * len(str(size))
    return found + text(x - 8, 36, "children", "event", "start")


def chart(figures: Figures, measure: str) -> str:
    """Return a chart of one measure as HTML."""
    found = {
        peer: [row for row in figures.sizes(measure, peer) if row["children"] in RADII]
        for peer in figures.peers
    }
    found = {peer: rows for peer, rows in found.items() if rows}
    sizes = sorted({row["children"] for rows in found.values() for row in rows})
    bottom = TOP + STEP * len(found)
    parts = [text(4, 14, TITLES[measure], "title", "start")]
    parts.append(legend(sizes))
    for seconds, label in TICKS.items():
        x = across(seconds)
        parts.append(path(f"M{x:.1f} {TOP - 6}V{bottom}", "grid"))
        parts.append(text(x, bottom + 14, label, "event"))
    for number, (peer, rows) in enumerate(found.items()):
        y = TOP + STEP * number + STEP / 2
        kind = "ours" if peer == "boss.py" else ""
        parts.append(f'<g class="{kind}">{text(LEFT - 12, y + 4, peer, kind, "end")}')
        parts.append(f"{line(rows, y)}</g>")
    says = in_words(figures, TITLES[measure], measure, RADII)
    return svg(WIDTH, bottom + BOTTOM, says, *parts)


def ratios(figures: Figures) -> str:
    """Return the table of times as ratios to C."""
    columns = [("stop", n) for n in (1, 10, 100, 1000)]
    columns += [("start", n) for n in (10, 100, 1000)]
    columns += [("replaced", 10), ("reaped", 10)]
    rows = [
        [f"``{peer}``", *(figures.ratio(measure, peer, n) for measure, n in columns)]
        for peer in figures.peers
    ]
    head = ["Boss", *(f"{measure} {n:,}" for measure, n in columns)]
    return table(head, rows, "16 10 10 10 10 10 10 10 12 10")


def manners(figures: Figures) -> str:
    """Return the table of how they end, and what they cost meanwhile."""
    columns = [("after SIGTERM", 10), ("after SIGINT", 10), ("left by SIGKILL", 10)]
    columns += [("stubborn", 1), ("second signal", 1), ("memory in KiB", 10)]
    rows = []
    for peer in figures.peers:
        calls = list(figures.sizes("system calls", peer))
        found = [*(figures.say(measure, peer, n) for measure, n in columns)]
        rows.append([f"``{peer}``", *found, value(calls[-1] if calls else None)])
    head = ["Boss", "SIGTERM", "SIGINT", "``kill -9``: left", "Deaf child"]
    head += ["Second signal", "Memory", "Idle calls"]
    return table(head, rows, "13 18 18 10 10 10 11 10")


def growth(figures: Figures) -> str:
    """Return the table of our boss and C with ever more children."""
    rows = []
    for n in (10, 100, 1000, 5000):
        each = [figures.per_child(peer, n) for peer in ("boss.py", "C")]
        row = [f"{n:,}", *map(duration, each), factor(each[0] / each[1])]
        kib = ("memory in KiB", "PSS in KiB")
        rows.append([*row, *(figures.say(it, "boss.py", n) for it in kib)])
    head = ("Children", "``boss.py``, each", "C, each", "Ratio", "Memory", "PSS")
    return table(head, rows, "16 18 18 16 16 16")


TABLES: dict[str, Callable[[Figures], str]] = {
    "ratios": ratios,
    "manners": manners,
    "growth": growth,
}


class BenchCharts(SphinxDirective):
    """``bench-charts``: a chart for each of its measures, side by side if they fit."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the drawings; elsewhere than in HTML the tables say it."""
        self.env.note_dependency(str(EVIDENCE))
        figures = Figures(evidence())
        drawn = (chart(figures, it) for it in self.arguments[0].split())
        return [node(*drawn, kind="charts")]


class BenchTable(SphinxDirective):
    """``bench-table``: the table of that name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        self.env.note_dependency(str(EVIDENCE))
        text = TABLES[self.arguments[0]](Figures(evidence()))
        return [
            nodes.container("", *self.parse_text_to_nodes(text), classes=["figures"])
        ]


class BenchRole(SphinxRole):
    """``bench``: a figure, or a word about the machine."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return it as text."""
        self.env.note_dependency(str(EVIDENCE))
        try:
            return [nodes.Text(phrase(self.text))], []
        except KeyError:
            error = f"no such figure: {self.text!r}"
            return [], [self.inliner.reporter.error(error, line=self.lineno)]


DERIVED: dict[str, Callable[[Figures, str, int], str]] = {
    "rate": lambda it, peer, n: factor(it.rate(peer, n)),
    "share": lambda it, peer, n: f"{it.rate(peer, n) / it.rate('C', n):.2f}",
    "bytes": lambda it, peer, n: f"{it.bytes_each(peer, n):,.0f}",
}
"""Deaths a second in a storm; the same beside C's; bytes of memory for each child."""


def phrase(text: str) -> str:
    """Return what a role's text stands for.

    It is a key of the record, such as ``system``, or ``peers``; or a measure, a peer
    and a number of children, with ``ratio`` in front for a ratio; or the same with one
    of ``DERIVED`` in place of the measure.

    Raises:
        KeyError: there is no such figure.
    """
    figures = Figures(evidence())
    if text == "peers":
        versions = figures.record["versions"]
        return ", ".join(f"{peer} {it}" for peer, it in versions.items() if it)
    if text in figures.record:
        return str(figures.record[text])
    *words_, peer, number = text.split()
    measure, children = " ".join(words_), int(number)
    if measure in DERIVED:
        return DERIVED[measure](figures, peer, children)
    row = figures.row(measure.removeprefix("ratio "), peer, children)
    if row is None:
        raise KeyError(text)
    return factor(row["ratio"]) if measure.startswith("ratio ") else value(row)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("bench-charts", BenchCharts)
    app.add_directive("bench-table", BenchTable)
    app.add_role("bench", BenchRole())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
