"""What an injection says when it can't be done."""


class InjectionError(RuntimeError):
    """The injection can't be done; the text is one line: what is wrong, what to do."""
