"""The keeper: between whoever starts a command and the command, a small process.

It is a child subreaper: orphans of any depth become its children, and "what is left
behind" is a question to ``/proc`` with one answer.  It ends everything below it when
the command has ended, when its time is over, or when its standard input ends because
whoever started it has closed it or died.  The command itself is not reaped before that,
so that its pid can be signaled safely until then.

The words on its command line are what :class:`.keeper.KeptCommand` has been told; what
it answers are lines, each a Python literal.  JSON would take twice as long to import as
this whole file.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

from .below import end_all, left_behind, reap_all_but
from .linux import adopt_orphans
from .start import start


def watch(leader: int, wakeup: int, deadline: float) -> bool:
    """Wait for the command's end; return True when the time was over before it."""
    pidfd = os.pidfd_open(leader)
    while (remaining := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([0, wakeup, pidfd], [], [], remaining)
        if pidfd in ready or 0 in ready:  # 0: who started us has closed us, or is gone
            return False
        if wakeup in ready:
            os.read(wakeup, 4096)
            reap_all_but(leader)
    return True


def status_of(pid: int) -> int:
    """Return the wait status of a child that ends or has ended, without reaping it."""
    told = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert told is not None
    exited = told.si_code == os.CLD_EXITED
    return told.si_status << 8 if exited else told.si_status


def tell(report: int, *words: object) -> None:
    """Write one line to whoever started us, if it still listens."""
    with suppress(BrokenPipeError):
        os.write(report, repr(words).encode("ascii", "backslashreplace") + b"\n")


def hold_terminal() -> None:
    """Make the standard input our controlling terminal."""
    import termios  # noqa: PLC0415 - for terminals only
    from fcntl import ioctl  # noqa: PLC0415

    ioctl(0, termios.TIOCSCTTY, 0)


def main() -> None:
    """Be the keeper."""
    report, stdin, terminal = map(int, sys.argv[1:4])
    seconds, settle = map(float, sys.argv[4:6])
    os.set_inheritable(report, False)
    adopt_orphans()
    wakeup, far_end = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(far_end, False)
    signal.set_wakeup_fd(far_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        first = hold_terminal if terminal else None
        leader = start(sys.argv[6:], {0: stdin} if stdin >= 0 else {}, first=first)
    except OSError as error:
        return tell(report, "error", error.errno, error.strerror)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # else the command's output would end when we do
        os.dup2(null, stream)
    tell(report, "pid", leader)
    overdue = watch(leader, wakeup, time.monotonic() + seconds)
    left: list[str] = []
    if os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        os.kill(leader, signal.SIGKILL)
    else:
        left = left_behind(os.getpid(), settle, leader)
    tell(report, status_of(leader), left, overdue)
    if not overdue:
        os.read(0, 1)  # the command's pid stays valid until we are closed
    return end_all()
