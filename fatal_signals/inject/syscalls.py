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

import os
import random
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from ..processes.folders import OwnFolder
from ..processes.start import helper
from . import traced
from .errors import InjectionError
from .job import Job, Result
from .run import (
    HUNG,
    SECONDS,
    Check,
    Point,
    Progress,
    Report,
    Run,
    Setup,
    Tried,
    judge,
    set_up,
)
from .strace_log import LAST_CALLS, Call, read_log

Folder = str | os.PathLike[str]

LAST_COUNT = 65535
"""``strace`` counts no further."""

TRIES = 2
"""How often a point is tried that a run does not reach."""

FORKS = ("clone", "clone3", "fork", "vfork")

WAITED = 0.001
"""Seconds; a call that lasted so long in the first run has waited."""


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
    signals: Iterable[int] = (signal.SIGKILL,),
    end: int = signal.SIGTERM,
    cwd: Folder | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
    rest: float = 0.2,
    patience: float | None = None,
    settle: float = 0.3,
    ready: str = "",
    first: str = "",
    only: Sequence[str] = (),
    most: int | None = None,
    seed: int | None = None,
    at: str | None = None,
    follow: bool = False,
    setup: Setup | None = None,
    prepare: Sequence[str] | None = None,
    then: Sequence[str] | None = None,
    parallel: int = 1,
    progress: Progress | None = None,
) -> list[Report]:
    """Run a program with a signal at each system call; one report for each signal.

    A run in which the signal has not arrived when the program is at rest gets ``end``:
    the point lies in its stop.  A program that the signal has reached is left alone: it
    has to end.  If it does not end within ``seconds``, or sleeps for ``patience``, the
    run ``hung``.

    Args:
        command: the program and its arguments; its standard input is the null device.
        check: looks at each run; by default :func:`killed` for SIGKILL, and
            :func:`stopped` by the signal or ``end`` for the others.
        signals: the signals, each tried alone.
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
        setup: called before each run.
        prepare: a command that is run before each run, and has to exit with 0.
        then: a command that has to exit with 0 after each run; else it is broken.
        parallel: how many runs at once.  From two on, each runs in a fresh copy of
            ``cwd``, if that is given, without its sockets and pipes; what else they
            share is the caller's matter.
        progress: is told how far it is.

    Returns:
        The reports.  Points that a run did not reach, although the first one had made
        that call, are in ``missed``: so are calls that ``strace`` can't inject at.

    Raises:
        InjectionError: there is no ``strace``, or it may not trace; there is no such
            command; without any injection, the program fails or hangs; no call is
            left to try.
        ValueError: an option is out of its range.
    """
    patience = seconds / 4 if patience is None else patience
    if min(seconds, rest, patience, settle, parallel, 1 if most is None else most) <= 0:
        raise ValueError("times, most and parallel must be positive")
    reports = []
    for signum in map(signal.Signals, signals):
        default = killed if signum == signal.SIGKILL else stopped(signum, end)
        plan = _Plan(
            command=list(command),
            signum=signum,
            end=signal.Signals(end),
            cwd=os.path.abspath(cwd or "."),
            env=dict(os.environ if env is None else env),
            seconds=seconds,
            rest=rest,
            patience=patience,
            settle=settle,
            ready=ready,
            first=first,
            only=only,
            most=most,
            seed=seed,
            at=at,
            follow=follow,
            setup=setup,
            prepare=tuple(prepare or ()),
            then=tuple(then or ()),
            copies=parallel > 1 and cwd is not None,
            check=check or default,
            progress=progress or (lambda *_: None),
        )
        _look_first(plan)
        reports.append(_sweep(plan, parallel))
    return reports


