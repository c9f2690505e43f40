"""Storms of deaths: our boss beside the C boss, and our boss for a long time.

Our boss restarts a child at once only the first time, so a storm kills each child of a
thousand once, and there are ten bosses of each kind, in turns.  The long storm is about
what a boss keeps, not how fast it is: there each child dies a hundred times, and a copy
of our boss has its delays shortened.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from support.companions import copy, edit

from fatal_signals.processes.procfs import descriptors

from .measures import Bench
from .peers import Peer, Plan, ours
from .processes import SEES_REAPING, Started, held, reaped
from .usage import memory

BOSSES = 10
WAVES = 100

FASTER = {
    "BACKOFF_FIRST = 0.1\n": "BACKOFF_FIRST = 0.001\n",
    "BACKOFF_CAP = 10.0\n": "BACKOFF_CAP = 0.001\n",
}
"""Edits of the boss, so that its children come back as fast as they die."""


class Wave(NamedTuple):
    """What came of killing many children at once."""

    seconds: float
    """Until as many run again."""
    not_reaped: int
    """How many of the dead had not been reaped then."""
    runs: list[int]
    """The pids of the new ones."""


def kill_all(boss: Started, pids: Iterable[int]) -> Wave | None:
    """Kill children; None: their patience has ended before as many ran again."""
    with held(pids) as victims:
        told = time.monotonic()
        for victim in victims:
            signal.pidfd_send_signal(victim, signal.SIGKILL)
        seen = boss.wait_for(len(victims))
        if seen is None:
            return None
        not_reaped = len(victims) - len(reaped(victims))
        return Wave(max(seen.values()) - told, not_reaped, [*seen])


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
                wave = kill_all(boss, boss.runs)
                seconds = wave.seconds if wave else float("inf")
                bench.book.add("storm", peer.name, size, seconds)
                if wave and SEES_REAPING:
                    name = "storm: not reaped"
                    bench.book.add(name, peer.name, size, wave.not_reaped)


def long_storm(bench: Bench, waves: int = WAVES) -> None:
    """Kill all children of our boss again and again; note what it uses meanwhile."""
    size = bench.many
    peer, bin_ = next(it for it in bench.peers if it[0].name == "boss.py")
    hasty = replace(peer, command=_hasty)
    with bench.running(hasty, bin_, size) as boss:
        living = [*(boss.wait_for(size) or ())]
        for number in range(1, waves + 1):
            wave = kill_all(boss, living)
            if wave is None or len(living) < size:
                return bench.failed("long storm", peer, size, boss)
            living = wave.runs
            if number in (1, waves):  # the first wave fills what grows once
                _note(bench, peer, boss, number * size)
            if number % 10 == 0:
                bench.tell(f"long storm: {number * size} deaths")
    return None


def _hasty(plan: Plan, bin_: Path) -> list[str]:
    copy("boss", plan.folder)
    edit("boss", plan.folder, FASTER)
    env, _, *boss = ours(plan, bin_)
    return [env, f"PYTHONPATH={plan.folder}", *boss]


def _note(bench: Bench, peer: Peer, boss: Started, deaths: int) -> None:
    helpers = boss.helpers()
    _, alone = memory(helpers)
    bench.book.add("memory after deaths", peer.name, deaths, alone)
    count = sum(len(descriptors(pid)) for pid in helpers)
    bench.book.add("descriptors after deaths", peer.name, deaths, count)
