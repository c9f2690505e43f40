"""What each kind of block has to fulfill: one function for each."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable

from fatal_signals.processes.clocks import FATAL

from . import console, evidence, seen
from .kinds import Kind
from .page import HANDBOOK, Block, BlockFailure, Page


def check_python(page: Page, block: Block) -> None:
    """A program: here we see whether it compiles; a terminal session runs it."""
    try:
        compile(block.text, block.caption, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = block.first + (error.lineno or 1) - 1
        raise BlockFailure(f"line {line}: {error.msg}") from None


def check_toml(page: Page, block: Block) -> None:
    """A configuration file: the parser that its program uses reads it."""
    try:
        tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        raise BlockFailure(f"not TOML: {error}") from None


def check_c(page: Page, block: Block) -> None:
    """A C program: the system's compiler reads it without a complaint."""
    if not shutil.which("cc"):
        raise BlockFailure("no C compiler: name it on the page and skip the block")
    compiler = ["cc", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", block.caption]
    run = subprocess.run(
        compiler,
        cwd=page.scratch,
        capture_output=True,
        text=True,
        timeout=FATAL,
        check=False,
    )
    if run.returncode:
        raise BlockFailure(run.stderr)


def check_read(page: Page, block: Block) -> None:
    """A file for a program that is not ours: a terminal session lets it read it."""
    name = re.compile(rf"^[$>] .*(?<!\S){re.escape(block.caption)}(?!\S)", re.M)
    after = page.blocks[page.blocks.index(block) + 1 :]
    if not any(name.search(b.text) for b in after if b.kind == Kind.CONSOLE):
        raise BlockFailure(f"no terminal session has a tool read {block.caption}")


FILES: dict[str, Callable[[Page, Block], None]] = {
    "python": check_python,
    "toml": check_toml,
    "c": check_c,
    "sh": check_read,
    "ini": check_read,
    "yaml": check_read,
}


def evaluate_file(page: Page, block: Block) -> None:
    """A captioned block is a file of the page's scratch folder."""
    earlier = page.blocks[: page.blocks.index(block)]
    if block.caption in {other.caption for other in earlier}:
        raise BlockFailure(f"two files of the page are called {block.caption}")
    FILES[block.language](page, block)


def evaluate_session(page: Page, block: Block) -> None:
    """A block in the page's namespace; what it prints has to be shown below it."""
    printed = page.run(block)
    after = page.blocks[page.blocks.index(block) + 1 :]
    if printed and not (after and after[0].kind == Kind.OUTPUT):
        raise BlockFailure(f"printed what the page does not show:\n{printed}")


def evaluate_output(page: Page, block: Block) -> None:
    """The output of the session block above it."""
    printed = page.run(page.blocks[page.blocks.index(block) - 1])
    if not console.pattern(block.text).fullmatch(printed):
        raise BlockFailure(console.difference(block.text, printed))


def evaluate_console(page: Page, block: Block) -> None:
    """A terminal session; the page compares the screen."""
    page.run(block)


def evaluate_included(page: Page, block: Block) -> None:
    """A file from elsewhere: a module that the page runs, or recorded evidence."""
    file = (page.path.parent / block.text).resolve()
    module = file.parent == HANDBOOK / "reference" and file.suffix == ".py"
    if file.suffix == ".console":
        evidence.check(page, file)
    elif not module or not page.coverage.files.get(file.name):
        raise BlockFailure(f"nothing on this page runs {file.name}")


def evaluate_quoted(page: Page, block: Block) -> None:
    """Text that nobody runs, with the reason in the source."""


def close_ledger(page: Page, block: Block) -> None:
    """Every literal block that a reader sees is claimed, every Python line has run."""
    if problems := seen.unclaimed(page.path, page.blocks) + unrun(page):
        raise BlockFailure("\n".join(problems))


def unrun(page: Page) -> list[str]:
    """Say which Python lines of a page should have run and did not."""
    problems = []
    for block in page.blocks:
        failed = page.coverage.failed.get(block.line)
        if failed and not isinstance(block.result, BlockFailure):  # else it says so
            problems += [f"line {block.line}: fails when it notes its lines: {failed}"]
        elif not failed and not block.skip:
            problems += page.coverage.complaints(block)
    return problems


EVALUATORS: dict[Kind, Callable[[Page, Block], None]] = {
    Kind.FILE: evaluate_file,
    Kind.SESSION: evaluate_session,
    Kind.OUTPUT: evaluate_output,
    Kind.CONSOLE: evaluate_console,
    Kind.INCLUDED: evaluate_included,
    Kind.QUOTED: evaluate_quoted,
    Kind.LEDGER: close_ledger,
}
