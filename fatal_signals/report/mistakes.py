"""A user's mistake, told apart from a fault of ours."""

from __future__ import annotations

from collections.abc import Iterable


class Mistake(Exception):
    """What the user has to change; its text is always one line.

    Whatever else a tool raises is a fault of ours, and keeps its traceback.

    Args:
        what: what is wrong.
        where: the file, the key or the option that it is about.
        cure: what to do.
    """

    def __init__(self, what: str, *, where: str = "", cure: str = "") -> None:
        text = (f"{where}: " if where else "") + what + (f"; {cure}" if cure else "")
        super().__init__(" ".join(text.splitlines()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question about the word that is meant, or all that there are.

    Args:
        word: what somebody has written.
        known: all words that mean something there.
    """
    import difflib  # noqa: PLC0415 - who makes no mistake needs none of it

    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(words)}"
