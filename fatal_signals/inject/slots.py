"""The numbers that a child shares with its parent while it runs."""

from __future__ import annotations

from enum import IntEnum


class Slot(IntEnum):
    """Where each of them is in the shared memory."""

    INSTRUCTIONS = 0
    """How many instructions the child has recorded."""
    SENT = 1
    """How many signals the child has sent itself; or that it is where its parent is to
    send one."""
    SENT_BY_PARENT = 2
    """How many signals its parent has sent."""
