"""The built handbook in a real browser: ``make test-site``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, sync_playwright
from support import ROOT, site

pytestmark = pytest.mark.scattered

NAMES = sorted(
    file.relative_to(ROOT / "docs").with_suffix("").as_posix()
    for file in (ROOT / "docs").rglob("*.rst")
)
VIEWS = [(390, "dark"), (1440, "light"), (390, "light"), (1440, "dark")]
"""Pixels of a telephone and of a laptop, and the theme."""
AUDITED = VIEWS[:2]
"""Where axe-core looks: each width and each theme once; it takes most of the time."""

TERMS = {
    "docker stop": "policy/pid_1_on_purpose",
    "zombie": "policy/one_reaper",
    "exit status": "policy/true_death",
    "143": "policy/true_death",
    "deadlock": "avoid/lock_in_handler",
    "graceful shutdown": "patterns/flag_handler",
    "timeout": "avoid/raising_alarm",
    "segmentation fault": "avoid/crash_signal_handler",
    "sys.exit": "avoid/exit_in_handler",
    "broken pipe": "policy/no_sigpipe_death",
    "queue": "avoid/unwoken_wait",
    "lease": "policy/helpful_cleanup",
    "kill -9": "policy/ready_to_die",
    "reentrant": "avoid/output_in_handler",
    "ctrl-c": "policy/boss_owns_ctrl_c",
    "logging": "avoid/output_in_handler",
    "pid file": "policy/look_before_start",
}
"""What a newcomer would type, and the page that answers."""

QUESTIONS = {
    "which pattern for a worker that polls a queue": "avoid/unwoken_wait",
    "why docker stop takes 10 s": "policy/pid_1_on_purpose",
    "what may I call in a handler": "policy/note_and_return",
    "why are there zombies": "policy/one_reaper",
    "what exit status should I end with": "policy/true_death",
    "how do I give a lease back": "policy/helpful_cleanup",
}


@pytest.fixture(scope="session", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handbook")
    site.build(folder)
    return folder


@pytest.fixture(scope="session", name="base")
def _base(folder: Path) -> Iterator[str]:
    with site.served(folder) as address:
        yield address


@pytest.fixture(scope="session", name="browser")
def _browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    # no-sandbox: Chromium refuses to run as root otherwise, and CI is root.
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture(name="page")
def _page(browser: Browser) -> Iterator[Any]:
    page = browser.new_page()
    yield page
    page.close()


def violations(page: Any) -> list[str]:
    """Return what axe-core objects to: the rule, and where."""
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {node['target']}" for v in found for node in v["nodes"]]


@pytest.mark.parametrize(("width", "theme"), VIEWS)
@pytest.mark.parametrize("name", [*NAMES, "search", "genindex"])
def test_a_page_is_sound_and_accessible(
    name: str, width: int, theme: Any, base: str, browser: Browser
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme
    )
    page = context.new_page()
    try:
        assert site.problems(page, f"{base}{name}.html") == []
        assert (width, theme) not in AUDITED or violations(page) == []
    finally:
        context.close()


def test_no_link_within_the_handbook_is_broken(folder: Path) -> None:
    pages = site.Pages(folder)
    assert {f"{name}.html" for name in NAMES} <= set(pages.names)
    assert pages.broken() == []


@pytest.mark.parametrize(("words", "name"), TERMS.items())
def test_a_search_finds_the_page(words: str, name: str, base: str, page: Any) -> None:
    assert name in site.search(page, base, words)


def test_a_search_for_nothing_finds_nothing(base: str, page: Any) -> None:
    assert site.search(page, base, "xylophone") == []


@pytest.mark.parametrize(("question", "name"), QUESTIONS.items())
def test_an_answer_is_two_clicks_away(question: str, name: str, folder: Path) -> None:
    assert site.Pages(folder).clicks("index.html")[f"{name}.html"] <= 2


BROKEN = """<!doctype html><html lang="en"><title>A broken page</title>
<main><article><h1 id="top">Broken</h1><img src="/nowhere.png">
<a href="gone.html">gone</a> <a href="#gone">gone</a> <a href="#top">top</a>
<div style="width: 200vw">wide</div></article></main></html>
"""


def test_a_broken_page_is_found_out(browser: Browser, tmp_path: Path) -> None:
    """The saboteur of this file: each check above can fail."""
    (tmp_path / "index.html").write_text(BROKEN)
    with site.served(tmp_path) as base:
        page = browser.new_page()
        found = site.problems(page, f"{base}index.html")
        objections = violations(page)
        page.close()
    assert any("404" in problem for problem in found)
    assert "wider than the window" in found
    assert "image-alt: ['img']" in objections
    pages = site.Pages(tmp_path)
    assert pages.broken() == [
        "index.html: gone.html: no such page",
        "index.html: #gone: no such place on the page",
    ]
    assert pages.clicks("index.html") == {"index.html": 0}
