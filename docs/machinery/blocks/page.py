"""A page: its blocks in order, its scratch folder, its interpreter.

A reader repeats a page by hand in an empty folder; here is that folder.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fatal_signals.processes.folders import OwnFolder

from . import console
from .kinds import Kind
from .lines import NEVER, complaints, marked, write_instrumented
from .session import Session, SessionFailure

HANDBOOK = Path(__file__).resolve().parents[3]
"""The top of the clone that this engine is part of."""
TOOLS = ("kubernetes-validate",)
"""Commands that pages type and that come from the environment of the tests."""
UNWATCHED = {".git", ".venv", "build"}
"""Folders of the project that tools write into."""


class BlockFailure(Exception):
    """A block does not do what its page says."""


class Mismatch(BlockFailure):
    """It ran to its end, and the page shows something else."""


@dataclass
class Block:
    """One literal block of a page, as an evaluator sees it."""

    kind: Kind
    language: str
    line: int
    """Line of the directive: the key of the ledger."""
    first: int
    """Line of the first line of its text."""
    text: str
    caption: str = ""
    skip: BlockFailure | str = ""
    """The reason why it does not run here, or what is wrong with that reason."""
    result: BlockFailure | str | None = field(default=None, repr=False)
    """What it printed, or why it failed; None as long as it has not run."""


class Page:
    """The state of a page while its blocks run.

    Args:
        path: the page's source file.
        blocks: its blocks, in the order of the page.
        traced: write programs so that they note their lines, and compare nothing.
    """

    def __init__(self, path: Path, blocks: list[Block], traced: bool = False) -> None:
        self.path = path
        self.project = project_of(path)
        self.blocks = blocks
        self.ran: set[int] = set()
        self._traced = traced
        self._session: Session | None = None
        self._own = OwnFolder()
        self._folder = self._own.path
        self.scratch = self._folder / "page"
        self.lines = self._folder / "lines"
        for folder in (self.scratch, self.lines, self._folder / "bin"):
            folder.mkdir()
        base = getattr(sys, "_base_executable", sys.executable)
        for name in ("python", "python3"):
            (self._folder / "bin" / name).symlink_to(base)
        # An environment with nothing in it: what is installed beside that Python is no
        # part of a page, and may run code of its own at each start.
        (self._folder / "pyvenv.cfg").write_text(
            f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n"
        )
        for name in filter(which, TOOLS):
            (self._folder / "bin" / name).symlink_to(which(name) or name)
        self._modules = self._copy_modules() if traced else HANDBOOK / "reference"
        for block in blocks:
            if block.kind == Kind.FILE:
                self._save(self.scratch / block.caption, block.text)

    def _copy_modules(self) -> Path:
        """Copy the reference modules so that their lines are noted, too."""
        folder = self._folder / "handbook" / "reference"
        folder.mkdir(parents=True)
        for file in (HANDBOOK / "reference").glob("*.py"):
            lines = self.lines / file.name
            write_instrumented(file.read_text(), folder / file.name, lines, False)
        if (HANDBOOK / "fatal_signals").exists():
            (folder.parent / "fatal_signals").symlink_to(HANDBOOK / "fatal_signals")
        return folder

    def _save(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if self._traced and file.suffix == ".py":
            with suppress(SyntaxError):  # its own block says so
                write_instrumented(text, file, self.lines / file.name)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of everything that the page starts: a clean one."""
        more = os.defpath + ":/usr/local/bin:/usr/sbin:/sbin"
        return {
            "PATH": f"{self._folder / 'bin'}:{more}",
            "HOME": str(self.scratch),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PYTHONPATH": str(self._modules),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HANDBOOK": str(self._modules.parent),
        }

    def run(self, block: Block) -> str:
        """Run a block once, after the earlier blocks that it builds on.

        Returns:
            What it printed, or the screen.

        Raises:
            BlockFailure: it failed, now or earlier.
        """
        for earlier in self.blocks[: self.blocks.index(block)]:
            if earlier.kind == block.kind and earlier.result is None:
                self._run_one(earlier)
        if block.result is None:
            self._run_one(block)
        if isinstance(block.result, BlockFailure):
            raise block.result
        assert block.result is not None
        return block.result

    def _run_one(self, block: Block) -> None:
        if block.skip:
            block.result = ""
            return
        before = snapshot(self.project)
        try:
            block.result = RUNNERS[block.kind](self, block)
        except BlockFailure as failure:
            block.result = failure
        after = snapshot(self.project)
        if changed := sorted(dict(before.items() ^ after.items())):
            block.result = BlockFailure(
                f"wrote into the project: {', '.join(changed)}\n"
                "(or another process did while this block ran)"
            )

    def run_session(self, block: Block) -> str:
        """Run a block in the page's interpreter; start it again if it was lost."""
        fresh = self._session is None
        self._session = self._session or Session(self.scratch, self.environment)
        try:
            for earlier in self.blocks[: self.blocks.index(block)] if fresh else ():
                done = isinstance(earlier.result, str) and not earlier.skip
                if earlier.kind == Kind.SESSION and done:
                    self._ask(earlier)
            return self._ask(block)
        except SessionFailure as failure:
            self._session.close()
            self._session = None
            raise BlockFailure(str(failure)) from None

    def _ask(self, block: Block) -> str:
        assert self._session is not None
        printed, lines = self._session.run(
            block.language, block.text, str(self.path), block.first
        )
        self.ran |= lines
        return printed

    def run_console(self, block: Block) -> str:
        """Type the block into a shell, and compare the screen."""
        try:
            screen = console.run(block.text, self.scratch, self.environment)
        except console.ConsoleFailure as failure:
            raise BlockFailure(str(failure)) from None
        if not self._traced and not console.pattern(block.text).fullmatch(screen):
            raise Mismatch(console.difference(block.text, screen))
        return screen

    @functools.cached_property
    def coverage(self) -> Coverage:
        """Which lines run; the whole page runs a second time to tell."""
        return Coverage.of(self.path, self.blocks)

    def run_until(self, enough: Callable[[], bool]) -> None:
        """Run one block after the other, whatever fails, until there is enough."""
        for block in self.blocks:
            if block.kind in RUNNERS and not block.skip:
                with suppress(BlockFailure):
                    self.run(block)
                if enough():
                    return

    def close(self) -> None:
        """End the interpreter and remove the folder."""
        if self._session is not None:
            self._session.close()
        self._own.remove()


