"""How good a detector is, as numbers: for whole photos, for verdicts and for pixels.

Pure functions, numpy in and numbers out. Anomalous is the positive class everywhere.

- *Ranking* (`image_auroc`, `average_precision`): raw scores against labels, no threshold. Give them
  raw scores: a calibrated score that saturates at 1 makes ties and with them another AUROC.
- *Verdicts* (`verdict_metrics`): what PASS and FAIL at the operating threshold get right, with
  intervals, since a test set of twenty good parts says little about a rate of one percent.
- *Pixels* (`rank_pixels`, then `pixel_auroc` and `aupro`): where the anomaly map is high.

What the data cannot answer (only one class, no mask) is NaN with an `UndefinedMetricWarning`, never
a number that looks like an answer. A score or map that is not finite is a `MetricError` that names
the image.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from modeling import Rate, rate
from modeling.scoring import conformal_threshold, exceeds

# Regions that touch at a corner are one defect: a thin scratch drawn at 45 degrees is not many.
EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


class MetricError(ValueError):
    """An input no metric can be computed from; the message names the image."""


@dataclass(frozen=True)
class VerdictMetrics:
    """What the verdicts at one threshold are worth.

    Attributes:
        precision: anomalous photos among those that failed; NaN unless both classes are present
            and something failed.
        recall: anomalous photos that failed among all anomalous ones; NaN without any.
        f1: harmonic mean of the two; NaN unless both classes are present.
        false_alarm_rate: good photos that failed.
        miss_rate: anomalous photos that passed.
    """

    precision: float
    recall: float
    f1: float
    false_alarm_rate: Rate
    miss_rate: Rate


@dataclass(frozen=True)
class PixelRanks:
    """Where every anomalous pixel stands among all the normal pixels of a test set.

    This is all that the pixel metrics need, and far smaller than the maps: P anomalous pixels in
    R regions (connected components of the masks).

    Attributes:
        above: (P,) float64 in 0..1, share of the normal pixels with a higher anomaly. It is the
            false-positive rate at a threshold just above this pixel.
        at_or_above: (P,) float64 in 0..1, the same with ties; the rate just below this pixel.
        region: (P,) int32 in 0..R-1, the region the pixel belongs to.
        image: (P,) int32, index of the photo it was found in.
        normal_pixels: number of normal pixels that were ranked against.
    """

    above: np.ndarray
    at_or_above: np.ndarray
    region: np.ndarray
    image: np.ndarray
    normal_pixels: int

    def of_images(self, images: Sequence[int] | np.ndarray) -> PixelRanks:
        """Only the anomalous pixels of these photos, against the same normal pixels."""
        kept = np.isin(self.image, np.asarray(images))
        return PixelRanks(
            self.above[kept],
            self.at_or_above[kept],
            self.region[kept],
            self.image[kept],
            self.normal_pixels,
        )


def image_auroc(
    labels: Sequence[int] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    image_ids: Sequence[str] | None = None,
) -> float:
    """Probability that an anomalous photo scores higher than a good one; ties count half.

    Args:
        labels: (N,) 0 for normal, 1 for anomalous.
        scores: (N,) raw scores, any finite range, higher is more anomalous.
        image_ids: (N,) names for error messages.

    Returns:
        The area under the ROC curve in 0..1; NaN with a warning when a class is missing.

    Raises:
        MetricError: shapes differ, a label is neither 0 nor 1, or a score is not finite.

    Example:
        >>> image_auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    labels, scores = _check_scores(labels, scores, image_ids)
    if not _both_classes(labels, "image AUROC"):
        return math.nan
    return float(roc_auc_score(labels, scores))


def average_precision(
    labels: Sequence[int] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    image_ids: Sequence[str] | None = None,
) -> float:
    """Area under the precision-recall steps, without interpolation (scikit-learn's definition).

    Unlike AUROC it depends on how many of the photos are anomalous. Arguments, NaN and errors as
    in `image_auroc`.

    Example:
        >>> average_precision([0, 1, 1], [0.1, 0.2, 0.3])
        1.0
    """
    labels, scores = _check_scores(labels, scores, image_ids)
    if not _both_classes(labels, "average precision"):
        return math.nan
    return float(average_precision_score(labels, scores))


