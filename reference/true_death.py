# SPDX-License-Identifier: 0BSD
"""Die by a signal on purpose, so that the parent learns what ended us.

Ways that we rejected:

* ``sys.exit(128 + signum)``.  It looks the same in a shell's ``$?`` and is not: systemd
  calls it a failure, and a shell script goes on after Ctrl-C.
* ``sys.exit(-signum)``.  The status is cut to eight bits: -15 arrives as 241.
* ``os.kill(os.getpid(), signum)`` alone.  It runs our own handler, or is ignored, or
  waits behind the mask.
* ``os.abort()``.  A death by a signal, but by the wrong one, and one that dumps core.
* An ``atexit`` function that does it.  The interpreter takes its time until then, joins
  threads, and whatever raises or exits on the way decides instead.
* Running the ``atexit`` functions ourselves.  What must happen before we die stands in
  the program, before the call; what need not happen is not worth the wait.

We use it as the last statement of a program that a signal has stopped and that still
had something to finish.  We do not use it where nothing is to be finished: a signal
that nobody catches does all this by itself.  Nor where the documented answer to a stop
is status 0; nor for Ctrl-C where an unhandled KeyboardInterrupt does no harm: Python
dies of SIGINT itself then.

What we promise, each line held by a test of the same name:

``dies``: the parent sees a death by that signal, whatever handler, ignore or mask stood
in its way, here and in other threads, and although one is pending.
``any_signal``: every signal whose default is death will do, SIGKILL included.
``anywhere``: also in a ``finally``, in a handler, in a child that was forked.
``flushes``: standard output and standard error are written before.
``no_reader``: a stream that can't be written does not stop us.
``again``: the same signal once more, unless it is blocked, ends a flush that hangs.
``raising_handler``: a handler of another signal that raises meanwhile does not save us.
``nothing_else``: no ``finally``, no ``atexit`` function and no thread holds us up.
``spared``: a signal whose default is no death is an error that changes nothing.
``other_thread``: so is a call outside the main thread.
``pid_1``: PID 1, which the kernel spares, exits with 128 and the number instead.

Not promised.  Files other than these two are not flushed: close them before.  A child
that was forked writes what its parent had not flushed, as with every exit but
``os._exit``.  A signal such as SIGQUIT dumps core where the limits allow it; that is a
part of its default, and ``resource.setrlimit`` is yours.  A handler that raises twice
within a few instructions, or in the very call, can still get out.
"""

import os
import signal
import sys
from contextlib import suppress
from threading import current_thread, main_thread
from typing import NoReturn

_SPARED = {
    *(signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH),  # ignored by default
    *(signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),  # stop
    signal.SIGCONT,
}


def die_of(signum: int) -> NoReturn:
    """End this process by a signal; does not return, and nothing runs after it.

    Args:
        signum: the signal, for instance the one that a stop flag has noted.

    Raises:
        ValueError: there is no such signal, or its default is not death.
        RuntimeError: not in the main thread.  Nothing has changed in either case.
    """
    _refuse(signum)
    try:
        _put_default_back(signum)  # first: the next one shall not wait for our flush
        _flush()
        _send(signum)
    finally:
        _send(signum)  # a handler has raised; now that all is blocked, none will


def _refuse(signum: int) -> None:
    if signum not in signal.valid_signals() or signum in _SPARED:
        raise ValueError(f"signal {signum!r} does not end a process by default")
    if current_thread() is not main_thread():
        raise RuntimeError(
            "die_of has to be called in the main thread: Python puts a default back"
            " nowhere else; let the main thread know, and let it die"
        )


def _put_default_back(signum: int) -> None:
    if signum != signal.SIGKILL:  # which has nothing else
        signal.signal(signum, signal.SIG_DFL)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Closed, None, a broken pipe, a full disk, or we are in a handler that has
        # interrupted this very stream: the parent will see no success anyway.
        with suppress(Exception):
            stream.flush()


def _send(signum: int) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _put_default_back(signum)
    # To this thread, so that it is let through below; one to the process could be taken
    # by another thread, and we might run on meanwhile.
    signal.raise_signal(signum)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])  # here we die
    os._exit(128 + signum)  # still here: PID 1 has no default actions
