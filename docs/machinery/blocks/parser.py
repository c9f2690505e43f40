"""From the text of a page to its blocks: what Sybil collects.

One spelling of each thing is claimed, and the rest is the ledger's: whatever the page
shows and this parser does not yield fails there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import SkipTest

from sybil import Document, Example, Region
from sybil.example import SybilFailure
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer
from sybil.parsers.rest.lexers import DirectiveLexer

from . import evaluators
from .kinds import Kind, classify
from .page import Block, BlockFailure, Page, which
from .skips import OTHER_PYTHON

LEXER = DirectiveLexer("code-block|literalinclude")
FENCES = RawFencedCodeBlockLexer(
    re.compile(r"(?P<arguments>\S*)(?: (?P<caption>\S+))?$\n", re.M)
)
COMMENT = re.compile(
    r"^[ \t]*\.\. (?P<word>quoted|skip):[ \t]*(?P<rest>.*)\n\s*\Z", re.M
)
VERSION = re.compile(r"sys\.version_info [<>]=? \([0-9, ]+\)")
SKIP = re.compile(
    r'(?P<scope>next|rest) if\((?P<condition>.+), reason="(?P<reason>[^"]+)"\)$'
)


def parse(document: Document) -> Iterator[Region]:
    """Yield a region for each block of a page, and one that closes its ledger."""
    yield from _regions(document, LEXER(document))
    end = len(document.text)
    closing = Block(Kind.LEDGER, "", document.text.count("\n"), 0, "")
    yield Region(end, end, closing, evaluate)


def parse_markdown(document: Document) -> Iterator[Region]:
    """Do the same for a README: a fence's second word is the name of a file."""
    lexed = list(FENCES(document))
    for region in lexed:
        caption = region.lexemes["caption"]
        region.lexemes["options"] = {"caption": caption} if caption else {}
        region.lexemes["directive"] = "fence"
    regions = list(_regions(document, lexed))
    if len(regions) < len(lexed):
        raise ValueError(f"{document.path}: a fence that nothing runs")
    yield from regions


def _regions(document: Document, lexed: Iterable[Region]) -> Iterator[Region]:
    """Turn what a lexer found into blocks, and hand them to the page."""
    blocks: list[Block] = []
    document.namespace["blocks"] = blocks
    skip_rest: str | BlockFailure = ""
    for region in sorted(lexed, key=lambda region: region.start):
        before = document.text[: region.start]
        comment = COMMENT.search(before)
        word, reason = comment.group("word", "rest") if comment else ("", "")
        words = region.lexemes
        line = before.count("\n") + 1
        argument = words["arguments"] or ""
        caption = words["options"].get("caption", "")
        if words["directive"] == "literalinclude":
            kind: Kind | None = Kind.INCLUDED
            language, text = "", argument
        else:
            quoted = word == "quoted" and bool(reason.strip())
            after = blocks[-1].kind if blocks else None
            kind = classify(argument, caption, quoted, after)
            language, text = argument, words["source"].rstrip("\n") + "\n"
        if kind:
            first = line + 1 + words["source"].line_offset
            block = Block(kind, language, line, first, text, caption)
            block.skip = skip_rest
            if word == "skip" and not skip_rest:
                block.skip = reason_to_skip(reason.strip())
                skip_rest = block.skip if reason.startswith("rest ") else ""
            blocks.append(block)
            yield Region(region.start, region.end, block, evaluate)


def reason_to_skip(text: str) -> str | BlockFailure:
    """Evaluate a skip, of a block or of the rest; return its reason when it holds."""
    match = SKIP.match(text)
    if match is None:
        return BlockFailure(
            f"a skip without condition and reason: {text!r}; write"
            ' .. skip: next if(not which("tool"), reason="tool is not installed")'
        )
    holds = eval(match["condition"], {"which": which, "os": os, "sys": sys})
    about = OTHER_PYTHON if VERSION.fullmatch(match["condition"]) else ""
    return about + match["reason"] if holds else ""


def page_of(example: Example) -> Page:
    """Return the page of an example; it is made when its first block runs."""
    space = example.namespace
    if "page" not in space:
        space["page"] = Page(Path(example.path), space["blocks"])
    page: Page = space["page"]
    return page


def close_page(namespace: dict[str, object]) -> None:
    """End everything that a page's blocks have started."""
    page = namespace.pop("page", None)
    if isinstance(page, Page):
        page.close()


def evaluate(example: Example) -> None:
    """Run one block as pytest wants it."""
    block: Block = example.parsed
    if isinstance(block.skip, str) and block.skip:
        raise SkipTest(block.skip)
    try:
        if isinstance(block.skip, BlockFailure):
            raise block.skip
        evaluators.EVALUATORS[block.kind](page_of(example), block)
    except BlockFailure as failure:
        raise SybilFailure(example, str(failure)) from None
