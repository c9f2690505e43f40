"""The measures of time, each over all peers: what is compared is measured together.

* ``starts``: one boss after the other, alone.  *start*: from our starting it until the
  last child runs.  *from first to last*: from its first child's running to the last's.
  Then it rests, we look at its memory, and stop it as its documentation says.
  *stop*: from the signal until the boss and all that it had started are dead.
* ``deaths``: all peers run at once and rest; then a child of each is killed, one peer
  after the other.  *replaced*: from SIGKILL until the next one runs.  *reaped*: from
  SIGKILL until the kernel has forgotten the dead one.

A wait that takes longer than the patience is given up and counts as infinite.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .book import Book
from .peers import Peer, Plan, Tell
from .processes import End, Fifo, Started, closing_all
from .usage import memory

KILLS = 3
"""How many children of our boss and of C are killed; one of the others, which may delay
the next start of another child too.
"""


@dataclass(frozen=True)
class Bench:
    """What all measures need.

    Args:
        peers: each with its environment's ``bin``; the first is the measure.
        compiled: the folder of the C programs.
        scratch: an empty folder.
        book: where the figures go.
        tell: gets a line before each step.
        few: how many children there are where ten are enough.
        many: how many there are where our boss and C are alone.
        rest: seconds between a start and what comes then.
        idle: seconds of idleness that are looked at.
    """

    peers: Sequence[tuple[Peer, Path]]
    compiled: Path
    scratch: Path
    book: Book
    tell: Tell
    few: int = 10
    many: int = 1000
    rest: float = 0.3
    idle: float = 10.0

    def start(
        self,
        peer: Peer,
        bin_: Path,
        size: int,
        deaf: bool = False,
        grace: int | None = None,
    ) -> Started:
        """Start a peer with so many children."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        fifo = Fifo(folder)
        plan = Plan(folder, size, fifo.path, self.compiled, deaf, grace)
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(folder),
            "LANG": "C.UTF-8",
        }
        command = peer.command(plan, bin_)
        return Started(command, fifo, folder, env, self.book.patience)

    @contextmanager
    def running(self, peer: Peer, bin_: Path, size: int) -> Iterator[Started]:
        """Start a peer alone; nothing of it is left at the end."""
        boss = self.start(peer, bin_, size)
        with closing_all([boss]):
            yield boss
        shutil.rmtree(boss.folder)

    def failed(self, measure: str, peer: Peer, size: int, boss: Started) -> None:
        """Note that not all children of a boss have come to run."""
        text = f"{len(boss.runs)} of {size} have run; its last words: {boss.output()}"
        self.tell(f"{peer.name}: {text}")
        self.book.say(f"{measure}: not all have run", peer.name, size, text)


def starts(bench: Bench, sizes: Sequence[int]) -> None:
    """Start and stop each peer at each size, once."""
    for size in sizes:
        for peer, bin_ in bench.peers:
            if size <= peer.most:
                bench.tell(f"start and stop: {peer.name}, {size}")
                with bench.running(peer, bin_, size) as boss:
                    _start_and_stop(bench, peer, boss, size)


def _start_and_stop(bench: Bench, peer: Peer, boss: Started, size: int) -> None:
    book = bench.book
    seen = boss.wait_for(size)
    if seen is None:
        book.add("start", peer.name, size, float("inf"))
        return bench.failed("start", peer, size, boss)
    first, last = min(seen.values()), max(seen.values())
    book.add("start", peer.name, size, last - boss.began)
    if size > 1:
        book.add("from first to last", peer.name, size, last - first)
    time.sleep(max(bench.rest, peer.rest))
    pss, alone = memory(boss.helpers())
    book.add("PSS in KiB", peer.name, size, pss)
    book.add("memory in KiB", peer.name, size, alone)
    end = boss.end(peer.stop)
    book.add("stop", peer.name, size, end.gone)
    return book.say(f"after {peer.stop.name}", peer.name, size, in_words(end))


def in_words(end: End) -> str:
    """Return how a boss has ended in words."""
    if end.status is None:
        how = "has not ended"
    elif end.status < 0:
        how = f"died of {signal.Signals(-end.status).name}"
    else:
        how = f"exit {end.status}"
    return how + f", {end.left} left" * bool(end.left)


def deaths(bench: Bench) -> None:
    """Kill children of each peer, and of the first two where there are many."""
    size, many = bench.few, bench.many
    two = [peer for peer, _ in bench.peers[:2]]
    chosen = [(peer, bin_) for peer, bin_ in bench.peers if peer.replaces]
    bench.tell(f"deaths: all peers, {size}")
    bosses = [(peer, bench.start(peer, bin_, size)) for peer, bin_ in chosen]
    with closing_all([boss for _, boss in bosses]):
        ready = [(p, b) for p, b in bosses if b.wait_for(size) is not None]
        time.sleep(1 + bench.rest)  # s6 delays who ran for less than a second
        for peer, boss in ready:
            bench.tell(f"deaths: {peer.name}, {size}")
            kills = KILLS if peer in two else 1
            _kill_some(bench, peer, boss, size, kills)
    for peer, bin_ in bench.peers[: 2 * (many > size)]:
        bench.tell(f"deaths: {peer.name}, {many}")
        with bench.running(peer, bin_, many) as boss:
            if boss.wait_for(many) is not None:
                time.sleep(bench.rest)
                _kill_some(bench, peer, boss, many, KILLS)


def _kill_some(bench: Bench, peer: Peer, boss: Started, size: int, kills: int) -> None:
    for pid in list(boss.runs)[size // 2 :][:kills]:
        found = boss.kill_child(pid)
        bench.book.add("replaced", peer.name, size, found.runs)
        if found.reaped is not None:
            bench.book.add("reaped", peer.name, size, found.reaped)
