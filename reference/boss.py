# SPDX-License-Identifier: 0BSD
"""A boss: starts children from a file, restarts the dead, takes all down, then dies.

Ways that we rejected:

* A look at every child at every tick.  Deaths wait for the tick, and idle is not idle.
* A loop around ``sleep``.  Python goes on sleeping after a signal: the stop is late.
* Reaping in the handler.  It runs in the midst of a start, before we know the pid.
* One ``waitpid`` for each SIGCHLD.  The signal merges: ten deaths can be one SIGCHLD.
* SIGCHLD ignored.  The kernel throws the statuses away, and nobody learns who died.
* A pidfd for each child.  A default descriptor limit ends it at about a thousand.
* ``subprocess.Popen``.  Its start is slower than ours, and it wants to reap by itself.
* ``preexec_fn``, or fork and exec.  A SIGTERM in the gap runs our handler in the child.
* The group first.  A child that is a boss would see its own children die, and restart
  them.  We ask the leader; the group gets SIGKILL, at the end.
* Killing the group of a reaped leader.  Its number may be somebody else's by then.
* The guard above us, as our parent.  Its pid is what people see, and a stop is slower.
* The wakeup fd's bytes as the news.  When it is full, the one for SIGTERM is missing.

We use it where a few programs that we wrote belong together: on a developer's machine,
in a test, in one container.  Not as a machine's first service manager (systemd is there
and knows cgroups), not over several machines (Kubernetes), and not as a library in a
process that starts children of its own: the boss reaps whatever dies below it.

This is the program.  Beside it are its parts, each to be read at one sitting:
``boss_file.py``, the grammar of the file; ``boss_supervisor.py``, what starts, reaps
and stops; ``boss_states.py``, the table that it follows; ``boss_child.py``, a child and
its start; ``boss_log.py``; and ``restart_check.py``, a module of its own, which has the
guard and the look before the start.

What we promise, each line held by a test of the same name:

``bad_file``: a file with a mistake is one line with file and key, status 2, no start.
``start_order``: a child is started when all that it comes ``after`` are up.
``ready``: up is who has been started; with a ``ready-fd``, who has written a newline.
``own_group``: each child leads a process group, which Ctrl-C does not reach.
``clean_start``: a child has default signals, an empty mask, an empty standard input.
``folder_and_env``: ``cwd`` and ``env`` are the child's; ours are as before.
``restarts``: a child that dies is started again, the first time without delay.
``backs_off``: each further delay is twice as long, up to ``BACKOFF_CAP``.
``steady``: a child that ran for ``STEADY`` seconds is restarted without delay again.
``intensity``: past so many restarts in a period we take all down, and exit 1.
``policy``: ``on-failure`` brings back what failed, ``never`` nothing.
``failed_start``: a start that fails is a death like any other.
``nothing_left``: with nothing to run we exit 0, or 1 when one that ended had failed.
``asks_the_leader``: a stop sends SIGTERM to the leader, and nothing to its group.
``stop_signal``: a child that names another ``stop-signal`` is asked by that.
``wakes_the_frozen``: a child that SIGSTOP has frozen is asked as well, and woken.
``all_at_once``: children that no ``after`` orders are asked before any is waited for.
``stop_order``: a child is asked when all that come after it are down.
``escalates``: a child that outlives its grace is killed, with its group.
``hurry``: a second signal to stop kills whatever still runs.
``group_goes_too``: what a dead leader leaves in its group is killed; then we reap it.
``no_restart_in_stop``: a death is not followed by a start once a stop has begun.
``stop_in_start_up``: after a signal between two starts there is no further start.
``reaps_all``: deaths that come together are all reaped, those of strangers too.
``hangs_up``: SIGHUP and SIGQUIT stop us as SIGTERM does.
``nohup``: a SIGHUP that is ignored when we are started stays so: somebody chose that.
``true_death``: the boss dies by the signal that stopped it, without a traceback.
``pid_1``: where it can't die by it, it exits with 128 + the signal's number.
``one_for_a_file``: while one runs, a second one for its file says so and exits 75.
``guarded``: when we die by SIGKILL, a guard kills all that we have started.
``next_start``: what even that has missed is ended, and removed, before the first start.
``hidden``: who has left its child's group is killed when all children are down.
``suspends``: SIGTSTP stops us and no child; SIGCONT, and no death has been missed.
``hears_anyway``: other signals that were ignored or blocked then are heard.
``idle``: a boss that waits makes no system call, and does not run at all.
``log_is_no_leash``: a log that is closed, broken or full neither kills nor stops us.
``gives_back``: ``run`` leaves handlers, mask, wakeup fd and descriptors as they were.
``no_child_left``: an exception that leaves ``run`` leaves no child behind.
``main_thread``: ``run`` outside the main thread is an error that changes nothing.

Not promised.  Boss and guard killed at once leave children, up to the next start.  Who
changes its user beyond our rights can't be ended.  Two stop signals with no look
between them may count as one.  Descriptors that we inherit without close-on-exec reach
the children.  A line that does not fit into the log is dropped, yet another writer can
fill it between our look and our write.  A handler that C code has set comes back as the
default.  A program on a dead network disk holds up the boss that starts it.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C while the rest is imported, some 20 ms: a plain death, not a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING or not __package__:
    import restart_check
    from boss_child import GRACE, PERIOD, Child, ChildError, System
    from boss_file import LONGEST, load
    from boss_log import MESSAGES
    from boss_states import TABLE, Action, Event, State
    from boss_supervisor import BACKOFF_CAP, BACKOFF_FIRST, STEADY, STOPS, Boss
else:
    from . import restart_check
    from .boss_child import GRACE, PERIOD, Child, ChildError, System
    from .boss_file import LONGEST, load
    from .boss_log import MESSAGES
    from .boss_states import TABLE, Action, Event, State
    from .boss_supervisor import BACKOFF_CAP, BACKOFF_FIRST, STEADY, STOPS, Boss

__all__ = [
    "BACKOFF_CAP",
    "BACKOFF_FIRST",
    "GRACE",
    "LONGEST",
    "MESSAGES",
    "PERIOD",
    "STEADY",
    "STOPS",
    "TABLE",
    "Action",
    "Boss",
    "Child",
    "ChildError",
    "Event",
    "State",
    "System",
    "load",
    "main",
]


def _help() -> str:
    """Start the children that a file lists, restart the dead, take all down, then die.

    usage: python boss.py FILE.toml

        [boss]                        # may be left out
        intensity = 20                # with more restarts in a period, all goes down
        period = 60                   # seconds

        [[child]]                     # one such table for each child
        name = "web"
        command = ["python3", "web.py", "--port", "8000"]
        after = "db"                  # or a list: started after, stopped before these
        restart = "on-failure"        # or "never", or "always", the default
        grace = 2.5                   # seconds from the stop signal to SIGKILL
        stop-signal = "SIGINT"        # the default is SIGTERM
        ready-fd = 3                  # it writes a newline there when it is ready
        cwd = "site"                  # counted from the folder of FILE.toml
        env = { LANG = "C.UTF-8" }    # added to the boss's own

    SIGINT, SIGTERM, SIGHUP or SIGQUIT stops the children and then the boss; a second
    one kills whatever still runs.  The log is on standard error.

    exit status: 2 for a mistake in the file, with nothing started; when no child is
    left to run, 0, or 1 if one that ended had failed; 1 after too many restarts; else
    we die by the signal.
    """
    from inspect import cleandoc  # noqa: PLC0415 - 8 ms, for readers only

    return cleandoc(_help.__doc__ or "")


def main(arguments: Sequence[str]) -> int:
    """Be the program; return its exit status, unless a signal ends it.

    Args:
        arguments: those of the command line, without the program's name.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)  # else the next pipe would be our standard error
    os.close(fd)
    if arguments in (["-h"], ["--help"]):
        return _print(1, _help(), 0)
    if len(arguments) != 1:
        return _print(2, "usage: python boss.py FILE.toml (or --help)", 2)
    try:
        boss = Boss(load(arguments[0]))
    except ChildError as error:
        return _print(2, f"{arguments[0]}: {error}", 2)
    try:
        signum = boss.run()
    except restart_check.RunError as error:
        return _print(2, f"{arguments[0]}: {error}", 75)
    if signum is None:
        return 1 if boss.failed else 0
    # The default, unblocked, and to ourselves: our parent learns what ended us.  It is
    # fast as well: the interpreter's own way out takes 2 ms, more than a child's stop.
    signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signum])
    signal.raise_signal(signum)
    return 128 + signum  # still here: PID 1 has no default actions


def _print(fd: int, text: str, status: int) -> int:
    with suppress(OSError):
        os.write(fd, f"{text}\n".encode(errors="backslashreplace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
