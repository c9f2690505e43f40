"""The bench runs, is honest about who fails, leaves nothing, and the page shows it."""

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.environments import Absent, packaged
from bench.manners import calls
from bench.processes import held
from bench.report import digests
from extensions import bench_figures, bench_tables
from extensions.bench_figures import Figures, evidence
from support import FATAL, HANG, PATH, SETTLE
from support.procfs import descendants, until
from support.program import Program

pytestmark = pytest.mark.scattered

BENCH = [sys.executable, "-m", "bench"]
PATHS = {"PYTHONPATH": PATH}


def quick(*more: str) -> list[str]:
    """Return the command of a try with three children, of our boss and C."""
    return [*BENCH, "--quick", "--peers", "boss.py", "--sizes", "3", *more]


def test_the_figures_are_those_of_these_files() -> None:
    assert evidence()["digests"] == digests(), "changed: run 'make bench'"


def test_a_quick_run_has_a_row_for_each_measure(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    with Program(quick("--json"), env=PATHS | cache) as bench:
        ended = bench.wait()
        assert (ended.code, ended.left) == (0, []), bench.report()
        text = bench.output
    rows = json.loads(text[text.index("{\n") :])["results"]
    for peer in ("C", "boss.py"):
        found = {row["measure"]: row for row in rows if row["peer"] == peer}
        for measure in ("start", "stop", "replaced", "storm", "memory in KiB"):
            assert found[measure]["median"] > 0, measure
        assert found["after SIGTERM"]["facts"] == {"died of SIGTERM": 1}
        assert found["after SIGINT"]["facts"] == {"died of SIGINT": 1}
    left = {r["peer"]: r["facts"] for r in rows if r["measure"] == "left by SIGKILL"}
    assert left["C"] == {"3": 1}


SABOTEUR = """
import signal, subprocess, sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
children = [subprocess.Popen(sys.argv[1:]) for _ in range({started})]
{then}
for child in children[{kept}:]:
    child.kill()
    child.wait()
"""

HARNESS = """
import sys
from pathlib import Path

from bench.book import Book
from bench.environments import compile_all
from bench.measures import Bench, in_words, starts
from bench.peers import Peer
from bench.processes import closing_all
from fatal_signals.processes.linux import adopt_orphans

adopt_orphans()
scratch = Path("scratch")
scratch.mkdir()
compile_all(scratch)
saboteur = str(Path(sys.argv[1]).resolve())
peer = Peer("saboteur", lambda plan, _: [sys.executable, saboteur, *plan.child])
book = Book(float(sys.argv[2]))
bench = Bench([(peer, Path())], scratch.resolve(), scratch.resolve(), book, print)
"""


def harnessed(folder: Path, test: str, started: int, then: str, kept: int) -> Program:
    """Return a program that has a saboteur with three children to measure."""
    source = SABOTEUR.format(started=started, then=then, kept=kept)
    file = folder / "saboteur.py"
    file.write_text(source)
    return Program(HARNESS + test, str(file), str(FATAL), env=PATHS)


def test_who_leaves_a_child_is_reported(tmp_path: Path) -> None:
    test = f"""
boss = bench.start(peer, Path(), 3)
with closing_all([boss]):
    assert boss.wait_for(3)
    print(len(boss.runs), "run")
    boss.patience = {HANG}
    end = boss.end(15)
    print(in_words(end), end.gone)
"""
    with harnessed(tmp_path, test, 3, "signal.sigwait([signal.SIGTERM])", 1) as program:
        assert program.read_line() == "3 run"
        assert program.read_line() == "exit 0, 1 left inf"
        ended = program.wait()
        assert (ended.code, ended.left) == (0, [])  # the bench has killed it


@pytest.mark.parametrize("then", ["", "signal.pause()"])
def test_who_does_not_start_all_is_reported(tmp_path: Path, then: str) -> None:
    test = f"""
from dataclasses import replace
book.patience = {SETTLE} if {bool(then)} else book.patience
starts(bench, [3])
print([(r["measure"], r.get("over"), r.get("facts")) for r in book.rows()])
"""
    with harnessed(tmp_path, test, 2, then, 0) as program:
        assert "start" in program.read_line()
        said = program.read_line()
        assert re.search(r"saboteur: \d of 3 have run", said), said
        rows = program.read_line()
        assert f"('start', {SETTLE if then else FATAL}, None)" in rows
        assert "('stop'" not in rows
        assert program.wait().code == 0


def test_who_replaces_nobody_waits_for_ever(tmp_path: Path) -> None:
    test = f"""
boss = bench.start(peer, Path(), 3)
with closing_all([boss]):
    assert boss.wait_for(3)
    boss.patience = {SETTLE}
    print(boss.kill_child([*boss.runs][0]).runs)
"""
    with harnessed(tmp_path, test, 3, "signal.sigwait([signal.SIGTERM])", 0) as program:
        assert program.read_line() == "inf"
        assert program.wait().code == 0


def test_only_who_is_below_us_is_held() -> None:
    with Program(["sleep", str(FATAL)]) as ours:
        with held([os.getppid(), ours.pid, os.getpid()]) as fds:
            assert len(fds) == 1
        gone = ours.pid
        ours.send(signal.SIGKILL)
    with held([gone]) as fds:
        assert fds == []


def test_a_killed_bench_leaves_nothing(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with Program(quick(), env=PATHS | cache) as bench:
        bench.wait_for("deaths: C")
        assert len(descendants(bench.keeper)) > 5
        bench.send(signal.SIGKILL)
        until(
            lambda: {*descendants(bench.keeper)} <= {bench.pid},
            "nobody but the bench, which is dead",
        )


def test_without_a_compiler_there_is_one_clear_line(tmp_path: Path) -> None:
    with Program(quick(), env=PATHS | {"PATH": str(tmp_path)}) as bench:
        assert bench.wait().code == 2
        (line,) = bench.lines()
    assert line == "bench: no C compiler (cc), and so nothing to compare with"


def test_without_descriptors_there_is_one_clear_line() -> None:
    command = " ".join(quick()[:-1])
    with Program(["sh", "-c", f"ulimit -n 64; exec {command} 99"], env=PATHS) as bench:
        assert bench.wait().code == 2
        (line,) = bench.lines()
    assert line == "bench: 298 descriptors are needed, and 64 allowed: see --sizes"


def test_what_is_not_there_is_absent() -> None:
    with pytest.raises(Absent, match="no-such-init is not on the PATH"):
        packaged("no-such-init", "no-such-package")


def test_who_may_not_be_traced_has_no_count(tmp_path: Path) -> None:
    file = tmp_path / "strace"
    file.write_text("#!/bin/sh\nexit 1\n")
    file.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    with Program(quick("--parts", "idle", "--json"), env=PATHS | path) as bench:
        assert bench.wait().code == 0, bench.report()
        assert '"context switches", "peer": "boss.py"' in bench.output
        assert "system calls" not in bench.output


def test_the_wait_that_strace_finds_is_no_call() -> None:
    trace = """\
7 restart_syscall(<... resuming interrupted read ...> <unfinished ...>
8 poll([{fd=3, events=POLLIN}], 1, 1000 <unfinished ...>
7 <... restart_syscall resumed>) = 0
7 read(3, "", 1) = 0
8 <... poll resumed>) = 0 (Timeout)
8 poll([{fd=3, events=POLLIN}], 1, 1000) = ? ERESTART_RESTARTBLOCK
7 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER} ---
"""
    assert calls(trace) == 2
    assert calls("") == 0


RECORD: dict[str, Any] = {
    "versions": {"C": "", "boss.py": "", "slow": "1"},
    "results": [
        {"measure": "stop", "peer": peer, "children": n, **rest}
        for peer, n, rest in [
            ("C", 1, {"median": 0.0005, "ratio": 1.0}),
            ("C", 10, {"median": 0.001, "ratio": 1.0}),
            ("boss.py", 1, {"median": 0.002, "ratio": 4.0}),
            ("slow", 1, {"median": 1.5, "ratio": 3000.0}),
            ("slow", 10, {"over": 15.0}),
        ]
    ],
}


def test_each_figure_is_a_mark_and_in_the_alternative_text() -> None:
    drawn = bench_tables.chart(Figures(RECORD), "stop")
    marks = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    in_rows = [float(x) for x, y in marks if float(y) > bench_tables.TOP]
    assert len(in_rows) == 4
    assert all(bench_tables.LEFT <= x < bench_tables.WIDTH for x in in_rows)
    assert drawn.count('class="over"') == 1
    label = re.search(r'aria-label="([^"]+)"', drawn)
    assert label
    assert "C: 0.50 ms with 1, 1.0 ms with 10." in label[1]
    assert "slow: 1.5 s with 1, &gt; 15 s with 10." in label[1]


def test_the_axis_is_logarithmic() -> None:
    one, ten, hundred = map(bench_tables.across, (0.001, 0.01, 0.1))
    assert ten - one == pytest.approx(hundred - ten)


def test_figures_are_said_as_people_read_them() -> None:
    assert [*map(bench_figures.duration, (0.00028, 0.0017, 0.043, 0.71, 9.94))] == [
        "0.28 ms", "1.7 ms", "43.0 ms", "710 ms", "9.9 s",
    ]  # fmt: skip
    assert [*map(bench_figures.factor, (0.94, 1.234, 12.3, 3121))] == [
        "0.9", "1.2", "12", "3,100",
    ]  # fmt: skip


SUPERVISORS = (
    "supervisord",
    "circus",
    "honcho",
    "gunicorn",
    "cotyledon",
    "s6",
    "runit",
)


def figure(measure: str, peer: str, children: int) -> float:
    """Return a figure of the record; inf for a wait that was given up or not made."""
    row = Figures(evidence()).row(measure, peer, children)
    assert row or peer not in ("C", "boss.py"), f"{peer} has no {measure}"
    found: float = (row or {}).get("median", float("inf"))
    return found


@pytest.mark.parametrize("peer", SUPERVISORS)
def test_what_the_page_says_of_supervisors(peer: str) -> None:
    for n in (10, 100, 1000):
        assert figure("stop", "boss.py", n) < figure("stop", peer, n), n
    assert figure("replaced", "boss.py", 10) < figure("replaced", peer, 10)
    assert figure("second signal", "boss.py", 1) < 0.05
    assert figure("second signal", peer, 1) > 1


def test_what_the_page_says_of_some() -> None:
    figures = Figures(evidence())
    for peer in figures.peers:
        left = "0" if peer in ("boss.py", "cotyledon") else "10"
        assert figures.say("left by SIGKILL", peer, 10) == left, peer
    for peer in ("supervisord", "runit"):
        assert figure("start", peer, 1) > 1
    for peer in ("supervisord", "circus", "s6"):
        assert figure("replaced", peer, 10) > 0.95, peer
    for peer in ("s6", "runit"):
        ours = figure("memory in KiB", "boss.py", 1000)
        assert figure("memory in KiB", peer, 1000) > ours
    for init in ("tini", "dumb-init"):
        assert figure("second signal", init, 1) > 1


def test_what_the_page_says_of_our_boss() -> None:
    figures = Figures(evidence())
    for measure in ("system calls", "context switches"):
        assert figure(measure, "boss.py", 100) == 0
    for measure in ("memory", "descriptors"):
        before, after = (
            figure(f"{measure} after deaths", "boss.py", n) for n in (1000, 100_000)
        )
        assert after <= before * 1.02
    assert figure("start", "C", 10) < figure("start", "s6", 10)
    assert figure("start", "s6", 10) < figure("start", "boss.py", 10)
    storm = figures.row("storm", "boss.py", 1000)
    assert storm
    assert (storm["samples"], storm["children"]) == (10, 1000)
    assert figures.say("storm: not reaped", "boss.py", 1000) == "0"
    assert figures.per_child("boss.py", 5000) < 1.2 * figures.per_child("boss.py", 100)
    for peer in ("s6", "runit", "tini", "dumb-init", "cotyledon"):
        smaller = figure("memory in KiB", peer, 10)
        assert smaller < figure("memory in KiB", "boss.py", 10)
    for init in ("tini", "dumb-init"):
        assert figure("stop", init, 1) < figure("stop", "boss.py", 1)
