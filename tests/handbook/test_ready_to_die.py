"""P01, from its page: the till survives a kill at every call, and its twins do not."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import FATAL, ROOT, SETTLE
from support.killed import needs_strace
from support.pages import files_of
from support.program import environment

from fatal_signals.processes.keeper import KeptCommand

PAGE = ROOT / "docs" / "policy" / "ready_to_die.rst"
EVIDENCE = ROOT / "docs" / "evidence" / "ready_to_die.console"
VERSION = ".".join(map(str, sys.version_info[:2]))
LAST = 3
"""Acknowledged amounts in the one life whose kill may come after the end: the till
enters its last ``accept4`` while it is told to stop."""

SUMMARY = re.compile(r"killed at (\d+) calls: (\d+) acknowledged, (\d+) lost\n")
COMMAND = re.compile(
    r"\$ python(?P<version>\S+) kill_everywhere.py (?P<daemon>\S+) execve\n"
    + SUMMARY.pattern
)
Edit = tuple[str, str]

pytestmark = needs_strace


@dataclass
class Killed:
    output: str
    code: int | None
    left: list[str]
    trace: list[str]
    """The calls of the first life, which nobody kills, by name."""

    @property
    def summary(self) -> tuple[int, int, int]:
        found = SUMMARY.search(self.output)
        assert found, self.output
        kills, acknowledged, lost = map(int, found.groups())
        return kills, acknowledged, lost


def kill(
    folder: Path, daemon: str, first: str, edits: Iterable[Edit] = (), only: str = ""
) -> Killed:
    """Run the page's killer on one of its daemons, with edits, as the page does."""
    for name, text in files_of(PAGE).items():
        changes = list(edits) if name == daemon else []
        if name == "kill_everywhere.py" and only:
            changes.append(("sorted(set(names[first:]))", f"[{only!r}]"))
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)  # noqa: PLW2901
        (folder / name).write_text(text)
    command = [sys.executable, "kill_everywhere.py", daemon, first]
    with tempfile.TemporaryFile() as out:
        kept = KeptCommand(
            command,
            seconds=10 * FATAL,
            settle=SETTLE,
            env=environment(),
            cwd=folder,
            stdout=out.fileno(),
            stderr=out.fileno(),
        )
        with kept:
            ended = kept.wait()
        out.seek(0)
        output = out.read().decode()
    calls = (folder / "calls").read_text(errors="replace").splitlines()
    names = [line.partition("(")[0] for line in calls if line[0] not in "-+"]
    return Killed(output, ended.code, ended.left, names)


def test_the_call_that_is_entered_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    rename = f"import os; os.rename('{tmp_path}/old', '{tmp_path}/new')"
    inject = ["-e", "trace=rename", "-e", "inject=rename:signal=KILL:when=1"]
    command = [
        "strace",
        "-qq",
        *inject,
        "-o",
        "/dev/null",
        sys.executable,
        "-c",
        rename,
    ]
    with KeptCommand(command, seconds=FATAL, settle=SETTLE, env=environment()) as kept:
        assert kept.wait().code == -9
    assert [file.name for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.long  # the page itself begins at the till's own first call
def test_nothing_is_lost_wherever_it_is_killed(tmp_path: Path) -> None:
    killed = kill(tmp_path, "till.py", "execve")
    kills, acknowledged, lost = killed.summary
    assert (lost, killed.code, killed.left) == (0, 0, [])
    # Each call that an unharmed life makes was one to be killed at: the later lives
    # read what the first one has left, so they make some more.
    trace = killed.trace
    assert trace[0] == "execve"
    assert kills >= len(trace) - 1
    acks = [sum(name == "sendto" for name in trace[:i]) for i in range(len(trace))]
    assert acks[-1] == LAST
    assert abs(acknowledged - sum(acks)) <= LAST
    for version, daemon, _, recorded, _ in COMMAND.findall(EVIDENCE.read_text()):
        if (version, daemon) == (VERSION, "till.py"):
            assert abs(int(recorded) - acknowledged) <= LAST


def test_the_twin_that_saves_at_the_end_loses(tmp_path: Path) -> None:
    killed = kill(tmp_path, "till_in_handler.py", "till.sock")
    _, acknowledged, lost = killed.summary
    # Only who kills it after its handler's rename finds everything saved.
    after = killed.trace[::-1].index("rename")
    assert lost == acknowledged - LAST * after
    assert lost > 0
    assert (killed.code, killed.left) == (1, [])


def test_the_record_says_the_same() -> None:
    found = COMMAND.findall(EVIDENCE.read_text())
    versions = [version for version, *_ in found]
    assert versions == [v for v in ("3.11", "3.12", "3.13") for _ in range(2)]
    for _, daemon, kills, acknowledged, lost in found:
        assert (lost == "0") == (daemon == "till.py")
        assert int(kills) > int(acknowledged) >= int(lost)


SAVE = "            save(total)\n"
SAY = '            print("ok", total, file=lines, flush=True)\n'
RENAME = '    os.rename("total.new", "total")\n'
UNLINK = '    os.unlink("till.sock")  # an earlier life\'s\n'
NEW = 'open("total.new", "w")'

TWINS: dict[str, tuple[list[Edit], str, str]] = {
    "says ok before it saves": ([(SAVE + SAY, SAY + SAVE)], "fsync", r"[1-9]\d* lost"),
    "writes in place": (
        [(NEW, 'open("total", "w")'), (RENAME, "")],
        "write",
        r"ValueError: invalid literal(.|\n)*no deposit after it",
    ),
    "takes half a file for none": (
        [
            (NEW, 'open("total", "w")'),
            (RENAME, ""),
            ("int(file.read())", "int(file.read() or 0)"),
        ],
        "write",
        r"write:signal=KILL:when=\d+: 0 is wrong",
    ),
    "makes room before the rename": (
        [(RENAME, '    os.system("rm -f total")\n' + RENAME)],
        "rename",
        r"rename:signal=KILL:when=1: 0 is wrong",
    ),
    "stumbles over its own half file": (
        [(NEW, 'open("total.new", "x")')],
        "rename",
        r"FileExistsError(.|\n)*no deposit after it",
    ),
    "leaves its socket": (
        [(UNLINK, "    pass\n")],
        "accept4",
        r"Address already in use(.|\n)*no deposit after it",
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_caught(name: str, tmp_path: Path) -> None:
    edits, only, reason = TWINS[name]
    first = "till.sock" if name != "leaves its socket" else '"total"'
    killed = kill(tmp_path, "till.py", first, edits, only)
    assert re.search(reason, killed.output), killed.output
    assert (killed.code, killed.left) == (1, [])
