"""A share that was counted, and how sure one can be of it."""

from __future__ import annotations

import math
from typing import NamedTuple

NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %: a two-sided interval of 95 %


class Rate(NamedTuple):
    """A share with its 95 % Wilson interval; all three NaN when there was nothing to count."""

    value: float  # `count / total`, in 0..1
    low: float  # ends of the interval, in 0..1
    high: float
    count: int  # how many, 0..total
    total: int  # out of how many


def rate(count: int, total: int) -> Rate:
    """A share with its 95 % Wilson score interval (Wilson 1927), which holds for small totals.

    Written out because a model on the Hub must load where scipy is not installed.

    Example:
        >>> tuple(round(number, 3) for number in rate(1, 20)[:3])
        (0.05, 0.009, 0.236)
    """
    if total == 0:
        return Rate(math.nan, math.nan, math.nan, count, total)
    share, z = count / total, NORMAL_QUANTILE
    centre = share + z**2 / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    low = 0.0 if count == 0 else (centre - reach) / scale
    high = 1.0 if count == total else (centre + reach) / scale
    return Rate(share, low, high, count, total)
