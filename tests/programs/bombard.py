"""Bombard workloads with real signals from another process: is the list of points true?

A sweep says at which instructions this interpreter runs handlers.  Here nobody traces
and nobody chooses: a second process sends one signal after another, and the handler
notes at which instruction it runs.  Each has to be one that the sweep knows.

``python tests/programs/bombard.py 1000000`` prints JSON; standard library only.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [
    str(ROOT / part) for part in ("", "docs/machinery", "tests", "reference")
]

from flag_handler import StopFlag  # noqa: E402
from wakeup_fd import StopWakeup  # noqa: E402

from fatal_signals.inject import every_point  # noqa: E402
from fatal_signals.inject.arrival import Spot, spot  # noqa: E402
from fatal_signals.inject.points import where_handlers_run  # noqa: E402

SIGNAL = signal.SIGUSR1
VOLLEY = 64
"""Signals that are sent between two looks at whether to stop."""

LONG = 0.02
"""Seconds that a workload waits: long enough for a traced run to sleep there, too."""

PAUSE = 1e-6
"""Seconds between two signals, or what the kernel makes of them, some 50 microseconds.
Without it most of the processor goes into signals that merge."""


def calls() -> None:
    """Call in all ways: C and Python, with unpacked arguments, generators, methods."""
    words = ["b", "a"]
    for number in range(5):
        max(*words)
        "{}{}".format(*words)
        sorted(words, key=str.upper)
        dict(a=1, **{"b": number})
        sum(n for n in range(3))
        [abs(n) for n in range(-2, 2)]
    with suppress(ValueError):
        int("x")
    while words:
        words.pop()


def numbers() -> None:
    """Compute with big numbers, which look for signals themselves."""
    big = 3**20000
    big * big
    big // 7**9000


def texts() -> None:
    """Match a regular expression that takes its time."""
    re.search("a+b", "a" * 2000)


def pipes() -> None:
    """Read lines from a pipe that are written while we wait."""
    reader, writer = os.pipe()

    def write() -> None:
        for _ in range(3):
            time.sleep(LONG)
            os.write(writer, b"a line\n")
        os.close(writer)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    with open(reader) as lines:
        for line in lines:
            line.strip()
    thread.join()


def locks() -> None:
    """Wait for a lock that another thread holds for a while."""
    lock, held = threading.Lock(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            time.sleep(LONG)

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    held.wait()
    with lock:
        pass
    thread.join()


def flags() -> None:
    """Enter and leave a stop flag, and one that can be waited for."""
    with StopFlag() as outer, StopWakeup() as inner:
        signal.raise_signal(signal.SIGTERM)  # so that there is something to drain
        inner.drain()
        list(outer.came)


# Threads are daemons: of others, `threading` keeps a list, and its upkeep goes another
# way now and then, which the sweep has not gone.
SHARES = {calls: 40, numbers: 40, texts: 1, pipes: 40, locks: 40, flags: 40}
"""How many of the deliveries each workload gets.  ``texts`` is nearly all C code that
looks for signals now and then: 300 deliveries a second, where others have 9,000."""


def send(target: int, stop: int) -> None:
    """Send signals to a process until a descriptor can be read, or the process ends."""
    while True:
        for _ in range(VOLLEY):
            os.kill(target, SIGNAL)
            time.sleep(PAUSE)
        try:
            os.read(stop, 1)
        except BlockingIOError:
            continue
        os._exit(0)


Place = tuple[CodeType, int]


class Bombardment:
    """Counts where the handler runs while a workload is repeated."""

    def __init__(self) -> None:
        self.places: Counter[Place] = Counter()
        self._fresh: list[Place] = []

    def note(self, _: int, frame: Any) -> None:
        """Be the handler: one call of C."""
        self._fresh.append((frame.f_code, frame.f_lasti))

    def run(self, workload: Callable[[], None], deliveries: int) -> None:
        """Repeat a workload under fire until the handler has run so often."""
        workload()  # what is imported at the first call is not what we swept
        while len(os.listdir("/proc/self/task")) > 1:
            os.sched_yield()  # a joined thread may not be gone: fork would warn of it
        reader, writer = os.pipe2(os.O_NONBLOCK)
        signal.signal(SIGNAL, self.note)
        target = os.getpid()
        pid = os.fork()
        if not pid:
            signal.signal(SIGNAL, signal.SIG_IGN)
            os.close(writer)
            send(target, reader)
        try:
            while len(self._fresh) < deliveries:
                workload()
        finally:
            os.close(writer)
            os.waitpid(pid, 0)
            os.close(reader)
            signal.signal(SIGNAL, signal.SIG_IGN)
        self.places.update(self._fresh)
        self._fresh.clear()


def outside(places: Counter[Place], known: set[Spot]) -> tuple[int, dict[str, int]]:
    """Count where handlers ran in the workloads; name the places no sweep knows."""
    keys = {it[:4] for it in known}
    inside, found = 0, dict[str, int]()
    for (code, offset), count in places.items():
        if code.co_filename == __file__ and code.co_qualname.startswith("Bombardment"):
            continue  # our own loop, or a handler that is interrupted by the next one
        inside += count
        it = spot(code, offset, None)
        if it[:4] not in keys:
            found[f"{it.name} in {it.function} ({Path(it.file).name}, {offset})"] = (
                count
            )
    return inside, found


def main() -> None:
    """Sweep the workloads, bombard them, and print what came of it."""
    deliveries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    # As in a sweep: after nohup or "&" it is ignored, and the flags go another way.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Some run where we do not count: in our own loop, and in the handler itself.
    deliveries += deliveries // 20
    fire = Bombardment()
    for workload in SHARES:
        # One point is enough: where handlers run is asked before.
        every_point(workload, points=["possible"], signals=[SIGNAL], most=1)
    for workload, share in SHARES.items():
        fire.run(workload, deliveries * share // sum(SHARES.values()) + 1)
    inside, unknown = outside(fire.places, where_handlers_run())
    result: dict[str, Any] = {
        "python": platform.python_version(),
        "deliveries": inside,
        "places": len(fire.places),
        "outside": unknown,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
