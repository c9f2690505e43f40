"""Programs with cleanups, for tests."""

from __future__ import annotations

from textwrap import dedent

from . import FATAL, SETTLE
from .program import Outcome, run
from .stops import source

STOP = "__import__('helpful_cleanup').HelpfulCleanup"

HELPERS = f"""
LONG, SHORT = {FATAL}, {2 * SETTLE}
import helpful_cleanup


def block():
    threading.Event().wait()


def tell(*signums):
    for signum in signums:
        os.kill(os.getpid(), signum)


def told():
    tell(SIGTERM)
    block()
"""
"""Budgets, and cleanups: one that never ends, and one that is told to stop."""


def program(body: str) -> str:
    """Return the source of a program that has cleanups."""
    return source(STOP, HELPERS) + dedent(body)


def outcome(body: str) -> Outcome:
    """Run such a program to its end."""
    return run(program(body))


WAITS = """
waits = []

class Watched(threading.Thread):
    def join(self, timeout=None):
        waits.append(timeout)
        super().join(timeout)

helpful_cleanup.Thread = Watched
"""
