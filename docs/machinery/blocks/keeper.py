"""Start a command so that nothing of it can outlive us, and say how it ended.

Ways that we rejected:

* ``subprocess`` with a time-out ends the child and leaves the grandchildren.
* Killing the process group misses whoever called ``setsid``.
* ``PR_SET_PDEATHSIG`` reaches one generation, and ``exec`` of a set-uid file drops it.

So between us and the command stands a keeper, a small process of its own.  It is a
child subreaper: orphans of any depth become its children, and "what is left behind"
is a question to ``/proc`` with one answer.  It ends everything below it when the
command has ended, when its time is over, or when its standard input ends because we
closed it or died.  The command itself is not reaped before that, so that its pid can
be signaled safely until :meth:`Kept.close`.

Linux only: it needs ``/proc``, subreapers and pidfds.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import IO, Any, NamedTuple

PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """What ``/proc`` says of a process: its parent, its state letter, its group."""

    parent: int
    state: str
    group: int


def processes() -> dict[int, Process]:
    """Return every process by its pid."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            # The name in parentheses may hold spaces and parentheses itself.
            text = Path("/proc", entry, "stat").read_text(errors="replace")
            state, parent, group = text.rpartition(")")[2].split()[:3]
            found[int(entry)] = Process(int(parent), state, int(group))
    return found


def descendants(root: int) -> list[int]:
    """Return the pids of all processes below ``root``, zombies included."""
    table = processes()
    found = [root]
    for pid in found:
        found.extend(child for child, row in table.items() if row.parent == pid)
    return found[1:]


