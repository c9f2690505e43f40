"""Lines for people: tables and paths."""

from __future__ import annotations

import os
from collections.abc import Sequence


def row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return a line of a table.

    Args:
        cells: its texts.
        widths: of the columns; a negative one stands on the right, as numbers do.
    """
    parts = (
        f"{cell:>{-width}}" if width < 0 else f"{cell:<{width}}"
        for cell, width in zip(cells, widths, strict=True)
    )
    return "".join(parts).rstrip()


def short(file: str) -> str:
    """Return a path as it is shortest: from here, or whole."""
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
