"""What do the tests not notice?  One change in a module at a time: ``make mutants``.

``make mutants MUTANTS='[OPTIONS] [MODULE ...]'``

A twin breaks a promise on purpose.  A mutant breaks whatever a machine thinks of: an
operator, a number, a loop, a statement.  The mutants come from cosmic-ray, which has no
operator that drops a statement; that one is ours.  Annotations are left alone.

Each mutant is tried in a private copy of the project, of which there is one for each
processor, by the module's own tests.  It is killed when one of them fails, or hangs.
No test that knows the module's text is among them, by an edit or by its digest, such as
those of the twins: it would kill everything.  The tests run in a pid namespace: with a
number changed, a mutant may send SIGKILL to -1, which means all that it can see.

A mutant that changes nothing a caller can see is equivalent.  Those stand, each with
its reason, in ``mutants.toml``, known by the changed lines' code before and after.
The exit status is 1 when a mutant survived that is not listed, or when a listed one was
killed or is not among the mutants any more.

``--sample N`` tries some of them, by a seed that it prints.

``--command docs`` asks how many mutants the handbook alone notices: the pages that
import or include the module.  It is slow, so it takes a sample in any case; and it only
tells, since pages are for readers.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from random import Random, randrange
from typing import Any

import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names
from parso.python.tree import Keyword
from support import ROOT, SETTLE, own_tmp_path
from support.companions import parts

from fatal_signals.processes.keeper import KeptCommand

MODULES = ("flag_handler", "wakeup_fd", "true_death", "helpful_cleanup")
"""What is mutated when no module is named; the boss takes long, and has to be named."""

POINTS = "tests/modules/test_inject_modules.py -m '' -k 'kept and {module}'"
"""What tries a module at each point, once its own tests have found nothing."""

HANG = 60.0
"""Seconds after which a wait in a test, or a block of a page, counts as a hang."""

LIMIT = 10 * HANG
"""Seconds after which the tests of one mutant are ended; then it counts as killed."""

SAMPLE = 20
"""How many mutants of each module the pages get to see, when nobody says."""

COMMENT = re.compile(r"(^|  )# .*")

LISTED = ROOT / "tests" / "programs" / "mutants.toml"

LEFT_OUT = (".git", ".venv", "build", "__pycache__", ".*_cache", "*.egg-info")
"""What a copy of the project does without."""


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    module: str
    part: str
    """The file of the module, without its ``.py``."""
    source: str
    """The text of the whole file."""
    before: str
    """The changed lines of the module, without indents and comments."""
    after: str
    """The lines that stand there instead."""
    diff: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The name by which it is listed: it survives a move to another line."""
        return self.module, self.before, self.after


