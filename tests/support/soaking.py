"""A soak: loops under storms of signals and bosses with dying children, for minutes.

Three parts run at once, each in a thread that only starts processes and signals them:

* *loops*: a program with a stop flag, then one with a wakeup fd, and so on.  A storm of
  signals from here, with a stop in its midst or at its end, has to end it.
* *short bosses*: a boss whose children die, for up to ``SHORT`` seconds; then it is
  stopped, each time by other signals.
* *long boss*: the same for the whole time; its descriptors and its memory are sampled.

A stop is lost when its program does not end within the patience, or ends otherwise than
it should.  Every program has a keeper: it is bounded in time and gone at the end.  A
signal goes to a process only while its pid cannot be somebody else's.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fatal_signals.processes.keeper import Ended, KeptCommand
from fatal_signals.processes.procfs import descriptors, memory, process, processes

from . import FATAL, SETTLE, companions
from .bosses import SHORT_GRACE, child, child_program, pid_in
from .procfs import asleep, signals, until
from .program import MODULES, environment

PATIENCE = 20.0
"""Seconds in which a stop has to end a program; an idle machine needs milliseconds."""

LINGER = 5.0
"""Seconds after which the dead who are not reaped are zombies, and the left orphans."""

SHORT = 2.0
"""Seconds that a short boss hears at most before it is stopped; mostly far fewer."""

PACE = 0.02
"""Seconds between two acts against the children of a boss."""

LITTLE = 0.001
"""Seconds of a loop's work between two looks, and of a lull in a storm at most."""

LOOK = 0.5
"""Seconds between two looks at a boss."""

STORM = 300
"""How many signals a storm has at most, besides the stops."""

ROOM = 256
"""KiB that a boss's own memory may grow from the first third of a soak to the last.

That is what the allocator's pools need to fill.  In ten minutes some ten thousand
children die: if each left one object behind, of 28 bytes at least, it would be more.
Descriptors may not grow at all: the median does not see one that is open for a moment.
"""

STOPS = (signal.SIGINT, signal.SIGTERM)
FAREWELLS = (
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGTERM),
    (signal.SIGCHLD, signal.SIGTERM, signal.SIGCONT),
    (signal.SIGCONT, signal.SIGCHLD, signal.SIGINT, signal.SIGCHLD),
)
"""The ways to stop a boss."""

ACTS = {
    signal.SIGKILL: 6,
    signal.SIGTERM: 4,
    signal.SIGHUP: 4,
    signal.SIGSTOP: 2,
    signal.SIGCONT: 4,
    signal.SIGINT: 1,
}
"""What children of a boss get, and how often of all."""

HEAD = f"""
import os, select, signal, time

LITTLE = {LITTLE}
turns = 0
for signum in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
    signal.signal(signum, lambda *_: None)  # for what comes after the block
"""
TAIL = """
os.write(1, f"{stop.signum.name} {turns}\\n".encode())
os._exit(0)  # the interpreter's own end would put the defaults back, amid the storm
"""
LOOPS = {
    "flag": """
from flag_handler import StopFlag

with StopFlag() as stop:
    os.write(1, b"ready\\n")
    while not stop:
        time.sleep(LITTLE)
        turns += 1
""",
    "wakeup": """
from wakeup_fd import StopWakeup

with StopWakeup(also=[signal.SIGALRM]) as stop:
    os.write(1, b"ready\\n")
    while not stop:
        select.select([stop], [], [])
        stop.drain()
        turns += 1
""",
}
"""The loops; at its end each says what has stopped it, and after how many turns.

The second one waits without a timeout: a wakeup that is lost is a stop that is lost.
"""

FASTER = {
    "BACKOFF_FIRST = 0.1\n": "BACKOFF_FIRST = 0.01\n",
    "BACKOFF_CAP = 10.0\n": "BACKOFF_CAP = 0.1\n",
}
"""Edits of the boss, so that its children come back as fast as they die."""


@dataclass
class Row:
    """What one part of a soak has done and found."""

    rounds: int = 0
    """Programs that were started and stopped."""
    signals: int = 0
    """Signals that we sent."""
    turns: int = 0
    """Turns of the loops, which are wakeups where the loop waits."""
    deaths: int = 0
    """Children that a boss reaped."""
    lost: list[str] = field(default_factory=list)
    """Each stop that was lost, in words."""
    zombies: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """One look at a boss."""

    descriptors: int
    pss: int
    """KiB of memory, pages that it shares with others divided among them."""
    own: int
    """KiB of that which no file backs; what other programs do does not change it."""


