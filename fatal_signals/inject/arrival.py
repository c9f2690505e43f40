"""How a signal is made to arrive between two instructions.

A trace function counts the main thread's calls, and in one call its instructions.
Ways to send the signal that we rejected:

* Raising the handler's exception ourselves.  Then no handler runs, and what the kernel
  would have answered is missing: a death, or a signal that waits behind the mask.
* ``os.kill`` in the trace function.  Python looks for signals when that call returns,
  so the handler runs in the trace function, whatever instruction comes next.  For the
  *conceivable* points, which ask nothing of the interpreter, that is what we want.
* A list of the instructions that look for signals.  It differs between versions, grows
  old, and says nothing about calls into C.

So for the *possible* points the last step is taken by C code alone, after which nothing
looks for signals: the trace function of the next instruction is replaced by libc's
``kill``, called by ``ctypes``, and what ``kill`` returns goes straight into
``PyEval_SetTrace``, which turns tracing off.  The signal is pending, no Python code of
ours is in the way, and the interpreter runs the handler where it really does.
"""

from __future__ import annotations

import dis
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, repeat
from types import CodeType, FrameType
from typing import Any, NamedTuple

from .errors import InjectionError
from .library import is_library
from .slots import Slot

try:
    import ctypes
    import resource
except ImportError as error:  # a Python that was built without them
    raise InjectionError(f"this needs Python's {error.name} module") from None

Trace = Callable[[FrameType, str, Any], Any]


class Spot(NamedTuple):
    """An instruction."""

    file: str
    function: str
    first: int
    """The function's first line: two functions may have one name."""
    offset: int
    line: int
    name: str
    """The instruction's name, such as ``CALL``."""


@cache
def _table(code: CodeType) -> dict[int, tuple[int, str]]:
    """Return for each offset the instruction that it counts as, and its name.

    A prefix counts as its instruction.  3.11 has a call in two instructions, PRECALL
    and CALL, and makes a whole call of the first when it has specialized it; in the
    same way it joins a comparison with the jump backward that follows.
    """
    table: dict[int, tuple[int, str]] = {}
    waiting: list[int] = []
    listed = list(dis.get_instructions(code))
    for it, after in zip(listed, [*listed[1:], None], strict=True):
        waiting.append(it.offset)
        joined = after and after.opname.startswith("POP_JUMP_BACKWARD")
        if it.opname in ("EXTENDED_ARG", "PRECALL") or (
            it.opname == "COMPARE_OP" and joined
        ):
            continue
        table |= dict.fromkeys(waiting, (it.offset, it.opname))
        waiting = []
    return table


def spot(code: CodeType, offset: int, line: int | None) -> Spot:
    """Return an instruction by its code and offset."""
    # By identity: to hash a code object is to hash all that is in it, each time.
    _, spots = _spots.setdefault(id(code), (code, {}))
    if offset not in spots:
        real, name = _table(code).get(offset, (offset, "?"))
        function = (code.co_filename, code.co_qualname, code.co_firstlineno)
        spots[offset] = Spot(*function, real, line or code.co_firstlineno, name)
    return spots[offset]


_spots: dict[int, tuple[CodeType, dict[int, Spot]]] = {}
"""By the identity of code, which is kept here so that it stays the only one."""


@cache
def _c_functions() -> tuple[Any, Any]:
    """Return ``kill``, which turns tracing off as it returns, and ``PyIter_Next``.

    Both swallow the three arguments of a trace function.
    """
    python, ignored = ctypes.PyDLL(None), [ctypes.py_object] * 3
    untrace = python["PyEval_SetTrace"]
    untrace.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    untrace.restype = None
    kill = python["kill"]
    kill.argtypes = [ctypes.c_int, ctypes.c_int, *ignored]
    kill.restype = partial(untrace, None, None)
    following = python["PyIter_Next"]
    following.argtypes = [ctypes.py_object, *ignored]
    following.restype = ctypes.py_object
    return kill, following


def _last_shot(signum: int, _: list[int]) -> Trace:
    """Return C code that sends us the signal and turns tracing off."""
    kill, _ = _c_functions()
    return partial(kill, os.getpid(), signum)


def _one_shot(signum: int, fired: list[int]) -> Trace:
    """Return C code that sends us the signal once, notes it, and then does nothing."""
    _, following = _c_functions()
    kill = ctypes.PyDLL(None)["kill"]
    kill.argtypes = [ctypes.c_int, ctypes.c_int]
    kill.restype = fired.append
    once = map(kill, [os.getpid()], [signum])
    return partial(following, chain(once, repeat(None)))


