"""From residual to verdict, as pure functions: residual -> anomaly map -> raw score -> score.

Everybody gets these numbers by way of `ReconstructionModel.detect`; nobody computes one again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .dissimilarity import gaussian_blur

# Score of the median good part. It sets how steeply the score rises around the threshold: a part
# as far above the threshold as the median good part is below it scores 1 - 0.1.
MEDIAN_GOOD_SCORE = 0.1
# Keeps the excess finite where the good parts' residuals don't differ at all (one part, say).
LEAST_SPREAD = 1e-6
FORGONE = 0.01  # share of the synthetic damage found that a threshold may be raised above


def smooth_residual(residual: Tensor, sigma: float) -> Tensor:
    """Smooth residual maps, (B, h, w), by a Gaussian of `sigma` positions: noise is no defect."""
    return gaussian_blur(residual.unsqueeze(1), sigma).squeeze(1)


def enlarge(residual: Tensor, size: int) -> Tensor:
    """Bring residual maps, (B, h, w), to the size of the model's input: (B, size, size)."""
    if residual.shape[-1] == size:
        return residual
    return F.interpolate(
        residual.unsqueeze(1), size=(size, size), mode="bilinear", align_corners=False
    ).squeeze(1)


def normalise_residual(residual: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """How far the residual exceeds what good parts show at the same place, in deviations.

    An edge that no model restores exactly has a large residual on every good part; measured
    against its own mean it stops hiding the small defect beside it. The map's average deviation is
    added to each location's own: noise where few good parts happened to be quiet is no alarm.

    Of a smoothed residual, (B, H, W), and its mean and standard deviation (>= 0) on good parts,
    (H, W) or (B, H, W): (B, H, W), >= 0; 0 wherever the residual is no larger than usual.
    """
    spread = deviation + deviation.mean(dim=(-2, -1), keepdim=True)
    return ((residual - mean) / spread.clamp_min(LEAST_SPREAD)).clamp_min(0)


def raw_score(anomaly_map: Tensor) -> Tensor:
    """One number a photo: the largest value of its (smoothed) anomaly map.

    The maximum keeps map and verdict in agreement: a part fails exactly when some place of its map
    lies above the threshold, so there is always a region to show. (B, H, W) to (B,), >= 0.
    """
    return anomaly_map.amax(dim=(1, 2))


def calibrated_score(raw: Tensor, raw_threshold: Tensor | float, scale: Tensor | float) -> Tensor:
    """Logistic score: 0..1, increasing in `raw`, exactly 0.5 where `raw == raw_threshold`.

    Far above the threshold it saturates at 1: rank by `raw`, raw scores or maps of any shape.
    Threshold and scale, > 0, are in the units of `raw`; one each, or one a raw score.
    """
    return torch.sigmoid((raw - raw_threshold) / scale)


def exceeds(score: Tensor | np.ndarray | float, threshold: float) -> Tensor | np.ndarray | bool:
    """The one comparison that makes a verdict: True (FAIL) above the threshold, not at it."""
    return score > threshold


def conformal_threshold(
    normal_scores: Sequence[float], false_alarm_rate: float
) -> tuple[float, float]:
    """Threshold that holds a false-alarm rate, whatever the distribution of good scores is.

    Split conformal prediction (Vovk et al. 2005): if a new good part is exchangeable with the n
    held-out ones, its score exceeds their k-th smallest with probability at most
    (n + 1 - k) / (n + 1). No rate below 1 / (n + 1) can be promised from n parts; asked for less,
    the largest score is returned with the rate that it does promise.

    Of raw scores of n >= 1 held-out good parts and the share of good parts that may fail, in
    (0, 1): the raw threshold (one of the scores) and the false-alarm rate that it promises.
    Raises `ValueError` on no scores, one that is not finite, or a rate outside (0, 1).
    """
    if not 0 < false_alarm_rate < 1:
        raise ValueError(
            f"false_alarm_rate must lie between 0 and 1 (both excluded), found {false_alarm_rate}."
        )
    ordered = sorted(float(score) for score in normal_scores)
    if not ordered or not all(map(math.isfinite, ordered)):
        raise ValueError("Calibration needs at least one good part, and finite scores only.")
    n = len(ordered)
    # The tolerance keeps 20 * 0.95 from becoming 19.000000000000004 and then 20.
    k = min(n, math.ceil((n + 1) * (1 - false_alarm_rate) - 1e-9))
    k = max(k, 1)
    return ordered[k - 1], (n + 1 - k) / (n + 1)


def raised_threshold(raw_threshold: float, damaged_scores: Sequence[float]) -> float:
    """The threshold halfway, by factors, to the least damage that it finds.

    Between good parts and damage there may be room, and a few dozen good parts may lie lower in it
    than the next ones will. Of the damage that was found the least `FORGONE` is left aside: it may
    be too faint for any eye. Of raw scores >= 0; with none above it the threshold stays.
    `ValueError` on a score that is not finite.
    """
    scores = np.asarray(damaged_scores, dtype=float)
    if not np.isfinite(scores).all():
        raise ValueError("Damage must have finite raw scores; found one that is not.")
    found = np.sort(scores[exceeds(scores, raw_threshold)])
    if not len(found):
        return raw_threshold
    return math.sqrt(raw_threshold * found[int(FORGONE * len(found))])


def roc_threshold(scores: Sequence[float], labels: Sequence[int]) -> float:
    """Threshold that separates labelled parts best: Youden's J, found less falsely failed, largest.

    Youden: Index for rating diagnostic tests, 1950. It lies halfway between two neighbouring raw
    scores, or above all; of equally good ones the largest is taken, which fails fewest good parts.
    Labels are 0 for good, 1 for defective; `ValueError` when only one kind is present or a score is
    not finite.
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
    if {*labels.tolist()} != {0, 1} or not np.isfinite(scores).all():
        raise ValueError(
            "A threshold from labelled photos needs good and defective ones, and finite scores; "
            f"found {np.sum(labels == 0)} good and {np.sum(labels == 1)} defective."
        )
    ordered = np.unique(scores)
    candidates = np.append((ordered[:-1] + ordered[1:]) / 2, ordered[-1])
    fails = exceeds(scores[None], candidates[:, None])  # (candidates, parts)
    found, falsely = fails[:, labels == 1].sum(axis=1), fails[:, labels == 0].sum(axis=1)
    # J in whole numbers, so that rounding breaks no tie.
    best = found * np.sum(labels == 0) - falsely * np.sum(labels == 1)
    return float(candidates[np.flatnonzero(best == best.max())[-1]])


def score_scale(normal_scores: Sequence[float], raw_threshold: float) -> float:
    """Scale, > 0 in raw units, that puts the median of the good parts at `MEDIAN_GOOD_SCORE`.

    A thousandth of the threshold where the median lies at it (one good part, or all alike), so that
    the score stays defined and monotone.
    """
    ordered = sorted(normal_scores)
    gap = raw_threshold - ordered[len(ordered) // 2]
    smallest = max(abs(raw_threshold) * 1e-3, 1e-9)
    return max(gap / math.log(1 / MEDIAN_GOOD_SCORE - 1), smallest)
