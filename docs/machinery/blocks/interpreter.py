"""A page's own interpreter: runs its session blocks and says what they left behind.

This file runs in a process of its own, started by :mod:`blocks.session`.  It reads one
request a line, runs the block in the page's namespace and answers with one line.
"""

from __future__ import annotations

import contextlib
import doctest
import json
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).parents[1])

from blocks.lines import SIZE, instrument, marked  # noqa: E402

LINES = mmap.mmap(-1, SIZE)
NAMESPACE: dict[str, Any] = {"__name__": "__main__", "__lines__": LINES}


def run_python(source: str, name: str, first: int) -> str:
    """Run a block; return the traceback of what it raised, or nothing."""
    try:
        exec(instrument(source, name, first=first), NAMESPACE)
    except BaseException as error:
        # The first frame is ours, the page's frames follow.
        shown = error.__traceback__.tb_next if error.__traceback__ else None
        return "".join(traceback.format_exception(type(error), error, shown))
    return ""


def run_doctest(source: str, name: str, first: int) -> str:
    """Run an interactive session; return the report of its differences."""
    test = doctest.DocTestParser().get_doctest(source, NAMESPACE, name, name, first - 1)
    test.globs = NAMESPACE  # a DocTest takes a copy

    def compile_example(source: str, name: str, mode: str, *_: object) -> object:
        number = int(name.rpartition("[")[2].rstrip("]>"))
        return instrument(source, name, mode, first + test.examples[number].lineno)

    # The module looks the name up here first: the bodies of functions defined in a
    # session count as lines, too.
    doctest.compile = compile_example  # type: ignore[attr-defined]
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(test, out=report.append, clear_globs=False)
    return "".join(report)


RUNNERS = {"python": run_python, "pycon": run_doctest}


def leftovers() -> list[str]:
    """Name each thing about signals that a block has changed, and put it back."""
    found = []
    for signum, before in HANDLERS.items():
        if signal.getsignal(signum) is not before:
            found.append(f"a handler for {signum.name}")
            signal.signal(signum, before)
    if mask := signal.pthread_sigmask(signal.SIG_SETMASK, ()):
        names = ", ".join(signal.Signals(signum).name for signum in mask)
        found.append(f"a mask: {names} blocked")
    if signal.set_wakeup_fd(-1) != -1:
        found.append("a wakeup fd")
    if any(signal.setitimer(signal.ITIMER_REAL, 0)):
        found.append("a timer")
    return found


def tell(**words: object) -> None:
    """Answer with one line."""
    os.write(CONTROL, json.dumps(words).encode() + b"\n")


def serve() -> None:
    """Answer requests until there are none."""
    own_pid = os.getpid()
    for request in open(os.dup(CONTROL), "rb"):  # noqa: SIM115
        words = json.loads(request)
        run: Callable[[str, str, int], str] = RUNNERS[words["language"]]
        error = run(words["source"], words["name"], words["first"])
        if os.getpid() != own_pid:  # the block forked, and here is the child
            tell(fell_through=os.getpid())
            os._exit(0)
        left = leftovers()
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        tell(error=error, leftovers=left, lines=sorted(marked(LINES[:])))


if __name__ == "__main__":
    CONTROL = int(sys.argv[1])
    HANDLERS = {
        signal.Signals(number): signal.getsignal(number)
        for number in signal.valid_signals()
        if number in set(signal.Signals)
        and number not in (signal.SIGKILL, signal.SIGSTOP)
    }
    # What a page sees is what a reader sees who has typed "python".
    sys.argv = [""]
    sys.path[0] = ""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    serve()
