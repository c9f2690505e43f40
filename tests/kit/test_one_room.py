"""What has a room of its own is in no other: ``/proc`` and ``prctl``."""

from __future__ import annotations

import re

import pytest
from support import ROOT

PROCESSES = "fatal_signals/processes/"
FOLDERS = ("docs/machinery", "fatal_signals", "tests/support", "tests/programs")

ALONE = (
    "fatal_signals/inject/forked.py",
    "tests/support/process_lives.py",
    "tests/support/reapers.py",
    "tests/support/stops.py",
    "tests/programs/bombard.py",
)
"""Code that is itself under the signal, or whose text is: nothing of ours is called
there, and so there is no point of ours in it."""

WORDS = {
    "/proc": (re.compile(r"""(?<![`\w])/proc/"""), "procfs.py"),
    "prctl": (re.compile(r"\bprctl\(|PR_SET_\w+ ="), "linux.py"),
}
"""What is looked for, and where it belongs."""

SOURCE_OF_PROGRAMS = re.compile(r'("""|\'\'\')[\s\S]*?\1')
"""Texts: docstrings, and programs under test, which run without us."""


def found_in(text: str, word: str) -> bool:
    """Return whether code, and not a text in it, names what has a room of its own."""
    return bool(WORDS[word][0].search(SOURCE_OF_PROGRAMS.sub("", text)))


@pytest.mark.parametrize("word", WORDS)
def test_one_file_knows_it(word: str) -> None:
    known = {
        str(file.relative_to(ROOT))
        for folder in (
            "docs/machinery",
            "fatal_signals",
            "tests/support",
            "tests/programs",
        )
        for file in (ROOT / folder).rglob("*.py")
        if not file.relative_to(ROOT).as_posix().startswith(ALONE)
        and "fatal_signals/reference" not in file.as_posix()
        and found_in(file.read_text(), word)
    }
    assert known == {PROCESSES + WORDS[word][1]}


@pytest.mark.parametrize("word", WORDS)
def test_another_one_is_found(word: str) -> None:
    planted = {"/proc": 'open("/proc/1/stat")', "prctl": "libc.prctl(36, 1, 0, 0, 0)"}
    assert found_in(planted[word], word)
    assert not found_in(f'"""{planted[word]}"""', word)
