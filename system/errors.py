"""Errors as parts of a sentence."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """An error's first line, or its kind where it says nothing, as `TimeoutError()` does."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
