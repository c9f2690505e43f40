"""A Sphinx extension: the policy and what breaks it, each sentence said once.

The sentences stand in ``policy/clauses.toml``; a pattern to avoid says on its own page,
in a ``breaks`` directive, which clauses it breaks and what damage it does.  From these:

* ``policy``: the thirteen clauses on one screen;
* ``clause``: the head of a clause's page;
* ``clause-table``: clause, page, modules, patterns to avoid, tests;
* ``breaks``: the head of the page on a pattern to avoid;
* ``patterns-to-avoid``: the list of these pages.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from .tables import table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[2]
SOURCE = DOCS / "policy" / "clauses.toml"
BREAKS = re.compile(r"^\.\. breaks:: (?P<ids>.+)\n {3}:damage: (?P<damage>.+)$", re.M)


@dataclass(frozen=True)
class Clause:
    """One clause of the policy, as ``clauses.toml`` has it."""

    id: str
    name: str
    sentence: str
    exception: str
    origin: str
    modules: list[str]
    tests: list[str]
    no_modules: str = ""
    """Why there is no module."""
    no_tests: str = ""

    @property
    def page(self) -> str:
        """The page's name, as Sphinx has it."""
        return f"/policy/{self.name.replace('-', '_')}"

    @property
    def link(self) -> str:
        """A link to the page."""
        return f":doc:`{self.id} {self.name} <{self.page}>`"

    @property
    def module_links(self) -> str:
        """Links to the pages of its modules, or why there are none."""
        links = (f":doc:`{name}.py </patterns/{name}>`" for name in self.modules)
        return ", ".join(links) or f"none: {self.no_modules}"

    @property
    def test_files(self) -> str:
        """The files of its tests, and the promises meant; or why there are none."""
        files = (entry.partition(": ") for entry in self.tests)
        each = ", ".join(f"``{name}.py``{mark}{what}" for name, mark, what in files)
        return each or f"none: {self.no_tests}"


@dataclass(frozen=True)
class Avoided:
    """A pattern to avoid, as its page has it."""

    page: Path

    @property
    def name(self) -> str:
        """What an exception to the rule would name: ``allow NAME``."""
        return self.page.stem.replace("_", "-")

    @property
    def link(self) -> str:
        """A link to the page."""
        return f":doc:`{self.name} </avoid/{self.page.stem}>`"

    @cached_property
    def _head(self) -> re.Match[str]:
        head = BREAKS.search(self.page.read_text())
        if head is None:
            raise ValueError(f"{self.page}: no '.. breaks::' with a ':damage:' below")
        return head

    @property
    def ids(self) -> list[str]:
        """The clauses that it breaks."""
        return self._head["ids"].split()

    @property
    def damage(self) -> str:
        """What it does to its program, in one line."""
        return self._head["damage"]


def clauses() -> dict[str, Clause]:
    """Return the policy by the clauses' ids."""
    tables = tomllib.loads(SOURCE.read_text())
    return {key: Clause(key, **words) for key, words in tables.items()}


def avoided() -> list[Avoided]:
    """Return the patterns to avoid, by name."""
    pages = sorted((DOCS / "avoid").glob("*.rst"))
    return [Avoided(page) for page in pages if page.stem != "index"]


class Generated(SphinxDirective):
    """A directive whose content is reStructuredText that we write."""

    def text(self) -> str:
        """Return the source."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse it in place, so that its links are links."""
        for file in (SOURCE, Path(__file__), *(a.page for a in avoided())):
            self.env.note_dependency(str(file))
        return self.parse_text_to_nodes(self.text())


class Policy(Generated):
    """The policy on one screen."""

    def text(self) -> str:
        """Return a row for each clause."""
        rows = ([c.link, c.sentence, c.exception] for c in clauses().values())
        return table(["Clause", "Says", "Except"], rows, "21 50 29")


class ClauseTable(Generated):
    """What holds each clause."""

    def text(self) -> str:
        """Return a row for each clause."""
        return table(
            ["Clause", "Module", "Patterns to avoid", "Tests"],
            self.rows(),
            "20 22 33 25",
        )

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each clause; an empty one says why."""
        patterns = avoided()
        for clause in clauses().values():
            broken = [a.link for a in patterns if clause.id in a.ids]
            without = "none: its own page shows the mistake"
            yield [
                clause.link,
                clause.module_links,
                ", ".join(broken) or without,
                clause.test_files,
            ]


class Head(SphinxDirective):
    """A box at the head of a page."""

    required_arguments = 1
    final_argument_whitespace = True

    def box(self, text: str) -> list[nodes.Node]:
        """Return the box."""
        self.env.note_dependency(str(SOURCE))
        self.env.note_dependency(str(Path(__file__)))
        found = nodes.container(classes=["page-head"])
        found += self.parse_text_to_nodes(text)
        return [found]

    def clauses(self) -> list[Clause]:
        """Return the clauses that the argument names."""
        known = clauses()
        if unknown := set(self.arguments[0].split()) - known.keys():
            raise self.error(f"no such clause: {', '.join(sorted(unknown))}")
        return [known[key] for key in self.arguments[0].split()]


class ClauseHead(Head):
    """The clause in full, at the head of its page."""

    def run(self) -> list[nodes.Node]:
        """Return the sentence, the exception and what holds it."""
        (clause,) = self.clauses()
        return self.box(
            f"**{clause.id} {clause.name}.** {clause.sentence}\n\n"
            f"*Except:* {clause.exception}\n"
            f"*From:* {clause.origin}.\n"
            f"*To copy:* {clause.module_links}."
        )


class Breaks(Head):
    """What a pattern to avoid breaks, at the head of its page."""

    option_spec: ClassVar = {"damage": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the rule's name, the damage and the clauses."""
        name = Avoided(Path(self.env.doc2path(self.env.docname))).name
        broken = ", ".join(clause.link for clause in self.clauses())
        return self.box(
            f"``{name}`` *Damage:* {self.options['damage']} *Breaks* {broken}."
        )


class PatternsToAvoid(Generated):
    """The list of the patterns to avoid."""

    def text(self) -> str:
        """Return a row for each."""
        known = clauses()
        rows = (
            [a.link, a.damage, ", ".join(known[key].link for key in a.ids)]
            for a in avoided()
        )
        return table(["Name", "Damage", "Breaks"], rows, "25 50 25")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("policy", Policy)
    app.add_directive("clause-table", ClauseTable)
    app.add_directive("clause", ClauseHead)
    app.add_directive("breaks", Breaks)
    app.add_directive("patterns-to-avoid", PatternsToAvoid)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