@dataclass
class Findings:
    """A soak's rows by their names, and the samples of the long boss."""

    rows: dict[str, Row]
    samples: list[Sample] = field(default_factory=list)

    def thirds(self) -> tuple[Sample, Sample] | None:
        """Return the medians of the first third and of the last; None if too short."""
        third = len(self.samples) // 3
        if not third:
            return None
        return middle(self.samples[:third]), middle(self.samples[-third:])

    def trouble(self) -> list[str]:
        """Return everything that must not be, one line each."""
        found = [
            f"{name}: {kind}: {what}"
            for name, row in self.rows.items()
            for kind in ("lost", "zombies", "orphans")
            for what in getattr(row, kind)
        ]
        if thirds := self.thirds():
            first, last = thirds
            if last.descriptors > first.descriptors:
                found.append(
                    f"descriptors grew: {first.descriptors}, {last.descriptors}"
                )
            if last.own > first.own + ROOM:
                found.append(f"memory grew: {first.own}, {last.own} KiB")
        return found

    def line(self) -> str:
        """Return how far it is, in one line."""
        words = [f"{name} {row.rounds}" for name, row in self.rows.items()]
        words.append(f"deaths {sum(row.deaths for row in self.rows.values())}")
        if self.samples:
            last = self.samples[-1]
            words.append(f"descriptors {last.descriptors}, memory {last.own} KiB")
        return f"{', '.join(words)}; trouble {len(self.trouble())}"

    def table(self) -> str:
        """Return everything, as text in columns."""
        kinds = list(Row.__dataclass_fields__)
        lines = ["".join([f"{'':12}", *(f"{kind:>9}" for kind in kinds)])]
        for name, row in self.rows.items():
            cells = [getattr(row, kind) for kind in kinds]
            numbers = [len(it) if isinstance(it, list) else it for it in cells]
            lines.append("".join([f"{name:12}", *(f"{n:9}" for n in numbers)]))
        if thirds := self.thirds():
            lines.append(
                f"\n{'long boss, medians':24}{'first':>9}{'last':>9}{'room':>9}"
            )
            for words, key, room in (
                ("descriptors", "descriptors", 0),
                ("its own memory, KiB", "own", ROOM),
                ("PSS, KiB", "pss", "-"),
            ):
                first, last = (getattr(sample, key) for sample in thirds)
                lines.append(f"{words:24}{first:9}{last:9}{room:>9}")
        return "\n".join([*lines, *self.trouble()])


def middle(samples: Sequence[Sample]) -> Sample:
    """Return the medians of samples."""
    rows = zip(*((s.descriptors, s.pss, s.own) for s in samples), strict=True)
    return Sample(*(statistics.median_low(row) for row in rows))