RUNNERS: dict[Kind, Callable[[Page, Block], str]] = {
    Kind.SESSION: Page.run_session,
    Kind.CONSOLE: Page.run_console,
}


@dataclass(frozen=True)
class Coverage:
    """Which lines of a page, of its programs and of the modules have run."""

    page: set[int]
    files: dict[str, set[int]]
    failed: dict[int, str]
    """The blocks, by line, that can't tell because they fail, and why."""

    @classmethod
    def of(cls, path: Path, blocks: Iterable[Block]) -> Coverage:
        """Run a whole page a second time, with programs that note their lines.

        What the reader sees was compared in the first run, with the programs as they
        are; here nothing is compared.  When each line has run the rest can tell us
        nothing, unless there are lines that must not run.
        """
        copies = [
            replace(block, result=None)
            if isinstance(block.result, str | None | Mismatch)
            else block  # it hung, or died: once is enough
            for block in blocks
        ]
        page = Page(path, copies, traced=True)

        def so_far() -> Coverage:
            files = {f.name: marked(f.read_bytes()) for f in page.lines.iterdir()}
            failed = {
                block.line: str(block.result)
                for block in copies
                if isinstance(block.result, BlockFailure)
            }
            return cls(page.ran, files, failed)

        forbidden = any(NEVER in block.text for block in copies)
        try:
            page.run_until(lambda: not forbidden and so_far().is_whole(copies))
            return so_far()
        finally:
            page.close()

    def is_whole(self, blocks: Iterable[Block]) -> bool:
        """Return whether all lines have run that have to, and all included modules."""
        return all(
            bool(self.files.get(Path(block.text).name))
            if block.kind == Kind.INCLUDED and block.text.endswith(".py")
            else not self.complaints(block)
            for block in blocks
        )

    def complaints(self, block: Block) -> list[str]:
        """Say which Python lines of a block should have run and did not."""
        if block.kind == Kind.SESSION and block.language == "python":
            return complaints(block.text, self.page, block.first)
        if block.kind == Kind.FILE and block.language == "python":
            offset = block.first - 1
            ran = {line + offset for line in self.files.get(block.caption, set())}
            return complaints(block.text, ran, block.first)
        return []


def which(name: str, path: str | None = None) -> str | None:
    """Return where a command is; the tools are in our environment, unless on a PATH."""
    ours = os.path.dirname(sys.executable) if name in TOOLS else None
    return shutil.which(name, path=path) or (ours and shutil.which(name, path=ours))


def project_of(path: Path) -> Path:
    """Return the top of the project that a page belongs to: where ``conf.py`` is."""
    return next(p for p in path.resolve().parents if (p / "conf.py").exists())


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Return time and size of every file of the project that no tool writes."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if name not in UNWATCHED
            and not name.endswith(("_cache", "__pycache__", ".egg-info"))
        ]
        for name in files:
            with suppress(OSError):
                stat = os.lstat(os.path.join(folder, name))
                path = os.path.relpath(os.path.join(folder, name), root)
                found[path] = (stat.st_mtime_ns, stat.st_size)
    return found
