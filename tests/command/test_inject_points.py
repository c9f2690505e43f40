"""The injector in process: it finds what is there, and nothing that is not."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest
from support import FATAL, HANG, ROOT, SETTLE
from support.procfs import children
from support.program import Program

from fatal_signals.inject import InjectionError, Report, Run, every_point, script
from fatal_signals.inject.report import as_text
from fatal_signals.processes.forks import Forks, Planned, apart

pytestmark = [pytest.mark.scattered, pytest.mark.slow]

SIGTERM, SIGINT = signal.SIGTERM, signal.SIGINT


def sweep(
    function: Callable[[], object],
    check: Callable[[Run], object] = lambda run: True,
    points: str = "possible",
    signum: int = SIGTERM,
    **options: Any,
) -> Report:
    """Make one sweep; its report."""
    options.setdefault("seconds", FATAL)
    (report,) = every_point(
        function, check, points=[points], signals=[signum], **options
    )
    return report


def names(report: Report) -> set[str]:
    return {tried.point.where.partition(" ")[0] for tried in report}


def line_of(frame: Any) -> int:
    line: int = frame.f_lineno
    return line


def plain() -> int:
    total = 0
    for number in (1, 2, 3):
        total += abs(number)
    return total


def test_every_instruction_is_a_conceivable_point() -> None:
    report = sweep(plain, lambda run: run.died_by == SIGTERM, "conceivable")
    assert len(report.tried) == report.course
    assert {"LOAD_FAST", "RETURN_VALUE", "FOR_ITER"} <= names(report)
    assert not report.failures
    assert not report.missed


def test_possible_points_are_those_where_handlers_run() -> None:
    """Each point's own line is where the handler finds the program."""

    def life() -> object:
        seen: list[int] = []
        signal.signal(SIGTERM, lambda _, frame: seen.append(line_of(frame)))
        total = 0
        for number in (1, 2, 3):
            total += abs(number)
        signal.signal(SIGTERM, signal.SIG_DFL)
        return seen

    def check(run: Run) -> None:
        assert run.point is not None
        if run.how == "returned" and run.point.where.endswith("life"):
            assert run.value == [run.point.line]

    report = sweep(life, check)
    assert not report.failures, report.failures[0]
    assert {"RESUME", "CALL", "JUMP_BACKWARD"} <= names(report)
    assert not {"LOAD_FAST", "STORE_FAST", "LOAD_CONST"} & names(report)


def test_c_code_that_looks_is_a_possible_point() -> None:
    big = 3**60000

    def life() -> int:
        return big * big

    assert "BINARY_OP" in names(sweep(life))


def purse(signum: int) -> Callable[[], dict[str, int]]:
    def life() -> dict[str, int]:
        money = {"ours": 1, "yours": 0}

        def stop(*_: object) -> None:
            raise SystemExit

        signal.signal(signum, stop)
        try:
            money["ours"] -= 1
            money["yours"] += abs(1)
        except SystemExit:
            pass
        signal.signal(signum, signal.SIG_DFL)
        return money

    return life


def whole(run: Run) -> None:
    if run.how == "returned":
        assert sum(run.value.values()) == 1, f"lost: {run.value}"


def test_a_handler_that_raises_is_found_with_its_line() -> None:
    report = sweep(purse(SIGTERM), whole)
    assert report.failures
    lines = Path(__file__).read_text().splitlines()
    broken = {lines[tried.point.line - 1].strip() for tried in report.failures}
    assert broken == {'money["yours"] += abs(1)'}
    assert all("lost" in tried.why for tried in report.failures)


def waits_for(make: Callable[[], Any], put: str) -> Callable[[], None]:
    def life() -> None:
        thing = make()
        signal.signal(SIGTERM, lambda *_: getattr(thing, put)())
        getattr(thing, put)()
        signal.signal(SIGTERM, signal.SIG_DFL)

    return life


