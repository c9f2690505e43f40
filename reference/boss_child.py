# SPDX-License-Identifier: 0BSD
"""The children of a boss: how one is described, in which order, and how it is started.

A program that embeds the supervisor writes a :class:`System` of :class:`Child`, as the
file of the program does.  The rest is the supervisor's: the order of the starts, and an
:class:`Entry` for each child.  It needs ``boss_states.py`` beside it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from fcntl import F_DUPFD_CLOEXEC, fcntl
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING or not __package__:
    from boss_states import WAITING
else:
    from .boss_states import WAITING

GRACE = 10.0
"""Seconds from the stop signal to SIGKILL for a child whose table does not say."""

PERIOD = 60.0
"""Seconds in which restarts are counted where the file does not say."""


class ChildError(ValueError):
    """A child can't be started as described; the text is one line for its author."""


class Child(NamedTuple):
    """One child, as a ``[[child]]`` table describes it.

    ``name`` is for the log and for ``after``; ``command`` is the program and its
    arguments; ``after`` names the children to start before it and to stop after it;
    ``restart`` is ``always``, ``on-failure`` or ``never``; ``grace`` is in seconds;
    ``stop_signal`` is the name of the signal that asks it to stop; ``ready_fd`` is the
    descriptor on which it says that it is ready (None: it does not); ``cwd`` is the
    folder to start in (None: ours); ``env`` is added to our own.
    """

    name: str
    command: Sequence[str]
    after: Sequence[str] = ()
    restart: str = "always"
    grace: float = GRACE
    stop_signal: str = "SIGTERM"
    ready_fd: int | None = None
    cwd: str | None = None
    env: Mapping[str, str] = MappingProxyType({})


class System(NamedTuple):
    """What a file describes, and what a supervisor takes.

    ``children`` are in the order of the file; ``after`` goes before that order.
    ``intensity`` is how many restarts there may be in ``period`` seconds (None: any).
    ``remove`` are files that are the system's own and stay when it is killed, such as
    sockets: they are removed before the first start.  ``file`` is what other runs of
    the same system are known by (None: there are none): there is one at a time, and
    what a killed one has left is ended before the first start.
    """

    children: Sequence[Child]
    intensity: int | None = None
    period: float = PERIOD
    remove: Sequence[str] = ()
    file: str | None = None


def unknown(kind: str, word: str, known: Iterable[str]) -> str:
    """Return the text about a word that is not known, with the one that is meant.

    Args:
        kind: what the word is, such as a key.
        word: what somebody has written.
        known: what may stand there.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - 1 ms, for mistakes only

    hints = [f"; did you mean {name!r}?" for name in get_close_matches(word, known, 1)]
    return f"unknown {kind} {word!r}{''.join(hints)}"


def in_order(children: Iterable[Child]) -> list[tuple[str, Child]]:
    """Return the children in the order of their starts, each with where it stands.

    Args:
        children: in the order of the file; ``after`` goes before that order.

    Raises:
        ChildError: two have one name; ``after`` has an unknown name or a ring.
    """
    places: dict[str, tuple[str, Child]] = {}
    graph: TopologicalSorter[str] = TopologicalSorter()
    for number, child in enumerate(children, 1):
        where = f"child {number} ({child.name})"
        if child.name in places:
            raise ChildError(f"{where}: name: {places[child.name][0]} has it already")
        places[child.name] = where, child
        graph.add(child.name)  # all of them first: where ``after`` is silent, in order
    for where, child in places.values():
        for name in child.after:
            if name not in places:
                raise ChildError(f"{where}: after: {unknown('name', name, places)}")
        graph.add(child.name, *child.after)
    try:
        return [places[name] for name in graph.static_order()]
    except CycleError as error:
        ring = error.args[1][::-1]
        where = places[ring[0]][0]
        raise ChildError(f"{where}: after: a ring, {' after '.join(ring)}") from None


def find_program(program: str, cwd: str | None, path: str) -> str:
    """Return the path of a program as a child in ``cwd`` would find it.

    Args:
        program: the first word of the child's command.
        cwd: the child's folder; None: ours.
        path: folders with colons between, for a program without a slash.

    Raises:
        ChildError: the folder or the program is not there, or not for us.
    """
    cwd = os.path.join(os.getcwd(), cwd or "")
    if not os.access(os.path.join(cwd, "."), os.X_OK):
        raise ChildError(f"cwd: there is no folder {cwd!r}, or we may not enter it")
    for folder in [""] if "/" in program else path.split(":"):
        file = os.path.join(cwd, folder, program)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    where = f"in {cwd!r}" if "/" in program else f"on the PATH {path!r}"
    raise ChildError(f"command: there is no program {program!r} {where}")


def _bytes(text: str) -> bytes:
    # As in the file, whatever the locale is.
    return text.encode("utf-8", "surrogateescape")


class Entry:
    """A child in the boss's book, with all that its starts need made ready once.

    ``child`` is its description, ``state`` where it is, ``pid`` that of its last start
    (0: none); the rest is for the supervisor.

    Args:
        child: the description.
        number: its place in the book.
        program: the path of its program.
        env: our environment, to which the child's own is added.
    """

    __slots__ = (  # a third less memory
        *("child", "number", "state", "pid", "who", "deadline", "started", "deaths"),
        *("comes_after", "not_down", "comes_before", "not_up", "is_up", "ready"),
        *("_program", "_argv", "_env"),
    )

    def __init__(
        self, child: Child, number: int, program: str, env: dict[bytes, bytes]
    ) -> None:
        self.child = child
        self.number = number
        self.state = WAITING
        self.pid = 0
        self.who = ""  # for the log
        self.deadline: float | None = None
        self.started = 0.0
        self.deaths = 0  # in a row
        self.comes_after: list[Entry] = []
        self.not_down = 0  # how many come after it and are not down
        self.comes_before: list[Entry] = []
        self.not_up = 0  # how many it comes after and are not up yet
        self.is_up = False
        self.ready: int | None = None  # where we read whether it is ready
        self._program = _bytes(program)
        self._argv = [_bytes(word) for word in child.command]
        more = {_bytes(key): _bytes(text) for key, text in child.env.items()}
        self._env = {**env, **more} if more else env

    def start(self) -> int:
        """Start the child and return its pid; raise OSError when that fails."""
        if self.child.ready_fd is None:
            return self._spawn(_SPAWN)
        self.ready, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Elsewhere than there: dup2 of itself would leave it close-on-exec.
            other = fcntl(writer, F_DUPFD_CLOEXEC, self.child.ready_fd + 1)
            os.close(writer)
            writer = other
            os.set_blocking(writer, True)
            dup2 = (os.POSIX_SPAWN_DUP2, writer, self.child.ready_fd)
            return self._spawn(
                _SPAWN | {"file_actions": [*_SPAWN["file_actions"], dup2]}
            )
        finally:
            os.close(writer)

    def _spawn(self, how: dict[str, Any]) -> int:
        if self.child.cwd is None:
            return os.posix_spawn(self._program, self._argv, self._env, **how)
        # posix_spawn has no word for the folder, so we go there and back.
        home = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.fchdir(home)  # may we come back?  We ask before anything is started.
            os.chdir(self.child.cwd)
            return os.posix_spawn(self._program, self._argv, self._env, **how)
        finally:
            os.fchdir(home)
            os.close(home)


# Every signal by name: posix_spawn hands on what we ignore, and Python ignores SIGPIPE.
_SPAWN: dict[str, Any] = {
    "setpgroup": 0,
    "setsigdef": signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    "setsigmask": (),
    "file_actions": [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
}
