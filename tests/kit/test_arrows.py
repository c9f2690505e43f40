"""The rooms of the project: each folder has one, and imports go the way of the arrows.

``CONTRIBUTING.md`` has the drawing, a table of rooms with what each may import; this
holds it to the tree and to every import, those inside functions too.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import FATAL, PATH, ROOT

ROW = re.compile(r"^\| `(?P<room>[\w./]+)` \| .+? \| (?P<arrows>.+?) \|$", re.MULTILINE)
ANY = "anything of ours"
NOTHING = "nothing of ours"
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def drawing(text: str) -> dict[str, set[str] | None]:
    """Return for each room what it may import besides itself; None for anything."""
    found: dict[str, set[str] | None] = {}
    for row in ROW.finditer(text):
        named = set(re.findall(r"`([\w./]+)`", row["arrows"]))
        assert named or row["arrows"] in (ANY, NOTHING, "—"), row[0]
        found[row["room"]] = None if row["arrows"] == ANY else named
    return found


ROOMS = drawing(TEXT)


def files(*patterns: str) -> list[str]:
    """Return the files of the project that git knows, or would take."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    told = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=FATAL, check=True
    )
    names = sorted(set(told.stdout.split()))
    return [name for name in names if (ROOT / name).is_file()]


def room_of(file: str, rooms: dict[str, set[str] | None]) -> str:
    """Return the room that a file is in: itself, or the nearest folder with a line."""
    places = [file, *(f"{it}/" for it in Path(file).parents if str(it) != ".")]
    return next((place for place in places if place in rooms), "")


def imports(file: str) -> Iterator[str]:
    """Yield the files of ours that a file imports."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [it.name for it in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            folder = Path(file).parents[node.level - 1]
            start = f"{folder}/{(node.module or '').replace('.', '/')}".rstrip("/")
            yield from _targets(ROOT, start, node)
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            for place in [*map(Path, PATH.split(":")), (ROOT / file).parent]:
                path = name.replace(".", "/")
                if found := [*_targets(place, path, node)]:
                    yield from found
                    break


def _targets(place: Path, path: str, node: ast.AST) -> Iterator[str]:
    """Yield the files that an import of a module or a package loads from."""
    for file in (place / f"{path}.py", place / path / "__init__.py"):
        if file.is_file() and file.resolve().is_relative_to(ROOT):
            whole = file.resolve().relative_to(ROOT).as_posix()
            inner = [
                file.resolve().parent / f"{it.name}.py"
                for it in (node.names if isinstance(node, ast.ImportFrom) else ())
                if file.name == "__init__.py"
            ]
            known = [it for it in inner if it.is_file()]
            yield from (it.relative_to(ROOT).as_posix() for it in known)
            if len(known) < len(inner) or not inner:
                yield whole


def wrong_arrows(
    names: list[str], rooms: dict[str, set[str] | None], loads: dict[str, list[str]]
) -> list[str]:
    """Say which imports are against the drawing."""
    found = []
    for name in names:
        room = room_of(name, rooms)
        allowed = rooms.get(room, set())
        for it in loads[name]:
            other = room_of(it, rooms)
            inside = other.startswith(room) or other in (allowed or ())
            if allowed is not None and not inside:
                found.append(f"{name} imports {it}")
    return found


NAMES = files("*.py")
LOADS = {name: [*imports(name)] for name in NAMES}


def test_each_folder_has_a_line() -> None:
    folders = {f"{Path(name).parent}/" for name in files() if "/" in name}
    inside = {f for f in folders if room_of(f"{f}x", ROOMS) == f}
    bare = {f for f in folders - inside if not f.startswith(("docs/evidence/", ".ci"))}
    assert bare == set(), "folders without a line in CONTRIBUTING.md"


def test_each_line_has_its_folder() -> None:
    assert [room for room in ROOMS if not (ROOT / room).exists()] == []
    arrows = {it for allowed in ROOMS.values() for it in allowed or ()}
    assert arrows <= ROOMS.keys()


def test_imports_go_the_way_of_the_arrows() -> None:
    assert wrong_arrows(NAMES, ROOMS, LOADS) == []


@pytest.mark.parametrize(
    ("file", "imported"),
    [
        ("fatal_signals/processes/start.py", "fatal_signals/inject/run.py"),
        ("fatal_signals/processes/procfs.py", "reference/boss.py"),
        ("docs/machinery/extensions/ledger.py", "docs/machinery/blocks/page.py"),
        ("tests/support/program.py", "tests/modules/test_boss.py"),
        ("reference/pid1.py", "fatal_signals/processes/procfs.py"),
    ],
)
def test_an_arrow_the_wrong_way_is_found(file: str, imported: str) -> None:
    loads = {file: [imported]}
    assert wrong_arrows([file], ROOMS, loads) == [f"{file} imports {imported}"]


@pytest.mark.parametrize(
    ("file", "imported"),
    [
        ("fatal_signals/inject/traced.py", "fatal_signals/processes/below.py"),
        ("fatal_signals/processes/keeper.py", "fatal_signals/processes/keeping.py"),
        ("tests/support/avoided.py", "docs/machinery/blocks/console.py"),
        ("fatal_signals/inject/__init__.py", "fatal_signals/inject/syscalls.py"),
        ("tests/modules/test_wakeup_fd.py", "tests/modules/test_flag_handler.py"),
    ],
)
def test_all_kinds_of_imports_are_seen(file: str, imported: str) -> None:
    """Relative and absolute, of a module and from a package, inside a function too."""
    assert imported in LOADS[file]


SHOWN = """
import sys
import conf
for name in conf.extensions:
    if name.startswith("extensions."):
        __import__(name)
ours = {"termios", "pty"}
print(*sorted(n for n in sys.modules if n in ours or n.startswith("blocks.")))
"""


def test_what_draws_the_pages_loads_nothing_that_runs_them() -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(ROOT)]}\n{SHOWN}"],
        capture_output=True,
        text=True,
        timeout=FATAL,
        check=True,
    )
    assert told.stdout.split() == ["blocks.kinds"]
