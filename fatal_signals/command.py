"""The command ``fatal-signals``: its tools.

Each tool lives in a module of its own, which has ``add(commands)``; it is imported when
the command starts, and does its work in the function that it hands to
:func:`fatal_signals.options.add_tool`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .inject import command as inject
from .options import PROGRAM, Parser, carry_out, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: those of the command line, without the program's name.
    """
    parser = Parser(
        prog=PROGRAM,
        description="Tools for programs that have to die well.",
        epilog="fatal-signals COMMAND --help tells more, with examples.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    inject.add(commands)
    words = list(sys.argv[1:] if arguments is None else arguments)

    def work() -> int:
        options = parse(parser, words)
        status: int = options.run(options)
        return status

    return carry_out(work)
