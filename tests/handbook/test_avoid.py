"""Each page on a pattern to avoid shows the damage, and a cure that holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from extensions import policy_tables
from support import avoided
from support.pages import blocks_of

pytestmark = pytest.mark.scattered

each = pytest.mark.parametrize("path", avoided.PAGES, ids=lambda path: path.stem)


@each
def test_a_page_shows_the_wrong_program_and_its_cure(path: Path) -> None:
    assert avoided.shape(blocks_of(path)) == []


@each
def test_a_session_tells_the_cure_from_the_wrong_program(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert avoided.undetected(path, monkeypatch) == []


def test_each_page_is_in_the_list() -> None:
    assert [entry.page for entry in policy_tables.avoided()] == avoided.PAGES
    assert len(avoided.PAGES) >= 17


SECTION = """\
.. code-block:: python
   :caption: {name}

   print("{says}")

.. code-block:: console

   $ python {name}
   {says}

"""
WRONG = SECTION.format(name="same.py", says="stopped")
CURED = SECTION.format(name="same_cured.py", says="cured")
SAME = SECTION.format(name="same_cured.py", says="stopped")
"""A cure that does what the wrong program does."""


@pytest.fixture(name="page")
def _page(tmp_path: Path) -> Path:
    (tmp_path / "conf.py").touch()
    return tmp_path / "page.rst"


def test_a_cure_that_does_nothing_is_found_out(
    page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.write_text(WRONG + SAME)
    assert avoided.shape(blocks_of(page)) == []
    assert avoided.undetected(page, monkeypatch) == ["same.py", "same_cured.py"]


def test_a_cure_that_works_passes(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.write_text(WRONG + CURED)
    assert avoided.undetected(page, monkeypatch) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("same_cured.py", "better.py", "no program with a cure"),
        (
            "$ python same_cured.py",
            "$ python -O same_cured.py",
            "was not run in the way",
        ),
        ("$ python same_cured.py", "$ true", "are not both run"),
    ],
)
def test_a_page_without_the_form_is_found_out(
    old: str, new: str, problem: str, page: Path
) -> None:
    page.write_text((WRONG + SAME).replace(old, new))
    assert any(problem in said for said in avoided.shape(blocks_of(page)))


def test_a_page_that_starts_with_the_cure_is_found_out(page: Path) -> None:
    page.write_text(SAME + WRONG)
    assert avoided.shape(blocks_of(page)) == ["same_cured.py is run before same.py"]
