"""The block engine as people use it: one block alone, any order, side by side."""

import re
from pathlib import Path

import pytest
from support import clone

pytestmark = pytest.mark.slow

PAGE = """\
A page
======

.. code-block:: python

   numbers = [1]

.. code-block:: python

   numbers.append(2)

.. code-block:: pycon

   >>> numbers
   [1, 2]

.. code-block:: console

   $ echo "$((1 + 1))" > two

.. code-block:: console

   $ cat two
   2

.. skip: next if(True, reason="a reason")
.. code-block:: python

   raise SystemExit

.. skip: next if(sys.version_info >= (3, 0), reason="of old")
.. code-block:: pycon

   >>> raise SystemExit

.. quoted: nobody can run a proverb
.. code-block:: text

   Dead men tell no tales.
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    clone.make(folder, [])
    for name in ("first", "second"):
        (folder / "docs" / f"{name}.rst").write_text(PAGE)
    return folder


@pytest.mark.parametrize("line", [12, 21], ids=["session", "console"])
def test_a_block_runs_alone_with_what_it_builds_on(project: Path, line: int) -> None:
    block = f"docs/first.rst::line:{line},column:1"
    passed, failed = clone.run(project, block, pages=())
    assert (passed, failed) == ({"first": 1}, [])


def test_blocks_run_in_the_reverse_order(project: Path) -> None:
    (project / "conftest.py").write_text(
        "def pytest_collection_modifyitems(items):\n    items.reverse()\n"
    )
    passed, failed = clone.run(project)
    assert (passed, failed) == ({"first": 7, "second": 7, "index": 1}, [])


def test_a_skip_with_a_reason_is_a_skip(project: Path) -> None:
    passed, failed = clone.run(project)
    assert (passed["first"], failed) == (7, [])


def test_a_skip_is_a_failure_where_nothing_may_be_skipped(project: Path) -> None:
    _, failed = clone.run(project, skips=False)
    assert {report.line for report in failed} == {27}
    assert "a reason" in failed[0].text


def test_a_skip_of_the_rest_skips_it_all(project: Path) -> None:
    """And where nothing may be skipped, each of its blocks fails."""
    at = PAGE.index(".. skip:")
    rest = PAGE[at:].replace("next if(True", "rest if(True")
    (project / "docs" / "first.rst").write_text(PAGE[:at] + rest + PAGE[at:])
    passed, failed = clone.run(project)
    assert (passed["first"], failed) == (6, [])
    _, failed = clone.run(project, "docs/first.rst", pages=(), skips=False)
    assert len(failed) == len(re.findall("^[.][.] code-block", rest + PAGE[at:], re.M))
    assert all("a reason" in report.text for report in failed)
