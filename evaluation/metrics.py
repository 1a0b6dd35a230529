"""How good a detector is, as numbers, for whole photos; `pixel_metrics` says it for pixels.

Pure functions, numpy in and numbers out. Anomalous is the positive class everywhere.

- *Ranking* (`image_auroc`, `average_precision`, `image_f1_max`): raw scores against labels, no
  threshold. Give them raw scores: a calibrated score that saturates at 1 makes ties and with them
  another AUROC.
- *Verdicts* (`verdict_metrics`): what PASS and FAIL at the operating threshold get right, with
  intervals, since a test set of twenty good parts says little about a rate of one percent.

What the data cannot answer (only one class) is NaN with an `UndefinedMetricWarning`, never a number
that looks like an answer. A score that is not finite is a `MetricError` that names the image, and
so are shapes that differ and labels that are neither 0 for normal nor 1 for anomalous.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    precision_recall_fscore_support,
    roc_auc_score,
)

from modeling import Rate, rate
from modeling.scoring import conformal_threshold, exceeds

RESAMPLES = 1000  # of the bootstrap; more move the interval's ends by less than a test set's noise

Labels = Sequence[int] | np.ndarray
Scores = Sequence[float] | np.ndarray


class MetricError(ValueError):
    """An input no metric can be computed from; the message names the image."""


@dataclass(frozen=True)
class VerdictMetrics:
    """What the verdicts at one threshold are worth; without both classes no precision and no F1."""

    precision: float  # anomalous photos among those that failed; NaN if nothing failed
    recall: float  # anomalous photos that failed among all anomalous ones; NaN without any
    f1: float  # harmonic mean of the two
    false_alarm_rate: Rate  # good photos that failed
    miss_rate: Rate  # anomalous photos that passed


def image_auroc(labels: Labels, scores: Scores, image_ids: Sequence[str] | None = None) -> float:
    """Probability that an anomalous photo scores higher than a good one; ties count half.

    The area under the ROC curve (Hanley and McNeil, "The Meaning and Use of the Area under a
    Receiver Operating Characteristic (ROC) Curve", Radiology 1982), by scikit-learn; in 0..1.

    Args:
        labels: (N,) 0 for normal, 1 for anomalous.
        scores: (N,) raw scores, any finite range, higher is more anomalous.
        image_ids: (N,) names for error messages.

    Example:
        >>> image_auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    labels, scores, is_defined = _checked("image AUROC", labels, scores, image_ids)
    return float(roc_auc_score(labels, scores)) if is_defined else math.nan


def image_auroc_interval(
    labels: Labels,
    scores: Scores,
    image_ids: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """How far `image_auroc` may be off because other photos could have been taken.

    The 95 % percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapter 13), stratified: each resample draws as many good and as many anomalous photos as there
    are, with replacement, each from its own class. Where no photo is out of order the interval is
    the single point 1, which says more of the test set's size than of the detector. Each resample
    takes 16 bytes a photo; the same seed gives the same interval. Other arguments as in
    `image_auroc`.
    """
    labels, scores, is_defined = _checked("the interval of image AUROC", labels, scores, image_ids)
    if not is_defined:
        return math.nan, math.nan
    levels, level = np.unique(scores, return_inverse=True)
    rng = np.random.default_rng(seed)
    # Drawing from n photos n times is a multinomial draw over their scores: (resamples, levels).
    drawn = []
    for value in (0, 1):
        photos = np.bincount(level[labels == value], minlength=len(levels))
        drawn.append(rng.multinomial(photos.sum(), photos / photos.sum(), size=resamples))
    normal, anomalous = drawn
    below = np.cumsum(normal, axis=1) - normal / 2.0  # with half of those that tie
    areas = (anomalous * below).sum(axis=1) / ((labels == 0).sum() * (labels == 1).sum())
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)


def average_precision(
    labels: Labels, scores: Scores, image_ids: Sequence[str] | None = None
) -> float:
    """Area under the precision-recall steps, without interpolation, by scikit-learn.

    Precision at each threshold times the recall it adds. Straight lines between the points would
    promise too much (Davis and Goadrich, "The Relationship Between Precision-Recall and ROC
    Curves", ICML 2006). Unlike AUROC it depends on how many of the photos are anomalous. Arguments
    as in `image_auroc`.

    Example:
        >>> average_precision([0, 1, 1], [0.1, 0.2, 0.3])
        1.0
    """
    labels, scores, is_defined = _checked("average precision", labels, scores, image_ids)
    return float(average_precision_score(labels, scores)) if is_defined else math.nan


def image_f1_max(labels: Labels, scores: Scores, image_ids: Sequence[str] | None = None) -> float:
    """The F1 of the threshold that suits these photos best, over all thresholds.

    As WinCLIP reports it (Jeong et al., CVPR 2023), from scikit-learn's precision-recall curve. The
    test labels choose this threshold, so it is a ceiling for comparisons and no promise; what the
    calibrated threshold reaches is `verdict_metrics(...).f1`. Arguments as in `image_auroc`.

    Example:
        >>> image_f1_max([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.8
    """
    labels, scores, is_defined = _checked("the largest F1", labels, scores, image_ids)
    if not is_defined:
        return math.nan
    precision, recall, _ = precision_recall_curve(labels, scores)
    either = precision + recall  # never 0 where the F1 is largest: some threshold finds something
    return float(np.max(2.0 * precision * recall / np.where(either > 0.0, either, 1.0)))


def verdict_metrics(labels: Labels, failed: Sequence[bool] | np.ndarray) -> VerdictMetrics:
    """Precision, recall, F1, false-alarm and miss rate of verdicts that were already made.

    Precision, recall and F1 by scikit-learn (van Rijsbergen, "Information Retrieval", 1979); the
    rates' 95 % intervals are Wilson's ("Probable Inference, the Law of Succession, and Statistical
    Inference", JASA 1927), which hold for small counts and for none.

    Args:
        labels: (N,) 0 for normal, 1 for anomalous.
        failed: (N,) True where the verdict is FAIL.
    """
    labels = _check_labels(labels)
    failed = np.asarray(failed, dtype=bool)
    if failed.shape != labels.shape:
        raise MetricError(f"expected one verdict a label, {labels.shape}, found {failed.shape}")
    normal, anomalous = labels == 0, labels == 1
    precision = recall = f1 = math.nan
    if _both_classes(labels, "precision, F1"):
        precision, recall, f1, _ = precision_recall_fscore_support(
            labels, failed, average="binary", zero_division=np.nan
        )
    elif anomalous.any():
        recall = failed[anomalous].mean()
    return VerdictMetrics(
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        false_alarm_rate=rate(int(failed[normal].sum()), int(normal.sum())),
        miss_rate=rate(int((~failed[anomalous]).sum()), int(anomalous.sum())),
    )


def false_alarm_curve(
    held_out_scores: Sequence[float], good_scores: Sequence[float]
) -> tuple[list[float], list[Rate]]:
    """Promised against realised false-alarm rate, at every threshold that calibration can choose.

    The n raw scores of good parts that calibrated the model give the n rates that split conformal
    prediction promises, ascending; the raw scores of other good parts say what comes of each.

    Example:
        >>> promised, realised = false_alarm_curve([1.0, 2.0, 3.0], [0.5, 2.5])
        >>> promised, [share.value for share in realised]
        ([0.25, 0.5, 0.75], [0.0, 0.5, 0.5])
    """
    n = len(held_out_scores)
    promised = [k / (n + 1) for k in range(1, n + 1)]
    thresholds = [conformal_threshold(held_out_scores, share)[0] for share in promised]
    alarms = [sum(exceeds(score, limit) for score in good_scores) for limit in thresholds]
    return promised, [rate(count, len(good_scores)) for count in alarms]


def image_names(image_ids: Sequence[str] | None, count: int) -> Sequence[str]:
    """What to call the images in an error message: their ids, or else their numbers."""
    if image_ids is None:
        return [f"image number {index}" for index in range(count)]
    if len(image_ids) != count:
        raise MetricError(f"expected {count} image ids, found {len(image_ids)}")
    return image_ids


def is_defined(metric: str, missing: Sequence[str], thing: str) -> bool:
    """Whether nothing is missing that a metric needs; warns when something is."""
    if missing:
        warnings.warn(
            f"{metric} is undefined: there is no {' and no '.join(missing)} {thing}",
            UndefinedMetricWarning,
            stacklevel=5,
        )
    return not missing


def _checked(
    metric: str, labels: Labels, scores: Scores, image_ids: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Labels and scores as arrays, and whether there are both classes, which the metric needs."""
    labels, scores = _check_labels(labels), np.asarray(scores)
    if scores.shape != labels.shape:
        raise MetricError(f"expected one score a label, {labels.shape}, found {scores.shape}")
    names = image_names(image_ids, len(labels))
    for index in np.flatnonzero(~np.isfinite(scores))[:1]:
        raise MetricError(f"{names[index]}: expected a finite score, found {scores[index]}")
    return labels, scores, _both_classes(labels, metric)


def _check_labels(labels: Labels) -> np.ndarray:
    labels = np.asarray(labels, dtype=int)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise MetricError("labels must be a flat list of 0 (normal) and 1 (anomalous)")
    return labels


def _both_classes(labels: np.ndarray, metric: str) -> bool:
    missing = [name for value, name in ((0, "normal"), (1, "anomalous")) if value not in labels]
    return is_defined(metric, missing, "photo")
