"""A signal at every system call of a whole program, in any language, from outside.

A *point* is a name and a number: ``write:12`` is the program's twelfth ``write``.  A
first run under ``strace`` lists them; then the program runs once for each point, and
``strace`` injects the signal there, as the call is entered.  After SIGKILL the call is
not made.  With any other signal pending, a call that would wait returns at once, and
the rest are made; either way the handler runs before the program goes on.  So a call
that has waited, or made a process, has a second point, ``clone:1+``, where the signal
comes as it returns: ``strace`` holds the program there, and we send it.  A daemon does
not end by itself: when it is at rest, we tell it to stop, and the calls of its stop are
points as well.

Ways that we rejected:

* Our own ``ptrace`` by ``ctypes``.  What ``strace`` knows of calls, restarts and
  threads would have to be written again, for each machine.
* ``strace`` as the program's parent.  It stands between us and the wait status, and a
  signal to the program has to be sent past it.  With ``-DD`` the program is our child,
  and a program that kills its process group does not kill ``strace``.
* ``strace --seccomp-bpf``, which stops at the calls that we want only.  It needs
  ``-f``, and a filter in the kernel is something that the program can notice.
* A time after which the program "is up".  On a busy machine it is not.  We look whether
  its threads sleep, and whether they have woken since the last look.
* Another SIGTERM for a program that does not end.  A stop that is lost is what we look
  for, and a second one would hide it: once ours has arrived, nothing more is sent.
* Only the points of ``strace``'s own.  The kernel puts off a ``fork`` until a signal
  that is pending has been handled, so none of them lies right after it: a parent that
  dies there, and leaves its child, passed.

What it does not show: a signal between two calls that are made one after the other
(:func:`every_point` does that in process); a kill in the middle of a long ``write``; a
signal for the process that another thread would take, since all but those of the second
kind are for the thread that makes the call.

It needs strace 5.6 or later.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InjectionError
from .run import HUNG, Check, Point, Report, Run, Tried, judge

Folder = str | os.PathLike[str]
Prepare = Callable[[], None] | Sequence[str]
Progress = Callable[[int, int], None]

LAST_COUNT = 65535
"""``strace`` counts no further."""

TRIES = 2
"""How often a point is tried that a run does not reach."""

FORKS = ("clone", "clone3", "fork", "vfork")

WAITED = 0.001
"""Seconds; a call that lasted so long in the first run has waited."""

HOLD = 0.05
"""Seconds for which ``strace`` holds a call as it returns.  Who sends a signal later
than that, on a busy machine, notices it and tries again."""

LAST_WAIT = 10.0
"""Seconds; who is not dead so long after SIGKILL waits for a disk, or is beyond our
rights."""

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def stopped(*signals: int) -> Check:
    """Return a check: the program ended with 0 or by one of these, and left nothing."""

    def check(run: Run) -> bool:
        return not run.left and (run.status == 0 or -run.status in signals)

    return check


def killed(run: Run) -> bool:
    """Return whether the program died by SIGKILL.

    What it has left behind is not held against it: after ``kill -9`` nobody is there
    to take a child down.  Who promises it all the same asks for ``not run.left`` too.
    """
    return run.died_by == signal.SIGKILL


def every_syscall(
    command: Sequence[str],
    check: Check | None = None,
    *,
    signum: int = signal.SIGKILL,
    end: int = signal.SIGTERM,
    cwd: Folder | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 10.0,
    rest: float = 0.2,
    patience: float | None = None,
    settle: float = 0.3,
    ready: str = "",
    first: str = "",
    only: Sequence[str] = (),
    most: int | None = None,
    seed: int | None = None,
    at: str = "",
    follow: bool = False,
    prepare: Prepare | None = None,
    then: Sequence[str] | None = None,
    parallel: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Run a program once for each of its system calls, with a signal at that call.

    A run in which the signal has not arrived when the program is at rest gets ``end``:
    the point lies in its stop.  A program that the signal has reached is left alone: it
    has to end.  If it does not end within ``seconds``, or sleeps for ``patience``, the
    run ``hung``.

    Args:
        command: the program and its arguments; its standard input is the null device.
        check: looks at each run; by default :func:`killed` for SIGKILL, and
            :func:`stopped` by ``signum`` or ``end`` for the others.
        signum: the signal.
        end: the signal that tells the program to stop when it is at rest.
        cwd: the folder to start in; ours by default.
        env: the whole environment; ours by default.
        seconds: after which a run hangs.
        rest: seconds without a wakeup of any of its threads, after which the program
            is at rest.
        patience: seconds without a wakeup of it, or of anything that it has started,
            after which a program that has been told to stop hangs; by default a
            quarter of ``seconds``.  A stop that sleeps for longer needs more.
        settle: seconds that what it leaves behind has to end by itself.
        ready: for a program that wakes more often than that: ``rest`` seconds after
            this text is in its output, it counts as at rest.
        first: begin at the first call whose line in the trace has this text in it.
        only: names of calls; all others are left out.
        most: try so many points, drawn by ``seed``.
        seed: a number for the draw; by default a new one, and the report has it.
        at: the number of one point, such as ``write:12``, to try it alone.
        follow: trace the program's children as well.  A point is then a call of any
            of them, and each process or thread that reaches it gets the signal.
            There are no second points (``clone:1+``) then.
        prepare: called, or run as a command, before each run.
        then: a command that has to exit with 0 after each run; else it is broken.
        parallel: how many runs at once.  From two on, each runs in a fresh copy of
            ``cwd``, if that is given, without its sockets and pipes; what else they
            share is the caller's matter.
        progress: called after each point with how many are done, and of how many.

    Returns:
        The report.  Points that a run did not reach, although the first one had made
        that call, are in ``missed``: so are calls that ``strace`` can't inject at.

    Raises:
        InjectionError: there is no ``strace``, or it may not trace; there is no such
            command; without any injection, the program fails or hangs; no call is
            left to try.
        ValueError: an option is out of its range.
    """
    began = time.monotonic()
    patience = seconds / 4 if patience is None else patience
    if min(seconds, rest, patience, settle, parallel, 1 if most is None else most) <= 0:
        raise ValueError("times, most and parallel must be positive")
    default = killed if signum == signal.SIGKILL else stopped(signum, end)
    plan = _Plan(
        command=list(command),
        signum=signal.Signals(signum),
        end=signal.Signals(end),
        cwd=os.path.abspath(cwd or "."),
        env=dict(os.environ if env is None else env),
        times={
            "seconds": seconds,
            "rest": rest,
            "patience": patience,
            "settle": settle,
        },
        ready=ready,
        follow=follow,
        prepare=prepare,
        then=list(then or ()),
        copies=parallel > 1 and cwd is not None,
        check=check or default,
        progress=progress,
    )
    _look_first(plan)
    report = plan.report()
    with ExitStack() as stack:
        helpers = [stack.enter_context(_Helper()) for _ in range(parallel)]
        calls = _rehearse(plan, helpers[0])
        points, report.missed = _points(calls, plan, first, only)
        if at:
            points = [_point_at(at, points, plan)]
        elif most is not None and most < len(points):
            report.seed = random.randrange(2**32) if seed is None else seed
            drawn = random.Random(report.seed).sample(range(len(points)), most)
            points = [points[n] for n in sorted(drawn)]
        _try_all(plan, points, helpers, report)
    report.seconds = time.monotonic() - began
    return report


