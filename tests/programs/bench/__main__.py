"""The command: ``make bench``; ``make bench BENCH=--help`` shows its options.

What it starts is below a keeper, and so it is gone at the end, whatever that is.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extensions.bench_figures import EVIDENCE as FILE

from fatal_signals.processes.keeper import KeptCommand
from fatal_signals.processes.linux import adopt_orphans

from . import manners, measures, report, storms
from .book import Book
from .environments import ROOT, Absent, compile_all, system
from .peers import PEERS, Peer

ROUNDS = 5
SIZES = (1, 10, 100, 1000, 5000)
PATIENCE = 15.0
"""Seconds after which a wait is given up."""

QUICK_PATIENCE = 5.0

LONGEST = 3600.0
"""Seconds; a run that takes longer hangs."""

COMPARED = ("peers", "parts", "sizes", "quick")
EVIDENCE = FILE.relative_to(ROOT)

PARTS = ("starts", "deaths", "ends", "idle", "storms", "long")


BEGAN = time.monotonic()


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what is asked for."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures the boss beside its peers and beside C.  Where all is"
        f" measured, which takes ten minutes, it writes {EVIDENCE}.",
    )
    add = parser.add_argument
    add(
        "--peers",
        nargs="+",
        choices=names,
        default=names,
        metavar="PEER",
        help="C, boss.py, ...",
    )
    add(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=" ".join(PARTS),
    )
    add("--sizes", nargs="+", type=int, metavar="N", help="how many children")
    add("--rounds", type=int, metavar="N", help=f"the default is {ROUNDS}")
    add("--quick", action="store_true", help="a try: one round, small and short")
    add("--json", action="store_true", help="print JSON")
    add("--kept", action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args(arguments)
    found.rounds = found.rounds or (1 if found.quick else ROUNDS)
    found.sizes = found.sizes or (SIZES[:2] if found.quick else SIZES)
    if found.rounds < 1 or min(found.sizes) < 1:
        parser.error("rounds and sizes start at 1")
    if names[0] not in found.peers:
        found.peers.insert(0, names[0])
    return found


def is_whole(asked: argparse.Namespace) -> bool:
    """Return whether all is measured that the handbook shows."""
    whole = options([])
    same = all(getattr(asked, key) == getattr(whole, key) for key in COMPARED)
    return same and asked.rounds >= ROUNDS


def tell(line: str) -> None:
    """Say how far it is."""
    minutes, seconds = divmod(int(time.monotonic() - BEGAN), 60)
    print(f"{minutes:2}:{seconds:02} {line}", file=sys.stderr, flush=True)


def prepare(names: Sequence[str]) -> tuple[list[tuple[Peer, Path]], dict[str, Any]]:
    """Return the peers that are there, and what is known of all of them."""
    found, versions, absent = [], {}, {}
    for peer in [peer for peer in PEERS if peer.name in names]:
        try:
            bin_, version = peer.prepare(tell)
        except Absent as error:
            absent[peer.name] = str(error)
            tell(f"{peer.name} is absent: {error}")
        else:
            found.append((peer, bin_))
            versions[peer.name] = version
    return found, {"versions": versions, "absent": absent}


def measure(asked: argparse.Namespace, bench: measures.Bench) -> None:
    """Do all that is asked for."""
    for number in range(asked.rounds):
        tell(f"round {number + 1} of {asked.rounds}")
        if "starts" in asked.parts:
            measures.starts(bench, asked.sizes)
        if "deaths" in asked.parts:
            measures.deaths(bench)
        if "ends" in asked.parts:
            manners.ends(bench)
    if "idle" in asked.parts:
        manners.idle(bench)
    if "storms" in asked.parts:
        storms.storms(bench, 1 if asked.quick else storms.BOSSES)
    if "long" in asked.parts:
        storms.long_storm(bench, 2 if asked.quick else storms.WAVES)


def inside(asked: argparse.Namespace) -> int:
    """Measure, below a keeper; return the exit status."""
    adopt_orphans()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < (needed := 100 + 2 * max(asked.sizes)):  # a pidfd for each of a peer's
        text = f"{needed} descriptors are needed, and {hard} allowed: see --sizes"
        print(f"bench: {text}", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(needed, min(hard, 20_000)), hard))
    book = Book(QUICK_PATIENCE if asked.quick else PATIENCE)
    with tempfile.TemporaryDirectory(prefix="fatal-signals-bench-") as folder:
        compiled, scratch = Path(folder, "compiled"), Path(folder, "scratch")
        compiled.mkdir()
        scratch.mkdir()
        try:
            compile_all(compiled)
        except Absent as error:
            print(f"bench: {error}", file=sys.stderr)
            return 2
        peers, known = prepare(asked.peers)
        idle = 1.0 if asked.quick else 10.0
        few, many = (min(it, max(asked.sizes)) for it in (10, 1000))
        measure(
            asked,
            measures.Bench(peers, compiled, scratch, book, tell, few, many, idle=idle),
        )
    head = {**system(), **known, "rounds": asked.rounds, "digests": report.digests()}
    rows = book.rows()
    text = report.as_json(head, rows)
    print(text if asked.json else report.as_text(head, rows))
    if is_whole(asked):
        FILE.write_text(text)
        tell(f"{EVIDENCE} is written")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run it below a keeper; return the exit status."""
    asked = options(arguments)
    if asked.kept:
        return inside(asked)
    with KeptCommand(
        [sys.executable, "-m", __package__, "--kept", *arguments],
        seconds=LONGEST,
        settle=0,
        env=dict(os.environ),
        stdout=sys.stdout,
        stderr=sys.stderr,
    ) as kept:
        ended = kept.wait()
    if ended.overdue or ended.code < 0:
        print(f"bench: it {ended}", file=sys.stderr)
        return 1
    return ended.code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
