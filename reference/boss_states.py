# SPDX-License-Identifier: 0BSD
"""The states of a boss's child: what we do about every event in every state.

It needs no other file: who has a loop of their own, such as one of asyncio, can take
the table alone.  ``boss_supervisor.py`` is our loop around it.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a child is."""

    WAITING = "waiting"
    RUNNING = "running"
    BACKOFF = "backing off"
    STOPPING = "stopping"
    KILLED = "killed"
    DOWN = "down"


class Event(StrEnum):
    """What happens to a child."""

    START = "all that it comes after are up"
    LOST = "it died and is wanted back"
    ENDED = "it died and is not wanted back"
    DUE = "its deadline has come"
    STOP = "its turn to stop"
    HURRY = "a second signal"


class Action(StrEnum):
    """What we do to a child, or about it."""

    SPAWN = "start"
    BACK_OFF = "back off"
    ASK = "ask"
    KILL = "kill"
    LET_GO = "let go"
    NOTHING = "nothing"


WAITING, RUNNING, BACKOFF, STOPPING, KILLED, DOWN = State
START, LOST, ENDED, DUE, STOP, HURRY = Event
SPAWN, BACK_OFF, ASK, KILL, LET_GO, NOTHING = Action
NEVER = None

# fmt: off
TABLE: dict[State, dict[Event, tuple[Action, State] | None]] = {
    WAITING:  {START: (SPAWN, RUNNING), LOST: NEVER, ENDED: NEVER,
               DUE: NEVER, STOP: (LET_GO, DOWN), HURRY: NEVER},
    RUNNING:  {START: NEVER, LOST: (BACK_OFF, BACKOFF), ENDED: (LET_GO, DOWN),
               DUE: NEVER, STOP: (ASK, STOPPING), HURRY: (KILL, KILLED)},
    BACKOFF:  {START: NEVER, LOST: NEVER, ENDED: NEVER,
               DUE: (SPAWN, RUNNING), STOP: (LET_GO, DOWN), HURRY: NEVER},
    STOPPING: {START: NEVER, LOST: NEVER, ENDED: (LET_GO, DOWN),
               DUE: (KILL, KILLED), STOP: NEVER, HURRY: (KILL, KILLED)},
    KILLED:   {START: NEVER, LOST: NEVER, ENDED: (LET_GO, DOWN),
               DUE: NEVER, STOP: (NOTHING, KILLED), HURRY: (NOTHING, KILLED)},
    DOWN:     {START: NEVER, LOST: NEVER, ENDED: NEVER,
               DUE: NEVER, STOP: (NOTHING, DOWN), HURRY: (NOTHING, DOWN)},
}
# fmt: on
"""What we do, and where the child is then, for every event in every state.

What can't happen is there too, so that no cell is forgotten: it is None, and to the
supervisor an AssertionError.
"""
