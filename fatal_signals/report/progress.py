"""One line on a terminal that says how far we are, once it takes its time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from .colors import is_terminal

PATIENCE = 2.0
"""Seconds before the first word."""

ERASED = "\r\033[K"


class Progress:
    """A line of progress, as a context manager that erases it at the end.

    Args:
        stream: where it goes; standard error by default.  Nothing is written to what is
            no terminal.
        clock: returns the time in seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._began = clock()
        self._shown = False

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how far it is.

        Args:
            what: what is being done.
            done: how much of it is.
            total: how much there is.
        """
        if self._clock() - self._began < PATIENCE or not is_terminal(self._stream):
            return
        self._shown = True
        text = f"{what}: {done} of {total}"
        # What does not fit would begin a second line, which nobody erases; and a text
        # of a user's must not move the cursor.
        width = os.get_terminal_size(self._stream.fileno()).columns or 80
        plain = "".join(it if it.isprintable() else "?" for it in text)
        self._write(plain[: width - 1])

    def _write(self, text: str) -> None:
        self._stream.write(ERASED + text)
        self._stream.flush()

    def __enter__(self) -> Progress:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Erase the line."""
        if self._shown:
            self._write("")
