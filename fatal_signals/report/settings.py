"""The settings of a tool: ``[tool.fatal-signals.TOOL]`` in the nearest pyproject.toml.

A mistake in there names the file and the key, so that nobody has to guess which of the
files on the way up was read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .mistakes import Mistake, did_you_mean

FILE = "pyproject.toml"

KINDS: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "an array of strings",
}


@dataclass(frozen=True)
class Setting:
    """What a key may hold.

    Args:
        kind: ``str``, ``bool``, ``int``, ``float`` (whole numbers, too), or ``list``
            for an array of strings.
        convert: makes of such a value what the tool wants; may raise :class:`Mistake`.
    """

    kind: type
    convert: Callable[[Any], Any] = lambda value: value


def nearest(start: Path) -> Path | None:
    """Return the nearest pyproject.toml, in a folder or above it."""
    folder = start.resolve()
    files = (above / FILE for above in (folder, *folder.parents))
    return next((file for file in files if file.is_file()), None)


def read(
    tool: str, known: Mapping[str, Setting], start: Path | None = None
) -> dict[str, Any]:
    """Return the settings of a tool that somebody has written down.

    Args:
        tool: its name, such as ``inject``.
        known: the keys that it has.
        start: the folder to look in first; the current one by default.

    Raises:
        Mistake: the file can't be read; a key is unknown, or its value is not of the
            kind that it has to be.
    """
    file = nearest(start or Path())
    if file is None:
        return {}
    table = _table(file, tool)
    values = {}
    for key, value in table.items():
        where = f"{file}: [tool.fatal-signals.{tool}] {key}"
        if key not in known:
            cure = did_you_mean(key, known)
            raise Mistake("there is no such setting", where=where, cure=cure)
        if not _is_of(value, known[key].kind):
            said = f"must be {KINDS[known[key].kind]}, and is {value!r}"
            raise Mistake(said, where=where)
        try:
            values[key] = known[key].convert(value)
        except Mistake as mistake:
            raise Mistake(str(mistake), where=where) from None
    return values


def _table(file: Path, tool: str) -> dict[str, Any]:
    try:
        found: Any = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:  # not UTF-8, not TOML
        raise Mistake(f"can't be read: {error}", where=str(file)) from None
    name = ""
    for key in ("tool", "fatal-signals", tool):
        name = f"{name}.{key}".lstrip(".")
        found = found.get(key, {})
        if not isinstance(found, dict):
            raise Mistake("must be a table", where=f"{file}: {name}")
    return dict(found)


def _is_of(value: object, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(it, str) for it in value)
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind  # True is an int for isinstance