def verdict_metrics(
    labels: Sequence[int] | np.ndarray, failed: Sequence[bool] | np.ndarray
) -> VerdictMetrics:
    """Precision, recall, F1, false-alarm and miss rate of verdicts that were already made.

    Args:
        labels: (N,) 0 for normal, 1 for anomalous.
        failed: (N,) True where the verdict is FAIL.

    Returns:
        The metrics; what is undefined is NaN, with a warning.

    Raises:
        MetricError: shapes differ or a label is neither 0 nor 1.
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

    Args:
        held_out_scores: n raw scores of good parts that calibrated the model.
        good_scores: raw scores of other good parts.

    Returns:
        The n rates that split conformal prediction promises, ascending, and what `good_scores` say
        of each.

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


def rank_pixels(
    anomaly_maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    image_ids: Sequence[str] | None = None,
) -> PixelRanks:
    """Rank every anomalous pixel of a test set among all of its normal pixels, exactly.

    Only the anomalous pixels are held in memory. The maps are read twice, one at a time, and may be
    a sequence that makes each one when asked for it.

    Args:
        anomaly_maps: N maps, (H, W) floating point, higher is more anomalous; sizes may differ.
        masks: N masks, (H, W) bool, True where the photo is anomalous; None for a good photo.
        image_ids: (N,) names for error messages.

    Raises:
        MetricError: a map holds a number that is not finite, or a mask has another size.
    """
    names = _names(image_ids, len(anomaly_maps))
    if len(masks) != len(anomaly_maps):
        raise MetricError(
            f"expected one mask (or None) a map, {len(anomaly_maps)}, found {len(masks)}"
        )
    values, region, image = _anomalous_pixels(anomaly_maps, masks, names)
    levels, level_of_pixel = np.unique(values, return_inverse=True)
    higher, tied, normal_pixels = _count_normal_pixels(anomaly_maps, masks, names, levels)
    with np.errstate(invalid="ignore"):  # without a normal pixel the shares are NaN: 0 / 0
        above = higher / np.float64(normal_pixels)
        at_or_above = (higher + tied) / np.float64(normal_pixels)
    return PixelRanks(
        above[level_of_pixel], at_or_above[level_of_pixel], region, image, normal_pixels
    )


def pixel_auroc(ranks: PixelRanks) -> float:
    """Probability that an anomalous pixel has a higher anomaly than a normal one; ties count half.

    All photos are pooled, so that one large defect outweighs many small ones; `aupro` does not.

    Returns:
        The area in 0..1; NaN with a warning without anomalous or without normal pixels.
    """
    if not _both_kinds_of_pixels(ranks, "pixel AUROC"):
        return math.nan
    return float(1.0 - (ranks.above + ranks.at_or_above).mean() / 2.0)


def aupro(ranks: PixelRanks, limit: float = 0.3) -> float:
    """Area under the per-region overlap curve up to a false-positive rate, divided by that rate.

    The curve is the share of a region that lies above the threshold, averaged over all regions,
    against the share of normal pixels above it: each defect counts the same, however small
    (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021). Regions are the
    8-connected components of the masks at full size.

    The trapezoids are summed in closed form. Going down through the thresholds, one pixel enters
    the overlap while the false-positive rate goes from `above` to `at_or_above` (a jump unless
    normal pixels tie with it), so its own area up to the limit is known, and the curve's area is
    the mean of its pixels' areas within a region and then over regions.

    Args:
        ranks: from `rank_pixels`.
        limit: the false-positive rate to integrate to, above 0 and up to 1.

    Returns:
        The area in 0..1; NaN with a warning without anomalous or without normal pixels.
    """
    if not 0.0 < limit <= 1.0:
        raise MetricError(f"limit must lie above 0 and up to 1, found {limit}")
    if not _both_kinds_of_pixels(ranks, "AUPRO"):
        return math.nan
    start, end = ranks.above, ranks.at_or_above
    width = end - start
    within = np.minimum(end, limit) - np.minimum(start, limit)  # of the rise, what is in the limit
    area = np.maximum(limit - end, 0.0)
    rises = width > 0.0
    area[rises] += within[rises] ** 2 / (2.0 * width[rises])
    _, region, sizes = np.unique(ranks.region, return_inverse=True, return_counts=True)
    per_region = np.bincount(region, weights=area / limit) / sizes
    return float(per_region.mean())


def _anomalous_pixels(
    anomaly_maps: Sequence[np.ndarray], masks: Sequence[np.ndarray | None], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, region and photo of each anomalous pixel: three arrays (P,)."""
    values = [np.empty(0, np.float32)]
    region = [np.empty(0, np.int32)]
    image = [np.empty(0, np.int32)]
    regions = 0
    for index in range(len(masks)):
        mask = _check_mask(masks[index], names[index])
        if mask is None or not mask.any():
            continue
        anomaly_map = _check_map(anomaly_maps[index], mask, names[index])
        components, found = ndimage.label(mask, structure=EIGHT_CONNECTED)
        values.append(anomaly_map[mask])
        region.append(components[mask].astype(np.int32) + (regions - 1))
        image.append(np.full(values[-1].size, index, np.int32))
        regions += found
    return np.concatenate(values), np.concatenate(region), np.concatenate(image)


