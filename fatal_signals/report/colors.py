"""Colors, where somebody can see them.

On a terminal, but not with ``NO_COLOR`` (https://no-color.org); and wherever
``FORCE_COLOR`` asks for them, as in the logs of many CI systems.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

CODES = {"bad": "31", "good": "32", "doubt": "33", "faint": "2"}
"""What a text says, and how that looks."""


@dataclass(frozen=True)
class Colors:
    """Paints texts, or leaves them as they are.

    Args:
        seen: whether colors are wanted.
    """

    seen: bool = False

    def paint(self, kind: str, text: str) -> str:
        """Return a text in the color for ``bad``, ``good``, ``doubt`` or ``faint``."""
        code = CODES[kind]
        return f"\033[{code}m{text}\033[0m" if self.seen and text else text


PLAIN = Colors(False)
"""Paints nothing."""


def is_terminal(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a stream is a terminal that understands control sequences."""
    return stream.isatty() and environ.get("TERM", "dumb") != "dumb"


def colors_of(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Colors:
    """Return what to paint with on a stream.

    Args:
        stream: where the text goes.
        environ: the environment, in which a variable that is empty is not set.
    """
    if environ.get("NO_COLOR"):
        return PLAIN
    if environ.get("FORCE_COLOR"):
        return Colors(environ["FORCE_COLOR"] != "0")
    return Colors(is_terminal(stream, environ))
