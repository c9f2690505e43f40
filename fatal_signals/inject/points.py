"""In process: a callable, again and again, with the signal at one point more each time.

Two sweeps.  *Possible* points are the instructions at which this interpreter really
runs a handler.  We find them by asking: for each instruction of a run, a process of
its own gets a signal before it, and reports where the handler ran.  *Conceivable*
points are all instructions, whether this interpreter looks there or not; another
version may.

A callable that waits for the signal is fine.  Where it sleeps, the signal comes right
before, when the interpreter has looked for the last time, and while it sleeps: that is
a possible point of its own, marked ``asleep``.

A function of the standard library can pass a place thousands of times: changing the
signal mask is 18,000 instructions, since each number becomes a member of an enum.  So
below our own code a place that is reached again in the same way, through the same
instructions of all callers, is tried the first time and, if it is a possible point, the
last.
"""

from __future__ import annotations

import inspect
import os
import pickle
import signal
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

from ..processes.forks import REST, Finished, Forks, Planned, Running, apart, sleeps
from ..processes.procfs import turns
from .arrival import (
    PROBE,
    Conceivable,
    Marker,
    Place,
    Possible,
    Recorder,
    Spot,
    Step,
    Tracer,
)
from .errors import InjectionError
from .forked import Account, live, probe
from .library import is_library
from .run import (
    HUNG,
    SECONDS,
    Check,
    Point,
    Progress,
    Report,
    Run,
    Setup,
    judge,
    set_up,
)
from .slots import Slot

POSSIBLE, CONCEIVABLE, PAIRS = "possible", "conceivable", "pairs"
KINDS = (POSSIBLE, CONCEIVABLE, PAIRS)

BOUND = 200_000
"""Instructions: a callable that executes more is not one to be tried at each."""

RUNS = 8
"""How often a point is run that no run has come to: with threads, no two go one way."""

TRIES = 3
"""How often we ask the same place whether handlers run there, at different times: the
signal may be blocked at one of them."""

NESTED = 40
"""How many steps after the first signal the second one still comes.  A handler that
notes and returns has 10 to 30."""

MOST_PAIRS = 2000

STOP = (signal.SIGTERM, signal.SIGINT)

SILENT = (
    *("LOAD_FAST", "LOAD_CONST", "LOAD_GLOBAL", "LOAD_DEREF", "STORE_FAST", "KW_NAMES"),
    *("POP_TOP", "POP_JUMP_FORWARD", "POP_JUMP_IF", "PUSH_NULL", "PUSH_EXC", "COPY"),
    *("POP_EXCEPT", "SWAP", "JUMP_FORWARD", "IS_OP", "BUILD_TUPLE", "RERAISE", "NOP"),
)
"""How the names of instructions begin that move things and call nothing.  No handler
runs at one, so we do not ask; bombardment, which does not know this list, agrees."""

LAST = "RETURN_"
"""How the name of a function's last instruction begins.  A signal before it is handled
where the call was, if C code has made the call, and so that is always tried."""

_known: dict[Spot, bool] = {}
"""Whether handlers run at an instruction, as far as we have asked.  One sweep's answers
are good for the next: they belong to the interpreter."""


def where_handlers_run() -> set[Spot]:
    """Return the instructions at which handlers run, of all that was swept so far."""
    return {spot for spot, runs in _known.items() if runs}


class Wanted(NamedTuple):
    """A kind of sweep to make."""

    kind: str
    signals: tuple[signal.Signals, ...]
    most: int | None


class Trial(NamedTuple):
    """One run to make: a point, and how the signal gets there."""

    point: Point
    make: Callable[[memoryview[int]], Tracer]
    signals: int
    """How many signals are sent."""
    beside: Callable[[Forks, Running], None] | None = None


