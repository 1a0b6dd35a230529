"""Errors as parts of a sentence."""

from __future__ import annotations


def first_line(error: BaseException | str) -> str:
    """The first line of an error or its text; its kind where it says nothing: `TimeoutError()`."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