def test_a_lock_in_the_handler_hangs() -> None:
    report = sweep(waits_for(threading.Event, "set"), seconds=HANG)
    assert report.counts["hung"] > 0
    assert report.counts["kept"] > 0


def test_a_simple_queue_does_not() -> None:
    class Line:
        def __init__(self) -> None:
            self.put = queue.SimpleQueue[int]().put

        def stop(self) -> None:
            self.put(1)

    report = sweep(waits_for(Line, "stop"), lambda run: run.how != "raised")
    assert not report.failures


def test_a_callable_may_wait_for_the_signal() -> None:
    def life() -> list[int]:
        came: list[int] = []
        signal.signal(SIGTERM, lambda signum, _: came.append(signum))
        signal.pause()
        signal.signal(SIGTERM, signal.SIG_DFL)
        return came

    def check(run: Run) -> bool:
        return run.how == "died" or run.value == [SIGTERM]

    report = sweep(life, check, seconds=HANG)
    ends = [tried for tried in report if tried.point.number.endswith("asleep")]
    assert len(ends) == 1
    assert ends[0].point.where.startswith("asleep in CALL in test_a_callable_may")
    assert ends[0].verdict == "kept"


def test_a_flag_alone_does_not_wake_a_wait() -> None:
    """The signal that comes before the wait is noted, and the wait has no end."""

    def life() -> None:
        came: list[int] = []
        signal.signal(SIGTERM, lambda signum, _: came.append(signum))
        while not came:
            signal.pause()

    report = sweep(life, seconds=HANG)
    assert report.counts["hung"] > 0
    assert {t.verdict for t in report if "asleep" in t.point.where} == {"kept"}


@pytest.mark.parametrize("most", [60, pytest.param(400, marks=pytest.mark.long)])
def test_two_signals_find_what_one_does_not(most: int) -> None:
    """A handler that may be interrupted between its look and its store."""

    def life() -> int:
        count = 0

        def note(*_: object) -> None:
            nonlocal count
            now = count
            str(now)
            count = now + 1

        signal.signal(SIGTERM, note)
        for _ in range(2):
            plain()
        signal.signal(SIGTERM, signal.SIG_DFL)
        return count

    def check(run: Run) -> None:
        if run.how == "returned":
            assert run.value in (0, run.delivered), run.value

    single = sweep(life, check)
    assert not single.failures
    report = sweep(life, check, "pairs", most=most, seed=1)
    assert report.failures
    assert len(report.tried) > len(report.missed)


@pytest.mark.parametrize(
    ("leave", "what"),
    [
        (lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN), "the handler of SIGHUP"),
        (lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {SIGINT}), "the mask"),
        (lambda: os.open(os.devnull, os.O_RDONLY), "descriptor "),
        (lambda: signal.setitimer(signal.ITIMER_PROF, FATAL), "the timer ITIMER_PROF"),
        (
            lambda: signal.set_wakeup_fd(os.pipe2(os.O_NONBLOCK)[1]),
            "the wakeup fd",
        ),
    ],
)
def test_what_is_not_put_back_is_told(leave: Callable[[], object], what: str) -> None:
    def life() -> None:
        leave()

    def check(run: Run) -> None:
        assert run.how != "returned", ", ".join(run.changed)

    signal_that_is_ignored = signal.SIGURG
    report = sweep(life, check, signum=signal_that_is_ignored)
    assert any(what in tried.why for tried in report.failures)


def test_what_is_left_behind_is_told_and_gone() -> None:
    def life() -> None:
        if not os.fork():
            os.setsid()
            signal.pause()
        plain()

    report = sweep(life, lambda run: not run.left, signum=signal.SIGURG, most=6, seed=1)
    assert [tried.run.left for tried in report] == [1] * len(report.tried)
    assert report.tried
    assert all("left 1 process" in tried.why for tried in report)


