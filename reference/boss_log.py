# SPDX-License-Identifier: 0BSD
"""The boss's log: what its lines say, and how they are written without a wait.

It needs no other file.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

MESSAGES = {
    "child-started": "The child runs under this pid, which is its process group too.",
    "child-not-started": "The system refused the start; we treat it as a death.",
    "child-died": "The child has been reaped; `exit` or `signal` says how it ended.",
    "child-backs-off": "The child will be started again after this many seconds.",
    "child-asked": "It was sent its stop signal; SIGKILL follows after the grace.",
    "child-killed": "SIGKILL has been sent to the child and to its group.",
    "too-many-restarts": "More than `intensity` in `period` seconds: we take all down.",
    "child-ready": "The child has written a newline to its `ready-fd`.",
    "all-started": "Each start has been tried once; from here on the boss waits.",
    "stopping": "A first signal to stop has come; the children are asked to.",
    "hurrying": "A further signal to stop has come; what still runs is killed.",
    "stranger-reaped": "An orphan, left to us by its parent, died, and not of SIGKILL.",
    "guard-replaced": "The process that ends all if we are killed had died itself.",
    "no-guard": "There can be none: SIGKILL would leave our children running.",
    "survivor": "What SIGKILL can't end, or we may not kill: we leave without it.",
    "ended": "No child runs or will run; `failed` counts failures that were final.",
}
"""Every message of the log by its id, explained."""


class Log:
    """Lines for standard error; dropped where nobody reads, rather than waited for."""

    def __init__(self) -> None:
        self._lines = b""
        self._poll = select.poll()
        self._poll.register(2, select.POLLOUT)

    def say(self, message: str, facts: str) -> None:
        """Add a line.  In a storm one write takes up to a hundred of them.

        Args:
            message: one of ``MESSAGES``.
            facts: what is told, as ``key=value`` with spaces between.
        """
        line = f"boss {message}: {facts}\n".encode(errors="replace")
        # What a pipe takes whole, and has room for where poll says that it has any.
        if len(self._lines) + len(line) > select.PIPE_BUF:
            self.flush()
        self._lines += line

    def flush(self) -> None:
        """Write what is there: before we wait, before others act on it."""
        lines, self._lines = self._lines, b""
        with suppress(OSError):  # closed or broken
            if lines and self._poll.poll(0):
                os.write(2, lines)