class DropStatement(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    """Puts ``pass`` in place of a call, an assignment, a ``return`` or a ``raise``."""

    KINDS = ("atom_expr", "expr_stmt", "return_stmt", "raise_stmt")

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Yield where a statement that we can drop begins and ends."""
        if node.type == "simple_stmt" and node.children[0].type in self.KINDS:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, _: int) -> Any:
        """Return the line with ``pass`` in it."""
        spaces = node.get_first_leaf().prefix
        node.children[0] = Keyword("pass", node.start_pos, spaces)
        return node

    @classmethod
    def examples(cls) -> Sequence[Any]:
        """Return none: they are for cosmic-ray's own tests."""
        return ()


class _WithoutAnnotations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def meaning(source: str) -> str:
    """Return what Python reads in a source but its annotations; "" if it can't."""
    try:
        return ast.dump(_WithoutAnnotations().visit(ast.parse(source)))
    except SyntaxError:
        return ""


def difference(module: str, part: str, old: str, new: str) -> Mutant:
    """Return a mutant of a module, from a part's text before and after the change."""
    lines = list(difflib.unified_diff(old.split("\n"), new.split("\n"), n=1))[3:]
    before, after = (
        " ".join(COMMENT.sub("", line[1:]).strip() for line in lines if line[0] == sign)
        for sign in "-+"
    )
    return Mutant(module, part, new, before, after, "\n".join(lines))


def mutants_of(module: str) -> list[Mutant]:
    """Return the mutants of a module."""
    return [mutant for part in parts(module) for mutant in mutants_in(module, part)]


def mutants_in(module: str, part: str) -> list[Mutant]:
    """Return the mutants of one part of a module, each meaning once."""
    source = (ROOT / "reference" / f"{part}.py").read_text()
    kinds = [DropStatement, *map(get_operator, operator_names())]
    known = {meaning(source), ""}
    found = []
    for operator in [kind() for kind in kinds if not kind.arguments()]:
        for number in count():
            if (text := mutate_code(source, operator, number)) is None:
                break
            if (new := meaning(text)) not in known:
                known.add(new)
                found.append(difference(module, part, source, text))
    return found


def equivalents(module: str) -> set[tuple[str, str, str]]:
    """Return the keys of a module's listed mutants; each has a reason."""
    rows = tomllib.loads(LISTED.read_text()).get(module, [])
    assert all(row["reason"] for row in rows), f"{module}: no reason"
    return {(module, row["before"], row["after"]) for row in rows}


def suite(module: str) -> list[str]:
    """Return the arguments of pytest that try a module, one line for each run."""
    room = ROOT / "tests" / "modules"
    found = [room / f"test_{module}.py", *sorted(room.glob(f"test_{module}_*.py"))]
    return [*(str(it.relative_to(ROOT)) for it in found), POINTS.format(module=module)]


def docs(module: str) -> list[str]:
    """Return those for the pages that use a module, its own page first."""
    names = "|".join(parts(module))
    used = re.compile(rf"(from|import) ({names})\b|reference/({names})\.py")
    files = [f for f in (ROOT / "docs").rglob("*.rst") if used.search(f.read_text())]
    files.sort(key=lambda file: (file.stem != module, file))
    return [" ".join(str(file.relative_to(ROOT)) for file in files)]


def apart() -> list[str]:
    """Return the words of a command that sees, and can signal, nobody but its own.

    The namespace has an init of ours, so that orphans are reaped as they are outside.
    """
    as_user = ["--user", "--map-current-user"] if os.getuid() else []
    options = ["--pid", "--fork", "--kill-child", "--mount-proc"]
    init = [sys.executable, str(ROOT / "reference" / "pid1.py")]
    return ["unshare", *as_user, *options, *init]


def fails(folder: Path, arguments: str) -> bool:
    """Return whether pytest fails, hangs or breaks in a copy of the project."""
    options = ["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command = [*apart(), sys.executable, "-m", "pytest", *options]
    environment = {**os.environ, "FATAL_SECONDS": str(HANG), "PYTEST_ADDOPTS": ""}
    environment.pop("MODULES_UNDER_TEST", None)
    # Two mutants can be of one second and one length: a cached one would run again.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    with (
        own_tmp_path() as basetemp,
        KeptCommand(
            [*command, *shlex.split(arguments), basetemp],
            seconds=LIMIT,
            settle=SETTLE,
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as kept,
    ):
        ended = kept.wait()
        # Not every module has tests in every file.
        return ended.overdue or ended.code not in (
            0,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        )


def survives(copies: SimpleQueue[Path], runs: list[str], mutant: Mutant) -> bool:
    """Return whether no run notices a mutant; it has one of the copies meanwhile."""
    folder = copies.get()
    file = folder / "reference" / f"{mutant.part}.py"
    sound = file.read_text()
    try:
        file.write_text(mutant.source)
        return not any(fails(folder, arguments) for arguments in runs)
    finally:
        file.write_text(sound)
        copies.put(folder)


class Workshop:
    """Copies of the project, one for each processor, to try mutants in."""

    def __init__(self, folder: Path) -> None:
        self._copies: SimpleQueue[Path] = SimpleQueue()
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        for number in range(os.cpu_count() or 1):
            copy = folder / str(number)
            shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
            self._copies.put(copy)

    def survivors(self, runs: list[str], mutants: Sequence[Mutant]) -> list[Mutant]:
        """Return the mutants that no run notices, and show how it goes on."""
        told = self._pool.map(partial(survives, self._copies, runs), mutants)
        found = []
        for mutant, survived in zip(mutants, told, strict=True):
            print("s" if survived else ".", end="", flush=True)
            found += [mutant] * survived
        print()
        return found

    def must_pass(self, runs: list[str]) -> None:
        """Exit when a run fails for the module as it is: it would kill everything."""
        folder = self._copies.get()
        for arguments in runs:
            if fails(folder, arguments):
                sys.exit(f"mutants: fails without any: pytest {arguments}")
        self._copies.put(folder)


def drawn(mutants: list[Mutant], most: int | None, chance: Random) -> list[Mutant]:
    """Return a sample of mutants, or all where nobody has said how many."""
    return mutants if most is None else chance.sample(mutants, min(most, len(mutants)))


def try_suite(
    workshop: Workshop, module: str, sample: int | None, chance: Random
) -> int:
    """Try a module's mutants by its tests; return how many are in the way."""
    all_of_them, listed = mutants_of(module), equivalents(module)
    mutants = drawn(all_of_them, sample, chance)
    print(f"{module}: {len(mutants)} of {len(all_of_them)} mutants", flush=True)
    workshop.must_pass(runs := suite(module))
    survivors = workshop.survivors(runs, mutants)
    open_ones = [mutant for mutant in survivors if mutant.key not in listed]
    equivalent = len(survivors) - len(open_ones)
    print(
        f"{module}: {len(mutants) - len(survivors)} killed, {equivalent} equivalent,"
        f" {len(open_ones)} survived"
    )
    for mutant in open_ones:
        print(f"\n{mutant.diff}")
    wrong = 0
    for key in sorted(listed):
        alike = [mutant for mutant in all_of_them if mutant.key == key]
        if not alike or not set(alike) & set(mutants) <= set(survivors):
            wrong += 1
            print(f"\n{LISTED.name} lists a mutant of {module} that", end=" ")
            print("was killed:" if alike else "is none any more:")
            print(f"- {key[1]}\n+ {key[2]}")
    return len(open_ones) + wrong


def try_docs(
    workshop: Workshop, module: str, sample: int | None, chance: Random
) -> None:
    """Try a sample of a module's mutants by the pages that use it, and tell."""
    listed = equivalents(module)
    mutants = [mutant for mutant in mutants_of(module) if mutant.key not in listed]
    mutants = drawn(mutants, SAMPLE if sample is None else sample, chance)
    print(f"{module}: a sample of {len(mutants)} mutants", flush=True)
    workshop.must_pass(runs := docs(module))
    killed = len(mutants) - len(workshop.survivors(runs, mutants))
    print(f"{module}: the pages kill {killed} of {len(mutants)}")


def main() -> int:
    """Be the program; return its exit status."""
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=MODULES)
    parser.add_argument("--command", choices=("suite", "docs"), default="suite")
    parser.add_argument("--sample", type=int, help="how many of each")
    parser.add_argument("--seed", type=int, default=randrange(1_000_000))
    options = parser.parse_args()
    in_the_way = 0
    with tempfile.TemporaryDirectory(prefix="fatal-signals-mutants-") as folder:
        workshop = Workshop(Path(folder))
        if options.command == "docs" or options.sample is not None:
            print(f"seed {options.seed}", flush=True)
        for module in options.modules:
            chance = Random(f"{options.seed} {module}")
            if options.command == "docs":
                try_docs(workshop, module, options.sample, chance)
            else:
                in_the_way += try_suite(workshop, module, options.sample, chance)
    return 1 if in_the_way else 0


if __name__ == "__main__":
    sys.exit(main())
