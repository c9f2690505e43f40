"""The handbook's pages as the block engine reads them."""

from __future__ import annotations

from pathlib import Path

from blocks.page import Block
from blocks.parser import parse
from sybil import Document


def blocks_of(path: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    blocks: list[Block] = Document.parse(str(path), parse).namespace["blocks"]
    return blocks


def files_of(path: Path) -> dict[str, str]:
    """Return the programs and other files that a page shows, by caption."""
    return {block.caption: block.text for block in blocks_of(path) if block.caption}
