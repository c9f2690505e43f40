"""Broken twins: for every promise of a module a copy that breaks it.

A module's docstring lists its promises as ``name: sentence``.  The module's test file
has a test of that name for each, and ``tests/twins/MODULE.toml`` has a table of that
name with an edit that breaks the promise, in whichever of the module's parts.  The
proof of a test is that it fails for the twin.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from . import BARE, FATAL, ROOT, own_tmp_path
from .companions import BESIDE, copy, edit

TEST = re.compile(r"^def test_(\w+)", re.MULTILINE)
PROMISE = re.compile(r"^``(?P<name>[a-z_0-9]+)``: ", re.MULTILINE)


@dataclass(frozen=True)
class Twin:
    """One edit that breaks one promise.

    A twin's table in the TOML file holds ``old`` and ``new``: text that occurs exactly
    once in the module's parts, and what stands there instead.
    """

    module: str
    promise: str
    old: str
    new: str

    def write(self, folder: Path) -> Path:
        """Write the broken module, and its sound neighbors, into ``folder``.

        Returns:
            The file that was changed.
        """
        for name in BESIDE:
            copy(name, folder)
        (part,) = edit(self.module, folder, {self.old: self.new})
        return folder / f"{part}.py"


def promises(module: str) -> list[str]:
    """Return the names of the promises in a module's docstring, in order."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text()
    return PROMISE.findall(text.split('"""')[1])


def twins(module: str) -> list[Twin]:
    """Return all twins of a module."""
    file = ROOT / "tests" / "twins" / f"{module}.toml"
    tables = tomllib.loads(file.read_text())
    return [Twin(module, promise, **edit) for promise, edit in tables.items()]


def files(module: str) -> list[Path]:
    """Return the files with the tests of a module's promises."""
    room = ROOT / "tests" / "modules"
    found = [room / f"test_{module}.py", *sorted(room.glob(f"test_{module}_*.py"))]
    begins = tuple(f"{promise}_" for promise in promises(module))
    return [
        file
        for file in found
        if any(f"{name}_".startswith(begins) for name in TEST.findall(file.read_text()))
    ]


def failing_tests(
    module: str, promise: str, folder: Path, *options: str
) -> tuple[set[str], str]:
    """Run one promise's tests against the modules in ``folder``.

    Args:
        module: the module.
        promise: the promise.
        folder: where the modules are.
        options: further options of pytest.

    Returns:
        The names of the tests that failed, and the report.
    """
    test = f"def test_{promise}"
    with_it = [file for file in files(module) if test in file.read_text()]
    with own_tmp_path() as basetemp:
        run = subprocess.run(
            [
                sys.executable,
                *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
                *(basetemp, *options, *map(str, with_it), "-k", f"test_{promise}"),
            ],
            env={**os.environ, **BARE, "MODULES_UNDER_TEST": str(folder)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=2 * FATAL,
            check=False,
        )
    found = re.findall(r"^FAILED \S+::test_(\w+)", run.stdout, re.MULTILINE)
    return set(found), run.stdout + run.stderr