class Place(NamedTuple):
    """An instruction of a run, so that another run finds it.

    ``call`` says in which of all calls, in their order; ``step`` which of the
    instructions that this call executes, from 1, which is its entry.
    """

    call: int
    step: int


class Tracer:
    """A trace function that counts calls, and in one of them instructions.

    Args:
        seen: memory shared with the parent: ``Slot.SENT`` counts the signals.
        place: where to do what a subclass does.
    """

    def __init__(self, seen: memoryview[int], place: Place) -> None:
        self.seen = seen
        self.place = place
        self.sent = 0
        """How many signals have been sent in the whole run."""
        self._calls = self._steps = 0
        self._entry = -1

    def __call__(self, frame: FrameType, event: str, _: object) -> Trace | None:
        """Be called at each function's entry, and return what to call in it."""
        if event == "call":
            self._calls += 1
            if self._calls == self.place.call:
                self._entry, self._steps = frame.f_lasti, 1
                return self.enter(frame)
        return None

    def enter(self, frame: FrameType) -> Trace | None:
        """Be at the entry of the call in question."""
        return watch(frame, self.act() if self.place.step == 2 else self._step)

    def _step(self, frame: FrameType, event: str, __: object) -> Trace | None:
        # 3.11 announces the entry once more, as an instruction.
        if event == "opcode" and frame.f_lasti != self._entry:
            self._entry = -1
            self._steps += 1
            # One early: what it returns is called at the next instruction.
            if self._steps == self.place.step - 1:
                return self.act()
        return self._step

    def act(self) -> Trace:
        """Return what is to be called at the place."""
        raise NotImplementedError

    def delivered(self, still_traced: bool) -> int:
        """Return how many signals have been sent."""
        return self.seen[Slot.SENT]


def watch(frame: FrameType, trace: Trace) -> Trace:
    """Have a trace function called at each instruction of a frame."""
    # In this order: 3.13 looks at the first when the second is set.
    frame.f_trace = trace
    frame.f_trace_lines = False
    frame.f_trace_opcodes = True
    return trace


