"""The built handbook: building it, serving it on loopback, and its links."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from . import FATAL, ROOT


def build(folder: Path) -> None:
    """Build the handbook as ``make html`` does, with warnings as errors.

    Raises:
        AssertionError: it can't be built; the text says why.
    """
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-c", str(ROOT)]
    run = subprocess.run(
        [*command, str(ROOT / "docs"), str(folder)],
        capture_output=True,
        text=True,
        timeout=3 * FATAL,
        check=False,
    )
    if run.returncode:
        raise AssertionError(run.stderr)


HOST = "http://handbook/"
"""What relative links are resolved against; nobody is asked for it."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the report free of requests."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A browser that closes its page while we answer is no error of ours."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a port that the kernel chooses; yield the address."""
    handler = partial(_Quiet, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


class _Parser(HTMLParser):
    """Collects the ids of a page, its links, and those of its text."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.text_links: list[str] = []
        self._in_text = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an id or a link."""
        words = dict(attrs)
        self.ids.add(words.get("id") or "")
        self._in_text |= tag == "article"
        address = words.get("href") if tag == "a" else None
        if address:
            self.links.append(address)
            if self._in_text:
                self.text_links.append(address)

    def handle_endtag(self, tag: str) -> None:
        """Leave the text of the page."""
        self._in_text &= tag != "article"


class Pages:
    """All pages of a built handbook and the links between them.

    Args:
        folder: where it is built.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _parsed(self) -> dict[str, _Parser]:
        found = {}
        for file in sorted(self._folder.rglob("*.html")):
            parser = _Parser()
            parser.feed(file.read_text())
            found[file.relative_to(self._folder).as_posix()] = parser
        return found

    @property
    def names(self) -> list[str]:
        """The pages, relative to the folder."""
        return list(self._parsed)

    def broken(self) -> list[str]:
        """Return the links within the handbook that lead nowhere, with their pages."""
        found = []
        for name, parsed in self._parsed.items():
            for link in parsed.links:
                target, anchor = _target(name, link)
                if target is None:
                    continue
                page = self._parsed.get(target)
                if page is None and not (self._folder / target).is_file():
                    found.append(f"{name}: {link}: no such page")
                elif page is not None and anchor and anchor not in page.ids:
                    found.append(f"{name}: {link}: no such place on the page")
        return found

    def clicks(self, start: str) -> dict[str, int]:
        """Return how many clicks each page is away, by links in the text alone."""
        found, waiting = {start: 0}, deque([start])
        while waiting:
            name = waiting.popleft()
            for link in self._parsed[name].text_links:
                target, _ = _target(name, link)
                if target in self._parsed and target not in found:
                    found[target] = found[name] + 1
                    waiting.append(target)
        return found


def _target(page: str, link: str) -> tuple[str | None, str]:
    """Return the page and the anchor of a link; no page when it leads elsewhere."""
    whole, anchor = urldefrag(urljoin(f"{HOST}{page}", link))
    if not whole.startswith(HOST):
        return None, ""
    return unquote(whole.removeprefix(HOST)), unquote(anchor)


def problems(page: Any, address: str) -> list[str]:
    """Open an address in a browser's page and return what is wrong with what it shows.

    Args:
        page: Playwright's page.
        address: on the server that :func:`served` has started.
    """
    found: list[str] = []
    base = "/".join(address.split("/")[:3])

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            found.append(f"console: {message.text}")

    def asked(request: Any) -> None:
        if not request.url.startswith((base, "data:")):
            found.append(f"asks another host: {request.url}")

    page.on("console", said)
    page.on("request", asked)
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed: {request.url}"))
    page.goto(address, wait_until="load", timeout=1000 * FATAL)
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    if page.evaluate(wide):
        found.append("wider than the window")
    return found


def search(page: Any, base: str, words: str) -> list[str]:
    """Search the handbook in a browser; return the first three pages found."""
    page.goto(f"{base}search.html?q={words}", timeout=1000 * FATAL)
    done = "document.querySelector('#search-results p.search-summary')"
    page.wait_for_function(
        f"{done} && !/Searching/.test({done}.textContent)", timeout=1000 * FATAL
    )
    links = page.eval_on_selector_all(
        "#search-results ul.search li > a", "all => all.map(a => a.href)"
    )
    found = dict.fromkeys(urldefrag(link)[0].removeprefix(base) for link in links)
    return [name.partition("?")[0].removesuffix(".html") for name in found][:3]