def left_by_two() -> list[tuple[str, int]]:
    """One leaves a process and goes on; meanwhile another one ends, having left none.

    Return, in the order in which they end, who they are and what is held against them.
    """
    (left, leave), (done, finish) = os.pipe(), os.pipe()

    def work(leash: int, _: object) -> list[tuple[str, int]]:
        runs = Forks(FATAL, leash).run(
            [Planned("first", first), Planned("second", second)]
        )
        second_ended = next(runs)
        os.write(finish, b"x")
        return [(born.key, born.left) for born in (second_ended, next(runs))]

    def first(*_: object) -> NoReturn:
        if not os.fork():
            os.setsid()
            if not os.fork():
                signal.pause()
            os._exit(0)
        os.wait()  # from here on what it has left has no other parent
        os.write(leave, b"x")
        os.read(done, 1)
        os._exit(0)

    def second(*_: object) -> NoReturn:
        os.read(left, 1)
        os._exit(0)

    try:
        ended: list[tuple[str, int]] = apart(work, print, InjectionError)
        return ended
    finally:
        for fd in (left, leave, done, finish):
            os.close(fd)


def test_what_is_left_behind_is_told_of_the_one_that_left_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert left_by_two() == [("second", 0), ("first", 1)]
    monkeypatch.setattr("fatal_signals.processes.forks._mark_of", lambda pid: -1)
    assert left_by_two() == [("second", 1), ("first", 0)]


def test_a_forked_child_that_falls_through_reports_nothing() -> None:
    def life() -> str:
        if not os.fork():
            return "the child"
        os.wait()
        return "the parent"

    report = sweep(life, signum=signal.SIGURG, most=10, seed=1)
    assert {tried.run.value for tried in report} == {"the parent"}


def earlier(folder: Path) -> int:
    """Return how many processes have been here before this one."""
    runs = len(os.listdir(folder))
    os.close(os.open(f"{folder}/{os.getpid()}", os.O_CREAT))
    return runs


def test_points_that_are_not_reached_again_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fatal_signals.inject.points.RUNS", 2)

    def life() -> int:
        return sum(plain() for _ in range(1 if earlier(tmp_path) < 3 else 0))

    report = sweep(life, points="conceivable", signum=signal.SIGURG)
    assert report.missed
    assert report.tried


def test_points_that_are_reached_now_and_then_are_all_tried(tmp_path: Path) -> None:
    def life() -> int:
        runs = earlier(tmp_path)
        return plain() if runs < 3 or runs % 3 else 0

    report = sweep(life, points="conceivable", signum=signal.SIGURG)
    assert report.tried
    assert not report.missed


def needs_two(first: int, second: int = 2, *more: int, third: int, **rest: int) -> int:
    return first + second + third


async def coroutine() -> int:
    return plain()


def generator() -> Iterator[int]:
    yield plain()


@pytest.mark.parametrize("function", [plain, partial(needs_two, 1, third=3)])
def test_what_needs_no_argument_is_tried(function: Any) -> None:
    assert sweep(function, points="conceivable", most=2, seed=1).tried


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (os.getpid, "written in C"),
        (lambda: sum(iter(int, 1)), "neither ends within"),
        (lambda: [None for _ in iter(int, 1)], "more than 200000 instructions.*import"),
        (needs_two, "^needs_two needs arguments, first, third: "),
        (partial(needs_two, 1), "needs an argument, third: "),
        (coroutine, "^coroutine is a coroutine function: .*asyncio.run"),
        (generator, "^generator is a generator function: "),
    ],
    ids=["in C", "endless in C", "long", "two", "one", "coroutine", "generator"],
)
def test_what_can_not_be_tried_says_why(function: Any, why: str) -> None:
    seconds = 2 * SETTLE if why.startswith("neither") else FATAL
    with pytest.raises(InjectionError, match=why):
        sweep(function, seconds=seconds)


