# SPDX-License-Identifier: 0BSD
"""A boss: starts children from a file, restarts the dead, takes all down, then dies.

Ways that we rejected:

* A look at every child at every tick.  Deaths wait for the tick, and idle is not idle.
* A loop around ``sleep``.  Python goes on sleeping after a signal: the stop is late.
* Reaping in the handler.  It runs in the midst of a start, before we know the pid.
* One ``waitpid`` for each SIGCHLD.  The signal merges: ten deaths can be one SIGCHLD.
* SIGCHLD ignored.  The kernel throws the statuses away, and nobody learns who died.
* A pidfd for each child.  A default descriptor limit ends it at about a thousand.
* ``subprocess.Popen``.  Its start is slower than ours, and it wants to reap by itself.
* ``preexec_fn``, or fork and exec.  A SIGTERM in the gap runs our handler in the child.
* The group first.  A child that is a boss would see its own children die, and restart
  them.  We ask the leader; the group gets SIGKILL, at the end.
* Killing the group of a reaped leader.  Its number may be somebody else's by then.
* The guard above us, as our parent.  Its pid is what people see, and a stop is slower.
* The wakeup fd's bytes as the news.  When it is full, the one for SIGTERM is missing.

We use it where a few programs that we wrote belong together: on a developer's machine,
in a test, in one container.  Not as a machine's first service manager (systemd is there
and knows cgroups), not over several machines (Kubernetes), and not as a library in a
process that starts children of its own: the boss reaps whatever dies below it.  It
needs ``restart_check.py`` beside it, which has the guard and the look before the start.

What we promise, each line held by a test of the same name:

``bad_file``: a file with a mistake is one line with file and key, status 2, no start.
``start_order``: a child is started when all that it comes ``after`` are up.
``ready``: up is who has been started; with a ``ready-fd``, who has written a newline.
``own_group``: each child leads a process group, which Ctrl-C does not reach.
``clean_start``: a child has default signals, an empty mask, an empty standard input.
``folder_and_env``: ``cwd`` and ``env`` are the child's; ours are as before.
``restarts``: a child that dies is started again, the first time without delay.
``backs_off``: each further delay is twice as long, up to ``BACKOFF_CAP``.
``steady``: a child that ran for ``STEADY`` seconds is restarted without delay again.
``intensity``: past so many restarts in a period we take all down, and exit 1.
``policy``: ``on-failure`` brings back what failed, ``never`` nothing.
``failed_start``: a start that fails is a death like any other.
``nothing_left``: with nothing to run we exit 0, or 1 when one that ended had failed.
``asks_the_leader``: a stop sends SIGTERM to the leader, and nothing to its group.
``stop_signal``: a child that names another ``stop-signal`` is asked by that.
``wakes_the_frozen``: a child that SIGSTOP has frozen is asked as well, and woken.
``all_at_once``: children that no ``after`` orders are asked before any is waited for.
``stop_order``: a child is asked when all that come after it are down.
``escalates``: a child that outlives its grace is killed, with its group.
``hurry``: a second signal to stop kills whatever still runs.
``group_goes_too``: what a dead leader leaves in its group is killed; then we reap it.
``no_restart_in_stop``: a death is not followed by a start once a stop has begun.
``stop_in_start_up``: after a signal between two starts there is no further start.
``reaps_all``: deaths that come together are all reaped, those of strangers too.
``hangs_up``: SIGHUP and SIGQUIT stop us as SIGTERM does.
``nohup``: a SIGHUP that is ignored when we are started stays so: somebody chose that.
``true_death``: the boss dies by the signal that stopped it, without a traceback.
``pid_1``: where it can't die by it, it exits with 128 + the signal's number.
``one_for_a_file``: while one runs, a second one for its file says so and exits 75.
``guarded``: when we die by SIGKILL, a guard kills all that we have started.
``next_start``: what even that has missed is ended, and removed, before the first start.
``hidden``: who has left its child's group is killed when all children are down.
``suspends``: SIGTSTP stops us and no child; SIGCONT, and no death has been missed.
``hears_anyway``: other signals that were ignored or blocked then are heard.
``idle``: a boss that waits makes no system call, and does not run at all.
``log_is_no_leash``: a log that is closed, broken or full neither kills nor stops us.
``gives_back``: ``run`` leaves handlers, mask, wakeup fd and descriptors as they were.
``no_child_left``: an exception that leaves ``run`` leaves no child behind.
``main_thread``: ``run`` outside the main thread is an error that changes nothing.

Not promised.  Boss and guard killed at once leave children, up to the next start.  Who
changes its user beyond our rights can't be ended.  Two stop signals with no look
between them may count as one.  Descriptors that we inherit without close-on-exec reach
the children.  A line that does not fit into the log is dropped, yet another writer can
fill it between our look and our write.  A handler that C code has set comes back as the
default.  A program on a dead network disk holds up the boss that starts it.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C while the rest is imported, some 20 ms: a plain death, not a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import select
import sys
import time
import tomllib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from enum import StrEnum
from fcntl import F_DUPFD_CLOEXEC, fcntl
from functools import cache
from graphlib import CycleError, TopologicalSorter
from heapq import heappop, heappush
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING or not __package__:
    import restart_check
else:
    from . import restart_check

GRACE = 10.0
"""Seconds from the stop signal to SIGKILL for a child whose table does not say."""

LONGEST = 1_000_000
"""Seconds; no grace is longer.  ``poll`` has an int of milliseconds: twice as many."""

BACKOFF_FIRST = 0.1
"""Seconds before the second restart; the first has no delay."""

BACKOFF_CAP = 10.0
"""Seconds; no delay is longer."""

STEADY = 10.0
"""Seconds of running after which a child's earlier deaths are forgotten."""