def _count_normal_pixels(
    anomaly_maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    names: Sequence[str],
    levels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, int]:
    """How many normal pixels lie above each level, (L,), at it, (L,), and how many there are.

    `levels` are ascending and distinct. Counts are whole numbers, so that nothing is rounded.
    """
    slots = np.zeros(len(levels) + 1, np.int64)  # slot k: above level k-1, up to and with level k
    tied = np.zeros(len(levels), np.int64)
    total = 0
    for index in range(len(anomaly_maps)):
        mask = _check_mask(masks[index], names[index])
        anomaly_map = _check_map(anomaly_maps[index], mask, names[index])
        # Sorted, because the search is several times faster over neighbours than over noise.
        normal = np.sort(anomaly_map.ravel() if mask is None else anomaly_map[~mask])
        slot = np.searchsorted(levels, normal)
        slots += np.bincount(slot, minlength=len(slots))
        reached = slot < len(levels)
        equal = slot[reached][levels[slot[reached]] == normal[reached]]
        tied += np.bincount(equal, minlength=len(levels))
        total += normal.size
    higher = total - np.cumsum(slots)[:-1]
    return higher, tied, total


def _check_scores(
    labels: Sequence[int] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    image_ids: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray]:
    labels = _check_labels(labels)
    scores = np.asarray(scores)
    if scores.shape != labels.shape:
        raise MetricError(f"expected one score a label, {labels.shape}, found {scores.shape}")
    names = _names(image_ids, len(labels))
    for index in np.flatnonzero(~np.isfinite(scores))[:1]:
        raise MetricError(f"{names[index]}: expected a finite score, found {scores[index]}")
    return labels, scores


def _check_labels(labels: Sequence[int] | np.ndarray) -> np.ndarray:
    labels = np.asarray(labels, dtype=int)
    if labels.ndim != 1 or not np.isin(labels, (0, 1)).all():
        raise MetricError("labels must be a flat list of 0 (normal) and 1 (anomalous)")
    return labels


def _check_map(anomaly_map: np.ndarray, mask: np.ndarray | None, name: str) -> np.ndarray:
    if mask is not None and mask.shape != anomaly_map.shape:
        raise MetricError(
            f"{name}: expected a mask of the map's size, {anomaly_map.shape}, found {mask.shape}"
        )
    if not np.isfinite(anomaly_map).all():
        raise MetricError(f"{name}: expected an anomaly map of finite numbers, found NaN or inf")
    return anomaly_map


def _check_mask(mask: np.ndarray | None, name: str) -> np.ndarray | None:
    # A grey mask of 0..255 used as an index would silently pick rows instead of pixels.
    if mask is not None and mask.dtype != bool:
        raise MetricError(f"{name}: expected a mask of bool, found {mask.dtype}")
    return mask


def _names(image_ids: Sequence[str] | None, count: int) -> Sequence[str]:
    if image_ids is None:
        return [f"image number {index}" for index in range(count)]
    if len(image_ids) != count:
        raise MetricError(f"expected {count} image ids, found {len(image_ids)}")
    return image_ids


def _both_classes(labels: np.ndarray, metric: str) -> bool:
    missing = [name for value, name in ((0, "normal"), (1, "anomalous")) if value not in labels]
    return _defined(metric, missing, "photo")


def _both_kinds_of_pixels(ranks: PixelRanks, metric: str) -> bool:
    missing = ["normal"] * (ranks.normal_pixels == 0) + ["anomalous"] * (ranks.above.size == 0)
    return _defined(metric, missing, "pixel")


def _defined(metric: str, missing: list[str], thing: str) -> bool:
    if missing:
        warnings.warn(
            f"{metric} is undefined: there is no {' and no '.join(missing)} {thing}",
            UndefinedMetricWarning,
            stacklevel=4,
        )
    return not missing
