"""What goes to the helper that makes runs under strace, and what comes back.

Each is one line of JSON.  The two sides are one program in two processes; that a field
is missing, or is not of its type, is a fault of ours, and found where it is read.
"""

from __future__ import annotations

import json
import types
from dataclasses import asdict, dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints


class _Line:
    """A dataclass that travels as a line of JSON."""

    def to_json(self) -> str:
        """Return it as one line, without an end."""
        return json.dumps(asdict(self))  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Return what a line says.

        Raises:
            ValueError: it is no JSON, or has other fields, or other types in them.
        """
        said: Any = json.loads(line)
        hints = get_type_hints(cls)
        if not isinstance(said, dict) or said.keys() != hints.keys():
            raise ValueError(f"{cls.__name__}: other fields than {', '.join(hints)}")
        values = {}
        for name, hint in hints.items():
            if not _is_of(said[name], hint):
                raise ValueError(f"{cls.__name__}.{name} can't be {said[name]!r}")
            whole = isinstance(said[name], list)
            values[name] = tuple(said[name]) if whole else said[name]
        return cls(**values)


def _is_of(value: Any, hint: Any) -> bool:
    """Return whether a value from JSON fits the hint of a field."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is types.UnionType:
        return any(_is_of(value, it) for it in inner)
    if origin is tuple:
        return type(value) is list and all(_is_of(it, inner[0]) for it in value)
    if origin is dict:
        values = value.values() if type(value) is dict else [None]
        return all(_is_of(it, inner[1]) for it in values)
    return type(value) is hint or (hint is float and type(value) is int)


@dataclass(frozen=True)
class Job(_Line):
    """One run to make."""

    argv: tuple[str, ...]
    """The command: ``strace`` with its options, and the program."""
    log: str
    """The file for the trace."""
    out: str
    """The file for what the program writes."""
    cwd: str
    env: dict[str, str]
    seconds: float
    """After which the run hangs."""
    rest: float
    """Seconds of sleep after which the program is at rest."""
    patience: float
    """Seconds of sleep after which a program that has been told to stop hangs."""
    settle: float
    """Seconds for what it leaves behind to end by itself."""
    ready: str
    """A text in the output after which the program counts as at rest; or nothing."""
    signum: int
    """The signal."""
    end: int
    """The signal that tells the program to stop."""
    name: str
    """The system call of the point; nothing for a run without injection."""
    count: int
    """Which of the calls of that name, from 1."""
    after: bool
    """The signal comes as the call returns, and the helper sends it."""
    prepare: tuple[str, ...]
    """A command to run before; or nothing."""
    then: tuple[str, ...]
    """A command to run after it; or nothing."""


@dataclass(frozen=True)
class Result(_Line):
    """What came of a run."""

    error: str = ""
    """Why it could not be made; then nothing else means anything."""
    status: int = 0
    """The exit status, or minus the number of the signal that the program died of."""
    hung: bool = False
    sent: float | None = None
    """When the program was told to stop, in seconds since the epoch."""
    left: int = 0
    """How many processes it has left behind."""
    output: str = ""
    arrivals: int = 0
    """How many threads the signal has come to."""
    void: bool = False
    """The signal came at another moment than it should have."""
    then: str = ""
    """What was wrong with the command after it; or nothing."""
