"""Proof at every instruction: a signal at each point where it can arrive."""

from typing import TYPE_CHECKING, Any

from .errors import InjectionError
from .points import every_point, harmless, script
from .run import Check, Point, Report, Run, Tried

if TYPE_CHECKING:
    from .syscalls import every_syscall, killed, stopped

__all__ = [
    "Check",
    "InjectionError",
    "Point",
    "Report",
    "Run",
    "Tried",
    "every_point",
    "every_syscall",
    "harmless",
    "killed",
    "script",
    "stopped",
]


def __getattr__(name: str) -> Any:
    # Not loaded before somebody asks: in process each run is a fork, and what is loaded
    # makes a fork slower.  The C libraries that `syscalls` needs cost a third.
    if name in __all__:
        from . import syscalls  # noqa: PLC0415

        return getattr(syscalls, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
