"""A boss and its guard, killed at once, at every system call of the boss.

``python -m support.unguarded`` in ``tests/`` (with the top on the path) tries all
points, which takes some minutes.  A first argument is the interpreter to run the boss
in, a second one how many points to draw.

Nothing ends the children then, and it is for the next start to find them.  So each
point is two bosses: one without a guard, which ``strace`` kills as it enters the call,
and then a plain restart of the file, which has to give exactly one set, and to spare a
stranger that has a child's name and command line.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fatal_signals.inject.strace_log import LAST_CALLS, Call, read_log

from . import procfs
from .bosses import BOSS, child_program, pid_in
from .killed import FAMILY, START_AGAIN, write_family
from .program import Program

WITHOUT_GUARD = """
import os, signal, sys
import boss, restart_check

class Unguarded(restart_check.Run):
    def watch(self, us):
        os._exit(0)

class Stops(boss.Boss):
    run_class = Unguarded

    def wait(self, wakeup):
        if {entry.state for entry in self.entries} == {boss.State.RUNNING}:
            os.kill(os.getpid(), signal.SIGTERM)
        super().wait(wakeup)

boss.Boss = Stops
sys.exit(boss.main(sys.argv[1:]))
"""
"""A boss whose guard ends at once; when all its children run it stops by itself."""


def _boss(folder: Path, python: str, *strace: str) -> Program:
    tracer = [shutil.which("strace") or "strace", "-qq", *strace]
    return Program([*tracer, python, "-c", WITHOUT_GUARD, "boss.toml"], cwd=folder)


def calls(folder: Path, python: str = sys.executable) -> list[Call]:
    """Return the system calls of a boss's life, from its reading of the file."""
    log = folder / "trace"
    with _boss(folder, python, "-ttt", "-T", "-o", str(log)) as program:
        program.wait()
    found = [call for call in read_log(log.read_text()) if call.nth]
    begin = next(n for n, call in enumerate(found) if '"boss.toml"' in call.text)
    return [call for call in found[begin:] if call.name not in LAST_CALLS]


def try_point(
    folder: Path, call: Call, python: str = sys.executable, boss: Path = BOSS
) -> str:
    """Kill at a call and start again; return what is wrong, or an empty text.

    Args:
        folder: holds the file.
        call: where to kill.
        python: the interpreter for both bosses.
        boss: the module that is started again, or a twin of it.
    """
    inject = f"inject={call.name}:signal=KILL:when={call.nth}"
    words = [child_program(), FAMILY[0][0]]
    again = [python, "-c", START_AGAIN, python, str(boss), "boss.toml"]
    trace = ["-o", os.devnull, "-e", f"trace={call.name}", "-e", inject]
    with Program(words) as stranger, _boss(folder, python, *trace) as first:
        stranger.wait_for("ready")
        first.wait()
        started = [ln for ln in first.output.splitlines() if "child-started" in ln]
        with Program(again, cwd=folder) as second:
            ended = second.wait()
            if ended.code != 0 or ended.left:
                return f"{ended}\n{second.report()}\n{first.report()}"
        left = [ln for ln in started if procfs.state(pid_in(ln)) not in ("", "Z")]
        if left:
            return f"still running: {left}"
        if procfs.state(stranger.pid) in ("", "Z"):
            return "the stranger has been killed"
    return ""


def sweep(
    points: Iterable[Call], python: str = sys.executable, workers: int = 1
) -> dict[Call, str]:
    """Try points, each worker with a file of its own; return those that fail."""
    todo = list(points)

    def work(mine: Sequence[Call]) -> dict[Call, str]:
        with tempfile.TemporaryDirectory(prefix="fatal-signals-") as name:
            write_family(Path(name))
            tried = {call: try_point(Path(name), call, python) for call in mine}
        return {call: wrong for call, wrong in tried.items() if wrong}

    with ThreadPoolExecutor(workers) as pool:
        shares = [todo[n::workers] for n in range(workers)]
        return {call: w for part in pool.map(work, shares) for call, w in part.items()}


def all_calls(python: str = sys.executable) -> list[Call]:
    """Return what :func:`calls` does, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="fatal-signals-") as name:
        write_family(Path(name))
        return calls(Path(name), python)


def main() -> int:
    """Try all points, or a sample, and print what came of them."""
    python = sys.argv[1] if sys.argv[1:] else sys.executable
    points = all_calls(python)
    if sys.argv[2:]:
        points = random.sample(points, int(sys.argv[2]))
    wrong = sweep(points, python, os.cpu_count() or 1)
    print(f"killed with its guard at {len(points)} calls: {len(wrong)} wrong")
    for call, text in wrong.items():
        print(f"  {call.name}:{call.nth} ({call.text}): {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
