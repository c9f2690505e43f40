# SPDX-License-Identifier: 0BSD
"""Start a command, and stop it with everything below it: ask, wait, kill.

Ways that we rejected:

* ``child.kill()``, which is what ``subprocess.run(timeout=)`` does.  It ends one
  process; what that has started runs on, and holds the pipes that we read.
* ``os.killpg(os.getpgid(child.pid), ...)``.  A child has our group unless it was given
  another one; then it hits us and all beside us.
* ``os.killpg`` of a group of its own.  Whoever calls setsid, as a daemon does, is out.
* A look at who is below: psutil's ``children(recursive=True)``, ``pkill -P``.  Who is
  started behind our back is not seen, nor who has lost its parent; and a number that we
  have seen may be somebody else's when we send the signal.
* PR_SET_PDEATHSIG.  Only children get it, not theirs, and not while we live.
* A mark that is inherited, in the environment or in a limit.  redis overwrites its
  environment; of a limit there is one, and who marks anew unmarks for who is above.
* To be the subreaper ourselves.  The orphans of all our children come to us then, and
  nobody can say whose they were; nor who reaps them.
* A cgroup.  Without root or systemd there is none that we may make.

So between us and the command stands a keeper, a small process that runs this file.  It
is a subreaper, and so whoever loses its parent below it becomes its child, whatever it
has done to get away.  It kills its own children only, which nobody else reaps: their
numbers can't be a stranger's.  Who was theirs is its own by then; it goes on until it
has none.  It does so when the command has ended, when we say so, and when we are dead.

We use it in a test runner, a tool, an executor: a program that starts others which
nobody knows well.  Not for a command that is to leave a daemon, nor for one that reads
from the terminal; not for a whole system of children, which is the boss's.

What we promise, each line held by a test of the same name:

``asks``: the command, and nobody else, gets the stop signal; if frozen, it is woken.
``waits``: who ends within the grace is not killed, and we return as soon as it has.
``kills``: when the grace is over all is killed, the deaf and the frozen.
``finds``: so is who has left its parent, its group, its session and its environment.
``meanwhile``: so is what is started while we kill.
``left_behind``: when the command ends by itself, what it leaves is killed, and a reader
of its output sees the end.
``spares``: the caller, its group, its other children are not touched, nor strangers.
``status``: ``returncode`` is the command's own; the result says whether we had to kill.
``interrupted``: an exception out of the wait, as by Ctrl-C, kills all at once; it goes
its way when all are dead.
``hurry``: so does a descriptor that becomes readable, such as ``StopWakeup``.
``block``: an exception that leaves ``with Tree(...)`` stops the tree.
``leash``: when the caller dies, however, or loses its tree, all is killed.
``nests``: a tree in a tree is a part of it.
``no_ctrl_c``: the command has a group of its own: Ctrl-C is the caller's to react to.
``clean_start``: the command has default signals, an empty mask and no descriptor more.
``passes_on``: other signals that are sent to the tree reach the command.
``no_command``: one that can't be started is the ``OSError`` of Popen.
``names_survivors``: who can't be killed is named, with the reason.
``keeper_killed``: if somebody kills the keeper, that is an error, and not a stop.
``threads``: all this holds in any thread, and for trees side by side.
``refuses``: a grace, a signal or a command that makes no sense is an error, and nobody
is asked or started.
``elsewhere``: where there are no subreapers, it is one clear error.

Not promised.  Work that is handed to a daemon which runs already is that daemon's.  Who
is below a survivor stays, too.  A tree that is lost while a fork of the caller runs is
ended with both.  One thread stops a tree at a time.  Whoever forks for ever, faster
than we read ``/proc``, may hold us up.  ``sys.executable`` has to be a Python.  Python
can raise as the block, ``stop`` or ``__exit__`` begins, before any line of ours: then
the tree is ended when nobody refers to it any more, or with us.  Linux only.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

PATIENCE = 10.0
"""Seconds; what has been sent SIGKILL and is not dead by then is a survivor."""

UNCAUGHT = {signal.SIGKILL, signal.SIGSTOP}
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 4, 36  # linux/prctl.h


# The keeper, first in the file because it starts quickly: it imports no more than that.
# All signals are blocked in it, and taken one by one.


def _prctl(option: int, value: int) -> None:
    from ctypes import CDLL  # noqa: PLC0415

    CDLL(None).prctl(option, value, 0, 0, 0)


def _keep(leash: int, caller: int, command: Sequence[str]) -> NoReturn:
    signals = signal.valid_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the statuses
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, signal.SIGIO)  # forks of the caller hold the leash, too
    os.set_inheritable(leash, False)
    _tell_by_signal(leash)
    try:
        _children()  # without /proc we could not keep our word
        child = os.posix_spawnp(
            command[0],
            [*command],
            os.environ,
            setpgroup=0,
            setsigmask=(),
            setsigdef=signals - UNCAUGHT,  # by name: ignored ones would stay so
        )
    except OSError as error:
        _say(leash, "keeper", os.getpid())
        _say(leash, "error", error.errno)
        os._exit(127)
    _let_go_of_streams(leash)
    _say(leash, "keeper", os.getpid())
    _say(leash, "command", child)
    status = _watch(leash, caller, child)
    ended, killed, left = _end_all(child)
    for pid, reason in left.items():
        _say(leash, "left", pid, reason)
    _say(leash, "killed", killed)
    _end_as(ended if status is None else status)


def _tell_by_signal(leash: int) -> None:
    from fcntl import F_GETFL, F_SETFL, F_SETOWN, fcntl  # noqa: PLC0415

    fcntl(leash, F_SETOWN, os.getpid())
    fcntl(leash, F_SETFL, fcntl(leash, F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)


def _let_go_of_streams(leash: int) -> None:
    """Hold no pipe of the command: who is at its other end shall see it closed."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.closerange(3, leash)
    os.closerange(leash + 1, os.sysconf("SC_OPEN_MAX"))


