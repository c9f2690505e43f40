"""Storms of deaths: our boss beside the C boss, and our boss for a long time.

Our boss restarts a child at once only the first time, so a storm kills each child of a
thousand once, and there are ten bosses of each kind, in turns.  The long storm is about
what a boss keeps, not how fast it is: there each child dies a hundred times, and a copy
of our boss has its delays shortened.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from blocks.keeper import pidfds

from .environments import ROOT
from .measures import Bench
from .peers import Peer, Plan, ours
from .processes import SEES_REAPING, Started, reaped
from .usage import memory

BOSSES = 10
WAVES = 100

FASTER = {
    "BACKOFF_FIRST = 0.1\n": "BACKOFF_FIRST = 0.001\n",
    "BACKOFF_CAP = 10.0\n": "BACKOFF_CAP = 0.001\n",
}
"""Edits of the boss, so that its children come back as fast as they die."""


def kill_all(boss: Started, pids: Iterable[int]) -> tuple[float, int] | None:
    """Kill children; see how long it takes until as many run again.

    Returns:
        The seconds, and how many of the dead had not been reaped then; None: the
        patience has ended before it.
    """
    with pidfds([*pids]) as victims:
        told = time.monotonic()
        for victim in victims:
            signal.pidfd_send_signal(victim, signal.SIGKILL)
        seen = boss.wait_for(len(victims))
        if seen is None:
            return None
        return max(seen) - told, len(victims) - len(reaped(victims))


def storms(bench: Bench, bosses: int = BOSSES) -> None:
    """Kill all children of one boss after the other, our own and C in turns."""
    size = bench.many
    for number in range(bosses):
        for peer, bin_ in bench.peers[:2]:
            bench.tell(f"storm {number + 1} of {bosses}: {peer.name}, {size}")
            with bench.running(peer, bin_, size) as boss:
                if boss.wait_for(size) is None:
                    bench.failed("storm", peer, size, boss)
                    continue
                time.sleep(bench.rest)
                found = kill_all(boss, boss.runs)
                if found is None:
                    bench.book.add("storm", peer.name, size, float("inf"))
                    continue
                bench.book.add("storm", peer.name, size, found[0])
                if SEES_REAPING:
                    bench.book.add("storm: not reaped", peer.name, size, found[1])


def long_storm(bench: Bench, waves: int = WAVES) -> None:
    """Kill all children of our boss again and again; note what it uses meanwhile."""
    size = bench.many
    peer, bin_ = next(it for it in bench.peers if it[0].name == "boss.py")
    hasty = replace(peer, command=_hasty)
    with bench.running(hasty, bin_, size) as boss:
        if boss.wait_for(size) is None:
            return bench.failed("long storm", peer, size, boss)
        living = set(boss.runs)
        for wave in range(waves + 1):
            if wave in (1, waves):  # the first wave fills what grows once
                _note(bench, peer, boss, size * wave)
            if wave == waves:
                break
            if wave % 10 == 0:
                bench.tell(f"long storm: {wave * size} deaths")
            before = set(boss.runs)
            if kill_all(boss, living) is None:
                return bench.failed("long storm", peer, size, boss)
            living = set(boss.runs) - before
    return None


def _hasty(plan: Plan, bin_: Path) -> list[str]:
    for name in ("boss", "restart_check"):
        text = (ROOT / "reference" / f"{name}.py").read_text()
        for old, new in FASTER.items() if name == "boss" else ():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (plan.folder / f"{name}.py").write_text(text)
    python, _, file = ours(plan, bin_)
    return [python, str(plan.folder / "boss.py"), file]


def _note(bench: Bench, peer: Peer, boss: Started, deaths: int) -> None:
    helpers = boss.helpers()
    _, alone = memory(helpers)
    bench.book.add("memory after deaths", peer.name, deaths, alone)
    count = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in helpers)
    bench.book.add("descriptors after deaths", peer.name, deaths, count)