def describe(pid: int) -> str:
    """Return one process in a few words for a failure message."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return f"pid {pid} (gone since)"
    kind = "zombie" if state == "Z" else "running"
    return f"pid {pid} ({kind}) {command.decode(errors='replace').strip()}".rstrip()


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
        with pidfds(left) as fds:  # a zombie's is readable: its parent never waits
            living = [f for f in fds if not select.select([f], [], [], 0)[0]]
            select.select(living, [], [], remaining if living else 0.01)


@contextmanager
def pidfds(pids: Sequence[int]) -> Iterator[list[int]]:
    """Hold a pidfd for each of ``pids`` that still exists."""
    fds = []
    for pid in pids:
        with suppress(OSError):
            fds.append(os.pidfd_open(pid))
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


@dataclass(frozen=True)
class Ended:
    """How a kept command ended."""

    status: int
    """The wait status, as :func:`os.waitstatus_to_exitcode` wants it."""
    left: list[str]
    """What it left behind: one description for each process."""
    overdue: bool
    """True when the keeper had to end it because its time was over."""

    @property
    def code(self) -> int:
        """The exit status, or minus the number of the signal it died of."""
        return os.waitstatus_to_exitcode(self.status)

    def __str__(self) -> str:
        """Return the end in words."""
        if self.overdue:
            return "hung, and was killed when its time was over"
        if self.code < 0:
            return f"was killed by {signal.Signals(-self.code).name}"
        return f"ended with status {self.code}"


class Kept:
    """A command under a keeper.

    Args:
        argv: the command and its arguments.
        seconds: the time after which the keeper ends it.
        settle: seconds that what is left behind gets to end by itself.
        env: the whole environment of the command.
        cwd: the folder in which it starts.
        stdin: a descriptor for its standard input; the null device when omitted.
        stdout: a descriptor, or ``subprocess.PIPE`` (the default).
        stderr: the same, or ``subprocess.STDOUT``.
        terminal: make ``stdin``, which is a terminal, its controlling terminal.
        pass_fds: further descriptors to hand on.

    Raises:
        OSError: the command can't be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        settle: float,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int = -1,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        terminal: bool = False,
        pass_fds: Sequence[int] = (),
    ) -> None:
        report, far_end = os.pipe()
        plan = {
            "argv": list(argv),
            "seconds": seconds,
            "settle": settle,
            "stdin": stdin,
            "terminal": terminal,
            "report": far_end,
        }
        keeper = [sys.executable, "-I", "-S", __file__, json.dumps(plan)]
        self._keeper = subprocess.Popen(
            keeper,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            pass_fds=[far_end, *pass_fds, *([stdin] if stdin >= 0 else [])],
            start_new_session=True,
        )
        os.close(far_end)
        self._report = open(report, "rb", buffering=0)  # noqa: SIM115
        self._ended: Ended | None = None
        self.stdout: IO[bytes] = self._keeper.stdout  # type: ignore[assignment]
        self.stderr: IO[bytes] = self._keeper.stderr  # type: ignore[assignment]
        started = json.loads(self._report.readline() or b'{"error": [0, "no keeper"]}')
        if "error" in started:
            self.close()
            raise OSError(*started["error"], argv[0])
        self.pid: int = started["pid"]

    @property
    def keeper(self) -> int:
        """The keeper's own pid: everything that the command starts is below it."""
        return self._keeper.pid

    def fileno(self) -> int:
        """Return a descriptor that is readable once the command has ended."""
        return self._report.fileno()

    def wait(self) -> Ended:
        """Wait for the command's end; its pid stays valid until :meth:`close`."""
        if self._ended is None:
            line = self._report.readline()
            if not line:
                raise RuntimeError("the keeper itself was killed")
            self._ended = Ended(**json.loads(line))
        return self._ended

    def send(self, signum: int) -> None:
        """Send a signal to the command."""
        os.kill(self.pid, signum)

    def close(self) -> None:
        """End the command and everything below it; harmless when repeated."""
        with suppress(BrokenPipeError):
            self._keeper.stdin.close()  # type: ignore[union-attr]
        self._keeper.wait()
        self._report.close()
        for pipe in (self._keeper.stdout, self._keeper.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Kept:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self.close()


# From here on: the keeper process.  Nothing above it runs in it but the questions
# to /proc.


def start(argv: list[str], stdin: int, terminal: bool) -> int:
    """Fork and execute the command; raise OSError when there is no such command."""
    failure, far_end = os.pipe()
    pid = os.fork()
    if pid:
        os.close(far_end)
        with open(failure, "rb") as pipe:
            if errno := pipe.read():
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
    for pid, row in processes().items():
        if row.parent == os.getpid() and row.state == "Z" and pid != leader:
            os.waitpid(pid, os.WNOHANG)


def watch(leader: int, wakeup: int, deadline: float) -> bool:
    """Wait for the command's end; return True when the time was over before it."""
    pidfd = os.pidfd_open(leader)
    while (remaining := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([0, wakeup, pidfd], [], [], remaining)
        if wakeup in ready:
            os.read(wakeup, 4096)
            reap_orphans(leader)
        if pidfd in ready:
            return False
        if 0 in ready:  # whoever started us has closed us, or is gone
            return False
    return True


def end_all() -> None:
    """Kill everything below us, wave after wave, until no child is left."""
    while True:
        for pid in descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main() -> None:
    """Be the keeper."""
    plan = json.loads(sys.argv[1])
    report = plan["report"]
    os.set_inheritable(report, False)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, far_end = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(far_end, False)
    signal.set_wakeup_fd(far_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        leader = start(plan["argv"], plan["stdin"], plan["terminal"])
    except OSError as error:
        tell(report, error=[error.errno, error.strerror])
        return
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # else the command's output would end when we do
        os.dup2(null, stream)
    tell(report, pid=leader)
    overdue = watch(leader, wakeup, time.monotonic() + plan["seconds"])
    if os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        os.kill(leader, signal.SIGKILL)
        left = []
    else:
        left = left_behind(os.getpid(), plan["settle"], leader)
    tell(report, status=status_of(leader), left=left, overdue=overdue)
    if not overdue:
        os.read(0, 1)  # the command's pid stays valid until we are closed
    end_all()


def status_of(pid: int) -> int:
    """Return the wait status of a child that ends or has ended, without reaping it."""
    told = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert told is not None
    exited = told.si_code == os.CLD_EXITED
    return told.si_status << 8 if exited else told.si_status


def tell(report: int, **words: object) -> None:
    """Write one line to whoever started us, if it still listens."""
    with suppress(BrokenPipeError):
        os.write(report, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