PERIOD = 60.0
"""Seconds in which restarts are counted where the file does not say."""

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""The signals that tell us to stop."""

RESTART = ("always", "on-failure", "never")
SIGNALS = {signum.name for signum in signal.Signals} - {"SIGSTOP"}
SECONDS = f"a number of seconds, 0 to {LONGEST}"

MESSAGES = {
    "child-started": "The child runs under this pid, which is its process group too.",
    "child-not-started": "The system refused the start; we treat it as a death.",
    "child-died": "The child has been reaped; `exit` or `signal` says how it ended.",
    "child-backs-off": "The child will be started again after this many seconds.",
    "child-asked": "It was sent its stop signal; SIGKILL follows after the grace.",
    "child-killed": "SIGKILL has been sent to the child and to its group.",
    "too-many-restarts": "More than `intensity` in `period` seconds: we take all down.",
    "child-ready": "The child has written a newline to its `ready-fd`.",
    "all-started": "Each start has been tried once; from here on the boss waits.",
    "stopping": "A first signal to stop has come; the children are asked to.",
    "hurrying": "A further signal to stop has come; what still runs is killed.",
    "stranger-reaped": "An orphan, left to us by its parent, died, and not of SIGKILL.",
    "guard-replaced": "The process that ends all if we are killed had died itself.",
    "no-guard": "There can be none: SIGKILL would leave our children running.",
    "survivor": "What SIGKILL can't end, or we may not kill: we leave without it.",
    "ended": "No child runs or will run; `failed` counts failures that were final.",
}
"""Every message of the log by its id, explained."""


class State(StrEnum):
    """Where a child is."""

    WAITING = "waiting"
    RUNNING = "running"
    BACKOFF = "backing off"
    STOPPING = "stopping"
    KILLED = "killed"
    DOWN = "down"


class Event(StrEnum):
    """What happens to a child."""

    START = "all that it comes after are up"
    LOST = "it died and is wanted back"
    ENDED = "it died and is not wanted back"
    DUE = "its deadline has come"
    STOP = "its turn to stop"
    HURRY = "a second signal"


WAITING, RUNNING, BACKOFF, STOPPING, KILLED, DOWN = State
START, LOST, ENDED, DUE, STOP, HURRY = Event
NEVER = ("impossible", None)

# fmt: off
TABLE: dict[State, dict[Event, tuple[str, State | None]]] = {
    WAITING:  {START: ("start", RUNNING), LOST: NEVER,  ENDED: NEVER,
               DUE: NEVER, STOP: ("let_go", DOWN), HURRY: NEVER},
    RUNNING:  {START: NEVER, LOST: ("back_off", BACKOFF), ENDED: ("let_go", DOWN),
               DUE: NEVER, STOP: ("ask", STOPPING), HURRY: ("kill", KILLED)},
    BACKOFF:  {START: NEVER, LOST: NEVER, ENDED: NEVER,
               DUE: ("start", RUNNING), STOP: ("let_go", DOWN), HURRY: NEVER},
    STOPPING: {START: NEVER, LOST: NEVER, ENDED: ("let_go", DOWN),
               DUE: ("kill", KILLED), STOP: NEVER, HURRY: ("kill", KILLED)},
    KILLED:   {START: NEVER, LOST: NEVER, ENDED: ("let_go", DOWN),
               DUE: NEVER, STOP: ("nothing", KILLED), HURRY: ("nothing", KILLED)},
    DOWN:     {START: NEVER, LOST: NEVER, ENDED: NEVER,
               DUE: NEVER, STOP: ("nothing", DOWN), HURRY: ("nothing", DOWN)},
}
# fmt: on
"""What we do, and where the child is then, for every event in every state.

