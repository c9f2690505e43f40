"""Recorded evidence: what only an old Python can show.

A transcript in ``docs/evidence/`` starts with comments that say which interpreters
and which system it was recorded on, and the digest of each program in it.  It is valid
as long as the programs on its page have these digests; where its interpreters are
installed it is replayed like any terminal session.  One that takes too long for that
names, in a line of its own, the test that does it in its place.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path

from fatal_signals.processes.clocks import BLOCK
from fatal_signals.processes.interpreters import find
from fatal_signals.report.digests import digest

from . import console
from .page import BlockFailure, Page

DIGEST = re.compile(r"^# (?P<name>\S+) sha256:(?P<digest>[0-9a-f]{16})$", re.M)
REPLAYED = re.compile(r"^# replayed by (?P<test>tests/\w+/test_\w+\.py)$", re.M)
INTERPRETER = re.compile(r"^\$ .*?\b(python\d\.\d+)", re.M)

PATIENCE = 20 * BLOCK
"""Seconds for which a recording may take; a replay gets no more than any block."""


def digest_of(page: Page, name: str) -> str:
    """Return the digest of a program of the page."""
    return digest((page.scratch / name).read_bytes())


def check(page: Page, file: Path) -> None:
    """Compare digests, and replay where that is possible.

    Raises:
        BlockFailure: the evidence is not about this page's programs any more, or the
            replay differs from it, or the test that it names does not read it.
    """
    text = file.read_text()
    digests = DIGEST.findall(text)
    if not digests:
        raise BlockFailure(f"{file.name}: no digest of a program in its head")
    for name, recorded in digests:
        if recorded != digest_of(page, name):
            raise BlockFailure(f"{name} has changed: run 'make evidence'")
    if replayed := REPLAYED.search(text):
        test = page.project / replayed["test"]
        if not test.exists() or file.name not in test.read_text():
            raise BlockFailure(f"{replayed['test']} does not read {file.name}")
    elif all(map(find, INTERPRETER.findall(text))):
        screen = play(page, text)
        if not console.pattern(text).fullmatch(screen):
            raise BlockFailure(console.difference(text, screen))


def play(page: Page, text: str, fatal: float = BLOCK) -> str:
    """Run a transcript's commands; return the transcript with what came."""
    head = "".join(x for x in text.splitlines(keepends=True) if x.startswith("# "))
    places = {str(f.parent) for f in map(find, INTERPRETER.findall(text)) if f}
    environment = page.environment
    environment["PATH"] = ":".join([environment["PATH"], *sorted(places)])
    try:
        body = text.removeprefix(head)
        return head + console.run(body, page.scratch, environment, fatal)
    except console.ConsoleFailure as failure:
        raise BlockFailure(str(failure)) from None


def record(page: Page, file: Path) -> None:
    """Write a transcript anew from its commands.

    Raises:
        BlockFailure: an interpreter is missing.
    """
    text = file.read_text()
    names = sorted(set(INTERPRETER.findall(text)))
    if missing := [name for name in names if not find(name)]:
        raise BlockFailure(f"{file.name}: not installed: {', '.join(missing)}")
    release = ".".join(platform.release().split(".")[:2])
    head = [f"# recorded on {platform.system()} {release}, {platform.machine()}"]
    head += [f"# {n} sha256:{digest_of(page, n)}" for n, _ in DIGEST.findall(text)]
    head += [found[0] for found in REPLAYED.finditer(text)]
    body = "".join(x for x in text.splitlines(keepends=True) if x[:2] != "# ")
    file.write_text(play(page, "\n".join(head) + "\n" + body, PATIENCE))
