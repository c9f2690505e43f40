"""The measures, each over all peers, so that what is compared is measured together.

* ``starts``: one boss after the other, alone.  *start*: from our starting it until the
  last child runs.  *from first to last*: from its first child's running to the last's.
  Then it rests, we look at its memory, and stop it as its documentation says.
  *stop*: from the signal until the boss and all that it had started are dead.
* ``deaths``: all peers run at once and rest; then a child of each is killed, one peer
  after the other.  *replaced*: from SIGKILL until the next one runs.  *reaped*: from
  SIGKILL until the kernel has forgotten the dead one.
* ``ends``: all peers at once again, for what takes seconds: Ctrl-C's signal, SIGKILL of
  the boss, a child that ignores SIGTERM, a second SIGTERM.
* ``idle``: all peers at once, and nothing happens.

A wait that takes longer than the patience is given up and counts as infinite.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blocks.keeper import pidfds

from .book import MEASURE, Book
from .peers import Peer, Plan, Tell
from .processes import (
    End,
    Fifo,
    Started,
    closing_all,
    dead,
    memory,
    switches,
)

IDLE = 100
"""How many children an idle boss has."""

GRACE = 1
"""Seconds; for children that ignore SIGTERM, where it can be set."""

SECOND = 0.5
"""Seconds from the first SIGTERM to the second."""

KILLS = 3
"""How many children of our boss and of C are killed; one of the others, which may delay
the next start of another child too.
"""

LEFT_AFTER = 1.0
"""Seconds after the boss's SIGKILL at which we count who is left."""


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
    book.add("start", peer.name, size, max(seen) - boss.began)
    if size > 1:
        book.add("from first to last", peer.name, size, max(seen) - min(seen))
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


Case = Callable[[Bench, Peer, Started], None]


def _interrupted(bench: Bench, peer: Peer, boss: Started) -> None:
    end = boss.end(signal.SIGINT)
    bench.book.say("after SIGINT", peer.name, bench.few, in_words(end))


def _terminated(bench: Bench, peer: Peer, boss: Started) -> None:
    if peer.stop is not signal.SIGTERM:
        end = boss.end(signal.SIGTERM)
        bench.book.say("after SIGTERM", peer.name, bench.few, in_words(end))


def _killed(bench: Bench, peer: Peer, boss: Started) -> None:
    with pidfds([*boss.runs]) as children:
        os.kill(boss.pid, signal.SIGKILL)
        time.sleep(LEFT_AFTER)
        left = len(children) - len(dead(children))
    bench.book.say("left by SIGKILL", peer.name, bench.few, str(left))


def _stubborn(bench: Bench, peer: Peer, boss: Started) -> None:
    end = boss.end(peer.stop)
    bench.book.add("stubborn", peer.name, 1, end.gone)
    bench.book.say("stubborn", peer.name, 1, in_words(end))


def _twice(bench: Bench, peer: Peer, boss: Started) -> None:
    end = boss.end(peer.stop, peer.stop, pause=SECOND)
    bench.book.add("second signal", peer.name, 1, end.gone)


def ends(bench: Bench) -> None:
    """Let each peer end in all ways that take seconds, all at once."""
    bench.tell("ends: all peers, all ways")
    few = bench.few
    cases: list[tuple[Case, int, bool, int | None]] = [
        (_interrupted, few, False, None),
        (_terminated, few, False, None),
        (_killed, few, False, None),
        (_stubborn, 1, True, GRACE),
        (_twice, 1, True, None),
    ]
    jobs = [
        (case, size, deaf, grace, peer, bin_)
        for (case, size, deaf, grace), (peer, bin_) in itertools.product(
            cases, bench.peers
        )
        if not (deaf and peer.name == MEASURE)  # it has no grace
    ]
    all_run = threading.Barrier(len(jobs))

    def work(job: tuple[Case, int, bool, int | None, Peer, Path]) -> Started:
        case, size, deaf, grace, peer, bin_ = job
        boss = bench.start(peer, bin_, size, deaf, grace if peer.grace else None)
        ready = boss.wait_for(size) is not None
        all_run.wait()
        time.sleep(bench.rest)
        if ready:
            case(bench, peer, boss)
        return boss

    with ThreadPoolExecutor(len(jobs)) as pool:
        bosses = list(pool.map(work, jobs))
    with closing_all(bosses):
        pass


def idle(bench: Bench) -> None:
    """Let all peers wait, and count their context switches and system calls."""
    size = min(IDLE, bench.many)
    bench.tell(f"idle: all peers, for {bench.idle:g} seconds")
    bosses: list[Started] = []
    with closing_all(bosses):
        for peer, bin_ in bench.peers:
            own = min(size, peer.most)
            boss = bench.start(peer, bin_, own)
            bosses.append(boss)
            if boss.wait_for(own) is None:
                bench.failed("idle", peer, own, boss)
        time.sleep(1 + bench.rest)
        groups = [boss.helpers() for boss in bosses]
        before = [switches(pids) for pids in groups]
        time.sleep(bench.idle)
        after = [switches(pids) for pids in groups]
        for (peer, _), old, new in zip(bench.peers, before, after, strict=True):
            own = min(size, peer.most)
            bench.book.add("context switches", peer.name, own, new - old)
        _count_calls(bench, groups, size)


def _count_calls(bench: Bench, groups: list[list[int]], size: int) -> None:
    if shutil.which("strace") is None:
        return bench.book.say("system calls", "strace", size, "not installed")
    tracers = []
    for number, pids in enumerate(groups):
        file = bench.scratch / f"calls-{number}"
        targets = ",".join(map(str, pids))
        command = ["strace", "-f", "-qq", "-o", str(file), "-p", targets]
        tracers.append((file, subprocess.Popen(command, stderr=subprocess.DEVNULL)))
    time.sleep(bench.idle)
    for (peer, _), (file, tracer) in zip(bench.peers, tracers, strict=True):
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        own = min(size, peer.most)
        bench.book.add("system calls", peer.name, own, calls(file.read_text()))
    return None


def calls(trace: str) -> int:
    """Return how many system calls have been made, by what strace has written.

    The first of each thread is not counted: it is the wait that the thread was in, made
    again after strace has interrupted it to attach.
    """
    found = Counter(re.findall(r"^(\d+) +\w+\(", trace, re.MULTILINE))
    return sum(found.values()) - len(found)
