"""The promises of true_death.py."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT, SIGTERM

import pytest
from support import procfs
from support.program import Outcome, Program, run
from support.reapers import as_pid_1
from support.stops import look, needs_compiler, preload, source

NO_CORE = "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"

STUBBORN = [
    pytest.param("signal.signal(SIGTERM, lambda *_: say('caught'))", id="handler"),
    pytest.param("signal.signal(SIGTERM, SIG_IGN)", id="ignored"),
    pytest.param("signal.pthread_sigmask(SIG_BLOCK, {SIGTERM})", id="blocked"),
    pytest.param("pending(SIG_DFL)", id="pending"),
    pytest.param("pending(lambda *_: say('caught'))", id="pending-handler"),
    pytest.param("signal.pthread_sigmask(SIG_BLOCK, ALL); thread()", id="thread"),
    pytest.param("thread(); signal.pthread_sigmask(SIG_BLOCK, ALL)", id="deaf"),
]

PLACES = {
    "finally": "try:\n    1 / 0\nfinally:\n    die_of(SIGTERM)",
    "except": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    die_of(SIGTERM)",
    "handler": "signal.signal(SIGUSR2, lambda *_: die_of(SIGTERM))\n"
    "raise_signal(SIGUSR2)",
    "own-handler": "signal.signal(SIGTERM, lambda *_: die_of(SIGTERM))\n"
    "raise_signal(SIGTERM)",
    "with-block": "with StopFlag() as stop:\n    raise_signal(SIGTERM)\n"
    "    die_of(stop.signum)",
    "atexit": "import atexit\natexit.register(die_of, SIGTERM)\nsys.exit(3)",
}


def program(body: str) -> str:
    """Return a program that may use ``die_of``, and says no more after it."""
    head = """
    import warnings
    from signal import SIG_BLOCK, SIGQUIT
    from true_death import die_of

    ALL = signal.valid_signals()
    warnings.simplefilter("ignore", DeprecationWarning)  # fork beside a thread

    def thread():
        threading.Thread(target=signal.pause, daemon=True).start()

    def pending(handler):
        signal.signal(SIGTERM, handler)
        signal.pthread_sigmask(SIG_BLOCK, {SIGTERM})
        os.kill(os.getpid(), SIGTERM)
    """
    return source("StopFlag", head) + NO_CORE + textwrap.dedent(body)


def outcome(body: str, env: dict[str, str] | None = None) -> Outcome:
    return run(program(body), env=env)


def died_of(ended: Outcome, signum: int, *lines: str) -> bool:
    return (ended.code, ended.lines) == (-signum, list(lines))


@pytest.mark.parametrize("obstacle", STUBBORN)
def test_dies_whatever_stands_in_its_way(obstacle: str) -> None:
    ended = outcome(f"{obstacle}\nsay('last words')\ndie_of(SIGTERM)\nsay('alive')")
    assert died_of(ended, SIGTERM, "last words")


@needs_compiler
def test_dies_although_c_code_has_set_a_handler(tmp_path: Path) -> None:
    code = """
    #include <signal.h>

    static void handle(int number) { (void)number; }

    __attribute__((constructor)) static void install(void)
    {
        signal(SIGTERM, handle);
    }
    """
    body = """
    say(signal.getsignal(SIGTERM))
    die_of(SIGTERM)
    say("alive")
    """
    assert died_of(outcome(body, preload(tmp_path, code)), SIGTERM, "None")


def test_dies_beside_a_thread_that_could_take_the_signal() -> None:
    """One that dumps core, sent to the process, is taken by one of its threads."""
    body = """
    for _ in range(20):
        if not os.fork():
            thread()
            die_of(SIGQUIT)
        say(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert outcome(body).lines == [str(-SIGQUIT)] * 20


def test_any_signal_whose_default_is_death_will_do() -> None:
    body = """
    ends = {}
    for signum in sorted(ALL):
        if not os.fork():
            try:
                die_of(signum)
            except ValueError:
                os._exit(0)
        code = os.waitstatus_to_exitcode(os.wait()[1])
        ends[-code or "spared"] = ends.get(-code or "spared", 0) + 1
        if code not in (0, -signum):
            say("a lie about", signum, code)
    say(ends.pop("spared"), len(ends) + 8 == len(ALL), SIGKILL in ends)
    """
    assert outcome(body).lines == ["8 True True"]


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_anywhere_in_a_program(place: str) -> None:
    ended = outcome(f"say('last words')\n{place}\nsay('alive')")
    assert died_of(ended, SIGTERM, "last words")


@pytest.mark.parametrize("where", ["fork()", "in_thread(fork)"])
def test_anywhere_in_a_forked_child(where: str) -> None:
    body = f"""
    def fork():
        global child
        child = os.fork()
        if not child:
            die_of(SIGTERM)

    def in_thread(step):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()

    signal.signal(SIGTERM, SIG_IGN)
    {where}
    say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert outcome(body).lines == [str(-SIGTERM)]


def test_flushes_standard_output_and_error() -> None:
    body = """
    sys.stderr = open(2, "w", closefd=False)  # its own one writes line by line
    print("out")
    print("error", end="", file=sys.stderr)
    die_of(SIGTERM)
    """
    assert died_of(outcome(body), SIGTERM, "out", "error")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param("sys.stdout.close()", id="closed"),
        pytest.param("sys.stdout = None", id="none"),
        pytest.param("print('lost'); os.close(1)", id="descriptor"),
        pytest.param(
            "r, w = os.pipe(); os.dup2(w, 1); os.close(r); print('lost')", id="pipe"
        ),
        pytest.param(
            "os.dup2(os.open('/dev/full', os.O_WRONLY), 1); print('lost')", id="full"
        ),
    ],
)
def test_no_reader_stops_us(stream: str) -> None:
    body = f"""
    sys.stderr = open(os.dup(2), "w")
    print("error", end="", file=sys.stderr)
    {stream}
    die_of(SIGTERM)
    """
    assert died_of(outcome(body), SIGTERM, "error")


def test_again_ends_a_flush_that_hangs() -> None:
    body = """
    signal.signal(SIGTERM, lambda *_: os._exit(7))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, bytes(65536))
    except BlockingIOError:
        os.set_blocking(writer, True)
    sys.stderr = open(writer, "w")
    sys.stderr.write("nobody reads this")

    class Output:
        def flush(self):
            os.write(1, b"flushing\\n")

    sys.stdout = Output()
    die_of(SIGTERM)
    """
    with Program(program(body)) as dying:
        dying.wait_for("flushing")
        procfs.asleep(dying.pid)
        dying.send(SIGTERM)
        assert dying.wait().code == -SIGTERM


def test_raising_handler_does_not_save_us() -> None:
    """A signal whose handler raises comes before each line of the module in turn."""
    body = """
    import true_death

    class Foreign(Exception):
        pass

    def foreign(*_):
        raise Foreign

    def die(number, hit):
        ran, begun = 0, False

        def trace(frame, event, _):
            nonlocal ran, begun
            if frame.f_code.co_filename != true_death.__file__:
                return None
            # Before anything has changed, an exception may go its way.
            begun = begun or frame.f_code.co_name == "_put_default_back"
            if begun and event == "line":
                ran += 1
                if ran == number:
                    os.write(hit, b"hit")
                    raise_signal(SIGALRM)
            return trace

        sys.settrace(trace)
        die_of(SIGTERM)

    signal.signal(SIGALRM, foreign)
    signal.signal(SIGTERM, SIG_IGN)
    ends, number, hit = set(), 0, b"hit"
    while hit:
        number += 1
        reader, writer = os.pipe()
        if not os.fork():
            try:
                die(number, writer)
            except Foreign:
                os._exit(1)
        os.close(writer)
        hit = os.read(reader, 3)
        os.close(reader)
        ends.add(os.waitstatus_to_exitcode(os.wait()[1]))
    say(ends, number > 10)
    """
    assert outcome(body).lines == [f"{{{-SIGTERM}}} True"]


def test_nothing_else_holds_us_up() -> None:
    body = """
    import atexit

    class Late:
        def __del__(self):
            say("destructor")

    late = Late()
    atexit.register(say, "atexit")
    threading.Thread(target=signal.pause).start()
    try:
        die_of(SIGTERM)
    finally:
        say("finally")
    """
    assert died_of(outcome(body), SIGTERM)


def test_spared_signals_are_refused() -> None:
    body = """
    from signal import SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH

    signal.signal(SIGCHLD, lambda *_: None)
    before = state()
    spared = SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH
    for signum in *spared, 0, -15, 65, "SIGTERM":
        try:
            die_of(signum)
        except ValueError as error:
            say("by default" in str(error), state() == before)
    """
    ended = outcome(body)
    assert (ended.code, ended.lines) == (0, ["True True"] * 12)


def test_other_thread_is_refused() -> None:
    body = """
    def die():
        try:
            die_of(SIGTERM)
        except Exception as error:
            say(type(error).__name__, error)

    signal.signal(SIGTERM, SIG_IGN)
    thread = threading.Thread(target=die)
    pause("before")
    thread.start()
    thread.join()
    pause("after")
    """
    with Program(program(body)) as dying:
        before = look(dying, "before")
        line = dying.read_line()
        assert line.startswith("RuntimeError")
        assert "main thread" in line
        assert look(dying, "after") == before
        assert dying.wait().code == 0


@pytest.mark.parametrize("signum", [SIGINT, SIGTERM, SIGKILL])
def test_pid_1_exits_with_128_and_the_number(signum: int, tmp_path: Path) -> None:
    file = tmp_path / "first.py"
    file.write_text(program(f"print(os.getpid())\ndie_of({int(signum)})\nsay('alive')"))
    with Program([*as_pid_1(), sys.executable, str(file)]) as first:
        assert first.wait().code == 128 + signum
        assert first.lines() == ["1"]


def test_raising_handler_raises_once_and_is_not_heard_again() -> None:
    """It hits the step in which the default is put back, each time."""
    body = """
    def foreign(*_):
        raise KeyError

    def swap(signum, handler):
        raise_signal(SIGALRM)
        return swapped(signum, handler)

    signal.signal(SIGALRM, foreign)
    swapped, signal.signal = signal.signal, swap
    die_of(SIGTERM)
    """
    assert run(program(body)).code == -SIGTERM
