"""How the peers behave, all of them at once, since it takes seconds and not more.

* ``ends``: Ctrl-C's signal; SIGTERM for who is stopped by another one; SIGKILL of the
  boss; a child that ignores SIGTERM (*stubborn*), with a grace of a second where it can
  be set; and the time from a second signal to the end, with the peer's own grace.
* ``idle``: nothing happens, and we count what is done all the same.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .book import MEASURE
from .measures import Bench, in_words
from .peers import Peer
from .processes import Started, closing_all, dead, held
from .usage import switches

GRACE = 1
"""Seconds; for children that ignore SIGTERM, where it can be set."""

SECOND = 0.5
"""Seconds from the first signal to the second."""

LEFT_AFTER = 1.0
"""Seconds after the boss's SIGKILL at which we count who is left."""

IDLE = 100
"""How many children an idle boss has."""


def interrupted(bench: Bench, peer: Peer, boss: Started) -> None:
    """Send the signal of Ctrl-C."""
    end = boss.end(signal.SIGINT)
    bench.book.say("after SIGINT", peer.name, bench.few, in_words(end))


def terminated(bench: Bench, peer: Peer, boss: Started) -> None:
    """Send SIGTERM to who is stopped by another signal; the others have had it."""
    end = boss.end(signal.SIGTERM)
    bench.book.say("after SIGTERM", peer.name, bench.few, in_words(end))


def killed(bench: Bench, peer: Peer, boss: Started) -> None:
    """Kill the boss, and count its children a second later."""
    with held(boss.runs) as children:
        os.kill(boss.pid, signal.SIGKILL)
        time.sleep(LEFT_AFTER)
        left = len(children) - len(dead(children))
    bench.book.say("left by SIGKILL", peer.name, bench.few, str(left))


def stubborn(bench: Bench, peer: Peer, boss: Started) -> None:
    """Stop a boss with a child that ignores SIGTERM."""
    end = boss.end(peer.stop)
    bench.book.add("stubborn", peer.name, 1, end.gone)
    bench.book.say("stubborn", peer.name, 1, in_words(end))


def twice(bench: Bench, peer: Peer, boss: Started) -> None:
    """Stop such a boss twice."""
    end = boss.end(peer.stop, peer.stop, pause=SECOND)
    bench.book.add("second signal", peer.name, 1, end.gone)


class Case(NamedTuple):
    """One way to end a boss."""

    act: Callable[[Bench, Peer, Started], None]
    deaf: bool = False
    """There is one child, which ignores SIGTERM; else there are a few."""
    grace: int | None = None


CASES = (
    Case(interrupted),
    Case(terminated),
    Case(killed),
    Case(stubborn, True, GRACE),
    Case(twice, True),
)


def ends(bench: Bench) -> None:
    """Let each peer end in all of these ways, all at once."""
    bench.tell("ends: all peers, all ways")
    running = [*_started(bench)]
    with closing_all([boss for _, _, boss in running]):
        ready = [it for it in running if it[2].wait_for(1 if it[0].deaf else bench.few)]
        time.sleep(bench.rest)

        def work(job: tuple[Case, Peer, Started]) -> None:
            case, peer, boss = job
            case.act(bench, peer, boss)

        with ThreadPoolExecutor(len(ready)) as pool:
            [*pool.map(work, ready)]


def _started(bench: Bench) -> Iterator[tuple[Case, Peer, Started]]:
    for case in CASES:
        for peer, bin_ in bench.peers:
            no_grace = case.deaf and peer.name == MEASURE
            had_it = case.act is terminated and peer.stop is signal.SIGTERM
            if not (no_grace or had_it):
                grace = case.grace if peer.grace else None
                size = 1 if case.deaf else bench.few
                yield case, peer, bench.start(peer, bin_, size, case.deaf, grace)


def idle(bench: Bench) -> None:
    """Let all peers wait, and count their context switches and system calls."""
    bench.tell(f"idle: all peers, for {bench.idle:g} seconds")
    bosses: list[Started] = []
    sizes = [min(IDLE, bench.many, peer.most) for peer, _ in bench.peers]
    names = [peer.name for peer, _ in bench.peers]
    with closing_all(bosses):
        for (peer, bin_), size in zip(bench.peers, sizes, strict=True):
            bosses.append(bench.start(peer, bin_, size))
            if bosses[-1].wait_for(size) is None:
                bench.failed("idle", peer, size, bosses[-1])
        time.sleep(1 + bench.rest)
        groups = [boss.helpers() for boss in bosses]
        before = [switches(pids) for pids in groups]
        time.sleep(bench.idle)
        after = [switches(pids) for pids in groups]
        found = zip(names, sizes, before, after, strict=True)
        for name, size, old, new in found:
            bench.book.add("context switches", name, size, new - old)
        if shutil.which("strace"):
            counts = _count_calls(bench, groups)
            for name, size, count in zip(names, sizes, counts, strict=True):
                if count is not None:
                    bench.book.add("system calls", name, size, count)


def _count_calls(bench: Bench, groups: list[list[int]]) -> list[int | None]:
    """Return the counts; None where strace may not attach, which is not zero."""
    tracers: list[tuple[Path, subprocess.Popen[bytes]]] = []
    for number, pids in enumerate(groups):
        file = bench.scratch / f"calls-{number}"
        targets = ",".join(map(str, pids))
        command = ["strace", "-f", "-qq", "-o", str(file), "-p", targets]
        tracers.append((file, subprocess.Popen(command, stderr=subprocess.DEVNULL)))
    time.sleep(bench.idle)
    traced = [tracer.poll() is None for _, tracer in tracers]
    for _, tracer in tracers:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
    found = zip(tracers, traced, strict=True)
    return [calls(file.read_text()) if still else None for (file, _), still in found]


def calls(trace: str) -> int:
    """Return how many system calls have been made, by what strace has written.

    The first of each thread is not counted: it is the wait that the thread was in, made
    again after strace has interrupted it to attach.
    """
    found = Counter(re.findall(r"^(\d+) +\w+\(", trace, re.MULTILINE))
    return sum(found.values()) - len(found)
