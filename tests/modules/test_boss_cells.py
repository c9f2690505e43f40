"""Every cell of the boss's table, driven with a real child of a real boss."""

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from boss import MESSAGES, TABLE, Event, State
from support import procfs
from support.bosses import LONG_GRACE, SHORT_GRACE, STEP, child, library, pid_in
from support.companions import parts
from support.program import MODULES, Program


@dataclass(frozen=True)
class Route:
    """How ``it`` comes into a state, and how the event comes to it there.

    ``deaths`` is how often it has died before: the first restart has no delay.
    """

    fire_at: str
    how: str
    stop_at: str = "-"
    deaths: int = 0
    delay: float = SHORT_GRACE
    words: tuple[str, ...] = ("stubborn",)
    restart: str = "always"
    grace: float = LONG_GRACE
    late: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


WAITING = Route("first RUNNING", "call", other=("first",))
RUNNING = Route("it RUNNING", "call")
BACKOFF = Route("it BACKOFF", "call", words=("exit=1",), delay=LONG_GRACE)
STOPPING = Route("it STOPPING", "call", stop_at="it RUNNING")
KILLED = Route("it KILLED", "call", stop_at="it RUNNING", grace=SHORT_GRACE)
DOWN = Route("it DOWN", "call", words=("exit=0",), restart="never", other=("first",))

BY_CALL = {
    "WAITING": WAITING,
    "RUNNING": RUNNING,
    "BACKOFF": BACKOFF,
    "STOPPING": STOPPING,
    "KILLED": KILLED,
    "DOWN": DOWN,
}

REAL = {
    "WAITING START": Route("first RUNNING", "of itself", other=("first",)),
    "WAITING STOP": Route("first RUNNING", "signal", other=("first",)),
    "RUNNING LOST": Route("it RUNNING", "die", deaths=1, delay=LONG_GRACE),
    "RUNNING ENDED": Route("it RUNNING", "die", restart="never", other=("first",)),
    "RUNNING STOP": Route("it RUNNING", "signal"),
    "RUNNING HURRY": Route(
        "late STOPPING", "signal", stop_at="late RUNNING", late=("stubborn",)
    ),
    "BACKOFF DUE": Route("it BACKOFF", "of itself", words=("once=died",)),
    "BACKOFF STOP": Route(
        "it BACKOFF", "signal", deaths=2, words=("exit=1",), delay=LONG_GRACE
    ),
    "STOPPING ENDED": Route("it STOPPING", "die", stop_at="it RUNNING"),
    "STOPPING DUE": Route(
        "it STOPPING", "of itself", stop_at="it RUNNING", grace=SHORT_GRACE
    ),
    "STOPPING HURRY": Route("it STOPPING", "signal", stop_at="it RUNNING"),
    "KILLED ENDED": Route(
        "it KILLED", "of itself", stop_at="it RUNNING", grace=SHORT_GRACE
    ),
    "DOWN STOP": Route(
        "it DOWN", "signal", words=("exit=0",), restart="never", other=("first",)
    ),
    "DOWN HURRY": Route(
        "first STOPPING",
        "signal",
        stop_at="it DOWN",
        words=("exit=0",),
        restart="never",
        other=("first", "stubborn"),
    ),
}

# Written from the design, not from the table: what becomes of `it`, in words.
EXPECTED = {
    "WAITING START": "is started",
    "WAITING STOP": "is let go",
    "RUNNING LOST": "is to be restarted later",
    "RUNNING ENDED": "is let go",
    "RUNNING STOP": "is asked",
    "RUNNING HURRY": "is killed",
    "BACKOFF DUE": "is started",
    "BACKOFF STOP": "is let go",
    "STOPPING ENDED": "is let go",
    "STOPPING DUE": "is killed",
    "STOPPING HURRY": "is killed",
    "KILLED ENDED": "is let go",
    "KILLED STOP": "is left to die",
    "KILLED HURRY": "is left to die",
    "DOWN STOP": "stays down",
    "DOWN HURRY": "stays down",
}
NEXT = {
    "is started": "RUNNING",
    "is let go": "DOWN",
    "is to be restarted later": "BACKOFF",
    "is asked": "STOPPING",
    "is killed": "KILLED",
    "is left to die": "KILLED",
    "stays down": "DOWN",
}
CELLS = [f"{state.name} {event.name}" for state in TABLE for event in TABLE[state]]


