"""What Linux has and Python's ``os`` has not: two words of ``prctl``."""

from __future__ import annotations

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Call ``prctl(2)`` for this process.

    Raises:
        ImportError: this Python has no ``ctypes``.
    """
    import ctypes  # noqa: PLC0415 - 3 ms, and some builds of Python do not have it

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Become a child subreaper: orphans of any depth below us become our children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel send us SIGKILL when our parent ends.

    It reaches this process only, not what it forks; it stays through ``exec``.
    """
    prctl(PR_SET_PDEATHSIG, 9)
