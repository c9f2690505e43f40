# SPDX-License-Identifier: 0BSD
"""The grammar of a boss's file: TOML in, a :class:`System` out, a mistake in one line.

It needs ``boss_child.py`` beside it.  A further key is a line of ``KEYS``, a field of
:class:`Child` with the same name, and whatever the supervisor does with it.
"""

from __future__ import annotations

import os
import signal
import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or not __package__:
    from boss_child import Child, ChildError, System, in_order, unknown
else:
    from .boss_child import Child, ChildError, System, in_order, unknown

LONGEST = 1_000_000
"""Seconds; no grace is longer.  ``poll`` has an int of milliseconds: twice as many."""

RESTART = ("always", "on-failure", "never")
SIGNALS = {signum.name for signum in signal.Signals} - {"SIGSTOP"}
SECONDS = f"a number of seconds, 0 to {LONGEST}"


def _texts(value: Any) -> bool:
    """Return whether this is a list of strings that the system takes."""
    return type(value) is list and all(type(s) is str and "\0" not in s for s in value)


def _is_env(value: Any) -> bool:
    names = value if type(value) is dict else [""]
    return all(n and "=" not in n for n in names) and _texts([*names, *value.values()])


Keys = dict[str, tuple[Callable[[Any], bool], str]]

# By type: to Python true is a number as well, to the author of the file it is not.
BOSS_KEYS: Keys = {
    "intensity": (lambda v: type(v) is int and v >= 0, "a number of restarts"),
    "period": (lambda v: type(v) in (int, float) and 0 < v <= LONGEST, SECONDS),
    "remove": (lambda v: _texts(v) and all(v), "a list of files"),
}
KEYS: Keys = {
    "name": (lambda v: _texts([v]) and v.isprintable() and v.split() == [v], "a word"),
    "command": (lambda v: _texts(v) and any(v[:1]), "a list: program, arguments"),
    "after": (_texts, "a name or a list of names"),
    "restart": (lambda v: v in RESTART, " or ".join(RESTART)),
    "grace": (lambda v: type(v) in (int, float) and 0 <= v <= LONGEST, SECONDS),
    "stop-signal": (lambda v: _texts([v]) and v in SIGNALS, "a signal, such as SIGINT"),
    "ready-fd": (lambda v: type(v) is int and 3 <= v <= 255, "a number, 3 to 255"),
    "cwd": (lambda v: _texts([v]), "the path of a folder"),
    "env": (_is_env, "a table of strings"),
}


def _check(where: str, table: dict[str, Any], keys: Keys) -> None:
    for key, value in table.items():
        if key not in keys:
            raise ChildError(f"{where}: {unknown('key', key, keys)}")
        if not keys[key][0](value):
            wanted, found = keys[key][1], f"{value!r:.60}"
            raise ChildError(f"{where}: {key} must be {wanted}, not {found}")


def _read_child(number: int, table: Any, folder: str) -> Child:
    where = f"child {number}"
    if not isinstance(table, dict):
        raise ChildError(f"{where}: must be a table, not {table!r:.60}")
    if KEYS["name"][0](table.get("name")):
        where += f" ({table['name']})"
    if isinstance(table.get("after"), str):
        table["after"] = [table["after"]]
    _check(where, table, KEYS)
    for key in [key for key in ("name", "command") if key not in table]:
        raise ChildError(f"{where}: key '{key}' is missing")
    if "cwd" in table:
        table["cwd"] = os.path.join(folder, table["cwd"])
    return Child(**{key.replace("-", "_"): value for key, value in table.items()})


def load(path: str) -> System:
    """Return what a TOML file describes, its children in the file's order.

    Whether their programs and folders are there is not looked at: :class:`Boss` does.

    Args:
        path: the file; a relative ``cwd`` in it counts from its folder.

    Raises:
        ChildError: the file can't be read or has a mistake; the text says where in it.
    """
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except (OSError, ValueError) as error:  # ValueError: no TOML, or no UTF-8
        raise ChildError(getattr(error, "strerror", None) or str(error)) from None
    for key in [key for key in tables if key not in ("boss", "child")]:
        raise ChildError(unknown("key", key, ["boss", "child"]))
    limits = tables.get("boss", {})
    if not isinstance(limits, dict):
        raise ChildError("boss: must be a table, [boss]")
    _check("boss", limits, BOSS_KEYS)
    listed = tables.get("child")
    if not isinstance(listed, list) or not listed:
        raise ChildError("there is no [[child]] table")
    folder = os.path.dirname(os.path.abspath(path))
    children = [_read_child(n, table, folder) for n, table in enumerate(listed, 1)]
    in_order(children)
    names = [os.path.join(folder, name) for name in limits.pop("remove", ())]
    return System(children, **limits, remove=names, file=path)