The actions are methods of :class:`Boss`.  What can't happen is there too, so that no
cell is forgotten: it has no next state, and is an AssertionError.
"""


class ChildError(ValueError):
    """A child can't be started as described; the text is one line for its author."""


class Child(NamedTuple):
    """One child, as a ``[[child]]`` table describes it.

    ``name`` is for the log and for ``after``; ``command`` is the program and its
    arguments; ``after`` names the children to start before it and to stop after it;
    ``restart`` is ``always``, ``on-failure`` or ``never``; ``grace`` is in seconds;
    ``stop_signal`` is the name of the signal that asks it to stop; ``ready_fd`` is the
    descriptor on which it says that it is ready (None: it does not); ``cwd`` is the
    folder to start in (None: ours); ``env`` is added to our own.
    """

    name: str
    command: Sequence[str]
    after: Sequence[str] = ()
    restart: str = "always"
    grace: float = GRACE
    stop_signal: str = "SIGTERM"
    ready_fd: int | None = None
    cwd: str | None = None
    env: Mapping[str, str] = MappingProxyType({})


class System(NamedTuple):
    """What a file describes, and what a :class:`Boss` takes.

    ``intensity`` is how many restarts there may be in ``period`` seconds (None: any);
    ``remove`` are names of files that are removed before the first start; ``file`` is
    what other runs of the same system are known by (None: there are none).
    """

    children: Sequence[Child]
    intensity: int | None = None
    period: float = PERIOD
    remove: Sequence[str] = ()
    file: str | None = None


def _texts(value: Any) -> bool:
    """Return whether this is a list of strings that the system takes."""
    return type(value) is list and all(type(s) is str and "\0" not in s for s in value)


def _is_env(value: Any) -> bool:
    names = value if type(value) is dict else [""]
    return all(n and "=" not in n for n in names) and _texts([*names, *value.values()])


Keys = dict[str, tuple[Callable[[Any], bool], str]]

# By type: to Python true is a number as well, to the author of the file it is not.
BOSS_KEYS: Keys = {
    "intensity": (lambda v: type(v) is int and v >= 0, "a number of restarts"),
    "period": (lambda v: type(v) in (int, float) and 0 < v <= LONGEST, SECONDS),
    "remove": (lambda v: _texts(v) and all(v), "a list of files"),
}
KEYS: Keys = {
    "name": (lambda v: _texts([v]) and v.isprintable() and v.split() == [v], "a word"),
    "command": (lambda v: _texts(v) and any(v[:1]), "a list: program, arguments"),
    "after": (_texts, "a name or a list of names"),
    "restart": (lambda v: v in RESTART, " or ".join(RESTART)),
    "grace": (lambda v: type(v) in (int, float) and 0 <= v <= LONGEST, SECONDS),
    "stop-signal": (lambda v: _texts([v]) and v in SIGNALS, "a signal, such as SIGINT"),
    "ready-fd": (lambda v: type(v) is int and 3 <= v <= 255, "a number, 3 to 255"),
    "cwd": (lambda v: _texts([v]), "the path of a folder"),
    "env": (_is_env, "a table of strings"),
}


