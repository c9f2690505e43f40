"""The kinds of literal blocks: how the source of a page says what happens to one.

The parser asks for what Sybil has found in the source, the ledger for what Sphinx shows
the reader; both ask here, and the two answers have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass

RUN = {"python", "sh"}
"""Languages of files that a terminal session of the page runs."""
CHECKED = {"c", "toml", "ini", "yaml"}
"""Languages of files that the tool reads which is made for them."""


def classify(
    language: str, caption: str, quoted: bool, after: str | None
) -> str | None:
    """Return the kind of a literal block, or None when nothing claims it.

    Args:
        language: as the directive names it.
        caption: its caption, the name of a file.
        quoted: a comment before it says why nobody runs it.
        after: the kind of the block before it on the page.
    """
    if quoted:
        return "quoted"
    if caption:
        return "file" if language in RUN | CHECKED else None
    if language in ("python", "pycon"):
        return "session"
    if language == "console":
        return "console"
    return "output" if language == "text" and after == "session" else None


LEDGER = "ledger.json"
"""The file beside Sphinx's trees that lists all entries."""


@dataclass(frozen=True)
class Entry:
    """One literal block in a document tree."""

    page: str
    source: str
    line: int
    kind: str
    """``unclaimed`` when nothing runs it."""
    language: str

    @property
    def verdict(self) -> str:
        """What has become of it, as the foot of the page says it."""
        if self.kind == "file":
            return "checked" if self.language in CHECKED else "executed"
        return "executed" if self.kind in ("session", "console") else self.kind
