"""The ledger is complete: what a reader sees is what the engine knows."""

import importlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from extensions import python_inventory
from support import ROOT, site

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The handbook as `make html` builds it, warnings as errors."""
    out = tmp_path_factory.mktemp("handbook")
    site.build(out)
    return out


def ledger(built: Path) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(
        (built / ".doctrees" / "ledger.json").read_text()
    )
    return rows


def test_the_total_is_the_number_of_pre_elements(built: Path) -> None:
    counted = Counter(row["page"] for row in ledger(built))
    shown = {
        page.relative_to(built).with_suffix("").as_posix(): found
        for page in built.rglob("*.html")
        if (found := len(re.findall(r"<pre\b", page.read_text())))
    }
    assert shown == counted
    assert counted.total() > 40


def test_each_page_ends_with_its_own_count(built: Path) -> None:
    for name, total in Counter(row["page"] for row in ledger(built)).items():
        foot = re.search(
            r'<p class="ledger">(\d+)', (built / f"{name}.html").read_text()
        )
        assert foot, name
        assert int(foot[1]) == total


def test_nothing_is_unclaimed(built: Path) -> None:
    assert {row["kind"] for row in ledger(built)} >= {"console", "session", "file"}
    assert [row for row in ledger(built) if row["kind"] == "unclaimed"] == []


def test_no_page_asks_another_host_for_anything(built: Path) -> None:
    loads = re.compile(
        r'<(?:script|img|iframe|link)\b[^>]*(?:src|href)="(https?:[^"]+)"'
    )
    for page in built.rglob("*.html"):
        assert loads.findall(page.read_text()) == [], page.name


def test_the_inventory_is_what_its_script_writes() -> None:
    found = (ROOT / "docs" / "machinery" / "python.inv").read_bytes()
    assert found == python_inventory.inventory(), "run python docs/python_inventory.py"


@pytest.mark.parametrize(
    ("role", "name"),
    [
        (role, name)
        for roles in python_inventory.OBJECTS.values()
        for role, names in roles.items()
        for name in names
    ],
)
def test_an_object_that_we_link_to_exists(role: str, name: str) -> None:
    module, _, rest = name.partition(".")
    if role == "py:exception":
        module, rest = "builtins", name
    place = importlib.import_module(module)
    assert not rest or hasattr(place, rest)
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.rst"))
    assert f"`{name}`" in pages, "no page links to it"
