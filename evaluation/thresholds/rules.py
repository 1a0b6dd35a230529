"""Where PASS ends, by four rules; `evaluation/threshold_study.py` compares them.

A rule gets raw scores of held-out good parts and a false-alarm rate that was asked for, and answers
with a threshold and the rate that it promises. A part fails above the threshold, not at it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.stats import genpareto

from modeling import Calibration
from modeling.scoring import conformal_threshold

QUANTILE, CONFORMAL, EXTREME_VALUE, ROC = "quantile", "conformal", "extreme value", "ROC"

TAIL = 0.2  # share of the scores that counts as their tail
LEAST_EXCESSES = 10  # in the tail; two parameters are fitted to them
FIRST_SHAPE = 0.1  # where the search for the tail's shape begins: close to an exponential tail


class Threshold(NamedTuple):
    """What a rule answers.

    Attributes:
        raw: threshold on the raw score.
        promised: the share of good parts that the rule says will fail at it, 0..1.
    """

    raw: float
    promised: float


def quantile(held_out: Sequence[float], false_alarm_rate: float) -> Threshold:
    """The smallest held-out score that all but the asked share of the scores do not exceed.

    What most published code does. It forgets that a new part is not one of the n: with n times the
    rate a whole number, a new part exceeds the threshold with probability
    (n * rate + 1) / (n + 1), which is (1 - rate) / (n + 1) more than was promised. Below a rate of
    1 / n it answers with the largest score, and still promises what was asked.

    Args:
        held_out: raw scores of n >= 1 good parts, finite.
        false_alarm_rate: asked for, in (0, 1); promised as it stands.
    """
    raw = np.quantile(held_out, 1 - false_alarm_rate, method="inverted_cdf")
    return Threshold(float(raw), false_alarm_rate)


def conformal(held_out: Sequence[float], false_alarm_rate: float) -> Threshold:
    """Split conformal prediction, as `modeling.Calibration` has it.

    Below a rate of 1 / (n + 1) it too answers with the largest score, but promises 1 / (n + 1).
    Arguments as in `quantile`.
    """
    return Threshold(*conformal_threshold(held_out, false_alarm_rate))


def extreme_value(held_out: Sequence[float], false_alarm_rate: float) -> Threshold:
    """Peaks over a threshold: a generalised Pareto tail above the highest fifth of the scores.

    Pickands (1975) and Coles, "An Introduction to Statistical Modeling of Extreme Values" (2001),
    4.3; fitted by maximum likelihood (`scipy.stats.genpareto`). Not Gumbel's law on maxima of
    blocks: there is one score a part, and 20 parts in blocks of 10 leave two maxima to fit.

    It is the only rule that can go beyond the largest score, and so the only one that can aim at
    a rate below 1 / (n + 1). What it then promises is a guess about a tail that nobody saw. From
    the ten excesses that 20 to 50 parts give, the shape is hardly known. Fitted below 0, the tail
    ends just above the largest score and realises more than was asked (below -0.5 the maximum
    likelihood estimate loses its usual properties, Smith 1985, and below -1 the likelihood has no
    maximum: the tail then ends at the largest score); fitted far above 0, the threshold runs away
    from all scores, and defects pass. Equal excesses have no tail to fit: see `quantile`.

    Args:
        held_out: raw scores of n >= 2 good parts, finite.
        false_alarm_rate: asked for, in (0, 1); promised as it stands. Where it is larger than the
            share of the scores in the tail, nothing has to be extrapolated: see `quantile`.
    """
    tail = _fit_tail(tuple(sorted(map(float, held_out))))
    if false_alarm_rate >= tail.share:
        return quantile(held_out, false_alarm_rate)
    raw = genpareto.isf(false_alarm_rate / tail.share, tail.shape, tail.start, tail.scale)
    return Threshold(float(raw), false_alarm_rate)


def roc(held_out: Sequence[float], scores: Sequence[float], labels: Sequence[int]) -> Threshold:
    """Youden's threshold on a labelled validation set, as `train.py --threshold_rule roc` sets it.

    It can't be asked for a rate; what it promises is what the held-out good parts show of it.

    Args:
        held_out: raw scores of good parts.
        scores: raw scores of the validation set.
        labels: 0 for good, 1 for defective; both must be present.
    """
    # The rate given here is replaced by what the threshold does.
    calibration = Calibration.fit(held_out, 0.5).with_labelled(scores, labels)
    return Threshold(calibration.raw_threshold, calibration.promised_false_alarm_rate)


# Those that need good parts alone, and can be asked for a rate.
RULES: dict[str, Callable[[Sequence[float], float], Threshold]] = {
    CONFORMAL: conformal,
    QUANTILE: quantile,
    EXTREME_VALUE: extreme_value,
}


class _Tail(NamedTuple):
    """A generalised Pareto law for what lies above `start`."""

    start: float
    share: float  # of the scores, in the tail; 0 where there is no spread to fit a law to
    shape: float
    scale: float


@lru_cache(maxsize=16)  # several rates are asked of the same scores, and a fit takes long
def _fit_tail(ordered: tuple[float, ...]) -> _Tail:
    n = len(ordered)
    count = min(n - 1, max(LEAST_EXCESSES, math.ceil(TAIL * n)))
    start = ordered[n - count - 1]
    excesses = np.array(ordered[n - count :]) - start
    if not np.ptp(excesses) > 0:
        return _Tail(ordered[-1], 0.0, 0.0, 0.0)
    with np.errstate(all="ignore"):  # the search tries shapes under which the data can't be
        shape, _, scale = genpareto.fit(excesses, FIRST_SHAPE, floc=0)
    return _Tail(start, count / n, float(shape), float(scale))