class Course:
    """The way that the callable takes when no signal comes.

    Args:
        steps: all its instructions.
        slept: the numbers of those that have slept, counted from 1.
    """

    def __init__(self, steps: list[Step], slept: list[int]) -> None:
        self.length = len(steps)
        self.slept = slept
        self.numbers, self.first = _to_be_tried(steps)
        """The numbers of the instructions to try, and those without the last times."""
        kept = {*self.numbers, *(n - 1 for n in self.numbers), *slept} - {0}
        # No more than we need: what a process holds makes each fork of it slower.
        self._steps = {n: steps[n - 1] for n in kept}
        self.checks: list[int] = []
        """The numbers of the instructions at which handlers run."""
        self.asleep: list[int] = []
        """Of those that sleep, and from which a signal wakes them to run handlers."""

    def spot(self, number: int) -> Spot:
        """Return an instruction."""
        return self._steps[number].spot

    def place(self, number: int) -> Place:
        """Return where to find an instruction in another run."""
        return self._steps[number].place

    def point(self, number: int, name: str) -> Point:
        """Return an instruction as a point, with a line of the caller's own code."""
        it, _, _, (file, line) = self._steps[number]
        where = f"{it.name} in {it.function}"
        if (it.file, it.line) != (file, line):
            where += f" ({os.path.basename(it.file)}:{it.line})"
        return Point(name, where, file, line)

    def passed(self, number: int, found: Spot) -> list[int]:
        """Return what a signal has passed between its sending and its handling.

        None of them has looked for it, so they need not be asked.  Where that is not
        sure there are none: the signal has left its function, where it can have come to
        any of many calls, or has come past what does look, while it was blocked.

        Args:
            number: the instruction before which it was sent.
            found: the one at which it was handled.
        """
        passed: list[int] = []
        for n in self.numbers[bisect_left(self.numbers, number) :]:
            spot = self.spot(n)
            if spot == found:
                return passed[1:]  # it has been asked itself
            looks = _known.get(spot) or spot.name.startswith((LAST, "JUMP_BACKWARD"))
            if looks or self.place(n).call != self.place(number).call:
                break
            if not spot.name.startswith(SILENT):
                passed.append(n)
        return []

    def before(self, number: int) -> Place:
        """Return the place at which a signal is sent to be handled at an instruction.

        The entry of a function has none of its own: the interpreter looks for signals
        before a trace function of ours can send one.  So it is sent before the call.
        """
        place = self.place(number)
        if place.step > 1:
            return place
        return self.place(number - 1) if number > 1 else Place(1, 2)


