"""Who runs what where several processes run the tests, as in ``make test``.

A page or a file of tests stays in one process: its tests share what is made once.  The
tests of a file that is marked ``scattered`` share nothing, and whoever is free takes
the next one.  What is marked ``slow`` comes first, else it would run alone at the end.

xdist's own ``loadgroup`` was rejected: it writes the group into the id of a test, where
pytest from 9.2 on does not look for it, and every page ran in every process.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

MARK = re.compile(r"^pytestmark = .*\bpytest\.mark\.scattered\b", re.MULTILINE)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out files, and the tests of scattered files, in the order of their marks.

    Args:
        config: pytest's; the order is that of the collection.
        log: xdist's.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False  # it has the order of its own
        self._top = config.rootpath

    def _split_scope(self, nodeid: str) -> str:
        """Return what has to stay together with a test, by its id."""
        file = nodeid.partition("::")[0]
        return nodeid if is_scattered(self._top / file) else file


@functools.cache
def is_scattered(file: Path) -> bool:
    """Return whether a file is marked so; xdist hands us the ids of tests only."""
    return file.suffix == ".py" and bool(MARK.search(file.read_text()))


def how_many() -> int:
    """Return how many processes to start: tests wait for half of their time."""
    return 2 * len(os.sched_getaffinity(0))