class Churned:
    """A boss whose children die.

    Args:
        folder: an empty one, for its file.
        boss: the path of the boss.
        row: where everything is counted.
        chance: what chooses the children, the signals and the way to stop.
        soak: whose patience is ours.
    """

    def __init__(
        self, folder: Path, boss: Path, row: Row, chance: random.Random, soak: Soak
    ) -> None:
        self._row, self._chance, self._soak = row, chance, soak
        self._log: deque[str] = deque(maxlen=10)
        self._strange: list[str] = []  # what is on standard error and is no log
        self._living: dict[int, None] = {}  # a dict: only one thread writes
        self._dead_since: dict[int, float] = {}
        self.started = threading.Event()
        file = folder / "boss.toml"
        file.write_text("\n".join(children()))
        log, far_end = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(log,))
        self._reader.start()
        try:
            self._kept = KeptCommand(
                [sys.executable, str(boss), str(file)],
                seconds=FATAL + soak.seconds,
                settle=soak.linger,
                env=environment(),
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=far_end,
            )
        finally:
            os.close(far_end)
        self.pid = self._kept.pid

    def _read(self, log: int) -> None:
        with open(log, errors="replace") as lines:
            for line in lines:
                kind = self._log if line.startswith("boss ") else self._strange
                kind.append(line.rstrip())
                if line.startswith("boss child-started:"):
                    self._living[pid_in(line)] = None
                elif line.startswith("boss all-started:"):
                    self.started.set()
                elif line.startswith("boss child-died:"):
                    self._living.pop(pid_in(line), None)
                    self._row.deaths += 1

    def wait_until_it_hears(self) -> None:
        """Wait for the boss's own handlers; AssertionError if they never come.

        Before that a SIGINT is Python's own: amid its first imports it exits with 1, or
        drops the signal, and no line of the boss has run.
        """
        until(
            lambda: signal.SIGTERM in signals(self.pid, "caught"), "a boss that hears"
        )

    def act(self) -> None:
        """Do something to a child, to all at once, or to the boss."""
        living = list(self._living)
        kind = self._chance.randrange(100)
        if kind < 2:
            for pid in living:
                self._hit(pid, signal.SIGKILL)
        elif kind < 5:
            self._send(self._chance.choice([signal.SIGCHLD, signal.SIGCONT]))
        elif living:
            (signum,) = self._chance.choices([*ACTS], [*ACTS.values()])
            self._hit(self._chance.choice(living), signum)

    def _hit(self, pid: int, signum: int) -> None:
        """Signal a child, if the pid is still that of a child of our boss."""
        with suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if (row := process(pid)) and row.parent == self.pid:
                    signal.pidfd_send_signal(pidfd, signum)
                    self._row.signals += 1
            finally:
                os.close(pidfd)

    def _send(self, signum: int) -> None:
        self._kept.send(signum)
        self._row.signals += 1

    def look(self) -> Sample:
        """Look for zombies, and return what the boss uses; OSError if it has ended."""
        now = time.monotonic()
        table = processes().items()
        dead = {p for p, it in table if (it.parent, it.state) == (self.pid, "Z")}
        since = {pid: self._dead_since.get(pid, now) for pid in dead}
        for pid in sorted(dead):
            if now - since[pid] > self._soak.linger:
                self._row.zombies.append(f"pid {pid} of the boss {self.pid}")
                since[pid] = math.inf  # once is enough
        self._dead_since = since
        return Sample(len(descriptors(self.pid)), *memory(self.pid))

    def stop(self) -> None:
        """Stop the boss, and see that it ends as it should and leaves nothing."""
        farewell = self._chance.choice(FAREWELLS)
        for signum in farewell:
            self._send(signum)
        ended = self._soak.end_of(self._kept)
        if ended is None or -ended.code not in {*STOPS} & {*farewell}:
            names = "+".join(signum.name for signum in farewell)
            log = "\n  ".join([*self._strange, *self._log])
            with suppress(OSError):  # what keeps it alive may be the dead
                self.look()
                time.sleep(2 * self._soak.linger)
                self.look()
            self._row.lost.append(f"boss {self.pid}: {names}: {ended}\n  {log}")
        elif ended.left:
            self._row.orphans += ended.left
        self._row.rounds += 1

    def close(self) -> None:
        """End the boss with all that it has started."""
        self._kept.close()
        self._reader.join()