def _unknown(kind: str, word: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - 1 ms, for mistakes only

    hints = [f"; did you mean {name!r}?" for name in get_close_matches(word, known, 1)]
    return f"unknown {kind} {word!r}{''.join(hints)}"


def _check(where: str, table: dict[str, Any], keys: Keys) -> None:
    for key, value in table.items():
        if key not in keys:
            raise ChildError(f"{where}: {_unknown('key', key, keys)}")
        if not keys[key][0](value):
            wanted, found = keys[key][1], f"{value!r:.60}"
            raise ChildError(f"{where}: {key} must be {wanted}, not {found}")


def _read_child(number: int, table: Any, folder: str) -> Child:
    where = f"child {number}"
    if not isinstance(table, dict):
        raise ChildError(f"{where}: must be a table, not {table!r:.60}")
    if KEYS["name"][0](table.get("name")):
        where += f" ({table['name']})"
    if isinstance(table.get("after"), str):
        table["after"] = [table["after"]]
    _check(where, table, KEYS)
    for key in [key for key in ("name", "command") if key not in table]:
        raise ChildError(f"{where}: key '{key}' is missing")
    if "cwd" in table:
        table["cwd"] = os.path.join(folder, table["cwd"])
    return Child(**{key.replace("-", "_"): value for key, value in table.items()})


def _in_order(children: Iterable[Child]) -> list[tuple[str, Child]]:
    """Return the children in the order of their starts, each with where it stands."""
    places: dict[str, tuple[str, Child]] = {}
    graph: TopologicalSorter[str] = TopologicalSorter()
    for number, child in enumerate(children, 1):
        where = f"child {number} ({child.name})"
        if child.name in places:
            raise ChildError(f"{where}: name: {places[child.name][0]} has it already")
        places[child.name] = where, child
        graph.add(child.name)  # all of them first: where ``after`` is silent, in order
    for where, child in places.values():
        for name in child.after:
            if name not in places:
                raise ChildError(f"{where}: after: {_unknown('name', name, places)}")
        graph.add(child.name, *child.after)
    try:
        return [places[name] for name in graph.static_order()]
    except CycleError as error:
        ring = error.args[1][::-1]
        where = places[ring[0]][0]
        raise ChildError(f"{where}: after: a ring, {' after '.join(ring)}") from None


def load(path: str) -> System:
    """Return what a TOML file describes, its children in the file's order.

    Whether their programs and folders are there is not looked at: :class:`Boss` does.

    Args:
        path: the file; a relative ``cwd`` in it counts from its folder.

    Raises:
        ChildError: the file can't be read or has a mistake; the text says where in it.
    """
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except (OSError, ValueError) as error:  # ValueError: no TOML, or no UTF-8
        raise ChildError(getattr(error, "strerror", None) or str(error)) from None
    for key in [key for key in tables if key not in ("boss", "child")]:
        raise ChildError(_unknown("key", key, ["boss", "child"]))
    limits = tables.get("boss", {})
    if not isinstance(limits, dict):
        raise ChildError("boss: must be a table, [boss]")
    _check("boss", limits, BOSS_KEYS)
    listed = tables.get("child")
    if not isinstance(listed, list) or not listed:
        raise ChildError("there is no [[child]] table")
    folder = os.path.dirname(os.path.abspath(path))
    children = [_read_child(n, table, folder) for n, table in enumerate(listed, 1)]
    _in_order(children)
    names = [os.path.join(folder, name) for name in limits.pop("remove", ())]
    return System(children, **limits, remove=names, file=path)


def _find_program(program: str, cwd: str | None, path: str) -> str:
    """Return the path of a program as a child in ``cwd`` would find it."""
    cwd = os.path.join(os.getcwd(), cwd or "")
    if not os.access(os.path.join(cwd, "."), os.X_OK):
        raise ChildError(f"cwd: there is no folder {cwd!r}, or we may not enter it")
    for folder in [""] if "/" in program else path.split(":"):
        file = os.path.join(cwd, folder, program)
        if os.path.isfile(file) and os.access(file, os.X_OK):
            return file
    where = f"in {cwd!r}" if "/" in program else f"on the PATH {path!r}"
    raise ChildError(f"command: there is no program {program!r} {where}")


def _bytes(text: str) -> bytes:
    # As in the file, whatever the locale is.
    return text.encode("utf-8", "surrogateescape")


class _Entry:
    """A child in the boss's book, with all that its starts need made ready once."""

    __slots__ = (  # a third less memory
        *("child", "number", "state", "pid", "who", "deadline", "started", "deaths"),
        *("comes_after", "not_down", "comes_before", "not_up", "is_up", "ready"),
        *("_program", "_argv", "_env"),
    )

    def __init__(
        self, child: Child, number: int, program: str, env: dict[bytes, bytes]
    ) -> None:
        self.child = child
        self.number = number
        self.state = WAITING
        self.pid = 0
        self.who = ""  # for the log
        self.deadline: float | None = None
        self.started = 0.0
        self.deaths = 0  # in a row
        self.comes_after: list[_Entry] = []
        self.not_down = 0  # how many come after it and are not down
        self.comes_before: list[_Entry] = []
        self.not_up = 0  # how many it comes after and are not up yet
        self.is_up = False
        self.ready: int | None = None  # where we read whether it is ready
        self._program = _bytes(program)
        self._argv = [_bytes(word) for word in child.command]
        more = {_bytes(key): _bytes(text) for key, text in child.env.items()}
        self._env = {**env, **more} if more else env

    def start(self) -> int:
        """Start the child and return its pid; raise OSError when that fails."""
        if self.child.ready_fd is None:
            return self._spawn(_SPAWN)
        self.ready, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Elsewhere than there: dup2 of itself would leave it close-on-exec.
            other = fcntl(writer, F_DUPFD_CLOEXEC, self.child.ready_fd + 1)
            os.close(writer)
            writer = other
            os.set_blocking(writer, True)
            dup2 = (os.POSIX_SPAWN_DUP2, writer, self.child.ready_fd)
            return self._spawn(
                _SPAWN | {"file_actions": [*_SPAWN["file_actions"], dup2]}
            )
        finally:
            os.close(writer)

    def _spawn(self, how: dict[str, Any]) -> int:
        if self.child.cwd is None:
            return os.posix_spawn(self._program, self._argv, self._env, **how)
        # posix_spawn has no word for the folder, so we go there and back.
        home = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.fchdir(home)  # may we come back?  We ask before anything is started.
            os.chdir(self.child.cwd)
            return os.posix_spawn(self._program, self._argv, self._env, **how)
        finally:
            os.fchdir(home)
            os.close(home)


# Every signal by name: posix_spawn hands on what we ignore, and Python ignores SIGPIPE.
_SPAWN: dict[str, Any] = {
    "setpgroup": 0,
    "setsigdef": signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    "setsigmask": (),
    "file_actions": [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
}


class _Log:
    """Lines for standard error; dropped where nobody reads, rather than waited for."""

    def __init__(self) -> None:
        self._lines = b""
        self._poll = select.poll()
        self._poll.register(2, select.POLLOUT)

    def say(self, message: str, facts: str) -> None:
        """Add a line.  In a storm one write takes up to a hundred of them."""
        line = f"boss {message}: {facts}\n".encode(errors="replace")
        # What a pipe takes whole, and has room for where poll says that it has any.
        if len(self._lines) + len(line) > select.PIPE_BUF:
            self.flush()
        self._lines += line

    def flush(self) -> None:
        """Write what is there: before we wait, before others act on it."""
        lines, self._lines = self._lines, b""
        with suppress(OSError):  # closed or broken
            if lines and self._poll.poll(0):
                os.write(2, lines)


class Boss:
    """Children that are started, restarted and stopped together.

    Args:
        children: in the order of the file; ``after`` goes before that order.
        intensity: how many restarts there may be in a period; None for any number.
        period: in seconds.
        remove: files that are the system's own and stay when it is killed, such as
            sockets: they are removed before the first start.
        file: what other runs of the same system are known by.  Whatever a killed one
            has left is ended before the first start.

    Raises:
        ChildError: two children have one name; ``after`` has an unknown name or a ring;
            a folder or a program is not there.
    """

    failed: list[str]
    """The names of the children that ended in failure and were not restarted."""

    def __init__(
        self,
        children: Iterable[Child],
        intensity: int | None = None,
        period: float = PERIOD,
        remove: Sequence[str] = (),
        file: str | None = None,
    ) -> None:
        """Look at everything that the starts need, and start nothing."""
        self.failed = []
        self._entries: list[_Entry] = []
        self._by_pid: dict[int, _Entry] = {}
        self._deadlines: list[tuple[float, int]] = []  # a heap, and some are outdated
        self._log = _Log()
        self._noted = bytearray(signal.NSIG)
        self._stopping = False
        self._stopped_by: signal.Signals | None = None
        self._intensity, self._period = intensity, period
        self._remove, self._file = remove, file
        self._restarts: deque[float] = deque()  # when, for the last of them
        by_name: dict[str, _Entry] = {}
        find_program, env = cache(_find_program), dict(os.environb)
        for where, child in _in_order(children):
            path = child.env.get("PATH") or os.environ.get("PATH") or os.defpath
            try:
                program = find_program(child.command[0], child.cwd, path)
            except ChildError as error:
                raise ChildError(f"{where}: {error}") from None
            entry = _Entry(child, len(self._entries), program, env)
            entry.comes_after = [by_name[name] for name in {*child.after}]
            entry.not_up = len(entry.comes_after)
            for earlier in entry.comes_after:
                earlier.not_down += 1
                earlier.comes_before.append(entry)
            self._entries.append(entry)
            by_name[child.name] = entry
        self._left = len(self._entries)  # how many are not down
        self._unstarted = len(self._entries)
        self._poll = select.poll()  # select.select knows no descriptor above 1023
        self._readers: dict[int, _Entry] = {}

    def run(self) -> signal.Signals | None:
        """Run the children until a signal stops us or nothing is left to run.

        In the main thread, and once.  Until it returns, the signals to stop and SIGCHLD
        are ours, and so is every process that dies below us.

        Returns:
            The signal that stopped us, or None when nothing was left to run.

        Raises:
            RuntimeError: not the main thread; nothing has been changed or started.
            RunError: the file is being run; what an earlier run has left can't be
                ended or removed.
        """
        with (
            self._listening() as wakeup,
            closing(restart_check.Run(self._file, self._remove)) as self._run,
        ):
            self._run.adopt()
            try:
                self._new_guard()
                self._poll.register(wakeup, select.POLLIN)
                self._start_all(self._entries)
                while self._left:
                    self._wait(wakeup)
                    self._look()
            finally:
                self._kill_all()
                for pid, reason in self._run.finish().items():
                    self._log.say("survivor", f"pid={pid} error={reason!r}")
                self._log.say("ended", f"failed={len(self.failed)}")
                self._log.flush()
        return self._stopped_by

    @contextmanager
    def _listening(self) -> Iterator[int]:
        heard = {*STOPS, signal.SIGCHLD}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            heard.remove(signal.SIGHUP)  # nohup; SIGINT may be ignored for an "&" only
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # Nothing comes while we change things: it waits, for us or for our caller.
            signal.pthread_sigmask(signal.SIG_BLOCK, heard)
            earlier_fd = self._wake_by(writer)
            earlier = {signum: signal.signal(signum, self._note) for signum in heard}
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
                yield reader
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, heard)
                for signum, handler in earlier.items():
                    signal.signal(signum, handler or signal.SIG_DFL)
                signal.set_wakeup_fd(earlier_fd)
        finally:
            os.close(reader)
            os.close(writer)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @staticmethod
    def _wake_by(fd: int) -> int:
        try:
            return signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        except ValueError:
            text = "Python sets handlers in the main thread: run there"
            raise RuntimeError(text) from None

    def _new_guard(self) -> None:
        try:
            self._run.guard()
        except OSError as error:
            if not self._run.guard_pid:
                self._log.say("no-guard", f"error={error.strerror!r}")

    def _note(self, signum: int, _: object) -> None:
        self._noted[signum] = 1

    def _start_all(self, entries: Iterable[_Entry]) -> None:
        turn = deque(entries)
        while turn:
            if self._stopping or any(self._noted[signum] for signum in STOPS):
                return
            entry = turn.popleft()
            if entry.state is WAITING and not entry.not_up:
                self._unstarted -= 1
                self._fire(entry, START)
                if entry.is_up:
                    turn.extend(entry.comes_before)
                if not self._unstarted:
                    self._new_guard()  # which shares our memory as it is from now on
                    self._log.say("all-started", f"children={len(self._entries)}")

    def _wait(self, wakeup: int) -> None:
        self._log.flush()
        deadline = self._next_deadline()
        left = deadline and max(0.0, deadline - time.monotonic()) * 1000
        found = [fd for fd, _ in self._poll.poll(left)]
        # Empty it to the end, and before the look: a byte that comes later wakes again.
        with suppress(BlockingIOError):
            while len(os.read(wakeup, 4096)) == 4096:
                pass
        for fd in found:
            if entry := self._readers.get(fd):
                self._hear(fd, entry)

    def _hear(self, fd: int, entry: _Entry) -> None:
        text = os.read(fd, 4096)
        if not text:  # closed without a newline: it will never be ready
            self._close(entry)
        elif b"\n" in text:
            self._close(entry)
            self._log.say("child-ready", entry.who)
            self._set_up(entry)
            self._start_all(entry.comes_before)

    def _close(self, entry: _Entry) -> None:
        if entry.ready is not None:
            with suppress(KeyError):  # not yet registered: its start has failed
                del self._readers[entry.ready]
                self._poll.unregister(entry.ready)
            os.close(entry.ready)
            entry.ready = None

    def _set_up(self, entry: _Entry) -> None:
        """Note that those after it need not wait for it any more."""
        if not entry.is_up:
            entry.is_up = True
            for later in entry.comes_before:
                later.not_up -= 1

    def _next_deadline(self) -> float | None:
        heap = self._deadlines
        while heap and self._entries[heap[0][1]].deadline != heap[0][0]:
            heappop(heap)
        return heap[0][0] if heap else None

    def _look(self) -> None:
        # In a storm of deaths the handler would run for each, and once is enough: this
        # saves a third of our processor time in a stop of a thousand (Linux 6.18).
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        # The stop first: who dies of the Ctrl-C that stops us is not restarted.
        for signum in STOPS:
            if self._noted[signum]:
                self._noted[signum] = 0
                self._stop(signum)
        if self._noted[signal.SIGCHLD]:
            self._noted[signal.SIGCHLD] = 0  # before the look, so that none is missed
            self._reap()
        now = time.monotonic()
        while (deadline := self._next_deadline()) is not None and deadline <= now:
            self._fire(self._entries[self._deadlines[0][1]], DUE)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])

    def _stop(self, signum: signal.Signals) -> None:
        if self._stopping:
            self._log.say("hurrying", f"signal={signum.name}")
            for entry in self._entries:
                self._fire(entry, HURRY)
            return
        self._log.say("stopping", f"signal={signum.name}")
        self._log.flush()
        self._stopped_by = signum
        self._stop_all()

    def _stop_all(self) -> None:
        for entry in self._entries:
            if entry.state in (WAITING, BACKOFF):  # nothing runs: nothing to wait for
                self._fire(entry, STOP)
        # From here on, a child that is let go gives those before it their turn.
        self._stopping = True
        for entry in reversed(self._entries):
            if not entry.not_down:
                self._fire(entry, STOP)

    def _reap(self) -> None:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        with suppress(ChildProcessError):
            # WNOWAIT: we learn who is dead and leave it so; while the leader is not
            # reaped, its group's number is nobody else's.
            while dead := os.waitid(os.P_ALL, 0, flags):
                if entry := self._by_pid.pop(dead.si_pid, None):
                    try:  # noqa: SIM105 - suppress would take as long as the call
                        os.killpg(entry.pid, signal.SIGKILL)
                    except OSError:
                        pass
                os.waitpid(dead.si_pid, 0)
                if entry is None:
                    self._reaped_other(dead)
                    continue
                end = "exit" if dead.si_code == os.CLD_EXITED else "signal"
                self._log.say("child-died", f"{entry.who} {end}={dead.si_status}")
                self._lose(entry, failed=end == "signal" or dead.si_status != 0)

    def _reaped_other(self, dead: os.waitid_result) -> None:
        is_guard = dead.si_pid == self._run.guard_pid
        if is_guard:
            self._run.guard_pid = 0
        if is_guard and dead.si_code == os.CLD_EXITED:  # a next one would do no better
            self._log.say("no-guard", "error=it has ended")
        elif is_guard:
            self._new_guard()
            self._log.say("guard-replaced", f"pid={self._run.guard_pid}")
        elif dead.si_status != signal.SIGKILL:  # else we have killed it with its group
            self._log.say("stranger-reaped", f"pid={dead.si_pid}")

    def _lose(self, entry: _Entry, failed: bool) -> None:
        restart = entry.child.restart
        if self._stopping:
            return self._fire(entry, ENDED)
        if restart == "always" or (restart == "on-failure" and failed):
            return self._fire(entry, LOST)
        self.failed += [entry.child.name] * failed
        self._fire(entry, ENDED)
        if not entry.is_up:  # nor will it be: nobody has to wait for it any more
            self._set_up(entry)
            self._start_all(entry.comes_before)
        return None

    def _fire(self, entry: _Entry, event: Event) -> None:
        action, state = TABLE[entry.state][event]
        if state is None:
            raise AssertionError(f"{entry.child.name} is {entry.state}: {event}?")
        entry.deadline = None  # it belongs to the state that set it
        entry.state = state
        getattr(self, f"_{action}")(entry)

    def _nothing(self, entry: _Entry) -> None:
        pass

    def _start(self, entry: _Entry) -> None:
        self._log.flush()  # so that what it says comes after why it is started
        entry.started = time.monotonic()
        self._close(entry)  # that of its last life
        if entry.child.ready_fd is None:
            self._set_up(entry)
        try:
            with self._run:
                entry.pid = entry.start()
        except OSError as error:
            facts = f"name={entry.child.name} error={error.strerror!r}"
            self._log.say("child-not-started", facts)
            return self._lose(entry, failed=True)
        self._by_pid[entry.pid] = entry
        if entry.ready is not None:
            self._readers[entry.ready] = entry
            self._poll.register(entry.ready, select.POLLIN)
        entry.who = f"name={entry.child.name} pid={entry.pid}"
        self._log.say("child-started", entry.who)
        return self._log.flush()

    def _too_often(self) -> bool:
        if self._intensity is None:
            return False
        now, recent = time.monotonic(), self._restarts
        recent.append(now)
        while now - recent[0] > self._period:
            recent.popleft()
        return len(recent) > self._intensity

    def _back_off(self, entry: _Entry) -> None:
        if self._too_often():
            limit = f"intensity={self._intensity} period={self._period}"
            self._log.say("too-many-restarts", f"name={entry.child.name} {limit}")
            self.failed.append(entry.child.name)
            return self._stop_all()
        if time.monotonic() - entry.started >= STEADY:
            entry.deaths = 0
        # Up to 64: a child can die more often than 2.0 can be doubled.
        delay = min(BACKOFF_FIRST * 2.0 ** min(entry.deaths - 1, 64), BACKOFF_CAP)
        delay = delay if entry.deaths else 0.0
        entry.deaths += 1
        self._set_deadline(entry, delay)
        facts = f"name={entry.child.name} seconds={delay}"
        return self._log.say("child-backs-off", facts)

    def _ask(self, entry: _Entry) -> None:
        with suppress(OSError):
            os.kill(entry.pid, signal.Signals[entry.child.stop_signal])
            os.kill(entry.pid, signal.SIGCONT)  # a frozen one would not notice
        grace = entry.child.grace
        self._set_deadline(entry, grace)
        self._log.say("child-asked", f"{entry.who} grace={grace}")

    def _kill(self, entry: _Entry) -> None:
        for kill in (os.kill, os.killpg):  # it may have left for another group
            with suppress(OSError):
                kill(entry.pid, signal.SIGKILL)
        self._log.say("child-killed", entry.who)

    def _let_go(self, entry: _Entry) -> None:
        self._left -= 1
        self._close(entry)
        for earlier in entry.comes_after:
            earlier.not_down -= 1
            if self._stopping and not earlier.not_down:
                self._log.flush()  # so that what it says comes after why it is asked
                self._fire(earlier, STOP)

    def _set_deadline(self, entry: _Entry, seconds: float) -> None:
        entry.deadline = time.monotonic() + seconds
        heappush(self._deadlines, (entry.deadline, entry.number))

    def _kill_all(self) -> None:
        # There is somebody left only when an exception leaves us.
        for entry in self._entries:
            self._close(entry)
        for pid, entry in self._by_pid.items():
            self._kill(entry)
            with suppress(OSError):
                os.waitpid(pid, 0)


