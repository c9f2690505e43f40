"""What an injection says when it can't be done."""

from __future__ import annotations

import traceback

from ..report.mistakes import Mistake


class InjectionError(Mistake, RuntimeError):
    """The injection can't be done; the text is one line: what is wrong, what to do."""


def in_a_line(error: BaseException) -> str:
    """Return what somebody's code has raised, and where, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return " ".join(f"{type(error).__name__}: {error}{where}".split("\n"))
