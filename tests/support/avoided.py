"""Pages on patterns to avoid: wrong programs, their cures, and how both are run.

On such a page ``NAME.py`` is wrong and ``NAME_cured.py`` is its cure, and terminal
sessions run both by the same command lines.  A page whose two programs were exchanged
has to fail: then its sessions can tell them apart.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from blocks import console
from blocks.kinds import Kind
from blocks.page import Block, BlockFailure, Page

from . import HANG, ROOT
from .pages import blocks_of

PAGES = sorted(p for p in (ROOT / "docs/avoid").glob("*.rst") if p.stem != "index")


def pairs(blocks: list[Block]) -> dict[str, str]:
    """Return each wrong program of a page with its cure, by their captions."""
    files = [block.caption for block in blocks if block.kind == Kind.FILE]
    names = [name.removesuffix("_cured.py") for name in files if "_cured." in name]
    return {f"{name}.py": f"{name}_cured.py" for name in names}


def commands(block: Block) -> list[str]:
    """Return what is typed in a session, keys included."""
    typed = ("$ ", "> ", *console.KEYS)
    return [line for line in block.text.splitlines() if line.startswith(typed)]


def sessions(blocks: list[Block], program: str) -> list[Block]:
    """Return the terminal sessions in which a program is run."""
    return [
        block
        for block in blocks
        if block.kind == Kind.CONSOLE
        and any(_names(program, command) for command in commands(block))
    ]


def _names(program: str, command: str) -> bool:
    """Return whether a command runs that program, and not another one's end."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(program)}(?!\w)", command))


def shape(blocks: list[Block]) -> list[str]:
    """Say what is wrong with the form of a page."""
    problems = []
    if not pairs(blocks):
        problems.append("no program with a cure: NAME.py and NAME_cured.py")
    for wrong, cured in pairs(blocks).items():
        bad, good = sessions(blocks, wrong), sessions(blocks, cured)
        if not bad or not good:
            problems.append(f"{wrong} and {cured} are not both run")
        elif blocks.index(bad[0]) > blocks.index(good[0]):
            problems.append(f"{cured} is run before {wrong}")
        typed = [_typed_for(found, wrong, cured) for found in (bad, good)]
        if not set(typed[1]) <= set(typed[0]):
            problems.append(f"{wrong} was not run in the way of {cured}")
    return problems


def _typed_for(blocks: list[Block], wrong: str, cured: str) -> list[str]:
    """Return the commands that run one of the two, the name of the cure put away."""
    lines = [line.replace(cured, wrong) for block in blocks for line in commands(block)]
    return list(dict.fromkeys(line for line in lines if _names(wrong, line)))


def undetected(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Exchange each wrong program and its cure; name the sessions that still pass."""
    monkeypatch.setattr(console, "run", partial(console.run, fatal=HANG))
    original = blocks_of(path)
    found = []
    for wrong, cured in pairs(original).items():
        texts = {b.caption: b.text for b in original if b.kind == Kind.FILE}
        other = {wrong: texts[cured], cured: texts[wrong]}
        blocks = [
            replace(b, text=other[b.caption]) if b.caption in other else replace(b)
            for b in original
        ]
        page = Page(path, blocks)
        try:
            for name in (wrong, cured):
                runs = [block for block in sessions(blocks, name) if not block.skip]
                if not runs:
                    pytest.skip(f"so are the sessions of {name}")
                if not any(_fails(page, block) for block in runs):
                    found.append(name)
        finally:
            page.close()
    return found


def _fails(page: Page, block: Block) -> bool:
    try:
        page.run(block)
    except BlockFailure:
        return True
    return False
