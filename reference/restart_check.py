# SPDX-License-Identifier: 0BSD
"""Find and end what a killed run has left: at the next start, or by a guard, at once.

Ways that we rejected:

* A pid file.  It stays when we are killed, and its number is somebody else's by then.
* A lock file that children inherit.  It says that somebody is left, and not who.
* The name or the command line.  A second copy has the same, and so has a stranger.
* A cookie in the environment.  redis overwrites its own; ``env -i`` drops it.
* The process group, the session, the parent.  A daemon leaves all three.
* A cgroup.  Without root or systemd there is none that we may make.
* PR_SET_PDEATHSIG.  Only children get it, not theirs, and some programs clear it.
* A state file.  It can be forged, be lost, be old; we would have to trust it.

What stays with a process and with all that it starts, through fork, exec, setsid,
another user and an empty environment, are its resource limits.  Linux has ignored one
of them since 2.4.25, RLIMIT_LOCKS, and shows it to all in ``/proc/PID/limits``.  Its
soft value is our mark: 40 bits for what is run (the file, the user, the boot, the
network namespace), and 22 that are new for each run.  The hard one stays as it is.

We use it in a program that starts others and may be killed.  Not where systemd started
us: it has a cgroup, and ends what is in it.

What we promise, each line held by a test of the same name:

``finds``: what a marked start has left is found, whatever it has done to hide since.
``spares``: nothing else is: no stranger with the same name or number, no other run's.
``ends``: it is killed, and we return when it is dead; what it starts meanwhile, too.
``names_survivors``: what we may not kill is named, with the reason, in an error.
``one_at_a_time``: a second run of the same file is an error that names the first's pid.
``not_held_by_the_dead``: after SIGKILL the next run begins, whatever still runs.
``squatter``: a lock held by another user is an error that says so.
``removes``: files that the run calls its own are removed, after whoever used them.
``removes_names_only``: a symbolic link is removed, not what it leads to; no folder is.
``unmarks``: out of ``with run:`` what is started carries our own mark, or none.
``nests``: a run inside of a run is found by both, each by its own mark.
``finishes``: all that is below us is ended and reaped, but for whom we had before.
``guards``: when we are killed, all that is marked is killed within an instant.
``guard_is_quiet``: a guard makes no system call, holds no descriptor, hears no signal.
``guard_spares``: an old guard does not touch what the next run has started.
``reports``: as a program we print what is left of a file's runs, and end it if asked.

Not promised.  Who changes the limit of its own, as a login does, is not ours any more.
Work that is handed to a daemon which runs already is that daemon's.  When run and guard
are killed at once, the next run finds what they have left.  A file that is reached by
another path after its symbolic links have changed is another file.  A process that
forks and exits faster than we can read ``/proc`` may escape two looks in a row.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

LIBC = ctypes.CDLL(None)

LOCKS = 10
"""RLIMIT_LOCKS, which the module ``resource`` has no name for."""

RUN_BITS = 22
"""The low bits of a mark, new for each run; the 40 above them are the file's."""

PATIENCE = 10.0
"""Seconds; what has been sent SIGKILL and is not dead by then is a survivor."""


class RunError(RuntimeError):
    """A run can't begin; the text is one line for whoever starts it."""


def key_of(path: str) -> int:
    """Return the 40 bits that all runs of one file have in common.

    They change with the boot, the user and the network namespace (that of the lock).
    Anybody may compute them: a mark is no secret, ``/proc`` shows it to all.  Who gives
    it to processes of his own gets these killed, and can't give it to anybody else's.

    Raises:
        OSError: there is no such file.
    """
    path = os.path.realpath(path)
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read()
    facts = [boot, os.getuid(), os.stat("/proc/self/ns/net").st_ino]
    text = repr([*facts, os.stat(path).st_dev, path])
    value = 0xCBF29CE484222325  # FNV-1a: a good hash in two lines; no secret is kept
    for byte in text.encode(errors="surrogateescape"):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value >> 24


def marks() -> Iterator[tuple[int, int]]:
    """Yield the pid and the mark of each process that has one; some may be dead.

    Raises:
        RunError: ``/proc`` shows another pid namespace: its numbers are not ours.
    """
    if os.readlink("/proc/self") != str(os.getpid()):
        raise RunError("/proc is that of another pid namespace; mount a new one")
    for name in os.listdir("/proc"):
        if name.isdigit() and (mark := _mark_of(int(name))) is not None:
            yield int(name), mark


def _mark_of(pid: int) -> int | None:
    with suppress(OSError):  # gone
        fd = os.open(f"/proc/{pid}/limits", os.O_RDONLY)
        try:
            limits = os.read(fd, 4096)
        finally:
            os.close(fd)
        words = limits.partition(b"\nMax file locks")[2].split(None, 1)
        if words and words[0].isdigit():
            return int(words[0])
    return None


def left(key: int) -> list[int]:
    """Return the pids of all that runs of a file have left alive."""
    ours = [pid for pid, mark in marks() if mark >> RUN_BITS == key]
    return [pid for pid in ours if not wait(pid, 0)]


