"""One run of a callable in a process of its own: what it may touch, what it reports.

The process is forked for this run, leads a group of its own, and ends by a timer of
the kernel's if it does not end by itself.  It looks at all that a signal-handling
piece of code can leave behind, before and after.
"""

from __future__ import annotations

# The C module below `signal`: to make an enum's member of each number, twice in each
# run, takes as long as a fork.
import _signal  # type: ignore[import-not-found]
import ctypes
import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from ..processes.linux import PR_SET_PDEATHSIG
from .arrival import PROBE, Recorder, Step, Tracer, spot, traced

SIGEV_SIGNAL = 0
CLOCK_MONOTONIC = 1

LIBC = ctypes.CDLL(None)


class Account(NamedTuple):
    """What a child reports of its run, if it lives to do so."""

    how: str
    value: bytes
    """The pickled value."""
    error: str
    status: int
    delivered: int
    changed: tuple[str, ...]
    threads: int
    """How many threads it has when it is done."""
    steps: list[Step]
    slept: list[int]


class _Sigevent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    )


class _Itimerspec(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_long) for name in ("every_s", "every_ns", "in_s", "in_ns")
    )


def _die_after(seconds: float) -> None:
    """Have the kernel kill us: no alarm, which the code under test may want itself."""
    timer = ctypes.c_void_p()
    event = _Sigevent(signo=signal.SIGKILL, notify=SIGEV_SIGNAL)
    LIBC.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer))
    whole = int(seconds)
    due = _Itimerspec(in_s=whole, in_ns=int((seconds - whole) * 1e9) + 1)
    LIBC.timer_settime(timer, 0, ctypes.byref(due), None)


HANDLERS = tuple((f"the handler of {s.name}", int(s)) for s in signal.Signals)


def _state() -> dict[str, Any]:
    """Return all that a careless signal handling leaves behind, by name."""
    state: dict[str, Any] = {
        name: _signal.getsignal(signum) for name, signum in HANDLERS
    }
    state["the mask"] = _signal.pthread_sigmask(signal.SIG_BLOCK, ())
    state["the wakeup fd"] = wakeup = signal.set_wakeup_fd(-1)
    if wakeup >= 0:
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"):
        state[f"the timer {name}"] = signal.getitimer(getattr(signal, name)) != (0, 0)
    state["descriptors"] = set(os.listdir("/proc/self/fd"))
    return state


def _differences(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, ...]:
    found = [name for name in before if before[name] != after[name]]
    if "descriptors" in found:
        found.remove("descriptors")
        fds = before["descriptors"] ^ after["descriptors"]
        found += [f"descriptor {fd}" for fd in sorted(fds, key=int)]
    return tuple(found)


def _pickled(value: object) -> bytes:
    with suppress(Exception):
        data = pickle.dumps(value)
        pickle.loads(data)
        return data
    return pickle.dumps(repr(value))


def _settle(output: int) -> None:
    """Be a process of our own: group, death with the parent, streams."""
    parent = os.getppid()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it has died before we could ask for that
    os.setpgid(0, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Streams of our own: a test runner's write elsewhere, and may hold unwritten text.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def live(
    function: Callable[[], object],
    trace: Tracer,
    *,
    seconds: float,
    report: int,
    output: int,
) -> NoReturn:
    """Run a callable under a trace function, report, and end the process.

    Args:
        function: the callable.
        trace: what sends the signal.
        seconds: after which the kernel ends the process.
        report: a descriptor for the pickled :class:`Account`.
        output: a descriptor that standard output and standard error go to.
    """
    _settle(output)
    ourselves = os.getpid()
    before = _state()
    _die_after(seconds)
    how, value, error, status = "returned", None, "", 0
    try:
        value = traced(function, trace)
    except SystemExit as exit_:
        how, status = "exited", _status(exit_.code)
    except BaseException as error_:
        how, error = "raised", repr(error_)
    if os.getpid() != ourselves:
        os._exit(0)  # a child that the callable has forked, and that fell out of it
    changed = _differences(before, _state())
    threads = len(os.listdir("/proc/self/task"))
    steps = trace.steps if isinstance(trace, Recorder) else []
    slept = trace.slept if isinstance(trace, Recorder) else []
    account = Account(
        how, _pickled(value), error, status, trace.sent, changed, threads, steps, slept
    )
    with suppress(Exception):
        sys.stdout.flush()
    with suppress(Exception):
        sys.stderr.flush()
    with open(report, "wb") as file:
        pickle.dump(account, file)
    os._exit(0)


def _status(code: object) -> int:
    """Return the status that Python makes of an argument of ``sys.exit``."""
    if code is None:
        return 0
    return code & 0xFF if isinstance(code, int) else 1


def probe(report: int) -> None:
    """Have the next signal of ours report where it was handled, and end the process."""

    def handler(_: int, frame: Any) -> None:
        found = spot(frame.f_code, frame.f_lasti, frame.f_lineno)
        os.write(report, pickle.dumps(found))
        os._exit(0)

    signal.signal(PROBE, handler)