def _sweep(plan: _Plan, parallel: int) -> Report:
    """Try the points of a plan, so many at once."""
    began, report = time.monotonic(), plan.report()
    with ExitStack() as stack:
        helpers = [stack.enter_context(_Helper()) for _ in range(parallel)]
        calls = _rehearse(plan, helpers[0])
        points, report.missed = _points(calls, plan)
        if plan.at:
            points = [_point_at(plan.at, points, plan)]
        elif plan.most is not None and plan.most < len(points):
            seed = random.randrange(2**32) if plan.seed is None else plan.seed
            drawn = random.Random(seed).sample(range(len(points)), plan.most)
            report.seed, report.drawn_from = seed, len(points)
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
    seconds: float
    rest: float
    patience: float
    settle: float
    ready: str
    first: str
    only: Sequence[str]
    most: int | None
    seed: int | None
    at: str | None
    follow: bool
    setup: Setup | None
    prepare: tuple[str, ...]
    then: tuple[str, ...]
    copies: bool
    check: Check
    progress: Progress

    def report(self) -> Report:
        """Return an empty report."""
        call = f"every_syscall({self.command}, signals=[{int(self.signum)}], at='"
        target = shlex.join(self.command)
        return Report(target, (self.signum,), "system calls", again=(call, "')"))

    def job(self, folder: str, number: str) -> Job:
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
                what = f"delay_exit={traced.HOLD * 1e6:.0f}"
            inject = f"inject={name}:{what}:when={count}"
            strace += ["-e", f"trace={name}", "-e", inject]
        else:
            strace += ["-y", "-T"]
        log, out = (os.path.join(folder, name) for name in ("log", "out"))
        return Job(
            argv=(*strace, "-o", log, "--", *self.command),
            log=log,
            out=out,
            cwd=cwd,
            env=self.env,
            seconds=self.seconds,
            rest=self.rest,
            patience=self.patience,
            settle=self.settle,
            ready=self.ready,
            signum=int(self.signum),
            end=int(self.end),
            name=name,
            count=int(count or 0),
            after=number.endswith("+"),
            prepare=self.prepare,
            then=self.then if number else (),
        )


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
    for _ in range(TRIES):
        helper.begin(plan, "")
        result = helper.result()
        calls = list(read_log(Path(helper.log).read_text(errors="replace")))
        # strace gives its tracer 3 s to attach, too few on a very busy machine.
        if calls or result.status != -signal.SIGALRM:
            break
    tail = "".join(f"; {line}" for line in result.output.splitlines()[-1:])
    if not calls:
        raise InjectionError(f"strace can't trace the program{tail}")
    if result.hung:
        stage = f"after {plan.end.name}" if result.sent else "and is never at rest"
        hint = "" if result.sent else " (is there a text for `ready`?)"
        raise InjectionError(f"without injection the program runs on {stage}{hint}")
    if not result.sent and result.status:
        ended = _run_of(result, 0)
        raise InjectionError(f"without injection the program {ended}{tail}")
    return calls


def _points(calls: list[Call], plan: _Plan) -> tuple[list[Point], list[Point]]:
    """Return the points of a run in the order of its trace, and the impossible ones."""
    begin = next((n for n, call in enumerate(calls) if plan.first in call.text), None)
    if begin is None:
        raise InjectionError(f"no call mentions {plan.first!r}")
    points: dict[str, Point] = {}
    impossible: dict[str, Point] = {}
    for call in calls[begin:]:
        if (plan.only and call.name not in plan.only) or not call.nth:
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
            done = len(points) - len(todo) - len(busy)
            plan.progress(f"system calls, {plan.signum.name}", done, len(points))
    report.tried.sort(key=lambda tried: order[tried.point.number])
    report.missed.sort(key=lambda point: order.get(point.number, -1))


def _tried(point: Point, helper: _Helper, check: Check) -> Tried | None:
    """Judge the run that a helper has made; return None if it missed the point."""
    result = helper.result()
    arrivals = result.arrivals
    if (result.void or not arrivals) and not result.hung:
        return None
    run = _run_of(result, arrivals + bool(result.sent))

    def with_then(run: Run) -> object:
        verdict = check(run)
        if result.then and verdict is not False:
            raise AssertionError(result.then)
        return verdict

    return judge(point, run, with_then)


def _run_of(result: Result, delivered: int) -> Run:
    status = result.status
    how = HUNG if result.hung else "died" if status < 0 else "exited"
    return Run(
        how,
        status=status,
        delivered=delivered,
        left=result.left,
        output=result.output,
    )


class _Helper:
    """A process that makes one run after the other, and can't outlive us.

    The helper is a child subreaper: what a run leaves behind at any depth becomes its
    child, and so it is found without a look at names.  It ends everything below it when
    its standard input ends, because we have closed it or died.
    """

    def __init__(self) -> None:
        self._folder = OwnFolder()
        self.log = str(self._folder.path / "log")
        self._process = subprocess.Popen(
            helper(traced.__name__, str(self._folder.path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is ours, and it ends with us
        )

    def begin(self, plan: _Plan, number: str) -> None:
        """Begin a run with the signal at a point, or with none."""
        assert self._process.stdin
        if plan.setup:
            set_up(plan.setup)
        line = plan.job(str(self._folder.path), number).to_json()
        with suppress(BrokenPipeError):  # result() says it
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def fileno(self) -> int:
        """Return a descriptor that is readable when the run is over."""
        assert self._process.stdout
        return self._process.stdout.fileno()

    def result(self) -> Result:
        """Return what came of the run."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            if self._process.wait() > 0:
                raise RuntimeError("a helper process has failed, as it says above")
            raise InjectionError("a helper process has been killed")
        result = Result.from_json(line)
        if result.error:
            raise InjectionError(result.error)
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
        self._folder.remove()
