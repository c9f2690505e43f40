"""Programs that enter a stop flag, and what the kernel shows of them meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from fatal_signals.processes.procfs import open_flags

from .procfs import descriptors, signals
from .program import Program

PRELUDE = '''
import gc, os, select, signal, sys, threading, weakref
from signal import SIG_DFL, SIG_IGN, SIGALRM, SIGHUP, SIGINT, SIGKILL, SIGSTOP
from signal import SIGTERM, SIGUSR1, SIGUSR2, raise_signal
from flag_handler import StopFlag
from wakeup_fd import StopWakeup

Stop = {stop}
signal.pthread_sigmask(signal.SIG_BLOCK, {SIGUSR1})


def say(*words):
    print(*words, flush=True)


def pause(word):
    """Say a word, and wait until the test has looked at us."""
    say(word)
    signal.sigwait({SIGUSR1})


def names(signals):
    return "+".join(signum.name for signum in signals) or "none"


def readable(stop):
    return stop in select.select([stop], [], [], 0)[0]


def state():
    """Return all that a stop flag changes, as the kernel and Python tell it."""
    with open("/proc/self/status") as file:
        kernel = [s for s in file if s.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    handlers = [signal.getsignal(n) for n in (SIGINT, SIGTERM)]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return kernel, handlers, wakeup, sorted(os.listdir("/proc/self/fd"))


def storm():
    """Count, while a timer sends us a thousand times SIGALRM, about every 100 µs."""
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    for _ in range(4_000_000):
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)


def at_line(number, signum, life):
    """Return what life() returns when a signal comes before that line of the module.

    The first line of a function does not count: a signal there is one in the call.
    """
    ran, first = 0, set()

    def trace(frame, event, _):
        nonlocal ran
        if frame.f_code.co_filename != sys.modules[Stop.__module__].__file__:
            return None
        if event == "line" and frame not in first:
            first.add(frame)
        elif event == "line":
            ran += 1
            if ran == number:
                raise_signal(signum)
        return trace

    sys.settrace(trace)
    try:
        word = life()
    except KeyboardInterrupt:
        word = "raised"
    finally:
        sys.settrace(None)
    return word if ran >= number else "over"


def at_every_line(signum, life):
    """Say all that life(), in a fork for each line of the module, has ended in."""
    words, number = set(), 0
    while "over" not in words:
        number += 1
        reader, writer = os.pipe()
        if not os.fork():
            os.write(writer, at_line(number, signum, life).encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as pipe:
            word = pipe.read()
        code = os.waitstatus_to_exitcode(os.wait()[1])
        words.add(word if code == 0 else f"died of {-code}")
    assert number > 10
    say(*sorted(words - {"over"}))
'''


def source(stop: str, body: str) -> str:
    """Return a program in which ``Stop`` is the class to try."""
    return PRELUDE.replace("{stop}", stop) + textwrap.dedent(body)


@dataclass(frozen=True)
class Look:
    """What the kernel shows of a program that pauses."""

    ignored: set[int]
    caught: set[int]
    blocked: set[int]
    descriptors: dict[int, str]
    flags: dict[int, int]
    """With which flags each descriptor is open."""


def look(program: Program, word: str, *then: int) -> Look:
    """Wait until a program pauses, look at it, send it signals and let it go on."""
    program.wait_for(word)
    pid = program.pid
    seen = Look(
        signals(pid, "ignored"),
        signals(pid, "caught"),
        signals(pid, "blocked") - {signal.SIGUSR1},  # comes and goes with sigwait
        descriptors(pid),
        {fd: open_flags(pid, fd) for fd in descriptors(pid)},
    )
    for signum in (*then, signal.SIGUSR1):
        program.send(signum)
    return seen


COMPILER = shutil.which(os.environ.get("CC", "cc"))
"""The C compiler, or None."""

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

AT_THE_SWAP = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <signal.h>
    #include <stddef.h>
    #include <unistd.h>

    typedef int (*swap)(int, const struct sigaction *, struct sigaction *);

    int sigaction(int number, const struct sigaction *new, struct sigaction *old)
    {
        swap real = (swap)dlsym(RTLD_NEXT, "sigaction");
        struct sigaction now;

        real(number, NULL, &now);
        if (number == SIGTERM && new != NULL && new->sa_handler == SIG_DFL
            && now.sa_handler != SIG_DFL)
            kill(getpid(), SIGTERM);
        return real(number, new, old);
    }
"""
"""C code that sends SIGTERM at the instant when its default is put back."""


def preload(folder: Path, code: str) -> dict[str, str]:
    """Compile C code and return the environment in which it is loaded first."""
    assert COMPILER is not None
    file = folder / "preloaded.c"
    file.write_text(textwrap.dedent(code))
    library = file.with_suffix(".so")
    command = [COMPILER, "-shared", "-fPIC", "-o", str(library), str(file), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return {"LD_PRELOAD": str(library)}