class Possible(Tracer):
    """Sends the signal before an instruction; the interpreter handles it when it does.

    Args:
        seen: shared memory.
        place: the instruction.
        signum: the signal.
        second: another signal, and how many steps after the first one: calls and
            instructions of whatever is called from then on, a handler in Python first.
    """

    def __init__(
        self,
        seen: memoryview[int],
        place: Place,
        signum: int,
        second: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(seen, place)
        self._second = second
        self._fired: list[int] = []
        self._shot = (_one_shot if second else _last_shot)(signum, self._fired)

    def act(self) -> Trace:
        """Return C code."""
        self.seen[Slot.SENT] += 1
        return self._shot

    def delivered(self, still_traced: bool) -> int:
        """Return how many signals have been sent."""
        return len(self._fired) + (not still_traced)

    def __call__(self, frame: FrameType, event: str, arg: object) -> Trace | None:
        """Be called at each function's entry, and return what to call in it."""
        if not (self._fired and self._second):
            return super().__call__(frame, event, arg)
        # The first signal has been sent: this is the handler's frame, or that of a
        # function whose first instruction would have run the handler, and then it runs
        # here, to the same effect.  From here on each instruction counts.
        outer: FrameType | None = frame
        while outer is not None:
            if outer is frame or outer.f_trace is not None:
                watch(outer, self._after)
            outer = outer.f_back
        return self._after(frame, event, arg)

    def _after(self, _: FrameType, event: str, __: object) -> Trace | None:
        assert self._second is not None
        signum, steps = self._second
        if event in ("call", "opcode"):
            self._steps += 1
            if self._steps > steps:
                self._second = None
                self.seen[Slot.SENT] += 1
                self._shot = _last_shot(signum, self._fired)
                return self._shot
        return self._after


class Conceivable(Tracer):
    """Sends the signal and has it handled before an instruction, come what may."""

    def enter(self, frame: FrameType) -> Trace | None:
        """Send it at once, if it is to be sent at the entry."""
        if self.place.step > 1:
            return super().enter(frame)
        self._send()
        return None

    def __init__(self, seen: memoryview[int], place: Place, signum: int) -> None:
        super().__init__(seen, place)
        self._signum = signum

    def act(self) -> Trace:
        """Return Python code, which handles what it sends."""
        return self._send

    def _send(self, *_: object) -> None:
        self.seen[Slot.SENT] += 1
        sys.settrace(None)
        os.kill(os.getpid(), self._signum)


class Marker(Tracer):
    """Says that an instruction is reached, so that somebody else sends the signal."""

    def act(self) -> Trace:
        """Return Python code that says so."""
        return self._say

    def _say(self, *_: object) -> None:
        sys.settrace(None)
        self.seen[Slot.SENT] = 1

    def delivered(self, still_traced: bool) -> int:
        """Return how many signals have been sent: the parent counts."""
        return self.seen[Slot.SENT_BY_PARENT]


class Step(NamedTuple):
    """An instruction that a run has executed."""

    spot: Spot
    place: Place
    way: int
    """A number for the way that led to it: its own and its callers' instructions."""
    own: tuple[str, int]
    """File and line: its own, or of the caller's that is not the library's."""


class Recorder(Tracer):
    """Writes down every instruction, and in which of them the thread has slept.

    Args:
        seen: shared memory; ``Slot.INSTRUCTIONS`` counts them.
        until: the number of an instruction at which to stop and call ``enough``.
        enough: is called then.
    """

    def __init__(
        self,
        seen: memoryview[int],
        until: int = 0,
        enough: Callable[[Recorder], object] = id,
    ) -> None:
        super().__init__(seen, Place(0, 0))
        self.steps: list[Step] = []
        self.slept: list[int] = []
        """The numbers of the instructions that have slept, counted from 1."""
        self._until = until
        self._enough = enough
        self._frames: dict[int, _Entered] = {}
        self._sleeps = self._switches()

    @staticmethod
    def _switches() -> int:
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    def __call__(self, frame: FrameType, event: str, _: object) -> Trace | None:
        """Be called at each function's entry and each instruction."""
        slept = self._switches() != self._sleeps  # first of all: we may sleep as well
        if event == "call":
            watch(frame, self)
            self._calls += 1
            callers, own = self._caller(frame)
            here = _Entered(self._calls, frame.f_lasti, callers, own, frame.f_code)
            self._frames[id(frame)] = here
            self._note(frame, here, slept)
        elif event == "opcode":
            here = self._frames[id(frame)]
            if frame.f_lasti != here.entry:  # else 3.11 announces the entry once more
                here.entry = -1
                here.step += 1
                self._note(frame, here, slept)
        return self

    def _caller(self, frame: FrameType) -> tuple[int, tuple[str, int] | None]:
        """Return the way to a call, and where our own code is on it."""
        outer = frame.f_back
        if outer is None:
            return 0, None
        it = self._frames.get(id(outer))
        if it is None or it.code is not outer.f_code:  # it was called before we traced
            return 0, None
        return it.way(outer), it.own(outer)

    def _note(self, frame: FrameType, here: _Entered, slept: bool) -> None:
        if here.call == 1:  # the caller's own
            return
        number = len(self.steps)
        if slept and number:
            self.slept.append(number)
        it = spot(frame.f_code, frame.f_lasti, frame.f_lineno)
        own = here.own(frame) or (it.file, it.line)
        self.steps.append(Step(it, Place(here.call, here.step), here.way(frame), own))
        self.seen[Slot.INSTRUCTIONS] = number + 1
        if number + 1 == self._until:
            self._enough(self)
        self._sleeps = self._switches()


@dataclass(slots=True)
class _Entered:
    """A call that is being recorded.  What it knows of its callers stays true: each of
    them stands still at one instruction as long as the call lasts."""

    call: int
    entry: int
    callers: int
    own_caller: tuple[str, int] | None
    code: CodeType
    step: int = 1

    def way(self, frame: FrameType) -> int:
        """Return a number for the frame's instruction and those of its callers."""
        return hash((self.callers, id(self.code), frame.f_lasti))

    def own(self, frame: FrameType) -> tuple[str, int] | None:
        """Return the file and line of our own code that is executed."""
        if is_library(self.code.co_filename):
            return self.own_caller
        return self.code.co_filename, frame.f_lineno or self.code.co_firstlineno


def traced(function: Callable[[], object], trace: Tracer) -> object:
    """Call a function under a tracer; what it returns or raises goes through."""
    # Asking for instructions in a frame of ours first is what makes 3.12.1 and 3.13.0
    # deliver them at the first tracing of a process.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        return _call(function)
    finally:
        still = sys.gettrace() is not None
        sys.settrace(None)
        trace.sent = trace.delivered(still)


def _call(function: Callable[[], object]) -> object:
    # The first call that is traced: a signal before the function's own first
    # instruction is one before this call.
    return function()


PROBE = signal.SIGRTMAX - 1
"""The signal that asks where the interpreter looks: one that nobody else uses."""
