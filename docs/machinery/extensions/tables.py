"""Tables, as reStructuredText: links and literals in a cell are what they are there."""

from __future__ import annotations

from collections.abc import Iterable


def table(
    head: Iterable[str], rows: Iterable[Iterable[str]], widths: str = "auto"
) -> str:
    """Return a table, wide where the window is.

    Args:
        head: the titles of its columns.
        rows: the cells of each row, in reStructuredText.
        widths: of the columns, in relation to each other.
    """
    lines = [".. list-table::", "   :header-rows: 1", "   :class: wide"]
    lines += [f"   :widths: {widths}", ""]
    for row in [head, *rows]:
        first, *rest = row
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in rest)]
    return "\n".join(lines)