class Soak:
    """Three parts that run at once.

    Args:
        seed: of what is left to chance; the moments are the machine's.
        seconds: how long; what has begun by then is brought to its end, and each loop
            is stopped at least once.
        modules: the folder of the modules under test.
        loops: the source of each loop by its name.
        patience: seconds in which a stop has to end a program.
        linger: seconds after which a child that is not reaped is a zombie, and one that
            outlives the boss an orphan.
    """

    def __init__(
        self,
        seed: int,
        seconds: float,
        *,
        modules: Path = MODULES,
        loops: Mapping[str, str] = LOOPS,
        patience: float = PATIENCE,
        linger: float = LINGER,
    ) -> None:
        self.findings = Findings({name: Row() for name in (*loops, "short", "long")})
        self.seconds = seconds
        self.linger = linger
        self._patience = patience
        self._seed = seed
        self._modules = modules
        self._sources = loops
        self._over = threading.Event()

    def run(
        self,
        parts: Sequence[str] = ("loops", "short", "long"),
        tell: Callable[[str], bool] = lambda _: False,
    ) -> Findings:
        """Run some of the parts.

        Args:
            parts: their names.
            tell: gets a line about how far it is, again and again; true ends the soak.

        Raises:
            OSError: a program can't be started.
        """
        child_program()  # made here, once
        ends = time.monotonic() + self.seconds
        with (
            tempfile.TemporaryDirectory(prefix="fatal-signals-soak-") as folder,
            ThreadPoolExecutor(len(parts)) as pool,
        ):
            try:
                jobs = []
                for part in parts:
                    own = Path(folder, part)
                    own.mkdir()
                    jobs.append(pool.submit(getattr(self, f"_{part}"), own))
                while (left := ends - time.monotonic()) > 0:
                    done, _ = wait(jobs, min(LOOK, left), FIRST_COMPLETED)
                    if done or tell(self.findings.line()):
                        break
            finally:
                self._over.set()
            for job in jobs:
                job.result()
        return self.findings

    def end_of(self, kept: KeptCommand) -> Ended | None:
        """Return how a program ends; None if our patience ends before it."""
        if not select.select([kept], [], [], self._patience)[0]:
            return None
        return kept.wait()

    def _chance(self, part: str) -> random.Random:
        return random.Random(f"{self._seed} {part}")

    def _loops(self, folder: Path) -> None:
        chance = self._chance("loops")
        for name, source in self._sources.items():
            Path(folder, f"{name}.py").write_text(HEAD + source + TAIL)
        while True:
            for name in self._sources:
                row = self.findings.rows[name]
                self._loop(Path(folder, f"{name}.py"), row, chance)
            if self._over.is_set():
                return

    def _loop(self, file: Path, row: Row, chance: random.Random) -> None:
        """Start a loop, send it a storm while it waits, and see that it ends."""
        with KeptCommand(
            [sys.executable, str(file)],
            seconds=FATAL,
            settle=SETTLE,
            env=environment(PYTHONPATH=str(self._modules)),
            cwd=file.parent,
            stderr=subprocess.STDOUT,
        ) as kept:
            said = kept.stdout.readline()
            sent: list[signal.Signals] = []
            if said == b"ready\n":
                asleep(kept.pid)
                sent = storm(kept, chance)
            ended = self.end_of(kept)
            if ended is not None:
                said = kept.stdout.read()
            told = re.fullmatch(rb"(\w+) (\d+)\n", said)
            if told and told[1].decode() in {signum.name for signum in sent}:
                row.turns += int(told[2])
            else:
                row.lost.append(f"pid {kept.pid}: {ended}: {said.decode()}")
            row.rounds += 1
            row.signals += len(sent)

    def _short(self, folder: Path) -> None:
        row, chance = self.findings.rows["short"], self._chance("short")
        for number in itertools.count():
            own = folder / str(number)
            own.mkdir()
            self._live(own, row, chance, SHORT * chance.random() ** 3, [])
            shutil.rmtree(own)
            if self._over.is_set():
                return

    def _long(self, folder: Path) -> None:
        row, chance = self.findings.rows["long"], self._chance("long")
        self._live(folder, row, chance, math.inf, self.findings.samples)

    def _live(
        self,
        folder: Path,
        row: Row,
        chance: random.Random,
        seconds: float,
        samples: list[Sample],
    ) -> None:
        """Start a boss, let its children die for these seconds, and stop it."""
        companions.copy("boss", folder, self._modules)
        companions.edit("boss", folder, FASTER)
        boss = Churned(folder, folder / "boss.py", row, chance, self)
        try:
            boss.wait_until_it_hears()
            if seconds == math.inf:
                boss.started.wait(FATAL)
            ends, looked = time.monotonic() + seconds, 0.0
            while time.monotonic() < ends and not self._over.wait(PACE):
                boss.act()
                if boss.started.is_set() and time.monotonic() - looked > LOOK:
                    looked = time.monotonic()
                    samples.append(boss.look())
            boss.stop()
        except (OSError, AssertionError) as error:
            row.lost.append(f"boss {boss.pid} has ended before its time: {error}")
        finally:
            boss.close()


def children() -> list[str]:
    """Return the tables of a boss's twenty children."""
    return [
        *(child(f"plain{n}", "plain") for n in range(8)),
        *(child(f"deaf{n}", after=f"plain{n}") for n in range(4)),
        *(child(f"group{n}", "below", after=f"deaf{n}") for n in range(3)),
        *(
            child(f"short{n}", command=["sh", "-c", f"sleep 0.{n}; exit {n % 2}"])
            for n in range(3)
        ),
        child("obedient", "obedient"),
        child("stubborn", "stubborn", grace=SHORT_GRACE),
    ]


def storm(kept: KeptCommand, chance: random.Random) -> list[signal.Signals]:
    """Send a program many signals, some of them stops, and return them."""
    storm = [signal.SIGALRM] * chance.randrange(STORM)
    stops = chance.choices(STOPS, k=chance.choice([1, 1, 2, 5]))
    if chance.random() < 0.5:
        sent = [*storm, *stops]  # nothing comes later that would wake it
    else:
        sent = chance.sample([*storm, *stops], len(storm) + len(stops))
    for signum in sent:
        kept.send(signum)
        if not chance.randrange(10):
            time.sleep(LITTLE * chance.random())
    return sent
