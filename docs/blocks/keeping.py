"""The keeper's own side: it starts a command, watches it, and ends all below it.

Nearly every block and every test starts a keeper, so this file imports little: with
``json``, ``re`` and ``enum`` a start would cost four times as much.  ``_signal`` is
``signal`` without its enums.  What the two sides say to each other are the words of a
command line, and lines of ``repr``.  :mod:`blocks.keeper` is the side of the one who
starts it, and asks the same questions to ``/proc``.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import ctypes
import os
import select
import sys
import termios
import time
from fcntl import ioctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PR_SET_CHILD_SUBREAPER = 36


# -- questions to /proc, from both sides -----------------------------------------------


def read(path: str) -> str:
    """Return the text of a small file, or nothing when it is gone."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(fd, 1 << 16).decode(errors="replace")
    except OSError:  # of a process that has ended since
        return ""
    finally:
        os.close(fd)


def processes() -> dict[int, tuple[int, str, int]]:
    """Return for every pid the parent, the state letter and the process group."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        if text := read(f"/proc/{entry}/stat"):
            # The name in parentheses may hold spaces and parentheses itself.
            state, parent, group = text.rpartition(")")[2].split(None, 3)[:3]
            found[int(entry)] = int(parent), state, int(group)
    return found


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below ``root``, zombies included."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in processes().items():
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found[1:]


def describe(pid: int) -> str:
    """Return one process in a few words for a failure message."""
    stat = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if not stat:
        return f"pid {pid} (gone since)"
    command = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    kind = "zombie" if stat[0] == "Z" else "running"
    return f"pid {pid} ({kind}) {command}".rstrip()


def left_behind(root: int, seconds: float, *besides: int) -> list[str]:
    """Describe what lives below ``root`` and does not end within ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        if root == os.getpid():  # the keeper itself: nobody else reaps its orphans
            reap_orphans(*besides)
        left = [pid for pid in descendants(root) if pid not in besides]
        if not left:
            return []
        if (remaining := deadline - time.monotonic()) <= 0:
            return [describe(pid) for pid in left]
        fds = open_pidfds(left)
        try:  # a zombie's is readable: its parent never waits
            living = [f for f in fds if not select.select([f], [], [], 0)[0]]
            select.select(living, [], [], remaining if living else 0.01)
        finally:
            for fd in fds:
                os.close(fd)


def open_pidfds(pids: Sequence[int]) -> list[int]:
    """Return a pidfd for each of ``pids`` that still exists."""
    fds = []
    for pid in pids:
        try:
            fds.append(os.pidfd_open(pid))
        except OSError:
            continue
    return fds


# -- the keeper ------------------------------------------------------------------------


def start(argv: list[str], stdin: int, terminal: bool) -> int:
    """Fork and execute the command; raise OSError when there is no such command."""
    failure, far_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(far_end)
        errno = os.read(failure, 16)
        os.close(failure)
        if errno:
            raise OSError(int(errno), os.strerror(int(errno)))
        return pid
    try:
        os.setsid()
        if stdin < 0:
            stdin = os.open(os.devnull, os.O_RDONLY)
        os.dup2(stdin, 0)
        if stdin > 2:
            os.close(stdin)  # the command gets 0 to 2, and what it was to get
        if terminal:
            ioctl(0, termios.TIOCSCTTY, 0)
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(far_end, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def reap_orphans(leader: int) -> None:
    """Reap every dead child but the command, whose pid has to stay valid."""
    own = os.getpid()
    for pid in map(int, read(f"/proc/{own}/task/{own}/children").split()):
        if pid != leader:
            os.waitpid(pid, os.WNOHANG)


def watch(leader: int, wakeup: int, deadline: float) -> bool:
    """Wait for the command's end; return True when the time was over before it."""
    pidfd = os.pidfd_open(leader)
    while (remaining := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([0, wakeup, pidfd], [], [], remaining)
        if pidfd in ready or 0 in ready:  # 0: who started us has closed us, or is gone
            return False
        if wakeup in ready:
            os.read(wakeup, 4096)
            reap_orphans(leader)
    return True


def end_all() -> None:
    """Kill everything below us, wave after wave, until no child is left."""
    try:
        while True:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
            for pid in descendants(os.getpid()):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            os.waitpid(-1, 0)
    except ChildProcessError:
        return


def status_of(pid: int) -> int:
    """Return the wait status of a child that ends or has ended, without reaping it."""
    told = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert told is not None
    exited = told.si_code == os.CLD_EXITED
    return told.si_status << 8 if exited else told.si_status


def tell(report: int, **words: object) -> None:
    """Write one line to whoever started us, if it still listens."""
    try:
        os.write(report, f"{words!r}\n".encode())
    except BrokenPipeError:
        return


def main() -> None:
    """Be the keeper; the command line has the plan, and the command at its end."""
    seconds, settle = map(float, sys.argv[1:3])
    report, stdin, terminal = map(int, sys.argv[3:6])
    os.set_inheritable(report, False)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, far_end = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(far_end, False)
    signal.set_wakeup_fd(far_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        leader = start(sys.argv[6:], stdin, bool(terminal))
    except OSError as error:
        tell(report, error=[error.errno, error.strerror])
        return
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # else the command's output would end when we do
        os.dup2(null, stream)
    tell(report, pid=leader)
    overdue = watch(leader, wakeup, time.monotonic() + seconds)
    if os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        os.kill(leader, signal.SIGKILL)
        left = []
    else:
        left = left_behind(os.getpid(), settle, leader)
    tell(report, status=status_of(leader), left=left, overdue=overdue)
    if not overdue:
        os.read(0, 1)  # the command's pid stays valid until we are closed
    end_all()
