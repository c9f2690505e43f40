"""How far is the boss from C?  Starts and stops, beside a C boss, in the same run.

``python tests/bench/bench_boss.py [--rounds N] [--sizes N ...] [--json]``

Each round runs the C boss and ours, one after the other, for each number of children;
a child is a C program that pauses.  From outside, with one clock, we measure

* *launch*: from our starting the boss until its last child has been executed.  For ours
  that includes the interpreter, the imports and the file.
* *start*: the same without what a boss does before its first child: from the execution
  of the first child to that of the last.  There is none for one child.
* *stop*: from our sending SIGTERM to the boss until we have reaped the boss, which by
  then has reaped its children.

Our boss's guard is in all of it, from its fork to its end.

"Executed" is when the boss says so: both write a line when their last start has
returned, and ``posix_spawn`` returns when the child has been executed.  *start* begins
with the first line of our boss's log, and for the C boss with its launch: it does
nothing before its first child.  The log goes into a pipe that is large enough for all
of it, so that nobody has to read it while we measure a stop.

A ratio compares medians.  The children are killed with the boss whatever happens.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
BOSS = HERE.parents[1] / "reference" / "boss.py"
SIZES = (1, 10, 100, 1000)
PARTS = ("launch", "start", "stop")
ROUNDS = 5
PIPE = 1 << 20
"""Bytes; what an ordinary user may ask for, and ten times the log of a thousand."""


@dataclass(frozen=True)
class Sample:
    """One start and stop of one boss; all in seconds."""

    launch: float
    start: float
    stop: float


class Bosses:
    """The two bosses, ready to be started; a folder holds what they need."""

    def __init__(self, folder: Path) -> None:
        """Compile the C boss and the child."""
        for name in ("boss", "pause"):
            source = HERE / f"{name}.c"
            command = ["cc", "-O2", "-Wall", "-o", str(folder / name), str(source)]
            subprocess.run(command, check=True)
        self.folder = folder

    def command(self, kind: str, size: int) -> list[str]:
        """Return the command that starts a boss with so many children."""
        if kind == "c":
            return [str(self.folder / "boss"), str(size), str(self.folder / "pause")]
        file = self.folder / f"{size}.toml"
        table = '[[child]]\nname = "n{}"\ncommand = ["{}"]\n'
        rows = [table.format(n, self.folder / "pause") for n in range(size)]
        file.write_text("".join(rows))
        return [sys.executable, str(BOSS), str(file)]

    def sample(self, kind: str, size: int) -> Sample:
        """Start a boss, wait until all its children run, stop it."""
        command = self.command(kind, size)
        began = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pipesize=PIPE
        ) as boss:
            try:
                return self._measure(boss, kind, size, began)
            finally:
                end_all(boss)

    def _measure(
        self, boss: subprocess.Popen[bytes], kind: str, size: int, began: float
    ) -> Sample:
        assert boss.stdout is not None
        pipe = boss.stdout.fileno()
        up = b"up\n" if kind == "c" else b"boss all-started"
        first = began
        seen = b""
        while up not in seen:
            data = os.read(pipe, 1 << 16)
            if not data:
                raise RuntimeError(f"the {kind} boss has ended: {seen.decode()}")
            if kind != "c" and not seen:
                first = time.perf_counter()
            seen += data
        running = time.perf_counter()
        guards = 0 if kind == "c" else 1
        assert len(children(boss.pid)) == size + guards
        told = time.perf_counter()
        boss.send_signal(signal.SIGTERM)
        status = boss.wait()
        gone = time.perf_counter()
        assert status == -signal.SIGTERM, status
        return Sample(running - began, running - first, gone - told)


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    return [
        int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def end_all(boss: subprocess.Popen[bytes]) -> None:
    """Kill a boss that is still there, and its children with it."""
    if boss.poll() is None:
        boss.send_signal(signal.SIGSTOP)
        for pid in children(boss.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        boss.kill()


def measure(rounds: int, sizes: Sequence[int]) -> list[dict[str, float]]:
    """Return a row for each size: medians in milliseconds, and ratios to C."""
    samples: dict[tuple[int, str], list[Sample]] = {}
    with tempfile.TemporaryDirectory(prefix="fatal-signals-bench-") as folder:
        bosses = Bosses(Path(folder))
        for _ in range(rounds):
            for size in sizes:
                for kind in ("c", "python"):
                    sample = bosses.sample(kind, size)
                    samples.setdefault((size, kind), []).append(sample)
    rows = []
    for size in sizes:
        row: dict[str, float] = {"children": size}
        for what in PARTS if size > 1 else ("launch", "stop"):
            c, python = (
                statistics.median(getattr(one, what) for one in samples[size, kind])
                for kind in ("c", "python")
            )
            row[f"{what}_c_ms"] = round(c * 1000, 3)
            row[f"{what}_python_ms"] = round(python * 1000, 3)
            row[f"{what}_ratio"] = round(python / c, 2)
        rows.append(row)
    return rows


def report(rows: list[dict[str, float]]) -> str:
    """Return the rows as a table for people."""
    lines = [f"{'children':>8}  " + "  ".join(f"{w:^27}" for w in PARTS)]
    head = f"{'C':>8} {'Python':>9} {'ratio':>8}"
    lines.append(f"{'':>8}  " + "  ".join([head] * len(PARTS)))
    for row in rows:
        cells = [
            f"{row[f'{part}_c_ms']:8.2f} {row[f'{part}_python_ms']:9.2f} "
            f"{row[f'{part}_ratio']:7.2f}x"
            if f"{part}_ratio" in row
            else f"{'-':>27}"
            for part in PARTS
        ]
        lines.append(f"{row['children']:>8}  " + "  ".join(cells))
    return "\n".join([*lines, "medians in milliseconds"])


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args()
    if shutil.which("cc") is None:
        print("no C compiler (cc), and so nothing to compare with", file=sys.stderr)
        return 1
    rows = measure(options.rounds, options.sizes)
    if options.json:
        python = platform.python_version()
        print(json.dumps({"python": python, "rounds": options.rounds, "rows": rows}))
    else:
        print(report(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
