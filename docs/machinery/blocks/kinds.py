"""The kinds of literal blocks: how the source of a page says what happens to one.

The parser asks for what Sybil has found in the source, the ledger for what Sphinx shows
the reader; both ask here, and the two answers have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a literal block is, or what closes a page."""

    FILE = "file"
    """A file: run by a terminal session, or checked by the tool that reads it."""
    SESSION = "session"
    """Python in the page's namespace."""
    CONSOLE = "console"
    """A terminal session."""
    OUTPUT = "output"
    """What the session above it prints."""
    INCLUDED = "included"
    """A file from elsewhere."""
    QUOTED = "quoted"
    """A text that nobody runs, with the reason."""
    LEDGER = "ledger"
    """No block: the end of a page, where its blocks are counted."""
    UNCLAIMED = "unclaimed"
    """A block that nothing runs, which is an error."""


RUN = {"python", "sh"}
"""Languages of files that a terminal session of the page runs."""
CHECKED = {"c", "toml", "ini", "yaml"}
"""Languages of files that the tool reads which is made for them."""


def classify(
    language: str, caption: str, quoted: bool, after: Kind | None
) -> Kind | None:
    """Return the kind of a literal block, or None when nothing claims it.

    Args:
        language: as the directive names it.
        caption: its caption, the name of a file.
        quoted: a comment before it says why nobody runs it.
        after: the kind of the block before it on the page.
    """
    if quoted:
        return Kind.QUOTED
    if caption:
        return Kind.FILE if language in RUN | CHECKED else None
    if language in ("python", "pycon"):
        return Kind.SESSION
    if language == "console":
        return Kind.CONSOLE
    return Kind.OUTPUT if language == "text" and after == Kind.SESSION else None


LEDGER = "ledger.json"
"""The file beside Sphinx's trees that lists all entries."""


@dataclass(frozen=True)
class Entry:
    """One literal block in a document tree."""

    page: str
    source: str
    line: int
    kind: Kind
    language: str

    @property
    def verdict(self) -> str:
        """What has become of it, as the foot of the page says it."""
        if self.kind == Kind.FILE:
            return "checked" if self.language in CHECKED else "executed"
        run = self.kind in (Kind.SESSION, Kind.CONSOLE)
        return "executed" if run else self.kind