@dataclass(frozen=True)
class _Plan:
    """What all runs have in common."""

    command: list[str]
    signum: signal.Signals
    end: signal.Signals
    cwd: str
    env: dict[str, str]
    times: dict[str, float]
    ready: str
    follow: bool
    prepare: Prepare | None
    then: list[str]
    copies: bool
    check: Check
    progress: Progress | None

    def report(self) -> Report:
        """Return an empty report."""
        again = f"every_syscall({self.command}, signum={int(self.signum)}, at='{{at}}')"
        target = shlex.join(self.command)
        return Report(target, (self.signum,), "system calls", again=again)

    def job(self, folder: str, number: str) -> dict[str, Any]:
        """Return what a helper has to know for a run.

        Args:
            folder: where the trace and the output go.
            number: that of the point; nothing for a run without injection.
        """
        name, _, count = number.rstrip("+").partition(":")
        cwd = self.cwd
        if self.copies:
            cwd = os.path.join(folder, "copy")
            shutil.rmtree(cwd, ignore_errors=True)
            shutil.copytree(self.cwd, cwd, symlinks=True, ignore=_special)
        strace = [_find_strace(), "-qq", "-DD", "-ttt", *["-f"] * self.follow]
        if number:
            what = f"signal={int(self.signum)}"
            if number.endswith("+"):
                what = f"delay_exit={HOLD * 1e6:.0f}"
            inject = f"inject={name}:{what}:when={count}"
            strace += ["-e", f"trace={name}", "-e", inject]
        else:
            strace += ["-y", "-T"]
        log, out = (os.path.join(folder, name) for name in ("log", "out"))
        prepare = [] if callable(self.prepare) else list(self.prepare or ())
        return {
            **self.times,
            "argv": [*strace, "-o", log, "--", *self.command],
            "log": log,
            "out": out,
            "cwd": cwd,
            "env": self.env,
            "end": int(self.end),
            "ready": self.ready,
            "signum": int(self.signum),
            "name": name,
            "count": int(count or 0),
            "after": number.endswith("+"),
            "prepare": prepare,
            "then": self.then if number else [],
        }


