# SPDX-License-Identifier: 0BSD
"""What a forked child does first, so that it has what was chosen for it.

Ways that we rejected:

* Nothing.  The child runs its parent's handlers: a SIGTERM sets the parent's flag in
  the child, which never looks at it, and writes into the parent's wakeup fd.
* ``signal.signal`` for the two or three signals that we know of.  The next handler that
  somebody adds to the parent is in the child again.
* Doing it first thing in the child, and no more.  Between the fork and that line the
  parent's handlers are still there, and swallow what comes: hold the signals meanwhile.
* ``preexec_fn``.  It has the same gap, and runs Python between fork and exec; another
  program is started by ``subprocess`` without it, or ``posix_spawn``, and needs no us.
* A thread that looks for its parent now and then.  The kernel tells us.

We use it where a child goes on in Python: ``os.fork``, ``multiprocessing`` with its
method fork, a pool's initializer.  Not where the child is another program.

What we promise, each line held by a test of the same name:

``clean``: handlers and ignores of the parent are gone, nothing is blocked, and signals
write into no descriptor any more.
``as_python``: SIGPIPE and SIGXFSZ are ignored, as in every Python that starts.
``no_ctrl_c``: SIGINT is ignored, since Ctrl-C is the boss's, or what you name instead.
``dies_with_parent``: when the parent dies, however, the child gets SIGTERM.
``parent_gone``: a parent that had died before counts as well.
``no_gap``: while signals are held around a fork, none is lost, in neither of the two.
``held``: who holds signals gets them afterwards, and has its mask as it was.
``main_thread``: outside the main thread it is an error that changes nothing.

Not promised.  Handlers that C code has set stay.  The kernel takes the *thread* that
has forked for the parent: when that ends, so does the child.  Descriptors stay as they
are.  Linux only: elsewhere nothing tells the child of its parent's death.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

DEATH = signal.SIGTERM
"""What a child gets when its parent dies; it may handle it."""

AS_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}
UNCAUGHT = {signal.SIGKILL, signal.SIGSTOP}
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold all signals while a child is forked; it lets them through when it is ready.

    Fork inside of the block, and call :func:`become_child` there first thing.
    """
    owner = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        if os.getpid() == owner:  # the child has a mask of its own
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def become_child(parent: int, ignore: Iterable[int] = (signal.SIGINT,)) -> None:
    """Be a child: forget the parent's signals, and die when the parent does.

    Args:
        parent: the parent's pid, as the parent knows it.
        ignore: the signals to be ignored.

    Raises:
        RuntimeError: not in the main thread; nothing has changed.
    """
    if current_thread() is not main_thread():
        raise RuntimeError("become_child has to be called in the main thread")
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    signal.set_wakeup_fd(-1)
    ignored = AS_PYTHON | set(ignore)
    for signum in signal.valid_signals() - UNCAUGHT:
        wanted = signal.SIG_IGN if signum in ignored else signal.SIG_DFL
        # None is a handler that C code has set, faulthandler for instance.
        if signal.getsignal(signum) not in (wanted, None):
            signal.signal(signum, wanted)
    _die_with(parent)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, DEATH, 0, 0, 0)
    if os.getppid() != parent:  # it died before we could say so: nobody will tell us
        os.kill(os.getpid(), DEATH)  # held until we are ready