def _say(leash: int, *words: object) -> None:
    with suppress(OSError):  # nobody listens
        os.write(leash, " ".join(map(str, words)).encode())


def _watch(leash: int, caller: int, child: int) -> int | None:
    """Pass signals on until the command ends; return its wait status.

    None: it is to be ended.
    """
    while os.getppid() == caller and _pass_on(leash, child):
        signum = signal.sigwait(signal.valid_signals())
        if signum == signal.SIGCHLD:
            if child in (dead := _reap()):
                return dead[child]
        elif signum != signal.SIGIO:
            _send(child, signum)
    return None


def _pass_on(leash: int, child: int) -> bool:
    """Pass on what the caller sends; return False when it has let go of the leash."""
    with suppress(BlockingIOError):
        while word := os.read(leash, 1):
            _send(child, word[0])
        return False
    return True


def _send(child: int, signum: int) -> None:
    with suppress(OSError):  # it is another user's by now
        os.kill(child, signum)


def _reap() -> dict[int, int]:
    """Reap all that have died; return the wait status of each."""
    dead = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            dead[found[0]] = found[1]
    return dead


def _children() -> set[int]:
    with open("/proc/thread-self/children") as file:
        return {int(word) for word in file.read().split()}


def _end_all(child: int) -> tuple[int | None, int, dict[int, str]]:
    """Kill our children, and those that are ours by then, until there are none.

    Returns:
        The command's wait status, if it was reaped; how many were killed; survivors.
    """
    killed = 0
    dying: set[int] = set()
    left: dict[int, str] = {}
    deadline = time.monotonic() + PATIENCE
    status = _reap().get(child)
    while below := _children() - left.keys():
        for pid in below - dying:
            try:
                os.kill(pid, signal.SIGKILL)
                dying.add(pid)
                killed += 1
            except PermissionError as error:
                left[pid] = os.strerror(error.errno or 0)
        patience = max(0.0, deadline - time.monotonic())
        if dying and not signal.sigtimedwait([signal.SIGCHLD], patience):
            left |= dict.fromkeys(dying, "SIGKILL has not ended it")
        dead = _reap()
        dying -= dead.keys()  # a number may come back now
        status = dead.get(child, status)
    return status, killed, left


def _end_as(status: int | None) -> NoReturn:
    """End as the command did; with 125 if it is a survivor."""
    code = 125 if status is None else os.waitstatus_to_exitcode(status)
    if code < 0:
        _prctl(PR_SET_DUMPABLE, 0)  # one core is enough
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        signal.raise_signal(-code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [-code])  # here we die
    os._exit(abs(code))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("stop_tree.py is a module: from stop_tree import Tree")
    _keep(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])


# The caller.

import socket  # noqa: E402
import subprocess  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from typing import Any, NamedTuple, NoReturn, Protocol  # noqa: E402

KEEPER = os.path.abspath(__file__)
_ALIEN = {"shell", "executable", "preexec_fn"}

GRACE = 10.0
"""Seconds that a command gets to end by itself when it is asked to stop."""


class Ended(NamedTuple):
    """How a tree has ended."""

    status: int
    """The command's exit status, or minus the number of the signal that killed it."""
    killed: int
    """How many were sent SIGKILL; 0 if all ended by themselves; -1 if we don't know."""
    survivors: dict[int, str]
    """The pids of those that can't be ended, each with the reason."""


class Readable(Protocol):
    """A descriptor, or what has one."""

    def fileno(self) -> int:
        """Return the descriptor."""


