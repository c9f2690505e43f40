"""Folders of a process's own, in the system's temporary one, that do not pile up.

A process that is killed leaves its folder, so whoever makes one first removes those
that nobody holds any more.  A folder is held by a lock on it (``flock(2)``), which the
kernel gives back when its process has ended.  A pid in the name was rejected: it may be
another process's by now, or one of another pid namespace, which we can't see.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

PREFIX = "fatal-signals-held-"

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnFolder:
    """A new, empty folder; a context manager that removes it.

    Raises:
        OSError: the temporary folder can't be written to.
    """

    path: Path

    def __init__(self) -> None:
        _remove_left_ones(tempfile.gettempdir())
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._fd = os.open(self.path, OPEN)
            flock(self._fd, LOCK_EX)
            # In the moment before that it may have been taken for one that was left.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self.path), os.fstat(self._fd)):
                    return
            os.close(self._fd)

    def remove(self) -> None:
        """Remove it with all that is in it; harmless when repeated."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Path:
        """Return its path."""
        return self.path

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.remove()


@functools.cache
def _remove_left_ones(folder: str) -> None:
    """Remove what killed processes of ours have left; once in each process."""
    for path in Path(folder).glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone since
            fd = os.open(path, OPEN)
            try:
                if os.fstat(fd).st_uid == os.geteuid():
                    flock(fd, LOCK_EX | LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)
