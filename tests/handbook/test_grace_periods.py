"""The check of the handbook's page: the boss's worst case, and what it refuses."""

import sys
from pathlib import Path

import pytest
from support import ROOT
from support.pages import files_of
from support.program import Program

FILES = files_of(ROOT / "docs" / "containers" / "grace_periods.rst")


def nesting(tmp_path: Path, inner: str, outer: str, name: str) -> tuple[int, str]:
    """Run the page's check; return its status and what it says."""
    files = {"nesting.py": FILES["nesting.py"], "system.toml": inner, name: outer}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    command = [sys.executable, "nesting.py", "system.toml", name]
    with Program(command, cwd=tmp_path) as program:
        code = program.wait().code
        assert code is not None, program.report()
        return code, program.output


def system(*children: tuple[str, str, float]) -> str:
    """Return a system's file; of each child: its name, what it is after, its grace."""
    return "".join(
        f"[[child]]\nname = '{name}'\ncommand = ['true']\n"
        f"after = {after.split()}\ngrace = {grace}\n"
        for name, after, grace in children
    )


CHAINS = {
    "one": ([("a", "", 3)], 3),
    "beside each other": ([("a", "", 3), ("b", "", 5)], 5),
    "a chain": ([("a", "", 3), ("b", "a", 5), ("c", "b", 7)], 15),
    "two of them": ([("a", "", 9), ("b", "a", 1), ("c", "", 4), ("d", "c", 4)], 10),
    "a diamond": ([("a", "", 1), ("b", "a", 8), ("c", "a", 2), ("d", "b c", 4)], 13),
    "in any order": ([("d", "b c", 4), ("c", "a", 9), ("b", "a", 2), ("a", "", 1)], 14),
}


@pytest.mark.parametrize("name", CHAINS)
def test_worst_case_is_the_longest_chain(name: str, tmp_path: Path) -> None:
    children, seconds = CHAINS[name]
    unit = "[Service]\nTimeoutStopSec={}\n"
    enough = unit.format(seconds + 1)
    code, said = nesting(tmp_path, system(*children), enough, "shop.service")
    assert (code, said.endswith(f"the boss: {seconds} s\n")) == (0, True), said

    short = unit.format(seconds)
    code, said = nesting(tmp_path, system(*children), short, "shop.service")
    assert (code, said.splitlines()[1:]) == (1, ["TimeoutStopSec is too short"])


REFUSED = {
    "a comment": ("shop.service", "#TimeoutStopSec=90"),
    "twice": ("shop.service", "TimeoutStopSec=90\nTimeoutStopSec=9"),
    "a unit": ("shop.service", "TimeoutStopSec=90s"),
    "for ever": ("shop.service", "TimeoutStopSec=infinity"),
    "text": ("shop.yaml", 'terminationGracePeriodSeconds: "90"'),
    "another hook": ("shop.yaml", 'preStop: {exec: {command: ["sleep", "5"]}}'),
    "another style": ("shop.yaml", "preStop:\n  sleep:\n    seconds: 5"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_understand_is_refused(name: str, tmp_path: Path) -> None:
    file, line = REFUSED[name]
    code, said = nesting(tmp_path, system(("a", "", 3)), f"{line}\n", file)
    assert code == 1
    assert said.endswith(": wanted once, and with a plain number of seconds\n")
    assert said.count("\n") == 1


def test_a_mistake_in_the_boss_file_is_one_line(tmp_path: Path) -> None:
    code, said = nesting(tmp_path, "[[child]]\n", "", "shop.service")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("system.toml, shop.service: child 1:")
