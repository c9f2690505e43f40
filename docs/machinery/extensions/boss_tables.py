"""A Sphinx extension: what the boss's page shows is made from the boss's own tables.

Three directives, without arguments: ``boss-diagram`` draws ``TABLE``, ``boss-cells``
lists it whole, and ``boss-messages`` lists the messages of the log.  Only the places of
the boxes are ours; a state without a place is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, Any

import boss
from docutils import nodes
from docutils.parsers.rst import Directive

if TYPE_CHECKING:
    from sphinx.application import Sphinx

Point = tuple[float, float]

PLACES: dict[str, Point] = {
    "waiting": (66, 130),
    "running": (280, 130),
    "backing off": (280, 262),
    "stopping": (515, 130),
    "killed": (515, 262),
    "down": (735, 196),
}
BENDS = {
    ("running", "backing off"): 34,
    ("backing off", "running"): 34,
    ("waiting", "down"): -140,
    ("running", "down"): -88,
    ("backing off", "down"): 98,
}
"""How far an arrow's middle lies to the right of the straight way, in pixels."""

HALF_WIDTH, HALF_HEIGHT = 58, 20
WIDTH, HEIGHT = 800, 350


def arrows() -> dict[tuple[str, str], list[str]]:
    """Return the labels of all changes of state, by the two states."""
    found: dict[tuple[str, str], list[str]] = {}
    for state, row in boss.TABLE.items():
        for event, cell in row.items():
            if cell and (after := cell[1]) is not state:
                found.setdefault((state.value, after.value), []).append(event.name)
    return found


def in_words() -> str:
    """Return the same as sentences: the alternative text."""
    return " ".join(
        f"From {start} to {end} on {' or '.join(events)}."
        for (start, end), events in arrows().items()
    )


def edge_of_box(center: Point, towards: Point) -> Point:
    """Return where the line from a box's center to a point leaves the box."""
    dx, dy = towards[0] - center[0], towards[1] - center[1]
    scale = min(
        HALF_WIDTH / abs(dx) if dx else float("inf"),
        HALF_HEIGHT / abs(dy) if dy else float("inf"),
    )
    return center[0] + dx * scale, center[1] + dy * scale


def arrow(start: str, end: str, events: list[str]) -> str:
    """Draw one change of state as a curve with its events beside it."""
    (x1, y1), (x2, y2) = PLACES[start], PLACES[end]
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
    bend = BENDS.get((start, end), 0)
    over = -(y2 - y1) / length * bend, (x2 - x1) / length * bend
    middle = (x1 + x2) / 2 + over[0], (y1 + y2) / 2 + over[1]
    control = middle[0] + over[0], middle[1] + over[1]
    a, b = edge_of_box((x1, y1), control), edge_of_box((x2, y2), control)
    line = f"M{a[0]:.0f} {a[1]:.0f}Q{control[0]:.0f} {control[1]:.0f}"
    label = ", ".join(events)
    return (
        f'<path d="{line} {b[0]:.0f} {b[1]:.0f}" marker-end="url(#arrow)"/>'
        f'<text class="event" x="{middle[0]:.0f}" y="{middle[1] + 4:.0f}"'
        f' text-anchor="middle">{escape(label)}</text>'
    )


def box(name: str) -> str:
    """Draw one state."""
    x, y = PLACES[name]
    return (
        f'<rect x="{x - HALF_WIDTH:.0f}" y="{y - HALF_HEIGHT:.0f}" rx="6"'
        f' width="{2 * HALF_WIDTH}" height="{2 * HALF_HEIGHT}"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{escape(name)}</text>'
    )


def diagram() -> str:
    """Return the drawing as HTML."""
    curves = "".join(arrow(*ends, events) for ends, events in arrows().items())
    boxes = "".join(box(state.value) for state in boss.TABLE)
    return (
        f'<div class="drawing"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(in_words())}">'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
        ' markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{boxes}{curves}</svg></div>"
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> nodes.table:
    """Return a table; its first column is literal text."""
    titles, body = list(head), [list(row) for row in rows]
    group = nodes.tgroup(cols=len(titles))
    group += [nodes.colspec(colwidth=1) for _ in titles]
    header, content = nodes.thead(), nodes.tbody()
    header += row([nodes.Text(title) for title in titles])
    content += [
        row([nodes.literal("", first), *map(nodes.Text, rest)]) for first, *rest in body
    ]
    group += [header, content]
    return nodes.table("", group)


def row(cells: Iterable[nodes.Node]) -> nodes.row:
    """Return a row of a table."""
    found = nodes.row()
    found += [nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells]
    return found


class BossDiagram(Directive):
    """Draws the boss's table."""

    def run(self) -> list[nodes.Node]:
        """Return the drawing; elsewhere than in HTML it is its words."""
        return [nodes.raw("", diagram(), format="html")]


class BossCells(Directive):
    """Lists the boss's table, every cell."""

    def run(self) -> list[nodes.Node]:
        """Return a row for each state and a column for each event."""
        rows = [
            [state.value, *map(self.cell, cells.values())]
            for state, cells in boss.TABLE.items()
        ]
        return [table(["state", *(event.name for event in boss.Event)], rows)]

    def cell(self, cell: tuple[boss.Action, boss.State] | None) -> str:
        """Return one cell: what is done, and where the child is then."""
        if cell is None:
            return "\N{EN DASH}"
        action, after = cell
        return action if action is boss.Action.NOTHING else f"{action} → {after}"


class BossMessages(Directive):
    """Lists the messages of the boss's log."""

    def run(self) -> list[nodes.Node]:
        """Return a row for each message."""
        texts = ((key, text.replace("`", "")) for key, text in boss.MESSAGES.items())
        return [table(["message", "what it says"], texts)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("boss-diagram", BossDiagram)
    app.add_directive("boss-cells", BossCells)
    app.add_directive("boss-messages", BossMessages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
