"""Which code is nobody's own: the standard library's, and the injector's.

Told by the folder that a file is in.  What pip installs is somebody's code, although
outside a virtual environment its folder is inside the standard library's.
"""

from __future__ import annotations

import os
import sysconfig
from functools import cache

INSTALLED = {"site-packages", "dist-packages"}
"""The names of folders for packages, of this and of other installations."""

Parts = tuple[str, ...]


def _parts(path: str) -> Parts:
    return tuple(os.path.realpath(path).split(os.sep))


def _folders(*names: str) -> set[Parts]:
    return {_parts(sysconfig.get_path(name)) for name in names}


OURS = {_parts(os.path.dirname(__file__))}
LIBRARY = _folders("stdlib", "platstdlib")
OTHERS = _folders("purelib", "platlib") - LIBRARY


@cache
def is_library(file: str) -> bool:
    """Return whether a file is the standard library's, or ours.

    Args:
        file: a path as code objects have it, or a name such as ``<frozen os>``.
    """
    if file.startswith("<"):
        return file.startswith("<frozen")
    parts = _parts(file)
    if _is_below(parts, OURS):
        return True
    installed = _is_below(parts, OTHERS) or not INSTALLED.isdisjoint(parts)
    return _is_below(parts, LIBRARY) and not installed


def _is_below(parts: Parts, folders: set[Parts]) -> bool:
    return any(parts[: len(folder)] == folder for folder in folders)
