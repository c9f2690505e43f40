"""A Sphinx extension: what the boss's page shows is made from the boss's own tables.

Three directives, without arguments: ``boss-diagram`` draws ``TABLE``, ``boss-cells``
lists it whole, and ``boss-messages`` lists the messages of the log.  Only the places of
the boxes are ours; a state without a place is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boss
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .drawing import ARROW, box, node, path, svg, text
from .tables import table

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
    way = f"{line} {b[0]:.0f} {b[1]:.0f}"
    label = text(middle[0], middle[1] + 4, ", ".join(events), "event")
    return path(way, arrow=True) + label


def diagram() -> str:
    """Return the drawing as HTML."""
    size = 2 * HALF_WIDTH, 2 * HALF_HEIGHT
    boxes = [box(*PLACES[state.value], *size, state.value) for state in boss.TABLE]
    curves = [arrow(*ends, events) for ends, events in arrows().items()]
    return svg(WIDTH, HEIGHT, in_words(), ARROW, *boxes, *curves)


class BossDiagram(SphinxDirective):
    """Draws the boss's table."""

    def run(self) -> list[nodes.Node]:
        """Return the drawing; elsewhere than in HTML it is its words."""
        return [node(diagram())]


class BossCells(SphinxDirective):
    """Lists the boss's table, every cell."""

    def run(self) -> list[nodes.Node]:
        """Return a row for each state and a column for each event."""
        rows = [
            [f"``{state.value}``", *map(self.cell, cells.values())]
            for state, cells in boss.TABLE.items()
        ]
        text = table(["state", *(event.name for event in boss.Event)], rows)
        return self.parse_text_to_nodes(text)

    def cell(self, cell: tuple[boss.Action, boss.State] | None) -> str:
        """Return one cell: what is done, and where the child is then."""
        if cell is None:
            return "\N{EN DASH}"
        action, after = cell
        return action if action is boss.Action.NOTHING else f"{action} → {after}"


class BossMessages(SphinxDirective):
    """Lists the messages of the boss's log."""

    def run(self) -> list[nodes.Node]:
        """Return a row for each message."""
        rows = (
            (f"``{key}``", text.replace("`", "``"))
            for key, text in boss.MESSAGES.items()
        )
        text = table(["message", "what it says"], rows, "25 75")
        return self.parse_text_to_nodes(text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("boss-diagram", BossDiagram)
    app.add_directive("boss-cells", BossCells)
    app.add_directive("boss-messages", BossMessages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
