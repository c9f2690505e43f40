"""What belongs to a reference module: its parts, and the files that it takes along."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Mapping
from pathlib import Path

from . import ROOT

REFERENCE = ROOT / "reference"


def _imports(name: str) -> set[str]:
    """Return the files of ours that a file imports, as one that was copied does."""
    tree = ast.walk(ast.parse((REFERENCE / f"{name}.py").read_text()))
    found: set[str] = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
    return {name for name in found if (REFERENCE / f"{name}.py").is_file()}


def _beside(name: str) -> tuple[str, ...]:
    found: set[str] = set()
    new = {name}
    while new:
        found |= new
        new = {other for it in new for other in _imports(it)} - found
    return tuple(sorted(found - {name}))


BESIDE = {file.stem: _beside(file.stem) for file in sorted(REFERENCE.glob("*.py"))}
"""The files, without their ``.py``, that each file takes along: all that it imports."""


def parts(module: str) -> tuple[str, ...]:
    """Return the files that a module is made of: its own, and those named after it."""
    return module, *(it for it in BESIDE[module] if it.startswith(f"{module}_"))


MODULES = sorted(set(BESIDE) - {part for name in BESIDE for part in parts(name)[1:]})
"""What has a page, promises and tests of its own: the files that are nobody's part."""


def part_with(module: str, text: str, folder: Path = REFERENCE) -> str:
    """Return the part of a module that has a text, which occurs exactly once in all.

    Args:
        module: the module.
        text: what is looked for.
        folder: where the files are.

    Raises:
        AssertionError: it occurs nowhere, or more than once.
    """
    texts = {part: (folder / f"{part}.py").read_text() for part in parts(module)}
    assert sum(it.count(text) for it in texts.values()) == 1, f"not once: {text}"
    return next(part for part, it in texts.items() if text in it)


def copy(module: str, folder: Path, origin: Path = REFERENCE) -> list[str]:
    """Copy a module with all that it takes along.

    Args:
        module: the module.
        folder: where the copies go.
        origin: where the files are, such as a folder of broken twins.

    Returns:
        The names of the files.
    """
    names = [f"{name}.py" for name in (module, *BESIDE[module])]
    for name in names:
        shutil.copy(origin / name, folder)
    return names


def edit(module: str, folder: Path, edits: Mapping[str, str]) -> list[str]:
    """Change the text of a module that was copied into a folder.

    Args:
        module: the module.
        folder: where the copy is.
        edits: text that occurs once in the module's parts, and what stands there then.

    Returns:
        The names of the parts that were changed.
    """
    changed = []
    for old, new in edits.items():
        changed.append(part_with(module, old, folder))
        file = folder / f"{changed[-1]}.py"
        file.write_text(file.read_text().replace(old, new))
    return changed
