"""What a visitor or a program sent wrongly is refused in one sentence."""

from __future__ import annotations

from typing import Any

import gradio as gr


def refusal(sentence: str) -> gr.Error:
    """An error that the caller can mend; the server's log stays quiet."""
    return gr.Error(sentence, print_exception=False)


def checked_threshold(value: Any) -> float:
    """A threshold that somebody sent; refuses what is no number from 0 to 1, NaN among it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise refusal(f"The threshold must be a number from 0 to 1, found {shown(value)}.")
    return float(value)


def shown(value: Any) -> str:
    """What somebody sent, short enough for a sentence."""
    words = repr(value)
    return words if len(words) <= 80 else f"{words[:80]}..."
