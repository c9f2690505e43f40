"""Trees of processes, for tests."""

from __future__ import annotations

import textwrap

from . import FATAL, SETTLE
from .program import Program, run

HEAD = f"""
import gc, math, os, select, signal, subprocess, sys, textwrap, threading
from signal import SIGINT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1
import stop_tree
from stop_tree import Tree

FATAL, SETTLE = {FATAL}, {SETTLE}
STAYS = "echo $$; exec sleep 1000"
DEAF = "trap '' TERM; " + STAYS


def say(*words):
    print(*words, flush=True)


def tree_of(*command, **options):
    return Tree([*command], stdout=subprocess.PIPE, text=True, **options)


def start(script, **options):
    \"\"\"Start a shell script; return the tree, and the pid that it has said.\"\"\"
    tree = tree_of("sh", "-c", script, **options)
    return tree, int(tree.stdout.readline())


def python(*texts, **options):
    \"\"\"Start a Python program, which says when it is ready.\"\"\"
    text = "\\n".join(map(textwrap.dedent, ("import os, signal", *texts)))
    tree = tree_of(sys.executable, "-c", text, **options)
    tree.stdout.readline()
    return tree


BLOCKED = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])"
READY = "print('ready', flush=True)"


def rest(tree):
    \"\"\"Return what a tree has said, or None if somebody holds its output still.\"\"\"
    said = b""
    while select.select([tree.stdout], [], [], 0)[0]:
        if not (data := os.read(tree.stdout.fileno(), 4096)):
            return said.decode()
        said += data
    return None


def state(pid):
    with open(f"/proc/{{pid}}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def freeze(pid, send):
    send(SIGSTOP)
    while state(pid) != "T":
        os.sched_yield()
"""


def lines(body: str, *words: str) -> list[str]:
    """Run a program to its end, and return its output; nothing may be left."""
    ended = run(HEAD + textwrap.dedent(body), *words)
    assert ended.ended.left == [], ended
    return ended.lines


def program(body: str, *, terminal: bool = False) -> Program:
    """Return a program that runs."""
    return Program(HEAD + textwrap.dedent(body), terminal=terminal)