def _help() -> str:
    """Start the children that a file lists, restart the dead, take all down, then die.

    usage: python boss.py FILE.toml

        [boss]                        # may be left out
        intensity = 20                # with more restarts in a period, all goes down
        period = 60                   # seconds

        [[child]]                     # one such table for each child
        name = "web"
        command = ["python3", "web.py", "--port", "8000"]
        after = "db"                  # or a list: started after, stopped before these
        restart = "on-failure"        # or "never", or "always", the default
        grace = 2.5                   # seconds from the stop signal to SIGKILL
        stop-signal = "SIGINT"        # the default is SIGTERM
        ready-fd = 3                  # it writes a newline there when it is ready
        cwd = "site"                  # counted from the folder of FILE.toml
        env = { LANG = "C.UTF-8" }    # added to the boss's own

    SIGINT, SIGTERM, SIGHUP or SIGQUIT stops the children and then the boss; a second
    one kills whatever still runs.  The log is on standard error.

    exit status: 2 for a mistake in the file, with nothing started; when no child is
    left to run, 0, or 1 if one that ended had failed; 1 after too many restarts; else
    we die by the signal.
    """
    from inspect import cleandoc  # noqa: PLC0415 - 8 ms, for readers only

    return cleandoc(_help.__doc__ or "")


def main(arguments: Sequence[str]) -> int:
    """Be the program; return its exit status, unless a signal ends it.

    Args:
        arguments: those of the command line, without the program's name.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)  # else the next pipe would be our standard error
    os.close(fd)
    if arguments in (["-h"], ["--help"]):
        return _print(1, _help(), 0)
    if len(arguments) != 1:
        return _print(2, "usage: python boss.py FILE.toml (or --help)", 2)
    try:
        boss = Boss(*load(arguments[0]))
    except ChildError as error:
        return _print(2, f"{arguments[0]}: {error}", 2)
    try:
        signum = boss.run()
    except restart_check.RunError as error:
        return _print(2, f"{arguments[0]}: {error}", 75)
    if signum is None:
        return 1 if boss.failed else 0
    # The default, unblocked, and to ourselves: our parent learns what ended us.  It is
    # fast as well: the interpreter's own way out takes 2 ms, more than a child's stop.
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    signal.raise_signal(signum)
    return 128 + signum  # still here: PID 1 has no default actions


def _print(fd: int, text: str, status: int) -> int:
    with suppress(OSError):
        os.write(fd, f"{text}\n".encode(errors="backslashreplace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
