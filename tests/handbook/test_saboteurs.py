"""Each saboteur page fails, for its own reason, and touches no other page."""

import re
from pathlib import Path

import pytest
from support import ROOT, clone

pytestmark = pytest.mark.slow

PAGES = sorted((ROOT / "tests" / "saboteurs").glob("*.rst"))
Outcome = tuple[dict[str, int], list[clone.Report]]
EXPECTED = re.compile(r"\A\.\. Fails at (?P<line>\d+): (?P<reason>.+)\n")


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """All saboteurs in one run of pytest, with a sound page between them."""
    folder = tmp_path_factory.mktemp("saboteurs") / "clone"
    clone.make(folder, [*PAGES, *PAGES[0].parent.glob("*.inc")])
    for file in PAGES[0].parent.glob("*.console"):
        (folder / "docs" / file.name).write_text(file.read_text())
    (folder / "docs" / "kills_sound.rst").write_text(SOUND)
    hang = [f"docs/{page.name}" for page in PAGES if ": hung" in page.read_text()]
    assert len(hang) == 2
    passed, failed = clone.run(folder, *(f"--ignore={page}" for page in hang))
    return passed, failed + clone.run(folder, pages=hang, hang=True)[1]


SOUND = """\
A sound page
============

.. code-block:: python
   :caption: hello.py

   while not print("hello"):
       break
   while False:
       pass  # a loop that waits may have nothing to wait for

.. code-block:: console

   $ python hello.py
   hello

.. code-block:: pycon

   >>> import os; os.waitpid(-1, 0)
   Traceback (most recent call last):
   ...
   ChildProcessError: [Errno 10] No child processes
"""


def test_a_sound_page_among_saboteurs_passes(outcome: Outcome) -> None:
    passed, failed = outcome
    assert passed["kills_sound"] == 4
    assert "kills_sound" not in {report.page for report in failed}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_saboteur_fails_for_its_own_reason(page: Path, outcome: Outcome) -> None:
    expected = EXPECTED.match(page.read_text())
    assert expected, f"{page.name} does not say how it fails"
    _, failed = outcome
    reports = [report for report in failed if report.page == page.stem]
    assert len(reports) == 1, reports
    text = flat(reports[0].text)
    assert flat(expected["reason"]) in text
    # The place is the block's own, or a line that the report names.
    assert str(page.name) in text
    places = {reports[0].line, *map(int, re.findall(r"(?:line |:)(\d+)\b", text))}
    assert int(expected["line"]) in places, text