class Tree(subprocess.Popen[Any]):
    """A command with everything below it; otherwise a Popen.

    ``pid`` is the keeper's, and ``kill`` ends the whole tree.

    Args:
        command: the program and its arguments.
        options: as for Popen, but for ``shell``, ``executable`` and ``preexec_fn``.

    Raises:
        OSError: the command can't be started.
        TypeError: it is no list, or comes with one of those three.
        NotImplementedError: this is no Linux.
    """

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        """Start the command below a keeper."""
        if sys.platform != "linux":
            raise NotImplementedError("stop_tree needs Linux: a child subreaper")
        if isinstance(command, str | bytes) or not command or _ALIEN & options.keys():
            raise TypeError(
                "a Tree takes a list, such as ['sh', '-c', text], and no "
                + ", ".join(sorted(_ALIEN))
            )
        self._ended: Ended | None = None
        self._said: dict[str, int] = {}
        self._left: dict[int, str] = {}
        # It carries what the keeper says; its end is our word, or our death.
        self._leash, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options["pass_fds"] = [*options.get("pass_fds", ()), theirs.fileno()]
        if not options.get("start_new_session"):
            options.setdefault("process_group", 0)
        words = [str(theirs.fileno()), str(os.getpid()), *command]
        try:
            with theirs:
                keeper = [sys.executable, "-I", "-S", KEEPER]
                super().__init__([*keeper, *words], **options)
            while self._hear() and "command" not in self._said:
                pass
            if error := self._said.get("error"):
                raise OSError(error, os.strerror(error), words[2])
            if "command" not in self._said:
                raise RuntimeError("the keeper was killed before it began")
        except BaseException:
            theirs.close()
            self._give_up()
            raise
        self.args = command

    def _hear(self) -> bool:
        """Hear what the keeper says next; return False if it is gone."""
        try:
            said = self._leash.recv(4096).decode()
        except ConnectionResetError:  # it has not read all of ours; what it said comes
            return True
        if said:
            kind, number, *reason = said.split(" ", 2)
            if reason:
                self._left[int(number)] = reason[0]
            else:
                self._said[kind] = int(number)
        return bool(said)

    def _give_up(self) -> None:
        """End a tree of which there will be no object."""
        self.kill()
        while self._hear():
            pass
        self._leash.close()
        # An exception may have come between the fork and the line that notes the pid.
        if self.__dict__.get("pid"):
            self.wait()
        elif "keeper" in self._said:
            os.waitpid(self._said["keeper"], 0)

    def send_signal(self, sig: int) -> None:
        """Send the command a signal; SIGKILL ends the whole tree."""
        with suppress(OSError):  # the keeper is gone
            if sig == signal.SIGKILL:
                self._leash.shutdown(socket.SHUT_WR)
            else:
                self._leash.send(bytes([sig]))

    def stop(
        self,
        grace: float = GRACE,
        stop_signal: int = signal.SIGTERM,
        hurry: Readable | int | None = None,
    ) -> Ended:
        """Stop the tree; return when all of it is dead, and the command reaped.

        Args:
            grace: seconds that the command gets to end by itself.
            stop_signal: what it is asked with.
            hurry: when this becomes readable, the grace is over.

        Raises:
            ValueError: a grace below 0 s or of a day, or no signal to stop with.
            RuntimeError: somebody has killed the keeper; the rest may run on.
        """
        if not 0 <= grace < 24 * 3600:
            raise ValueError(f"a grace is 0 s or more and below a day, not {grace} s")
        if stop_signal not in signal.valid_signals():
            raise ValueError(f"there is no signal {stop_signal!r}")
        if self._ended is not None:
            return self._ended
        try:
            self._thaw()
            self.send_signal(stop_signal)
            self.send_signal(signal.SIGCONT)  # a frozen one would not notice
            self._wait_out(grace, hurry)
        finally:
            try:
                ended = self._end()
            except BaseException:  # a handler has raised in its midst: all of it again
                self._end()
                raise
        if ended.killed < 0:
            raise RuntimeError("the keeper was killed; what was below it may run on")
        return ended

    def _wait_out(self, grace: float, hurry: Readable | int | None) -> None:
        waiting = select.poll()
        for source in (self._leash, hurry):
            if source is not None:
                waiting.register(source, select.POLLIN)
        waiting.poll(grace * 1000)

    def _thaw(self) -> None:
        """Wake the keeper, if somebody has frozen it by its number."""
        how = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):  # it is reaped: the number may be another's
            if self.returncode is None and os.waitid(os.P_PID, self.pid, how):
                os.kill(self.pid, signal.SIGCONT)

    def _end(self) -> Ended:
        if self._ended is None:
            self.kill()
            self._thaw()
            while self._hear():
                pass
            self._ended = Ended(self.wait(), self._said.get("killed", -1), self._left)
            self._leash.close()
        return self._ended

    def __exit__(self, kind: Any, *rest: Any) -> None:
        """Stop the tree after an exception; otherwise wait for it, as Popen does."""
        try:
            if kind is not None:
                self.stop()
            super().__exit__(kind, *rest)
        except BaseException:
            self.stop()
            raise

    def __del__(self) -> None:
        """Let go of the leash, since nobody can stop the tree any more."""
        if "_leash" in self.__dict__:
            self._leash.close()  # no shutdown, which would be one in our parent, too
        super().__del__()
