"""The command ``fatal-signals``: its subcommands, and how it reports mistakes.

Each subcommand lives in a module of its own, which has ``add(subparsers)``; it is
imported when the command starts, and does its work in the function that it sets as
``run``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from .inject import command as inject

USAGE = 2
"""The exit status for a mistake of the caller's: nothing was run, or not to the end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: those of the command line, without the program's name.
    """
    parser = argparse.ArgumentParser(
        prog="fatal-signals",
        description="Tools for programs that have to die well.",
        epilog="fatal-signals COMMAND --help tells more, with examples.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    inject.add(commands)
    words = list(sys.argv[1:] if arguments is None else arguments)
    # What stands after the first -- is somebody else's command, options and all.
    end = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:end])
    options.program = words[end + 1 :]
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except (ValueError, RuntimeError) as error:
        print(f"fatal-signals: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # The reader has seen enough; the interpreter must not stumble over it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        return 128 + signal.SIGINT  # PID 1 does not die of it
