"""Numbers as a reader meets them in a report; what is undefined is a dash."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNDEFINED = "-"


def figure(value: float | None, ends: Sequence[float] | None = None) -> str:
    """A figure in 0..1 with three digits, and on a line below its interval where there is one.

    Such as "0.998", and below it "(0.990 to 1.000)".
    """
    if value is None:
        return UNDEFINED
    return f"{value:.3f}" + (f"\n({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")


def percent(share: float | None) -> str:
    """A share as a percentage, such as "4.7 %"."""
    return UNDEFINED if share is None else f"{100 * share:.1f} %"


def counted(count: int | None, total: int | None, ends: Sequence[float] | None) -> str:
    """How many of how many, and on a line below the share with its interval.

    Such as "2 of 20", and below it "(10.0 %; 2.8 to 30.1 %)".
    """
    if count is None or not total:
        return UNDEFINED
    interval = f"; {100 * ends[0]:.1f} to {percent(ends[1])}" if ends else ""
    return f"{count} of {total}\n({percent(count / total)}{interval})"


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it: "61 ms", "4.2 s", "11 min 30 s", or "2 h 13 min"."""
    if seconds is None:
        return UNDEFINED
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def megabytes(size: float | None) -> str:
    """Bytes as MB of a million each, such as "5.9 MB"."""
    return UNDEFINED if size is None else f"{size / 1e6:.1f} MB"


def defined(value: float | None, words: Callable[[float], str]) -> str:
    """A number in some words, such as "{:,}".format."""
    return UNDEFINED if value is None else words(value)


def plural(count: int, noun: str) -> str:
    """A count with its noun, such as "1 category", "3 categories" and "2 photos"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"
