"""Runs of a program that marks all that it starts, for tests."""

from __future__ import annotations

import textwrap

from .program import Outcome, run

HEAD = r'''
import os, signal, socket, subprocess, sys, time
import restart_check as rc

open("file", "w").close()

KILLED = """
import os, signal, subprocess, sys
import restart_check as rc
run = rc.Run("file")
below, above = (os.open(os.devnull, os.O_RDONLY) for _ in range(2))
os.close(below)  # the guard's only descriptor gets its number, and has one above it
guard = run.guard() if "guard" in sys.argv[2:] else 0
with run:
    child = subprocess.Popen(["sh", "-c", sys.argv[1]], stdout=subprocess.PIPE)
print(child.stdout.readline().decode().strip(), guard, os.getpid(), flush=True)
if "wait" in sys.argv[2:]:
    sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""


def start(script, *words):
    """Start a run that starts a script; return it, and who it says that it is."""
    command = [sys.executable, "-c", KILLED, script, *words]
    killed = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    return killed, *map(int, killed.stdout.readline().split()[:2])


def leave(script):
    """Return the pid that a run has left, and that the script has said."""
    killed, pid, _ = start(script)
    killed.wait()
    return pid


def new_run():
    return rc.Run("file")


def say(*words):
    print(*words, flush=True)


def alive(pid):
    return not rc.wait(pid, 0)


def freeze(guard):
    """Stop a guard that is at work: its name is the last that it sets."""
    while open(f"/proc/{guard}/comm").read() != "guard\n":
        os.sched_yield()
    os.kill(guard, signal.SIGSTOP)


def sleeper():
    return subprocess.Popen(["sleep", "1000"])


STAYS = "echo $$; exec sleep 1000"
'''

HIDDEN = {
    "plain": "echo $$; exec sleep 1000",
    "its own session": "setsid sh -c 'echo $$; exec sleep 1000'",
    "an empty environment": "exec env -i sh -c 'echo $$; exec sleep 1000'",
    "a double fork": "(setsid sh -c 'echo $$; exec sleep 1000' &); exec sleep 1000",
    "another name": "exec sh -c 'echo $$; exec sleep 1000' innocent",
}


def outcome(body: str, *words: str) -> list[str]:
    """Run a program to its end, and return its output; nothing may be left."""
    ended: Outcome = run(HEAD + textwrap.dedent(body), *words)
    assert ended.ended.left == []
    return ended.lines
