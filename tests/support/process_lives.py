"""Lives of modules that start processes, beside those of :mod:`support.lives`.

Nothing that was started may be left, however the life ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from fatal_signals.inject import Run

from . import lives
from .lives import Leaving, Life, answered_by_default, clean

FAMILY = ["sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000 & exec sleep 1000"]
"""A command with one child in its group, and one in a session of its own."""


def let_go(body: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    """Return a life that survives Ctrl-C, and says how many were there when it came.

    Then it lets go of what it had, and waits until nobody is left; else it hangs.
    """

    @wraps(body)
    def life() -> list[Any]:
        try:
            return body()
        except KeyboardInterrupt:
            with open("/proc/thread-self/children") as file:
                late = len(file.read().split())
        with suppress(ChildProcessError):
            while os.waitpid(-1, 0):
                pass
        return ["interrupted", late]

    return life


def tree_lives() -> list[Life]:
    """Return the lives of ``stop_tree.Tree``, bare and with a flag around it."""
    from flag_handler import StopFlag
    from stop_tree import Tree

    def family() -> Any:
        return Tree(FAMILY, stdout=subprocess.PIPE)

    def stops() -> list[Any]:
        with family() as tree:
            tree.stdout.readline()
            ended = tree.stop()
        return [ended.status, ended.survivors]

    def leaves() -> list[Any]:
        try:
            with family() as tree:
                tree.stdout.readline()
                raise Leaving
        except Leaving:
            pass
        return [tree.returncode, {}]

    def flagged() -> list[Any]:
        with StopFlag(), family() as tree:
            tree.stdout.readline()
            ended = tree.stop()
        return [ended.status, ended.survivors]

    return [
        Life("stops", let_go(stops), nothing_left, (signal.SIGINT,)),
        Life("leaves", let_go(leaves), nothing_left, (signal.SIGINT,)),
        Life("flagged", flagged, nothing_left),
    ]


def nothing_left(run: Run) -> None:
    """Nobody of the tree is left, and the command was asked rather than killed."""
    assert not run.left, f"{run.left} processes left"
    if run.how != "returned":
        answered_by_default(run)
    elif run.value[0] == "interrupted":
        assert not run.value[1], "not gone when the exception came out"
    else:
        clean(run)
        assert run.value == [-signal.SIGTERM, {}], run.value


LIVES: dict[str, Callable[[], list[Life]]] = {
    **lives.LIVES,
    "stop_tree": tree_lives,
}
"""For each module, of both files, a function that imports it and returns its lives."""
