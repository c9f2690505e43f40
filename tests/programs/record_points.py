"""Record what came of a signal at every point, on every interpreter found.

``make evidence`` runs this.  For each module, and for each program of a page on a
pattern to avoid, it writes ``docs/evidence/points/NAME.json``, with the digests of the
code that was tried.  Names of evidence as words record only these.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from support.avoided_lives import AVOIDED, Avoided
from support.pages import files_of

from fatal_signals.processes.interpreters import working
from fatal_signals.report.digests import digest, digests
from fatal_signals.report.records import as_json

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "docs" / "evidence" / "points"
MODULES = ("helpful_cleanup", "stop_tree", "wakeup_fd", "flag_handler", "true_death")
STARTING = ("stop_tree",)
"""Those that start processes."""
FILES = {name: f"reference/{name}.py" for name in MODULES}
FILES["unguarded"] = "reference/helpful_cleanup.py"
BOMBED = (
    "tests/programs/bombard.py",
    "reference/flag_handler.py",
    "reference/wakeup_fd.py",
)
DELIVERIES = 1_000_000
BEGAN = time.monotonic()
PATIENCE = 3600
"""Seconds after which one interpreter hangs."""


def measured(*files: str) -> dict[str, str]:
    """Return the digests of files of the project, which figures are about."""
    return digests(ROOT / file for file in files)


class Topic(NamedTuple):
    """One file of evidence, and the prover's words that make it."""

    name: str
    about: str
    digests: dict[str, str]
    words: tuple[str, ...]


def module_topic(name: str) -> Topic:
    """Return the topic of a module's lives."""
    lives = "process_lives" if name in STARTING else "lives"
    tried = measured(FILES[name], f"tests/support/{lives}.py")
    return Topic(name, FILES[name], tried, ("tests/programs/prove.py", name))


def avoided_topic(stem: str, folder: Path) -> Topic:
    """Return the topic of a pattern to avoid; lay its programs out in a folder."""
    about = f"docs/avoid/{stem}.rst"
    texts = files_of(ROOT / about)
    (folder / stem).mkdir()
    for file, text in texts.items():
        (folder / stem / file).write_text(text)
    used = sorted({file for it in swept(stem) for file in it.files(texts)})
    tried = {file: digest(texts[file]) for file in used}
    words = ("tests/programs/prove_avoided.py", str(folder), stem)
    return Topic(stem, about, tried, words)


def swept(stem: str) -> list[Avoided]:
    """Return the programs of a pattern that are tried at each point."""
    return [it for it in AVOIDED[stem] if not it.why_not]


SWEPT = [stem for stem in AVOIDED if swept(stem)]


def run(words: Sequence[str], python: Path) -> Any:
    """Run a prover on an interpreter; return its results."""
    done = subprocess.run(
        [python, *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=True,
    )
    return json.loads(done.stdout)


def write(name: str, about: str, tried: dict[str, str], results: list[Any]) -> None:
    """Write one file of evidence."""
    release = ".".join(platform.release().split(".")[:2])
    system = f"{platform.system()} {release}, {platform.machine()}"
    for result in results:
        result.pop("seconds", None)
    head = {"about": about, "system": system, "digests": tried}
    EVIDENCE.mkdir(exist_ok=True)
    (EVIDENCE / f"{name}.json").write_text(as_json(head, results))


def points(pythons: list[Path], chosen: list[Topic]) -> None:
    """Record topics, as many at once as there are processors."""
    jobs = [(topic.words, python) for topic in chosen for python in pythons]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        each = pool.map(lambda job: run(*job), jobs)
        for topic in chosen:
            results = [result for _ in pythons for result in next(each)]
            write(topic.name, topic.about, topic.digests, results)
            print(f"{time.monotonic() - BEGAN:4.0f} s: {topic.name}", flush=True)


def bombardment(pythons: list[Path]) -> None:
    """Record the bombardment, one interpreter after the other: it takes all cores."""
    words = ("tests/programs/bombard.py", str(DELIVERIES))
    results = [run(words, python) for python in pythons]
    write("bombardment", "tests/programs/bombard.py", measured(*BOMBED), results)


def main() -> None:
    """Record everything, or what is named."""
    pythons = list(working(apart_from=ROOT).values())
    names = sys.argv[1:] or [*FILES, *SWEPT, "bombardment"]
    with tempfile.TemporaryDirectory() as folder:
        # What takes longest comes first, so that no processor is idle at the end.
        found = [module_topic(name) for name in FILES if name in names]
        found += [avoided_topic(n, Path(folder)) for n in SWEPT if n in names]
        points(pythons, found)
    if "bombardment" in names:
        bombardment(pythons)


if __name__ == "__main__":
    main()
