"""The small modules keep their promises wherever a signal comes.

A sample of all points is tried here, another one in each run; ``make evidence`` tries
all of them on every interpreter, and a test below holds the record to the code.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from record_points import EVIDENCE, FILES, MODULES, module_topic
from support import ROOT
from support.process_lives import LIVES
from support.program import proved
from support.twins import Twin

pytestmark = [pytest.mark.scattered, pytest.mark.slow]

PROVER = str(ROOT / "tests" / "programs" / "prove.py")

SAMPLE = 24
"""Points for each life, kind of points and signal."""


def prove(*words: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """Run the prover on the interpreter that runs us; return its results."""
    env = {"MODULES_UNDER_TEST": str(folder)} if folder else {}
    return proved([sys.executable, PROVER, *words], **env)


NAMED = {
    # Between the last read and the return of drain(): the signal is returned, and its
    # byte stays, so that the next wait ends once for nothing.  The life asks for more
    # than the module promises.
    "wakeup_fd": ("in StopWakeup._empty", "in StopWakeup.drain"),
    # Before the "try" has begun: Ctrl-C raises there as one line earlier.
    "true_death": ("NOP in die_of",),
}
"""Conceivable points that are not kept; the module's page names them."""


AROUND_A_TREE = re.compile(
    # Between the start and the block, and as a method begins: no Python code is around
    # a Ctrl-C that raises there.
    r"\w+ in (Popen\.__enter__ .*|Tree\.(__exit__|stop|__init__)|tree_lives\b.*)"
)
"""Points of ``stop_tree`` after which the tree is ended later; its page names them."""


def unnamed(module: str, result: dict[str, Any]) -> list[Any]:
    """Return where a promise was not kept and no page says so."""
    if module == "stop_tree":
        late = result["why"] == ["not gone when the exception came out"]
        return [] if late and around_a_tree(result) else list(result["where"])
    if result["points"] != "conceivable":
        return list(result["where"])
    names = NAMED.get(module, ("nothing",))
    return [place for place in result["where"] if not place[1].endswith(names)]


def around_a_tree(result: dict[str, Any]) -> bool:
    """Return whether all places are of that kind, and as few as those can be."""
    most = 2 if result["points"] == "possible" else 20
    lines = (ROOT / "reference" / "stop_tree.py").read_text().splitlines()
    # The line of the start that nothing is around, and the way from the ``try`` to it.
    started, tried = "self.args = command", 'if "command" not in self._said:'
    for at, where, *_ in result["where"]:
        if "in Tree.__init__" in where:
            line = lines[int(at.partition(":")[2]) - 1].strip()
            leaves = where.startswith(("NOP in ", "JUMP_FORWARD in "))
            if line != started and not (line == tried and leaves):
                return False
    places = [place[1] for place in result["where"]]
    return len(places) <= most and all(map(AROUND_A_TREE.match, places))


SHORT = {
    "flag_handler": {"left"},
    "wakeup_fd": {"waits"},
    "true_death": {"within_a_flag", "in_a_finally"},
    "helpful_cleanup": {"two"},
    "stop_tree": {"stops"},
}
"""Lives for each test run."""


@pytest.mark.parametrize(
    ("module", "life"),
    [
        pytest.param(m, it.name, marks=() if it.name in SHORT[m] else pytest.mark.long)
        for m in MODULES
        for it in LIVES[m]()
    ],
)
def test_kept_wherever_a_signal_comes(module: str, life: str) -> None:
    results = prove(module, life, "--most", str(SAMPLE))
    assert "possible" in {result["points"] for result in results}
    for result in results:
        assert result["tried"] > SAMPLE / 2, result
        assert not unnamed(module, result), result


@pytest.mark.parametrize(
    "module", ["wakeup_fd", pytest.param("flag_handler", marks=pytest.mark.long)]
)
def test_kept_wherever_two_signals_come(module: str) -> None:
    words = ["--points", "pairs", "--most", str(SAMPLE)]
    for result in prove(module, "nested", *words):
        assert result["kept"] == result["tried"] > 0, result


@dataclass(frozen=True)
class Fault:
    """An edit of a module that no test of a plain use would notice."""

    module: str
    old: str
    new: str
    life: str
    line: str
    """A line at which it is found: the signal was lost when it came there."""


