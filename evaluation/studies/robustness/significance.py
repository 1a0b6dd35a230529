"""Is a model worse on changed photos than on the same ones unchanged, beyond what chance explains?

Photo is compared with photo: what makes some parts harder than others then takes no part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

# Probability of calling a harmless change worse. A table holds some 30 changes, so that at 5 % one
# or two would be called so by luck alone.
LEVEL = 0.01
RESAMPLES = 2000
# So many photos must agree before chance is less likely than that. A bootstrap of fewer would not
# know it: drawn from one photo, all its draws are equal.
FEWEST = math.ceil(math.log(LEVEL) / math.log(0.5))


def auroc_change(
    labels: Sequence[int] | np.ndarray,
    clean: Sequence[float] | np.ndarray,
    changed: Sequence[float] | np.ndarray,
    seed: int,
) -> tuple[float, float]:
    """The interval of the change of image AUROC, by a paired bootstrap over photos.

    Good and anomalous photos are drawn apart, a photo together with its changed self (Efron and
    Tibshirani: An Introduction to the Bootstrap, 1993). AUROC is the mean over pairs of a good and
    an anomalous photo (Mann and Whitney 1947), so that drawing photos weighs the pairs.

    Args:
        labels: (N,) 0 for normal, 1 for anomalous.
        clean: (N,) raw scores of the photos as they are.
        changed: (N,) raw scores of the same photos changed.
        seed: decides which photos are drawn.

    Returns:
        Lower and upper end, changed minus clean, each passed by chance with probability `LEVEL`;
        NaN with fewer than `FEWEST` photos of a class.
    """
    is_anomalous = np.asarray(labels) == 1
    gain = _wins(is_anomalous, changed) - _wins(is_anomalous, clean)  # (A, G)
    anomalous, good = gain.shape
    if min(anomalous, good) < FEWEST:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    of_anomalous = rng.multinomial(anomalous, np.full(anomalous, 1 / anomalous), RESAMPLES)
    of_good = rng.multinomial(good, np.full(good, 1 / good), RESAMPLES)
    changes = ((of_anomalous @ gain) * of_good).sum(axis=1) / gain.size
    low, high = np.quantile(changes, [LEVEL, 1 - LEVEL])
    return float(low), float(high)


def happens_more_often(
    clean: Sequence[bool] | np.ndarray, changed: Sequence[bool] | np.ndarray
) -> bool:
    """Whether something befalls more of the changed photos (N,), beyond what chance explains.

    McNemar's test (1947), exact and one-sided: only photos to which it happens in one of the two
    say anything, and chance would share them out evenly.

    Example:
        >>> happens_more_often([False] * 9, [True] * 7 + [False] * 2)
        True
        >>> happens_more_often([False] * 9, [True] * 6 + [False] * 3)
        False
    """
    clean, changed = np.asarray(clean, dtype=bool), np.asarray(changed, dtype=bool)
    more, less = int((changed & ~clean).sum()), int((clean & ~changed).sum())
    if more <= less:
        return False
    return bool(binomtest(more, more + less, 0.5, alternative="greater").pvalue < LEVEL)


def _wins(is_anomalous: np.ndarray, scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """(A, G): 1 where an anomalous photo scores higher than a good one, 1/2 where equal."""
    scores = np.asarray(scores, dtype=float)
    anomalous, good = scores[is_anomalous][:, None], scores[~is_anomalous][None, :]
    return (anomalous > good) + 0.5 * (anomalous == good)