def _special(folder: str, names: list[str]) -> list[str]:
    """Return the names of sockets, pipes and devices."""
    paths = {name: Path(folder, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if not (path.is_symlink() or path.is_dir() or path.is_file())
    ]


def _find_strace() -> str:
    found = shutil.which("strace")
    if found is None:
        raise InjectionError("there is no strace on the PATH; install it")
    return found


def _look_first(plan: _Plan) -> None:
    """Say what is wrong before anything is started."""
    name, path = plan.command[0], plan.env.get("PATH", "")
    _find_strace()
    if not os.path.isdir(plan.cwd):
        raise InjectionError(f"there is no folder {plan.cwd}")
    here = os.path.join(plan.cwd, name)
    if not shutil.which(here if "/" in name else name, path=path):
        raise InjectionError(f"there is no command {name}")


def _rehearse(plan: _Plan, helper: _Helper) -> list[Call]:
    """Run the program without injection; return its calls, or say why it can't be."""
    helper.begin(plan, "")
    result = helper.result()
    calls = list(read_log(Path(helper.log).read_text(errors="replace")))
    tail = "".join(f"; {line}" for line in result["output"].splitlines()[-1:])
    if not calls:
        raise InjectionError(f"strace can't trace the program{tail}")
    if result["hung"]:
        stage = f"after {plan.end.name}" if result["sent"] else "and is never at rest"
        hint = "" if result["sent"] else " (is there a text for `ready`?)"
        raise InjectionError(f"without injection the program runs on {stage}{hint}")
    if not result["sent"] and result["status"]:
        ended = _run_of(result, 0)
        raise InjectionError(f"without injection the program {ended}{tail}")
    return calls


class Call(NamedTuple):
    """A system call that a program has entered, as a line of the trace has it."""

    thread: int
    """The thread that made it, with ``-f``; else 0."""
    name: str
    nth: int
    """Which call of that name of that thread it is, as ``strace`` counts; from 1, but
    0 for the ``execve`` that starts the program, at which it does not inject."""
    text: str
    at: float
    """Seconds since the epoch."""


LINE = re.compile(r"^(?:(\d+) +)?(\d+\.\d+) ((\w+)\(.*)", re.MULTILINE)
"""The start of a call; neither its end, if that is another line, nor a signal."""

LAST_CALLS = ("exit", "exit_group")
"""What nothing can arrive in or after, except SIGKILL before it."""


def read_log(log: str) -> Iterator[Call]:
    """Read a trace that has been made with ``-ttt``, with or without ``-f``."""
    counts: Counter[tuple[int, str]] = Counter()
    for found in LINE.finditer(log):
        thread, at, text, name = found.groups()
        key = int(thread or 0), name
        counts[key] += 1 if counts or name != "execve" else 0
        yield Call(*key, counts[key], text, float(at))


def _points(
    calls: list[Call], plan: _Plan, first: str, only: Sequence[str]
) -> tuple[list[Point], list[Point]]:
    """Return the points of a run in the order of its trace, and the impossible ones."""
    begin = next((n for n, call in enumerate(calls) if first in call.text), None)
    if begin is None:
        raise InjectionError(f"no call mentions {first!r}")
    points: dict[str, Point] = {}
    impossible: dict[str, Point] = {}
    for call in calls[begin:]:
        if (only and call.name not in only) or not call.nth:
            continue
        unknown = call.name.startswith("syscall_0x")  # strace has no name for it
        beyond = unknown or call.nth > LAST_COUNT
        for point in _points_of(call, plan):
            (impossible if beyond else points).setdefault(point.number, point)
    if not points:
        raise InjectionError("the program makes no such call")
    return list(points.values()), list(impossible.values())


LASTED = re.compile(r" <(\d+\.\d+)>$")


def _points_of(call: Call, plan: _Plan) -> Iterator[Point]:
    """Return the points of a call: one, two, or none."""
    kills = plan.signum == signal.SIGKILL
    if call.name in LAST_CALLS and not kills:
        return
    number, lasted = f"{call.name}:{call.nth}", LASTED.search(call.text)
    text = LASTED.sub("", call.text)
    text = text if len(text) <= 120 else f"{text[:117]}..."
    where = f"{'before' if kills else 'entering'} {text}"
    yield Point(number, where, call=call.name, count=call.nth)
    waited = lasted is not None and float(lasted[1]) >= WAITED
    if (waited or call.name in FORKS) and not kills and not plan.follow:
        where = f"returning from {text}"
        yield Point(f"{number}+", where, call=call.name, count=call.nth)


def _point_at(number: str, points: list[Point], plan: _Plan) -> Point:
    """Return a point by its number, even if this time no such call was made."""
    for point in points:
        if point.number == number:
            return point
    name, _, count = number.removesuffix("+").partition(":")
    if not (name.isidentifier() and count.isdecimal() and 0 < int(count) <= LAST_COUNT):
        raise InjectionError(f"there is no point {number!r}; one would be write:12")
    if name in LAST_CALLS and plan.signum != signal.SIGKILL:
        raise InjectionError(f"nothing but SIGKILL can arrive at {number}")
    return Point(number, number, call=name, count=int(count))


def _try_all(
    plan: _Plan,
    points: list[Point],
    helpers: list[_Helper],
    report: Report,
) -> None:
    """Try the points, as many at once as there are helpers, and fill the report."""
    todo = deque((point, TRIES) for point in points)
    order = {point.number: n for n, point in enumerate(points)}
    idle, busy = list(helpers), dict[_Helper, tuple[Point, int]]()
    while todo or busy:
        while todo and idle:
            helper = idle.pop()
            busy[helper] = todo.popleft()
            point, _ = busy[helper]
            helper.begin(plan, point.number)
        for helper in select.select(list(busy), [], [])[0]:
            point, tries = busy.pop(helper)
            idle.append(helper)
            if tried := _tried(point, helper, plan.check):
                report.tried.append(tried)
            elif tries > 1:
                todo.appendleft((point, tries - 1))
                continue
            else:
                report.missed.append(point)
            if plan.progress:
                plan.progress(len(points) - len(todo) - len(busy), len(points))
    report.tried.sort(key=lambda tried: order[tried.point.number])
    report.missed.sort(key=lambda point: order.get(point.number, -1))


def _tried(point: Point, helper: _Helper, check: Check) -> Tried | None:
    """Judge the run that a helper has made; return None if it missed the point."""
    result = helper.result()
    arrivals = result["arrivals"]
    if (result["void"] or not arrivals) and not result["hung"]:
        return None
    run = _run_of(result, arrivals + bool(result["sent"]))

    def with_then(run: Run) -> object:
        verdict = check(run)
        if result["then"] and verdict is not False:
            raise AssertionError(result["then"])
        return verdict

    return judge(point, run, with_then)


def _run_of(result: dict[str, Any], delivered: int) -> Run:
    status = result["status"]
    how = HUNG if result["hung"] else "died" if status < 0 else "exited"
    return Run(
        how,
        status=status,
        delivered=delivered,
        left=result["left"],
        output=result["output"],
    )


class _Helper:
    """A process that makes one run after the other, and can't outlive us.

    The helper is a child subreaper: what a run leaves behind at any depth becomes its
    child, and so it is found without a look at names.  It ends everything below it when
    its standard input ends, because we have closed it or died.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fatal-signals-")
        self.log = os.path.join(self._folder.name, "log")
        root = str(Path(__file__).resolve().parents[2])
        source = f"import sys; sys.path.insert(0, {root!r}); import {__name__} as it"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", f"{source}; it.help_out()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is ours, and it ends with us
        )

    def begin(self, plan: _Plan, number: str) -> None:
        """Begin a run with the signal at a point, or with none."""
        assert self._process.stdin
        if callable(plan.prepare):
            plan.prepare()
        line = json.dumps(plan.job(self._folder.name, number))
        with suppress(BrokenPipeError):  # result() says it
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def fileno(self) -> int:
        """Return a descriptor that is readable when the run is over."""
        assert self._process.stdout
        return self._process.stdout.fileno()

    def result(self) -> dict[str, Any]:
        """Return what came of the run."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise InjectionError("a helper process has been killed")
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise InjectionError(result["error"])
        return result

    def __enter__(self) -> _Helper:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the helper and everything below it."""
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


# From here on: the helper process.


def help_out() -> None:
    """Be the helper: make a run for each line of standard input, until its end."""
    import ctypes  # noqa: PLC0415 - the caller may have a Python without it

    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    orders = b""
    try:
        while data := os.read(0, 1 << 16):
            orders += data
            if orders.endswith(b"\n"):
                job, orders = json.loads(orders), b""
                runner = _Runner(job, lambda: libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0))
                answer = json.dumps(runner.run()).encode() + b"\n"
                while answer:
                    answer = answer[os.write(1, answer) :]
    except (_Abandoned, BrokenPipeError):
        pass
    finally:
        _end_all()


class _Abandoned(Exception):
    """Whoever started us has closed us, or is gone."""


@dataclass
class _Runner:
    """One run."""

    job: dict[str, Any]
    before_exec: Callable[[], object]
    sent: float | None = None
    """When we told the program to stop, in seconds since the epoch."""
    shot: float | None = None
    """When we sent the signal ourselves, to a call that returned."""
    late: bool = False
    """It may have gone on by then."""
    not_yet: float = 0.0
    """When we last saw that it had not returned."""
    deadline: float = 0.0
    threads: set[int] = field(default_factory=set)
    """The program's own, as the trace names them."""

    def run(self) -> dict[str, Any]:
        """Make the run, and return what came of it."""
        job = self.job
        for file in (job["log"], job["out"]):
            Path(file).write_bytes(b"")
        if job["prepare"] and (wrong := self._aside("prepare")):
            return {"error": wrong}
        pid = self._start(job["argv"])
        hung = self._drive(pid)
        if hung:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        left = 0 if hung else self._settle()
        _end_all(job["argv"], LAST_WAIT)  # it has the end of the log to write
        output = Path(job["out"]).read_text(errors="replace")
        arrivals = self._arrivals()
        return {
            "status": os.waitstatus_to_exitcode(status),
            "hung": hung,
            "sent": self.sent,
            "left": left,
            "output": output,
            "arrivals": len(arrivals),
            "void": self.late or any(self._hidden(*arrival) for arrival in arrivals),
            "then": self._aside("then") if job["then"] and not hung else "",
        }

    def _start(self, argv: list[str]) -> int:
        """Start a command in a session of its own, with default signals."""
        pid = os.fork()
        self.deadline = time.monotonic() + self.job["seconds"]
        if pid:
            return pid
        try:
            self.before_exec()
            os.setsid()
            os.chdir(self.job["cwd"])
            # A file: no pipe that fills, and no reader that has to keep up.
            out = os.open(self.job["out"], os.O_WRONLY | os.O_APPEND)
            null = os.open(os.devnull, os.O_RDONLY)
            for fd, stream in ((null, 0), (out, 1), (out, 2)):
                os.dup2(fd, stream)
            for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(argv[0], argv, self.job["env"])
        except OSError as error:
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        finally:
            os._exit(127)

    def _aside(self, kind: str) -> str:
        """Run a command beside the program's; return what is wrong, or nothing."""
        pid = self._start(self.job[kind])
        words = f"`{kind}` {shlex.join(self.job[kind])}"
        while not (ended := _ended(pid, 1.0)) and time.monotonic() < self.deadline:
            pass
        if not ended:
            os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        _end_all()
        tail = Path(self.job["out"]).read_text(errors="replace").splitlines()[-1:]
        if not ended:
            return f"{words} hung"
        return f"{words} ended with {code}: {''.join(tail)}" if code else ""

    def _drive(self, pid: int) -> bool:
        """Tell the program to stop when that is due; return whether it hung."""
        rest, left_alone = self.job["rest"], False
        program, everything = _Calm([pid]), _Calm()
        self.threads = program.threads
        while not self._watch(pid, rest / 10):
            now = time.monotonic()
            if now > self.deadline:
                return True
            if left_alone:
                if everything.lasted(now) > self.job["patience"]:
                    return True
            elif max(program.lasted(now), self._ready(now)) >= rest:
                # The one rule: a stop that has arrived and is lost must not be hidden
                # by one of ours.
                if self.threads.isdisjoint(thread for thread, _ in self._arrivals()):
                    self.sent = time.time()
                    os.kill(pid, self.job["end"])
                left_alone = True
        return False

    def _watch(self, pid: int, seconds: float) -> bool:
        """Wait for the program's end, but only so long, and send what is due."""
        if not self.job["after"] or self.shot:
            return _ended(pid, seconds)
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            if self._returned():
                self.shot = time.time()
                os.kill(pid, self.job["signum"])
                self.late = time.monotonic() > self.not_yet + HOLD
                return False
            self.not_yet = now
            if _ended(pid, 0.001):
                return True
        return False

    def _returned(self) -> bool:
        """Return whether the call at which the program is held has returned."""
        log = Path(self.job["log"]).read_text(errors="replace")
        calls = list(read_log(log[: log.rfind("\n") + 1]))
        return bool(calls) and calls[-1].nth >= int(self.job["count"])

    def _ready(self, now: float) -> float:
        """Return for how long the output has had the text in it."""
        text = self.job["ready"]
        if not text or text not in Path(self.job["out"]).read_text(errors="replace"):
            return 0.0
        self.job.setdefault("since", now)
        return now - float(self.job["since"])

    def _arrivals(self) -> list[tuple[int, float]]:
        """Return the threads at which the signal has been injected, and when."""
        if self.job["after"]:
            return [(0, self.shot)] if self.shot else []
        # As the call is entered, not as it returns: with the signal blocked, it may
        # wait with the signal pending, and that is a stop which is lost.
        point = self.job["name"], self.job["count"]
        log = Path(self.job["log"]).read_text(errors="replace")
        return [
            (call.thread, call.at)
            for call in read_log(log)
            if (call.name, call.nth) == point
        ]

    def _hidden(self, thread: int, at: float) -> bool:
        """Return whether it came in the instant in which we sent ours.

        If it was lost, that can't be seen any more.  1 ms is for the two clocks.
        """
        sent = self.sent
        return sent is not None and thread in self.threads and at < sent - 0.001

    def _settle(self) -> int:
        """Return how many processes are left, when they have had their time to end."""
        deadline = time.monotonic() + self.job["settle"]
        while True:
            _reap()
            left = [pid for pid in _below() if not _is_tracer(pid, self.job["argv"])]
            if not left or time.monotonic() > deadline:
                return len(left)
            if select.select([0], [], [], 0.01)[0]:
                raise _Abandoned


class _Calm:
    """Watches whether threads sleep.

    Args:
        pids: the processes to look at; all that are below us by default.
    """

    def __init__(self, pids: Sequence[int] = ()) -> None:
        self.threads = {0}
        """All threads that have been seen, and 0 for a trace without pids."""
        self._pids = pids
        self._last: object = None
        self._since = 0.0

    def lasted(self, now: float) -> float:
        """Return for how many seconds they have slept without waking once."""
        seen: dict[int, tuple[str, ...]] = {}
        for pid in self._pids or _below():
            seen |= _threads(pid)
        self.threads |= set(seen)
        asleep = all(state in "SZ" for state, *_ in seen.values())
        if not asleep or not seen or seen != self._last:
            self._last, self._since = seen, now
        return now - self._since


FIELDS = re.compile(r"^(?:State|\w*voluntary_ctxt_switches):\s+(\w+)", re.MULTILINE)


def _threads(pid: int) -> dict[int, tuple[str, ...]]:
    """Return for each thread its state, and how often it has been switched."""
    found = {}
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
            found[int(thread)] = tuple(FIELDS.findall(status))
    return found


def _ended(pid: int, seconds: float) -> bool:
    """Wait for the end of a child, but only so long."""
    fd = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([0, fd], [], [], seconds)
    finally:
        os.close(fd)
    if 0 in ready:
        raise _Abandoned
    return fd in ready


def _below() -> list[int]:
    """Return the pids of all processes below us; ``strace`` is one of them."""
    parents = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            # The name in parentheses may hold spaces and parentheses itself.
            stat = Path("/proc", entry, "stat").read_text(errors="replace")
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


def _is_tracer(pid: int, argv: Sequence[str]) -> bool:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        return words == b"".join(os.fsencode(word) + b"\0" for word in argv)
    return False


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_all(argv: Sequence[str] = (), patience: float = 0.0) -> None:
    """Kill everything below us; ``strace`` has ``patience`` to end by itself."""
    now = time.monotonic()
    late, too_late = now + patience, now + patience + LAST_WAIT
    while time.monotonic() < too_late:
        _reap()
        found = _below()
        if not found:
            return
        for pid in found:
            if time.monotonic() > late or not _is_tracer(pid, argv):
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
