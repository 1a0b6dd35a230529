"""Errors of other libraries, as part of a sentence."""


def first_line(error: BaseException) -> str:
    """What an error says in its first line, or its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