@contextmanager
def _opened(pid: int) -> Iterator[int | None]:
    """Yield a pidfd, or None if nobody has that number any more."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def _dead(pidfd: int, seconds: float | None = 0) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def wait(pid: int, seconds: float) -> bool:
    """Wait until a process is dead, reaped or not; return whether it is."""
    with _opened(pid) as pidfd:
        return pidfd is None or _dead(pidfd, seconds)


def end(wanted: Callable[[int], bool], patience: float = PATIENCE) -> dict[int, str]:
    """Kill all whose mark is wanted; return when two looks in a row have found none.

    Args:
        wanted: is asked for each mark.
        patience: how long to wait for those that SIGKILL does not end, in seconds.

    Returns:
        The survivors' pids, each with the reason.
    """
    survivors: dict[int, str] = {}
    deadline = time.monotonic() + patience
    empty_looks = 0
    while empty_looks < 2:
        found = {p: m for p, m in marks() if wanted(m) and p not in survivors}
        killed = [p for p, m in found.items() if _kill(p, m, survivors)]
        empty_looks = 0 if killed else empty_looks + 1
        # One is enough: a look later the others are dead, or are sent it once more.
        if killed and not wait(killed[-1], max(0.0, deadline - time.monotonic())):
            return survivors | dict.fromkeys(killed, "SIGKILL has not ended it")
    return survivors


def _kill(pid: int, mark: int, survivors: dict[int, str]) -> bool:
    """Kill a process that is alive and has this mark; return whether it was so."""
    with _opened(pid) as pidfd:
        # Its mark once more, with the pidfd in our hand: the number may be a
        # stranger's by now.
        if pidfd is None or _dead(pidfd) or _mark_of(pid) != mark or pid == os.getpid():
            return False
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except OSError as error:
            survivors[pid] = os.strerror(error.errno or 0)
            return False
    return True


class Run:
    """One run of a file, after a look at what the earlier ones have left.

    ``with run:`` around a start marks what is started.

    Args:
        path: the file that says what is run, such as a script or a list of children;
            None: a run without a file, which is nobody's second one.
        remove: names that are the run's own: sockets, pid files, segments.

    Raises:
        RunError: it runs already; or somebody of an earlier run can't be ended, or a
            name can't be removed; or there is no limit for us to use.
        OSError: there is no such file.
    """

    mark: int
    guard_pid = 0

    def __init__(self, path: str | None = None, remove: Iterable[str] = ()) -> None:
        """Take the lock, end the earlier runs' processes, remove their files."""
        self._others = _, hard = resource.getrlimit(LOCKS)
        if hard != resource.RLIM_INFINITY:
            raise RunError(f"the hard limit of file locks is {hard}, and not unlimited")
        self._is_pid_1 = os.getpid() == 1  # all ends with us: the kernel is the guard
        key = int.from_bytes(os.urandom(5), "big")
        self._lock: socket.socket | None = None
        if path is not None:
            key = key_of(path)
            self._lock = _hold(key)
        try:
            if not self._is_pid_1:
                _end_earlier(key)
            for name in remove:
                _remove(name)
        except BaseException:
            self.close()
            raise
        run = int.from_bytes(os.urandom(4), "big") % 2**RUN_BITS
        self.mark = key << RUN_BITS | run
        self._ours = self.mark, hard

    def __enter__(self) -> None:
        """Mark what is started from here on."""
        resource.setrlimit(LOCKS, self._ours)

    def __exit__(self, *_: object) -> None:
        """Mark nothing more."""
        resource.setrlimit(LOCKS, self._others)

    def guard(self) -> int:
        """Fork a guard, which kills all that is marked once we are dead.

        It is a child of ours in a session of its own; whoever reaps it clears
        ``guard_pid`` and may ask for a new one.  Where there is one already, the new
        one takes its place.  Call it in the main thread, before threads are started.

        Returns:
            Its pid, as ``guard_pid`` says too; 0 if we are PID 1 and need none.

        Raises:
            OSError: the system refuses.
        """
        if self._is_pid_1:
            return 0
        with suppress(AttributeError):  # glibc has it; less to share, to copy, to free
            LIBC.malloc_trim(0)
        us = os.pidfd_open(os.getpid())  # an end of a pipe would be inherited by all
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if not pid:
                self.watch(us)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(us)
        self._end_guard()
        self.guard_pid = pid
        return pid

    def watch(self, us: int) -> None:
        """Be the guard: wait for the end of whoever has forked us, then kill; a seam.

        Args:
            us: a pidfd of that process.
        """
        try:
            os.setsid()
            os.chdir("/")
            os.closerange(0, us)
            os.closerange(us + 1, os.sysconf("SC_OPEN_MAX"))
            # A guard above us would kill ours before its work, if it had a mark.
            resource.setrlimit(LOCKS, (self._others[1], self._others[1]))
            with suppress(OSError), open("/proc/self/comm", "w") as name:
                name.write("guard")
            _dead(us, None)
            self.end()
        finally:
            os._exit(0)

    def end(self) -> dict[int, str]:
        """Kill all that this run has started; return the survivors with reasons.

        PID 1 kills nobody: the kernel does.
        """
        return {} if self._is_pid_1 else end(lambda mark: mark == self.mark)

    def adopt(self) -> None:
        """Become the parent of all orphans below us, up to :meth:`finish`."""
        self._was_subreaper = _subreaper()
        _subreaper(True)
        self._not_ours = _children()

    def finish(self) -> dict[int, str]:
        """End and reap all that is still below us, and tell the guard to end.

        Whoever was our child before :meth:`adopt` is spared; the guard is reaped by
        :meth:`close`, so that its end and what we do meanwhile take place at once.

        Returns:
            The survivors' pids, each with the reason.
        """
        survivors: dict[int, str] = {}
        known = {*self._not_ours, self.guard_pid}
        while not self._is_pid_1 and (others := _children() - known):
            survivors |= self.end()
            for pid in others:
                # Not marked: a guard of another run, which ends when its work is done.
                if wait(pid, PATIENCE):
                    os.waitpid(pid, 0)
                else:
                    survivors.setdefault(pid, "not marked as ours, and does not end")
                    known.add(pid)
        self._kill_guard()
        _subreaper(self._was_subreaper)
        return survivors

    def _kill_guard(self) -> None:
        if self.guard_pid:
            os.kill(self.guard_pid, signal.SIGKILL)

    def _end_guard(self) -> None:
        self._kill_guard()
        if self.guard_pid:
            os.waitpid(self.guard_pid, 0)
            self.guard_pid = 0

    def close(self) -> None:
        """End the guard, and give the lock back; our end does so, whatever it is."""
        if self._lock:
            self._lock.close()
        self._end_guard()