def test_one_point_alone() -> None:
    report = sweep(plain, points="conceivable", at="5")
    assert [tried.point.number for tried in report] == ["5"]
    with pytest.raises(InjectionError, match="no point 999"):
        sweep(plain, at="999")


def test_a_sample_says_of_how_many_it_was_drawn() -> None:
    whole = sweep(plain, points="conceivable")
    sample = sweep(plain, points="conceivable", most=5, seed=7)
    assert sample.drawn_from == len(whole.tried) > len(sample.tried) == 5
    share = f"conceivable: 5 of {sample.drawn_from} tried, drawn with seed 7"
    assert share in as_text([sample])
    assert "drawn" not in as_text([whole])


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    reports = [sweep(plain, points="conceivable", most=5, seed=7) for _ in range(2)]
    first, second = ([t.point.number for t in report] for report in reports)
    assert first == second
    assert len(first) == 5
    assert reports[0].seed == 7


def test_a_script_is_run_as_main(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("if __name__ == '__main__':\n    print('ran')\n")
    report = sweep(script(file), signum=signal.SIGURG)
    assert {tried.run.output for tried in report} == {"ran\n"}
    with pytest.raises(InjectionError, match="No such file"):
        script(tmp_path / "none.py")


def test_the_caller_is_as_before() -> None:
    def state() -> object:
        fds = sorted(os.listdir("/proc/self/fd"))
        handlers = [signal.getsignal(signum) for signum in signal.Signals]
        return fds, handlers, signal.pthread_sigmask(signal.SIG_BLOCK, ())

    before = state()
    sweep(purse(SIGINT), whole, signum=SIGINT)
    assert state() == before
    assert children(os.getpid()) == []


HANGING = """
import signal, sys
sys.path.insert(0, sys.argv[1])
from fatal_signals.inject import every_point


def life():
    signal.signal(signal.SIGTERM, lambda *_: print("hangs", flush=True) or [
        None for _ in iter(int, 1)])


def told(what, done, total):
    print(what, flush=True)


every_point(life, points=["possible"], signals=[signal.SIGTERM],
            seconds=float(sys.argv[2]), progress=told)
"""


def test_nothing_outlives_a_caller_that_is_killed() -> None:
    root = str(ROOT)
    with Program(HANGING, root, str(FATAL / 4)) as program:
        program.wait_for("looking")
        program.send(signal.SIGKILL)
        ended = program.wait()
        assert ended.code == -signal.SIGKILL
        assert ended.left == []


SPEED = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from fatal_signals.inject import every_point


def life():
    total = 0
    for number in range(100):
        total += number


def bare(count):
    cores, running = len(os.sched_getaffinity(0)), 0
    began = time.monotonic()
    for _ in range(count):
        if running == cores:
            os.wait()
            running -= 1
        if not os.fork():
            os._exit(0)
        running += 1
    while running:
        os.wait()
        running -= 1
    return count / (time.monotonic() - began)


best, slowest = 0, float(sys.argv[2])
for _ in range(3):
    if best > slowest:
        break  # more would only say by how much
    (report,) = every_point(life, points=["conceivable"], signals=[signal.SIGTERM])
    best = max(best, len(report.tried) / report.seconds / bare(len(report.tried)))
print(best)
"""

SLOWEST = 0.1
"""Of the rate at which a bare loop forks and waits.  We see 0.5 and more; a test under
load has to bear some noise."""


def test_the_rate_is_near_that_of_a_bare_fork() -> None:
    root = str(ROOT)
    with Program(SPEED, root, str(SLOWEST)) as program:
        assert float(program.read_line()) > SLOWEST
        assert program.wait().code == 0


def test_threads_of_the_caller_are_no_matter() -> None:
    """From 3.12 on Python warns of a fork beside threads; warnings are errors here."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert not sweep(plain, lambda run: run.died_by == SIGTERM).failures
    finally:
        done.set()
        thread.join()
