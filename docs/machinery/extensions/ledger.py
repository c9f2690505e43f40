"""The ledger: every literal block that a reader sees, from Sphinx's own environment.

What a pattern finds in the source is not what a reader sees: blocks after ``::``, in
tables, in included files have many spellings.  So we ask for the document trees, at the
end of the build, when an incremental or a parallel build has them all.  What it finds
it writes beside the trees, where ``blocks.seen`` reads it: a build that shows pages has
no need of what runs them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blocks.kinds import LEDGER, Entry, Kind, classify
from docutils import nodes
from sphinx import addnodes
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def entries(docname: str, tree: nodes.document) -> Iterator[Entry]:
    """Yield the literal blocks of a page in the order of the page."""
    after: Kind | None = None
    for node in tree.findall(nodes.Element):
        if isinstance(node, (nodes.literal_block, nodes.doctest_block)):
            language = node.get("language", "")
            after = _kind(node, language, after)
            kind, line = after or Kind.UNCLAIMED, node.line or 0
            yield Entry(docname, str(node.source), line, kind, language)
        elif _looks_like_one(node):
            near = next((it for it in (node, *_parents(node)) if it.line), node)
            where, line = str(near.source), near.line or 0
            yield Entry(docname, where, line, Kind.UNCLAIMED, node.tagname)


def _looks_like_one(node: nodes.Element) -> bool:
    """Return whether a reader may take something for code or output that is no block.

    What is drawn by us is raw, too, and says so.
    """
    if isinstance(node, nodes.raw):
        return "drawn" not in node
    if isinstance(node, nodes.line_block):
        return not isinstance(node.parent, nodes.line_block)
    return isinstance(node, (nodes.math_block, nodes.math, addnodes.productionlist))


def _kind(node: nodes.Element, language: str, after: Kind | None) -> Kind | None:
    """Return the kind of a literal block, or None when nothing claims it."""
    parents = list(_parents(node))
    if any(isinstance(parent, addnodes.only) for parent in parents):
        return None  # some readers see it and others do not
    if "source" in node:
        return Kind.INCLUDED
    if "force" not in node:
        return None  # not from a code-block directive: nothing collects it
    wrapped = "literal-block-wrapper" in parents[0].get("classes", ())
    caption = next((c.astext() for c in parents[0].findall(nodes.caption)), "")
    quoted = _quoted(parents[0] if wrapped else node)
    return classify(language, caption if wrapped else "", bool(quoted), after)


def _parents(node: nodes.Element) -> Iterator[nodes.Element]:
    while isinstance(node.parent, nodes.Element):
        node = node.parent
        yield node


def _quoted(node: nodes.Element) -> str:
    """Return the reason in the comment before a block that nobody runs."""
    siblings = node.parent.children
    at = siblings.index(node)
    before = siblings[at - 1] if at else None
    text = before.astext() if isinstance(before, nodes.comment) else ""
    return text.removeprefix("quoted:").strip() if text.startswith("quoted:") else ""


def check_consistency(app: Sphinx, env: BuildEnvironment) -> None:
    """Write the ledger of all pages and warn of what nobody has claimed."""
    found = [
        e
        for name in sorted(env.found_docs)
        for e in entries(name, env.get_doctree(name))
    ]
    file = Path(app.doctreedir, LEDGER)
    file.write_text(json.dumps([asdict(entry) for entry in found]))
    for entry in found:
        if entry.kind == Kind.UNCLAIMED:
            logging.getLogger(__name__).warning(
                "a literal block that nothing runs",
                location=f"{entry.source}:{entry.line}",
            )


def add_count(app: Sphinx, tree: nodes.document, docname: str) -> None:
    """End a page with the count of its blocks."""
    counts = Counter(entry.verdict for entry in entries(docname, tree))
    total = sum(counts.values())
    if total:
        each = ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common())
        blocks = "block" if total == 1 else "blocks"
        text = f"{total} literal {blocks} on this page: {each}."
        section: nodes.Element = next(tree.findall(nodes.section), tree)
        section.append(nodes.paragraph("", text, classes=["ledger"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("env-check-consistency", check_consistency)
    app.connect("doctree-resolved", add_count)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