def _children() -> set[int]:
    fd = os.open("/proc/thread-self/children", os.O_RDONLY)
    try:
        text = b"".join(iter(lambda: os.read(fd, 4096), b""))
    finally:
        os.close(fd)
    return {int(word) for word in text.split()}


def _subreaper(on: bool | None = None) -> bool:
    """Return whether orphans below us become our children; with ``on``, set it."""
    answer = ctypes.c_int()
    if on is None:
        LIBC.prctl(37, ctypes.byref(answer), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
    else:
        LIBC.prctl(36, int(on), 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    return bool(answer)


def _hold(key: int) -> socket.socket:
    # A name without a file: the kernel takes it back when we die, nobody can remove it
    # while we live, and there is no folder to be trusted.
    lock = socket.socket(socket.AF_UNIX)
    name = f"\0fatal-signals/{os.getuid()}/{key:x}"
    try:
        lock.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise RunError(_who_holds(lock, name)) from None
    lock.listen()
    return lock


def _who_holds(visitor: socket.socket, name: str) -> str:
    with visitor:
        try:
            visitor.setblocking(False)
            visitor.connect(name)
            size = struct.calcsize("3i")
            facts = visitor.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            pid, uid, _ = struct.unpack("3i", facts)
        except OSError:
            return "is being started or ended by somebody else; try again"
    if uid not in (0, os.getuid()):
        return f"its lock is held by another user's process, pid {pid}, uid {uid}"
    return f"runs already, pid {pid}"


def _end_earlier(key: int) -> None:
    survivors = end(lambda mark: mark >> RUN_BITS == key)
    for pid, reason in survivors.items():
        raise RunError(f"pid {pid} of an earlier run can't be ended: {reason}")


def _remove(name: str) -> None:
    try:
        if stat.S_ISDIR(os.lstat(name).st_mode):
            raise RunError(f"{name!r} is a folder; remove it yourself")
        os.unlink(name)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunError(f"{name!r} can't be removed: {error.strerror}") from None


HELP = """usage: python restart_check.py [--end] FILE

Prints the pid and the command of each process that runs of FILE have left, such as
those of a boss that was killed.

  --end    kill them as well

exit status: 0 if nothing is left, 1 if something is, 2 for a mistake, 75 if FILE is
being run: then these are no leftovers."""


def main(arguments: Sequence[str]) -> int:
    """Be the program; return its exit status.

    Args:
        arguments: those of the command line, without the program's name.
    """
    words = [word for word in arguments if word != "--end"]
    if words in (["-h"], ["--help"]):
        print(HELP)
        return 0
    if len(words) != 1 or words[0].startswith("-"):
        return _complain(HELP.partition("\n")[0], 2)
    try:
        key = key_of(words[0])
        with _hold(key):
            for pid in left(key):
                print(pid, _command(pid))
            if "--end" in arguments:
                _end_earlier(key)
            return 1 if left(key) else 0
    except RunError as error:
        return _complain(f"{words[0]}: {error}", 75)
    except OSError as error:
        return _complain(f"{words[0]}: {error.strerror}", 2)


def _command(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().rstrip(b"\0").split(b"\0")
        return b" ".join(words).decode(errors="backslashreplace")
    return ""


def _complain(text: str, status: int) -> int:
    with suppress(OSError):
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
