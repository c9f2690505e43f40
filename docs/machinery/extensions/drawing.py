"""Drawings: SVG in the colors of the page, and the same in words for who can't see.

``handbook.css`` has the looks: of a ``path``, a ``text`` and its kinds, a ``rect``.
"""

from __future__ import annotations

from html import escape

from docutils import nodes

ARROW = (
    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7"'
    ' markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
)
"""What a drawing has to have in it for ``path(…, arrow=True)``."""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """Draw a text.

    Args:
        x: where it is, in pixels from the left; its ``anchor`` is there.
        y: its baseline, in pixels from the top.
        words: what it says.
        kind: its class in the style sheet: ``title``, ``event``, ``ours``.
        anchor: ``start``, ``middle`` or ``end``.
    """
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def path(line: str, kind: str = "", arrow: bool = False) -> str:
    """Draw a line.

    Args:
        line: its way, as SVG says it: ``M0 0L8 4``.
        kind: its class in the style sheet.
        arrow: it ends with a head.
    """
    head = ' marker-end="url(#arrow)"' if arrow else ""
    return f'<path class="{kind}" d="{line}"{head}/>'


def box(x: float, y: float, width: float, height: float, words: str) -> str:
    """Draw a box around a center, with a text in it."""
    corner = f'x="{x - width / 2:.0f}" y="{y - height / 2:.0f}"'
    size = f'width="{width:.0f}" height="{height:.0f}"'
    return f'<rect {corner} rx="6" {size}/>{text(x, y + 5, words)}'


def svg(width: float, height: float, says: str, *parts: str) -> str:
    """Return a whole drawing.

    Args:
        width: in pixels, where there is room; it shrinks where there is not.
        height: in pixels.
        says: the same in words, for who can't see it.
        parts: what is drawn.
    """
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{escape(says)}">{"".join(parts)}</svg>'
    )


def node(*drawings: str, kind: str = "") -> nodes.raw:
    """Return drawings as a node of a page, side by side where they fit.

    Elsewhere than in HTML there is nothing: the page says the same in words.
    """
    kinds = f"drawing {kind}".strip()
    html = f'<div class="{kinds}">{"".join(drawings)}</div>'
    return nodes.raw("", html, format="html", drawn=True)  # the ledger asks for that