def tables(route: Route) -> list[str]:
    """Return the file for a route: ``it``, one before it and one after it."""
    found = []
    keys: dict[str, object] = {"restart": route.restart, "grace": route.grace}
    if route.other:
        found.append(child(*route.other, grace=LONG_GRACE))
        keys["after"] = route.other[0]
    found.append(child("it", *route.words, **keys))
    if route.late:
        found.append(child("late", *route.late, after="it", grace=LONG_GRACE))
    return found


def test_the_table_is_complete() -> None:
    assert list(TABLE) == list(State)
    for state in State:
        assert list(TABLE[state]) == list(Event), state


@pytest.mark.parametrize("cell", CELLS)
def test_cell(cell: str, tmp_path: Path) -> None:
    state, event = cell.split()
    expected = EXPECTED.get(cell)
    route = REAL.get(cell) or BY_CALL[state]
    numbers = (str(route.deaths), str(route.delay))
    args = (state, event, route.stop_at, route.fire_at, route.how, *numbers)
    with library(tmp_path, STEP, *tables(route), args=args) as program:
        program.wait_for("fire")

        if expected is None:
            assert_impossible(program, cell)
            return
        line = program.wait_for(f"moved it {state} {event}")

        assert line.split()[-1] == NEXT[expected]
        EVIDENCE[expected](program)


def assert_impossible(program: Program, cell: str) -> None:
    """An internal error that names the state; nobody is left behind."""
    ended = program.wait()

    assert f"AssertionError: it is {State[cell.split(maxsplit=1)[0]]}" in program.output
    assert ended.code == 1
    assert ended.left == []


def pids(program: Program) -> list[int]:
    """Return the pids of all starts of ``it`` so far."""
    lines = program.output.splitlines()
    return [pid_in(ln) for ln in lines if ln.startswith("boss child-started: name=it ")]


def assert_started(program: Program) -> None:
    """It is a new process, and leads its group."""
    while not pids(program):
        program.read_line()
    pid = pids(program)[-1]
    assert procfs.group(pid) == pid
    assert len(set(pids(program))) == len(pids(program))


def assert_to_be_restarted(program: Program) -> None:
    """The dead one is reaped, no new one has come, and the boss lives."""
    assert [procfs.state(pid) for pid in pids(program)] == [""] * len(pids(program))
    assert procfs.state(program.pid) != ""
    assert "boss child-backs-off: name=it" in program.output


def assert_let_go(program: Program) -> None:
    """None of its processes is left, not even as a zombie."""
    assert [procfs.state(pid) for pid in pids(program)] == [""] * len(pids(program))
    program.send(signal.SIGTERM)
    procfs.until(lambda: not procfs.children(program.pid), "no child of the boss")


def assert_asked(program: Program) -> None:
    """SIGTERM has reached it, and it still is the same process."""
    while "it asked" not in program.output:  # it may have said so already
        program.read_line()

    assert procfs.state(pids(program)[-1]) in {"S", "R"}
    assert len(pids(program)) == 1


def assert_killed(program: Program) -> None:
    """The kernel says that SIGKILL ended it."""
    line = program.wait_for("boss child-died: name=it")

    assert line.endswith(f"signal={int(signal.SIGKILL)}")
    assert procfs.state(pids(program)[-1]) == ""


def assert_left_to_die(program: Program) -> None:
    """SIGKILL was sent once, and ends it; nothing else happens to it."""
    assert_killed(program)
    assert program.output.count("boss child-killed: name=it") == 1


def assert_stays_down(program: Program) -> None:
    """It was started once, and nothing of it is there."""
    assert len(pids(program)) == 1
    assert procfs.state(pids(program)[0]) == ""


EVIDENCE = {
    "is started": assert_started,
    "is let go": assert_let_go,
    "is to be restarted later": assert_to_be_restarted,
    "is asked": assert_asked,
    "is killed": assert_killed,
    "is left to die": assert_left_to_die,
    "stays down": assert_stays_down,
}


def test_every_message_of_the_source_is_explained() -> None:
    texts = [(MODULES / f"{part}.py").read_text() for part in parts("boss")]

    said = {
        it.partition('"')[0] for text in texts for it in text.split('log.say("')[1:]
    }

    assert said == set(MESSAGES)