def _to_be_tried(steps: Sequence[Step]) -> tuple[list[int], list[int]]:
    """Return the numbers of the instructions to try; see the head of this file."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    own: list[int] = []
    for number, step in enumerate(steps, 1):
        if is_library(step.spot.file):
            first.setdefault(step.way, number)
            last[step.way] = number
        else:
            own.append(number)
    once = {*own, *first.values()}
    return sorted(once | set(last.values())), sorted(once)


def _from_all_sides(numbers: Sequence[int]) -> Iterator[int]:
    """Yield numbers from as many places in turn as we have processors.

    An answer is good for the numbers right after its own, so those are asked last.
    """
    size = -(-len(numbers) // len(os.sched_getaffinity(0)))
    parts = [numbers[at : at + size] for at in range(0, len(numbers), max(size, 1))]
    for group in zip_longest(*parts):
        yield from (n for n in group if n is not None)


def harmless(run: Run) -> bool:
    """Be the check for who has no other: it ends, and leaves nothing changed.

    It may return, die of the signal, or let Ctrl-C's exception out.
    """
    fair = run.how == "returned" or run.error == "KeyboardInterrupt()"
    fair = fair or run.died_by in STOP
    return fair and not run.changed and not run.left


def script(path: str | os.PathLike[str]) -> Callable[[], None]:
    """Return a callable that runs a Python file as a program, to try it at each point.

    Args:
        path: the file; it is read and compiled at once, and runs as ``__main__``.

    Raises:
        InjectionError: it can't be read or compiled.
    """
    try:
        code = compile(Path(path).read_bytes(), os.fspath(path), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        raise InjectionError(f"{os.fspath(path)}: {error}") from None

    def program() -> None:
        sys.argv[:] = [os.fspath(path)]
        module = ModuleType("__main__")
        module.__file__ = os.fspath(path)
        sys.modules["__main__"] = module
        exec(code, vars(module))

    program.__qualname__ = os.fspath(path)
    return program


def every_point(
    function: Callable[[], object],
    check: Check = harmless,
    *,
    signals: Iterable[int] = STOP,
    points: Sequence[str] = (POSSIBLE, CONCEIVABLE),
    setup: Setup | None = None,
    seconds: float = SECONDS,
    most: int | None = None,
    seed: int | None = None,
    at: str | None = None,
    name: str = "",
    progress: Progress | None = None,
) -> list[Report]:
    """Run a callable with a signal at each point; return one report for each sweep.

    The callable runs in processes of its own, in their main thread.  It starts with
    Python's own dispositions, and has to take the same way each time as far as it can.

    Args:
        function: the callable, without arguments.
        check: says whether a run was as promised.
        signals: the signals, each tried alone; for ``pairs``, each with each.
        points: which sweeps: ``possible``, ``conceivable``, ``pairs``.
        setup: called once, before all, in the process that the runs are forked from.
        seconds: after which a run hangs.
        most: points for each sweep; more are sampled.  None: all, but 2000 pairs.
        seed: for the sampling; None: a new one.
        at: the number of a point to try alone.
        name: what the reports call the callable.
        progress: is told how far it is.

    Raises:
        InjectionError: the callable can't be called without arguments, or a call runs
            none of its code; it fails or hangs by itself, or is too long; or there is
            no such point.
    """
    names = tuple(map(signal.Signals, signals))
    alone = [(kind, (s,)) for kind in points if kind != PAIRS for s in names]
    both = [(PAIRS, (s, t)) for s in names for t in names] if PAIRS in points else []
    limits = {PAIRS: most or MOST_PAIRS}
    sweeps = [(k, those, limits.get(k, most)) for k, those in (*alone, *both)]
    seed = int.from_bytes(os.urandom(2)) if seed is None else seed
    name = name or getattr(function, "__qualname__", repr(function))
    if why_not := _why_not(function):
        raise InjectionError(f"{name} {why_not}")

    def work(leash: int, tell: Callable[[object], None]) -> object:
        forks = Forks(seconds, leash)
        explorer = _Explorer(function, seconds, forks, tell)
        try:
            # A child that the callable forks is not traced: it would count for us.  In
            # time, before the hooks of others run in it: those are called in the order
            # of their registration, and so tracing stops before the fork.
            os.register_at_fork(before=_pause_tracing, after_in_parent=_resume_tracing)
            if setup:
                set_up(setup)
            course = explorer.explore([sweep[0] for sweep in sweeps])
            wanted = [Wanted(*sweep) for sweep in sweeps]
            how: Any = {"check": check, "seed": seed, "at": at, "name": name}
            return [explorer.sweep(course, it, **how) for it in wanted], _known
        finally:
            forks.close()

    told = progress or (lambda *_: None)
    reports, known = apart(work, lambda it: told(*it), InjectionError)
    _known.update(known)
    if at is not None and not any(it.tried or it.missed for it in reports):
        raise InjectionError(f"there is no point {at} in these sweeps")
    return list(reports)


def _why_not(function: Callable[[], object]) -> str:
    """Say why a bare call does not run a callable; nothing if it does."""
    if inspect.iscoroutinefunction(function):
        return "is a coroutine function: try one that hands it to asyncio.run"
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "is a generator function: try one that asks it for its values"
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # C code need not say it
        return ""
    may_be_none = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        it.name
        for it in parameters
        if it.default is it.empty and it.kind not in may_be_none
    ]
    words = "an argument" if len(needed) == 1 else "arguments"
    cure = "try one that calls it with them"
    return f"needs {words}, {', '.join(needed)}: {cure}" if needed else ""


class _Explorer:
    """Explores a callable's course, then sweeps it; lives in the process apart."""

    def __init__(
        self,
        function: Callable[[], object],
        seconds: float,
        forks: Forks,
        tell: Callable[[object], None],
    ) -> None:
        self._function = function
        self._seconds = seconds
        self._forks = forks
        self._tell = tell
        self._told = 0.0

    # -- the course -----------------------------------------------------------------

    def explore(self, kinds: Iterable[str]) -> Course:
        """Return the course, with what the sweeps need to know of it."""
        ended, course = self._dry_run()
        if _is_clean(ended):
            # Once in the process that all are forked from: what is imported or cached
            # at the first call is no part of the course.
            with suppress(BaseException):
                self._function()
            course = self._longest()
        if not course.length:
            raise InjectionError("the callable executes no Python: is it written in C?")
        if {POSSIBLE, PAIRS} & set(kinds):
            self._find_checks(course)
        return course

    def _longest(self) -> Course:
        """Return the longest of three, as a course may vary; two that agree will do."""
        courses: list[Course] = []
        while len(courses) < TRIES and (
            len(courses) < 2 or courses[0].numbers != courses[1].numbers
        ):
            courses.append(self._dry_run()[1])
        return max(courses, key=lambda it: it.length)

    def _dry_run(self) -> tuple[Finished, Course]:
        """Run it without a signal, up to the end or until it waits for one."""
        resting: list[int] = []
        watch = partial(_watch, resting)
        bounded = partial(Recorder, until=BOUND + 1, enough=lambda _: os._exit(0))
        ended = self._forks.one(Planned(0, partial(self._live, bounded), watch))
        if ended.shared[Slot.INSTRUCTIONS] > BOUND:
            raise InjectionError(
                f"the callable executes more than {BOUND} instructions: try a smaller"
                " part of it, and import before it, or in a setup, what it imports"
            )
        if ended.report and not resting:
            account: Account = pickle.loads(ended.report)
            return ended, Course(account.steps, account.slept)
        if not resting and ended.took >= self._seconds:
            raise InjectionError(
                f"without a signal it neither ends within {self._seconds:g} s nor waits"
            )
        # It waits, or has ended its process: we record another run up to there.
        last = resting[0] if resting else ended.shared[Slot.INSTRUCTIONS]
        course = self._course_until(last, waits=bool(resting))
        return ended, course

    def _course_until(self, last: int, *, waits: bool) -> Course:
        def work(seen: memoryview[int], report: int, output: int) -> NoReturn:
            def enough(trace: Recorder) -> None:
                with open(report, "wb") as file:
                    pickle.dump((trace.steps, trace.slept), file)
                os._exit(0)

            self._live(lambda seen: Recorder(seen, last, enough), seen, report, output)

        ended = self._forks.one(Planned(0, work))
        if not ended.report:
            raise InjectionError(
                "without a signal it takes another way each time, and does not return"
            )
        steps, slept = pickle.loads(ended.report)
        return Course(steps, sorted({*slept, last} if waits else slept))

    def _live(
        self,
        make: Callable[[memoryview[int]], Tracer],
        seen: memoryview[int],
        report: int,
        output: int,
    ) -> NoReturn:
        trace = make(seen)
        live(self._function, trace, seconds=self._seconds, report=report, output=output)

    # -- where handlers run ---------------------------------------------------------

    def _find_checks(self, course: Course) -> None:
        asked: Counter[Spot] = Counter()
        answered: set[int] = set()

        def plans() -> Iterator[Planned]:
            for n in _from_all_sides(course.numbers):
                spot = course.spot(n)
                if n in answered or n in course.slept or spot.name.startswith(SILENT):
                    continue
                if course.place(n).step == 1:
                    _known[spot] = True  # the interpreter looks at each entry
                elif spot not in _known or spot.name.startswith(LAST):
                    asked[spot] += 1
                    if asked[spot] <= TRIES or spot.name.startswith(LAST):
                        yield Planned(n, self._probe(course, n))

        for done, ended in enumerate(self._forks.run(plans(), done=_has_got), 1):
            self._say("looking for the possible points", done, len(course.numbers))
            if found := _spot_of(ended):
                _known[found] = True
                passed = set(course.passed(ended.key, found)) - answered
                asked.update(map(course.spot, passed))
                answered |= passed
        for spot in asked:
            _known.setdefault(spot, False)
        # A signal right before an instruction that sleeps is possible in any case.  The
        # interpreter has looked already, and sees it when the sleep is over.
        course.checks = [
            n for n in course.numbers if _known.get(course.spot(n)) or n in course.slept
        ]
        course.asleep = [n for n in course.slept if self._wakes(course, n)]
        _known.update(dict.fromkeys(map(course.spot, course.asleep), True))

    def _probe(self, course: Course, n: int) -> Callable[..., NoReturn]:
        make = partial(Possible, place=course.before(n), signum=PROBE)
        return partial(self._live_probed, make)

    def _live_probed(
        self, make: Any, seen: memoryview[int], report: int, output: int
    ) -> NoReturn:
        probe(report)
        self._live(make, seen, report, output)

    def _wakes(self, course: Course, n: int) -> bool:
        make = partial(Marker, place=course.place(n))
        work = partial(self._live_probed, make)
        plan = Planned(n, work, partial(_wake, PROBE))
        found = (_spot_of(self._forks.one(plan, done=_has_got)) for _ in range(TRIES))
        return course.spot(n) in found

    # -- the sweeps -----------------------------------------------------------------

    def sweep(
        self,
        course: Course,
        wanted: Wanted,
        *,
        check: Check,
        seed: int,
        at: str | None,
        name: str,
    ) -> Report:
        """Make one sweep and return its report."""
        began = time.monotonic()
        report = Report(name, wanted.signals, wanted.kind, course=course.length)
        trials = _trials(course, wanted)
        if at is not None:
            trials = [trial for trial in trials if trial.point.number == at]
        elif wanted.most is not None and len(trials) > wanted.most:
            report.seed, report.drawn_from = seed, len(trials)
            trials = _drawn(trials, wanted.most, seed)
        what = f"{wanted.kind}, {' and '.join(s.name for s in wanted.signals)}"
        remaining = trials
        for _ in range(RUNS):
            missed = []
            for ended in self._forks.run(self._plans(remaining)):
                trial, run = ended.key, self._run_of(ended)
                if run.delivered < trial.signals:
                    missed.append(trial)
                else:
                    report.tried.append(judge(trial.point, run, check, wanted.signals))
                self._say(what, len(report.tried) + len(missed), len(trials))
            remaining = missed
            if not remaining:
                break
        report.missed = [trial.point for trial in remaining]
        report.tried.sort(key=lambda tried: _order(tried.point.number))
        report.seconds = time.monotonic() - began
        return report

    def _plans(self, trials: list[Trial]) -> Iterator[Planned]:
        return (
            Planned(trial, partial(self._live, trial.make), trial.beside)
            for trial in trials
        )

    def _run_of(self, ended: Finished) -> Run:
        if ended.report:
            it: Account = pickle.loads(ended.report)
            more = (it.delivered, it.changed, ended.left, ended.output)
            return Run(it.how, pickle.loads(it.value), it.error, it.status, *more)
        late = ended.code == -signal.SIGKILL and ended.took >= self._seconds
        how = HUNG if late else "died" if ended.code < 0 else "exited"
        delivered = min(ended.key.signals, ended.shared[Slot.SENT])
        return Run(how, None, "", ended.code, delivered, (), ended.left, ended.output)

    def _say(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._told > REST / 5 or done == total:
            self._told = time.monotonic()
            self._tell((what, done, total))


_paused: list[Any] = []


def _pause_tracing() -> None:
    _paused.append(sys.gettrace())
    sys.settrace(None)


def _resume_tracing() -> None:
    sys.settrace(_paused.pop())


def _is_clean(ended: Finished) -> bool:
    """Return whether it is safe to run the callable in our own process."""
    if not ended.report or ended.code or ended.left:
        return False
    account: Account = pickle.loads(ended.report)
    whole = account.how in ("returned", "raised")
    return whole and not account.changed and account.threads == 1


def _spot_of(ended: Finished) -> Spot | None:
    """Return where a probe was handled, if it was."""
    found = pickle.loads(ended.report) if ended.report else None
    return found if isinstance(found, Spot) else None


def _has_got(child: Running) -> bool:
    """Return whether a child has got its signal."""
    return bool(child.shared[Slot.SENT])


def _watch(resting: list[int], forks: Forks, child: Running) -> None:
    """Wait until a child ends; end it when it rests, and note at which instruction."""
    earlier, since = turns(child.pid), time.monotonic()
    while not forks.ended(child, REST / 10):
        now = turns(child.pid)
        if not sleeps(now) or now != earlier:
            earlier, since = now, time.monotonic()
        elif time.monotonic() - since > REST:
            resting.append(child.shared[Slot.INSTRUCTIONS])
            os.kill(child.pid, signal.SIGKILL)


def _wake(signum: int, forks: Forks, child: Running) -> None:
    """Send a child the signal as soon as it sleeps in the instruction that it marks."""
    while not forks.ended(child, 0):
        if _has_got(child) and sleeps(turns(child.pid)):
            child.shared[Slot.SENT_BY_PARENT] = 1
            os.kill(child.pid, signum)
            return


def _trials(course: Course, wanted: Wanted) -> list[Trial]:
    kind, signums, _ = wanted
    if kind == CONCEIVABLE:
        return [_trial(course, n, Conceivable, signums[0]) for n in course.first]
    if kind == PAIRS:
        return [
            _trial(
                course, n, partial(Possible, second=(signums[1], more)), *signums, more
            )
            for n in course.checks
            for more in range(NESTED)
        ]
    trials = [_trial(course, n, Possible, signums[0]) for n in course.checks]
    for n in course.asleep:
        point, place = course.point(n, f"{n}asleep"), course.place(n)
        point = replace(point, where=f"asleep in {point.where}")
        wake = partial(_wake, signums[0])
        trials.append(Trial(point, partial(Marker, place=place), 1, wake))
    return trials


def _trial(course: Course, n: int, make: Any, signum: int, *more: int) -> Trial:
    place = course.place(n) if make is Conceivable else course.before(n)
    number = "+".join(map(str, (n, *more[1:])))
    return Trial(
        course.point(n, number),
        partial(make, place=place, signum=signum),
        1 + bool(more),
    )


def _drawn(trials: list[Trial], most: int, seed: int) -> list[Trial]:
    """Return a sample.

    It is by a hash of integers: the module ``random`` loads C libraries, which make
    each fork slower.
    """

    def lot(trial: Trial) -> int:
        return hash((seed, *_order(trial.point.number)))

    chosen = {trial.point.number for trial in sorted(trials, key=lot)[:most]}
    return [trial for trial in trials if trial.point.number in chosen]


def _order(number: str) -> list[int]:
    return [int(n) for n in number.replace("asleep", "+0").split("+")]
