"""Which blocks does a reader see, and is each of them one that we run?

Sphinx reads all pages once, in a process of its own, with the ledger's extension.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path

from fatal_signals.processes.clocks import FATAL
from fatal_signals.processes.folders import OwnFolder

from .kinds import LEDGER, Entry, Kind
from .page import Block, project_of


@functools.cache
def read_trees(docs: Path) -> tuple[Entry, ...]:
    """Let Sphinx read all pages, and return the ledger.

    Raises:
        RuntimeError: Sphinx can't read them; the text says why.
    """
    with OwnFolder() as out:
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "sphinx",
                "-q",
                "-b",
                "dummy",
                "-c",
                str(docs.parent),
                str(docs),
                str(out),
            ],
            capture_output=True,
            text=True,
            timeout=FATAL,
            check=False,
        )
        file = out / ".doctrees" / LEDGER
        if run.returncode or not file.exists():
            raise RuntimeError(f"sphinx could not read the pages:\n{run.stderr}")
        found = json.loads(file.read_text())
        return tuple(Entry(**{**it, "kind": Kind(it["kind"])}) for it in found)


def unclaimed(path: Path, blocks: list[Block]) -> list[str]:
    """Say which blocks of a page its readers see and nothing runs, or the reverse."""
    docs = project_of(path) / "docs"
    docname = path.relative_to(docs).with_suffix("").as_posix()
    seen = {
        e.line: e
        for e in read_trees(docs)
        if e.page == docname and Path(e.source).resolve() == path.resolve()
    }
    problems = [
        f"{Path(e.source).name}:{e.line}: a literal block that nothing runs"
        + (f" (language {e.language!r})" if e.language else "")
        for e in read_trees(docs)
        if e.page == docname
        and (
            e.kind == Kind.UNCLAIMED
            or e.line not in {b.line for b in blocks}
            or Path(e.source).resolve() != path.resolve()
        )
    ]
    problems += [
        f"{path.name}:{block.line}: runs, and no reader sees it"
        for block in blocks
        if block.line not in seen or seen[block.line].kind != block.kind
    ]
    return problems
