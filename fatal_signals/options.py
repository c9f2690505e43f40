"""The grammar of all tools: how options are written, and which exit status says what.

A tool is a table of options and a function.  An option is written on the command line,
or as a setting in pyproject.toml if that makes sense for it; the command line wins.
What stands after the first ``--`` is somebody else's command, options and all.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NoReturn

from .report.mistakes import Mistake, did_you_mean
from .report.settings import Setting, read

PROGRAM = "fatal-signals"


class Status(IntEnum):
    """What the exit status of a tool says."""

    GOOD = 0
    """Every promise was kept."""
    FINDING = 1
    """One was broken."""
    MISTAKE = 2
    """The user has to change something, as one line on standard error says."""
    FAULT = os.EX_SOFTWARE
    """The tool itself is broken; there is a traceback."""


STATUSES = """\
exit status: 0 {}; 1 {}; 2 a mistake, in one line;
             70 a fault of ours, with a traceback"""
"""For the help of a tool: what is good, and what is a finding."""


@dataclass(frozen=True)
class Option:
    """An option of a tool.

    Args:
        name: without dashes.
        help: says what it does, and its default.
        metavar: stands for its value in the help; an option without one is a flag.
        parse: makes a value of the text; raises :class:`Mistake`.
        default: the value if nobody says one.
        repeated: it may come several times, and its value is a list.
        setting: what it is in pyproject.toml: ``str``, ``bool``, ``int``, ``float``, or
            ``list`` for an array of strings; by default it can't stand there.
    """

    name: str
    help: str
    metavar: str = ""
    parse: Callable[[str], Any] = str
    default: Any = None
    repeated: bool = False
    setting: type | None = None

    @property
    def key(self) -> str:
        """Its name in a namespace."""
        return self.name.replace("-", "_")

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add it to a parser, without its default: that comes after the settings."""
        how: dict[str, Any] = {"default": argparse.SUPPRESS, "help": self.help}
        if not self.metavar:
            how |= {"action": "store_true"}
        else:
            how |= {"metavar": self.metavar, "type": self._from_command_line}
            how |= {"action": "append"} if self.repeated else {}
        parser.add_argument(f"--{self.name}", **how)

    def _from_command_line(self, text: str) -> Any:
        try:
            return self.parse(text)
        except Mistake as mistake:  # argparse adds the name of the option
            raise argparse.ArgumentTypeError(str(mistake)) from None

    def from_setting(self, value: Any) -> Any:
        """Return the value that a setting stands for: the same as on a command line."""
        if not self.metavar:
            return value
        if self.repeated:
            return [self.parse(word) for word in value]
        return self.parse(",".join(value) if self.setting is list else str(value))


# What the values of options are


def signal_of(text: str) -> signal.Signals:
    """Return a signal by its name, with or without SIG, or by its number."""
    name = text.upper().removeprefix("SIG")
    with suppress(KeyError):
        return signal.Signals[f"SIG{name}"]
    with suppress(ValueError):
        return signal.Signals(int(text))
    raise Mistake(f"there is no signal {text!r}: TERM, INT, KILL, …")


def number(text: str) -> int:
    """Return a whole number."""
    with suppress(ValueError):
        return int(text)
    raise Mistake(f"{text!r} is no whole number")


def positive(text: str) -> int:
    """Return a whole number from 1 up."""
    with suppress(ValueError):
        if int(text) > 0:
            return int(text)
    raise Mistake(f"{text!r} is no number from 1 up")


def seconds(text: str) -> float:
    """Return a number of seconds, from more than 0 to less than a day."""
    with suppress(ValueError):
        if 0 < float(text) < 24 * 3600:
            return float(text)
    raise Mistake(f"{text!r} is no number of seconds below a day")


def command(text: str) -> list[str]:
    """Return the words of a command as a shell would split them."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Mistake(f"{text!r}: {error}") from None
    if not words:
        raise Mistake("there is no command in it")
    return words


def one_of(*known: str) -> Callable[[str], str]:
    """Return a parser for one word of some."""

    def parse(text: str) -> str:
        if text not in known:
            raise Mistake(f"{text!r} is none of {', '.join(known)}")
        return text

    return parse


def some_of(*known: str) -> Callable[[str], tuple[str, ...]]:
    """Return a parser for words of some, with commas between them."""
    parse = one_of(*known)
    return lambda text: tuple(map(parse, text.split(",")))


# A whole command line


class Parser(argparse.ArgumentParser):
    """A parser whose errors are mistakes; options are not abbreviated."""

    def __init__(self, **how: Any) -> None:
        how = {"formatter_class": argparse.RawDescriptionHelpFormatter, **how}
        super().__init__(**how, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise it as a mistake."""
        raise Mistake(message, cure=f"see {self.prog} --help")


def add_tool(
    commands: Any,
    name: str,
    options: Sequence[Option],
    run: Callable[[argparse.Namespace], int],
    *,
    target: str = "",
    **texts: str,
) -> None:
    """Add a tool to the parser of the command.

    Args:
        commands: what ``add_subparsers`` has returned.
        name: the tool's.
        options: in the order in which the help has them.
        run: does the work, and returns a :class:`Status`.
        target: how the help names what is not an option; in the namespace: ``target``.
        texts: further ones for argparse: ``help``, ``description``, ``epilog``.
    """
    usage = f"{PROGRAM} {name} [options] {target}".rstrip()
    parser = commands.add_parser(name, usage=usage, **texts)
    parser.set_defaults(run=run, tool=name, known=options)
    for option in options:
        option.add_to(parser)
    if target:
        parser.add_argument("target", nargs="?", help=argparse.SUPPRESS)


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Return what a command line says, completed by settings and defaults.

    Args:
        parser: that of the command, with its tools.
        words: the arguments; those after the first ``--`` become ``program``.

    Raises:
        Mistake: something in them, or in the settings, is wrong.
    """
    end = words.index("--") if "--" in words else len(words)
    given, unknown = parser.parse_known_args(words[:end])
    options: Sequence[Option] = given.known
    if unknown:
        word = unknown[0].partition("=")[0]
        names = [f"--{option.name}" for option in options]
        cure = did_you_mean(word, names) if word.startswith("-") else ""
        what = "option" if word.startswith("-") else "use for"
        raise Mistake(f"there is no {what} {word!r}", cure=cure)
    known = {
        option.name: Setting(option.setting, option.from_setting)
        for option in options
        if option.setting
    }
    settings = read(given.tool, known)
    for option in options:
        if not hasattr(given, option.key):
            default = option.default if option.metavar else False
            setattr(given, option.key, settings.get(option.name, default))
    given.program = list(words[end + 1 :])
    return given


def carry_out(work: Callable[[], int]) -> int:
    """Do the work of a command, and return its exit status.

    A fault of ours is no mistake of the user's: whatever is not a :class:`Mistake`
    keeps its traceback.

    Args:
        work: returns a status.
    """
    try:
        status = work()
        sys.stdout.flush()
        return status
    except Mistake as mistake:
        print(f"{PROGRAM}: {mistake}", file=sys.stderr)
        return Status.MISTAKE
    except BrokenPipeError:
        # The reader has seen enough; the interpreter must not stumble over it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        return 128 + signal.SIGINT  # PID 1 does not die of it
    except Exception:
        traceback.print_exc()
        print(f"{PROGRAM}: a fault of ours; please report the above", file=sys.stderr)
        return Status.FAULT
