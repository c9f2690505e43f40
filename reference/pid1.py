# SPDX-License-Identifier: 0BSD
"""Be a container's first process: forward signals, reap orphans, end as the command.

Ways that we rejected:

* ``exec COMMAND`` and no first process of its own.  The command is PID 1 then, without
  default actions, and with the orphans of everybody.
* A shell in front.  It passes no signal on, and does not die of one as PID 1.
* Handlers that forward.  One more signal can come before the command has a pid; here
  nothing is handled: all signals are blocked, and we take them one by one.
* ``subprocess.Popen``.  It waits for the command alone, and takes longer to import.
* The group of the command instead of the command.  A command that stops children of its
  own would see them die first; who wants it all the same says ``-g``.
* One group for both.  Ctrl-C reaches the command from the terminal, and from us again.
* A restart when the command dies.  Then it is a boss, and there is one beside us.

We use it in a container whose program neither handles SIGTERM nor reaps, or that has a
shell in front.  Not where the runtime brings an init (``docker run --init``), not for
several programs (the boss), and not on a host that has a service manager.

What we promise, each line held by a test of the same name:

``status``: we end with the command's status, and with 128 + n if signal n killed it.
``forwards``: all signals but SIGKILL, SIGSTOP, SIGCHLD reach the command, each once.
``group``: with ``-g`` they reach its group; without, the command alone.
``from_the_start``: one that comes while the command is being started is not lost.
``pid_1``: what is sent to PID 1 is forwarded, from inside of the container as well.
``hears_anyway``: signals that were ignored or blocked when we were started, too.
``clean_start``: the command has default signals, an empty mask and a group of its own.
``reaps``: whoever has died below us is reaped, also while the command runs on.
``terminal``: the command has the terminal; Ctrl-C reaches it once; then it is ours.
``suspends``: Ctrl-Z stops us with the command, and ``fg`` continues both.
``no_command``: one that can't be started is one line, and status 126 or 127.
``usage``: a mistake in our own arguments is one line, and status 2.
``idle``: while nothing happens we make no system call.

Not promised.  What the command leaves behind is not waited for: the kernel kills it
with PID 1.  Elsewhere than as PID 1 orphans do not come to us.  A value that came with
a signal is dropped; signals that merge before we look are one.  A signal before our
first line finds an interpreter that is starting: as PID 1 it is lost, Ctrl-C may print
a traceback.
"""

import signal

if __name__ == "__main__":
    # First of all: from here on nothing is lost, it waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

USAGE = "usage: python pid1.py [-g] [--] COMMAND [ARGUMENT ...]"

HELP = f"""{USAGE}

Runs the command as a container's first process does: forwards every signal to it,
reaps every orphan, and ends with its status, or 128 + n if signal n killed it.

  -g    send the signals to the whole group of the command

In a Dockerfile:  ENTRYPOINT ["python", "-S", "/pid1.py", "--"]

exit status: that of the command; 127 if there is none, 126 if it can't be started;
2 for a mistake in our own arguments."""

UNCAUGHT = {signal.SIGKILL, signal.SIGSTOP}


def run(command: Sequence[str], group: bool = False) -> int:
    """Run a command to its end, as the first process; all signals stay blocked.

    Args:
        command: the program and its arguments.
        group: whether signals go to the whole group of the command.

    Returns:
        Its exit status, or 128 and the number of the signal that killed it.

    Raises:
        OSError: it can't be started.
    """
    signals = signal.valid_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take the statuses
    child = os.posix_spawnp(
        command[0],
        [*command],
        os.environ,
        setpgroup=0,
        setsigmask=(),
        # By name: Python ignores SIGPIPE, and whoever started us may ignore more.
        setsigdef=signals - UNCAUGHT,
    )
    if _hand_over(child):
        os.kill(child, signal.SIGCONT)  # it may have stopped for want of it
    while (status := _reap(child)) is None:
        # No wakeup fd and no handler: what is blocked waits here.
        if (signum := signal.sigwait(signals)) == signal.SIGCHLD:
            continue
        if signum == signal.SIGCONT:
            _hand_over(child)  # "fg" gave it to us
        with suppress(ProcessLookupError):  # no group any more; we reap nobody before
            os.kill(-child if group else child, signum)
    _take_back(child)
    return status


def _reap(child: int) -> int | None:
    """Reap all that have died; return the status that is ours, once it is known."""
    status = None
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
            if os.WIFSTOPPED(found[1]):
                _follow(*found, child)
            elif found[0] == child:
                status = os.waitstatus_to_exitcode(found[1])
    return 128 - status if status is not None and status < 0 else status


def _follow(stopped: int, status: int, child: int) -> None:
    """Stop as well when the terminal has stopped the command: a shell waits for us."""
    by_terminal = os.WSTOPSIG(status) in (
        signal.SIGTSTP,
        signal.SIGTTIN,
        signal.SIGTTOU,
    )
    if stopped == child and by_terminal and _foreground() == child and os.getpid() != 1:
        os.kill(os.getpid(), signal.SIGSTOP)


def _foreground() -> int:
    """Return the group that has the terminal; -1 if there is no terminal."""
    with suppress(OSError):
        return os.tcgetpgrp(0)
    return -1


def _hand_over(child: int) -> bool:
    """Give the command the terminal if it is ours; return whether it was."""
    if ours := _foreground() == os.getpgrp():
        with suppress(OSError):
            os.tcsetpgrp(0, child)
    return ours


def _take_back(child: int) -> None:
    """Take the terminal back: a script that started us goes on reading."""
    if _foreground() == child:
        with suppress(OSError):
            os.tcsetpgrp(0, os.getpgrp())


def main(arguments: Sequence[str]) -> int:
    """Be the program; return its exit status.

    Args:
        arguments: those of the command line, without the program's name.
    """
    words = list(arguments)
    if words in (["-h"], ["--help"]):
        print(HELP)
        return 0
    group = words[:1] == ["-g"]
    del words[:group]
    if words[:1] == ["--"]:
        del words[0]
    elif words and words[0].startswith("-"):
        return _complain(f"there is no option {words[0]!r}; {USAGE}", 2)
    if not words or not words[0]:
        return _complain(f"no command; {USAGE}", 2)
    try:
        return run(words, group)
    except FileNotFoundError:
        return _complain(f"{words[0]}: there is no such command", 127)
    except OSError as error:
        return _complain(f"{words[0]}: can't be started: {error.strerror}", 126)


def _complain(text: str, status: int) -> int:
    with suppress(OSError):
        os.write(2, f"pid1: {text}\n".encode(errors="backslashreplace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