FAULTS = {
    "a line moved: cleared when the handlers are in place": Fault(
        "flag_handler",
        "        self._came = {}\n        try:\n            _undisturbed(self._take)\n",
        "        try:\n            _undisturbed(self._take)\n"
        "            self._came = {}\n",
        "left",
        "signal.signal(signum, self._note_stop)",
    ),
    "a restore forgotten": Fault(
        "flag_handler",
        "                signal.signal(signum, handler)\n        self._in_use",
        "                pass\n        self._in_use",
        "left",
        "if signal.getsignal(signum) == self._note_stop:",
    ),
    "an outer flag forgotten": Fault(
        "flag_handler",
        "        if signum in self._outer:\n",
        "        if signum in self._outer and not self._came:\n",
        "nested",
        "def __bool__(self) -> bool:",
    ),
    "a read that drains too little": Fault(
        "wakeup_fd",
        "        while self._pair:\n            try:\n"
        "                data = os.read(self._pair[0], 65536)\n",
        "        if self._pair:\n            try:\n"
        "                data = os.read(self._pair[0], 0)\n",
        "drains",
        "data = os.read(self._pair[0], 0)",
    ),
    "drained after the look": Fault(
        "wakeup_fd",
        "        self._empty()\n        fresh, self._fresh = self._fresh, {}\n",
        "        fresh, self._fresh = self._fresh, {}\n        self._empty()\n",
        "drains",
        "data = os.read(self._pair[0], 65536)",
    ),
    "nobody sends it once more": Fault(
        "true_death",
        "        _send(signum)  # a handler has raised",
        "        pass  # a handler has raised",
        "in_a_finally",
        "stream.flush()",
    ),
    "a child without a number forgotten": Fault(
        "stop_tree",
        '        elif "keeper" in self._said:\n'
        '            os.waitpid(self._said["keeper"], 0)\n',
        "",
        "stops",
        "super().__init__([*keeper, *words], **options)",
    ),
    "a pop before the run": Fault(
        "helpful_cleanup",
        '        if why := self._over():\n            return f"not begun: {why}"\n',
        '        if why := self._over():\n            return ""\n',
        "two",
        "pid, what, call = self._added.pop()",
    ),
}


LONG_FAULTS = {
    "a line moved: cleared when the handlers are in place",
    "a read that drains too little",
    "an outer flag forgotten",
    "drained after the look",
    "a pop before the run",
    "a child without a number forgotten",
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name in LONG_FAULTS else ())
        for name in FAULTS
    ],
)
def test_a_planted_fault_is_found_with_its_line(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    Twin(fault.module, name, fault.old, fault.new).write(tmp_path)
    words = ["--points", "possible", "--signal", "SIGTERM"]
    if fault.module in ("true_death", "stop_tree"):
        words[-1] = "SIGINT"  # the only one that raises
    results = prove(fault.module, fault.life, *words, folder=tmp_path)
    assert sum(result["kept"] for result in results) > 0
    lines = (tmp_path / f"{fault.module}.py").read_text().splitlines()
    found = {at for result in results for at, *_ in result["where"]}
    own = [at.partition(":") for at in found]
    shown = [lines[int(n) - 1].strip() for file, _, n in own if file == name_of(fault)]
    assert fault.line in shown, results


def name_of(fault: Fault) -> str:
    """Return the name of the file that a fault is planted in."""
    return f"{fault.module}.py"


@pytest.mark.parametrize("name", FILES)
def test_the_record_is_about_this_code(name: str) -> None:
    record = json.loads((EVIDENCE / f"{name}.json").read_text())
    digests = module_topic(name).digests
    assert record["digests"] == digests, "changed: run 'make evidence'"


@pytest.mark.parametrize("module", MODULES)
def test_the_record_says_that_promises_are_kept(module: str) -> None:
    record = json.loads((EVIDENCE / f"{module}.json").read_text())
    for result in record["results"]:
        assert result["tried"] > 0
        assert not unnamed(module, result), result
        assert result["hung"] == 0
        assert result["seed"] is None, "a sample is no proof"
    for points in ("possible", "conceivable"):
        versions = {r["python"] for r in record["results"] if r["points"] == points}
        assert len(versions) >= 3, versions
