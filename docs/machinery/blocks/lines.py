"""Which lines of a page have run?  Ask memory that outlives the process.

A block that only defines a function passes whatever its body says, so we want every
statement that a page shows to have run at least once.  Ways that we rejected:

* ``sys.settrace`` and ``sys.monitoring`` call Python code, and a signal handler may
  run inside that call: the page's tracebacks change, and the handler's own lines go
  unseen.
* coverage.py writes its data at exit, and most programs here die by a signal.

Instead we put a store before every statement: ``__lines__[17] = 1``, into a shared
mapping of a file.  No frame, no call, no system call, no point at which the interpreter
looks for signals; and the kernel keeps the page when the process dies by SIGKILL.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import marshal
import tokenize
from pathlib import Path
from types import CodeType

SIZE = 1 << 14
"""Bytes of a map, one per line: more lines than any page or module has."""
BODIES = ("body", "orelse", "finalbody")
"""The fields of a syntax tree that hold statements."""
NEVER = "# never reached"
"""The comment on a line that by design does not run."""


def open_map(file: Path) -> str:
    """Return the source that opens ``file`` as the map in any process."""
    text = f"__import__('mmap').mmap(__f.fileno(), {SIZE})"
    return f"with open({str(file)!r}, 'r+b') as __f: __lines__ = {text}"


class _Marker(ast.NodeTransformer):
    """Puts a store before each statement, and never before a docstring."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in BODIES:
            body = getattr(node, field, None)
            if isinstance(body, list):
                setattr(node, field, self._mark(body))
        return node

    def _mark(self, body: list[ast.stmt]) -> list[ast.stmt]:
        marked: list[ast.stmt] = []
        for number, statement in enumerate(body):
            if not _must_be_first(number, statement):
                marked.append(_store(statement))
            marked.append(statement)
        return marked


def _must_be_first(number: int, statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
        return True
    return (
        number == 0
        and isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _store(statement: ast.stmt) -> ast.stmt:
    store = ast.parse(f"__lines__[{statement.lineno}] = 1").body[0]
    for node in ast.walk(store):
        ast.copy_location(node, statement)
    return store


def instrument(
    source: str, name: str, mode: str = "exec", first: int = 1, head: str = ""
) -> CodeType:
    """Compile source with a store before every statement.

    Args:
        source: the source as the page shows it.
        name: the file name for tracebacks.
        mode: ``exec`` or ``single``.
        first: the number of its first line.
        head: source to run before it, after the docstring and the future imports.
    """
    tree = compile(
        source, name, mode, ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    )
    ast.increment_lineno(tree, first - 1)
    tree = _Marker().visit(tree)
    at = 0
    while at < len(tree.body) and _must_be_first(at, tree.body[at]):
        at += 1
    tree.body[at:at] = ast.parse(head).body
    code: CodeType = compile(tree, name, mode, dont_inherit=True)
    return code


def write_instrumented(
    source: str, file: Path, lines: Path, disguised: bool = True
) -> None:
    """Write a program whose stores go to ``lines``, to be imported and to be run.

    An import takes an unchecked entry of the cache without a look at the source beside
    it.  A main file is run as bytecode when it starts with the magic number, whatever
    its name is; that is the disguise, and what copies the file copies bytecode.
    """
    with lines.open("wb") as handle:
        handle.truncate(SIZE)
    code = instrument(source, file.name, head=open_map(lines))
    unchecked = (1).to_bytes(4, "little") + bytes(8)
    data = importlib.util.MAGIC_NUMBER + unchecked + marshal.dumps(code)
    cached = Path(importlib.util.cache_from_source(str(file)))
    cached.parent.mkdir(exist_ok=True)
    cached.write_bytes(data)
    file.write_bytes(data if disguised else source.encode())


def marked(data: bytes) -> set[int]:
    """Return the lines that ran, from the bytes of a map."""
    return {number for number, ran in enumerate(data) if ran}


def complaints(source: str, ran: set[int], first: int = 1) -> list[str]:
    """Say which lines should have run and did not, or the other way round."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []  # the block itself fails and says so
    must = {
        statement.lineno + first - 1
        for body in (getattr(n, f, []) for n in ast.walk(tree) for f in BODIES)
        if isinstance(body, list)
        for number, statement in enumerate(body)
        if not _must_be_first(number, statement)
    }
    # A loop that only waits may find at its first look what it waits for.
    must -= {
        node.body[0].lineno + first - 1
        for node in ast.walk(tree)
        if isinstance(node, ast.While) and isinstance(node.body[0], ast.Pass)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    never = {t.start[0] + first - 1 for t in tokens if t.string.startswith(NEVER)}
    return [
        f"line {number}: shown, and never run" for number in sorted(must - never - ran)
    ] + [
        f"line {number}: says '{NEVER[2:]}', and was" for number in sorted(never & ran)
    ]
