"""How well an anomaly map shows where a photo is anomalous, as numbers.

`count_pixels` reads the maps of a test set once, one at a time, and keeps how many pixels of each
kind lie at each level of anomaly; the metrics are arithmetic on these counts. Few pixels are told
apart to the last digit. With more, a level is a float's sign, exponent and first `MANTISSA_BITS`
bits: 1,000 maps of 1024 x 1024 then need hardly more memory than one, whatever share of them is
anomalous. Pixels that fall into one level have lost their order, so each metric comes with a bound
on what any order could change. A bound takes the worst case: what it really costs is far less.

A metric lies in 0..1; without anomalous or without normal pixels it is NaN with a warning.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from evaluation.metrics import MetricError, image_names, is_defined

# Regions that touch at a corner are one defect: a thin scratch drawn at 45 degrees is not many.
# MVTec's own evaluation code (`pro_curve_util.py`) does the same.
EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
EXACT_PIXELS = 2**22  # up to so many, counting them all apart takes about a second and 100 MB
MANTISSA_BITS = 16  # of the 23: levels lie 0.0015 % apart
ROUNDED_LEVELS = 2 ** (1 + 8 + MANTISSA_BITS)  # a sign, an exponent and the mantissa's first bits


class Estimate(NamedTuple):
    """A metric, and how far it may be from the one of pixels that are all told apart: 0 if exact.

    Both are NaN where the metric is undefined.
    """

    value: float
    error_bound: float


UNDEFINED = Estimate(math.nan, math.nan)


class LevelTally(NamedTuple):
    """Anomalous pixels by level."""

    level: np.ndarray  # (L,) int64, ascending, the levels that occur
    pixels: np.ndarray  # (L,) int64, how many pixels lie there
    overlap: np.ndarray  # (L,) float64, the shares of their regions that these pixels are, summed
    regions: int  # how many regions (connected components of the masks) they are
    photos: int  # how many photos they are from


@dataclass(frozen=True)
class PixelRanks:
    """Where the anomalous pixels stand among all the normal ones, from the highest level down."""

    above: np.ndarray  # (L,) int64, normal pixels at higher levels
    tied: np.ndarray  # (L,) int64, normal pixels at this level
    pixels: np.ndarray  # (L,) int64, anomalous pixels at this level, at least 1
    overlap: np.ndarray  # (L,) float64, as in `LevelTally`
    regions: int  # how many regions they are
    normal_pixels: int  # how many normal pixels there are
    exact: bool  # whether pixels of one level are equal, and not only nearly so

    def estimate(self, value: float, error_bound: float) -> Estimate:
        """A metric with the bound that it has unless the counts are exact."""
        value = min(max(float(value), 0.0), 1.0)  # a sum of shares may miss 1 by a last digit
        return Estimate(value, 0.0 if self.exact else float(error_bound))


@dataclass(frozen=True)
class PixelCounts:
    """The pixels of a test set by level."""

    normal_level: np.ndarray  # (L,) int64, ascending, the levels of normal pixels
    normal_pixels: np.ndarray  # (L,) int64, how many normal pixels lie there
    anomalous: dict[str, LevelTally]  # by kind of defect
    exact: bool  # as in `PixelRanks`

    @property
    def photos(self) -> int:
        """How many photos have anomalous pixels."""
        return sum(tally.photos for tally in self.anomalous.values())

    def ranks(self, kind: str | None = None) -> PixelRanks:
        """The anomalous pixels of one kind of defect, or of all, among all the normal pixels."""
        kinds = self.anomalous if kind is None else {kind} & self.anomalous.keys()
        tally = _together([self.anomalous[name] for name in kinds])
        up_to = np.concatenate([[0], np.cumsum(self.normal_pixels)])  # levels below the index
        below = up_to[np.searchsorted(self.normal_level, tally.level, side="left")]
        not_above = up_to[np.searchsorted(self.normal_level, tally.level, side="right")]
        return PixelRanks(
            above=(up_to[-1] - not_above)[::-1],
            tied=(not_above - below)[::-1],
            pixels=tally.pixels[::-1],
            overlap=tally.overlap[::-1],
            regions=tally.regions,
            normal_pixels=int(up_to[-1]),
            exact=self.exact,
        )


class _Photo(NamedTuple):
    """One that takes part: its defect and mask, (H, W) bool, or None; its map or levels, (H, W)."""

    kind: str | None
    mask: np.ndarray | None
    pixels: np.ndarray


def count_pixels(
    anomaly_maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    image_ids: Sequence[str] | None = None,
    kinds: Sequence[str | None] | None = None,
    *,
    exact_pixels: int = EXACT_PIXELS,
) -> PixelCounts:
    """Count the pixels of a test set by level of anomaly.

    Each map and mask is read once, and may be made when asked for it. Regions are the 8-connected
    components of the masks at full size.

    Args:
        anomaly_maps: N maps, (H, W) floating point, higher is more anomalous; sizes may differ.
        masks: N masks, (H, W) bool, True where the photo is anomalous; None without any.
        image_ids: (N,) names for error messages.
        kinds: (N,) kind of defect, None for a good photo. A defective photo without anomalous
            pixels takes no part: where it is anomalous, nobody said. Default: all photos take part,
            those without a mask as good ones and the others as one kind.
        exact_pixels: test sets of more pixels than that are counted by rounded levels.

    Raises:
        MetricError: a map holds a number that is not finite, a mask has another size, or a good
            photo has anomalous pixels.
    """
    photos = _photos(anomaly_maps, masks, image_ids, kinds)
    levelled, count, exact = _by_level(photos, exact_pixels)
    normal = np.zeros(count, np.int64)  # what never occurs is never touched, and costs no memory
    anomalous: dict[str, LevelTally] = {}
    for kind, mask, level in levelled:
        np.add.at(normal, level.ravel() if mask is None else level[~mask], 1)
        if kind is not None and mask is not None:
            known = [anomalous[kind]] if kind in anomalous else []
            anomalous[kind] = _together([*known, _tally(level, mask)])
    occurring = np.flatnonzero(normal)
    return PixelCounts(occurring, normal[occurring], anomalous, exact)


def pixel_auroc(ranks: PixelRanks) -> Estimate:
    """Probability that an anomalous pixel has a higher anomaly than a normal one; ties count half.

    The area under the ROC curve (Hanley and McNeil, Radiology 1982) of all photos' pixels pooled,
    so that one large defect outweighs many small ones; `aupro` does not.

    Bound: half the share of pairs that tie, since each may be in the right or in the wrong order.
    """
    if not _both_kinds_of_pixels(ranks, "pixel AUROC"):
        return UNDEFINED
    share = ranks.pixels / (ranks.pixels.sum() * ranks.normal_pixels)
    half_tied = share @ ranks.tied / 2.0
    return ranks.estimate(1.0 - share @ ranks.above - half_tied, half_tied)


def pixel_average_precision(ranks: PixelRanks) -> Estimate:
    """Area under the precision-recall steps of all photos' pixels pooled, without interpolation.

    scikit-learn's `average_precision_score`: precision at each threshold times the recall it adds
    (Davis and Goadrich, ICML 2006). Normal pixels are by far the most, and unlike AUROC it does not
    forgive a false alarm for that.

    Bound: at most, a level's anomalous pixels all lie above its normal ones. At least, they come
    one by one after them; the precision then rises along a concave curve, which lies above the
    straight line between its ends.
    """
    if not _both_kinds_of_pixels(ranks, "pixel average precision"):
        return UNDEFINED
    recall = ranks.pixels / ranks.pixels.sum()
    hits = np.cumsum(ranks.pixels)
    alarms = ranks.above + ranks.tied
    precision = hits / (hits + alarms)
    most = hits / (hits + ranks.above)
    first = hits - ranks.pixels + 1
    least = (first / (first + alarms) + precision) / 2.0
    bound = max(recall @ (most - precision), recall @ (precision - least))
    return ranks.estimate(recall @ precision, bound)


def pixel_f1_max(ranks: PixelRanks) -> Estimate:
    """The F1 of the threshold that suits all photos' pixels best, over all thresholds.

    As WinCLIP reports it (Jeong et al., CVPR 2023). The masks choose this threshold, so it is a
    ceiling for comparisons and no promise.

    Bound: at best, a threshold inside a level has all of its anomalous pixels and no normal one.
    """
    if not _both_kinds_of_pixels(ranks, "the largest pixel F1"):
        return UNDEFINED
    hits = np.cumsum(ranks.pixels)
    f1 = (2.0 * hits / (hits + ranks.above + ranks.tied + hits[-1])).max()
    best = (2.0 * hits / (hits + ranks.above + hits[-1])).max()
    return ranks.estimate(f1, best - f1)


def aupro(ranks: PixelRanks, limit: float = 0.3) -> Estimate:
    """Area under the per-region overlap curve up to a false-positive rate, divided by that rate.

    The curve is the share of a region that lies above the threshold, averaged over all regions,
    against the share of normal pixels above it: each defect counts the same, however small
    (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, which integrates to 0.3).
    0.05 is the limit of MVTec LOCO AD (Bergmann et al., IJCV 2022) and MVTec AD 2: 30 % of a good
    photo marked is more than a person would accept. A limit above 1, or not above 0, is a
    `MetricError`.

    A level's pixels enter the overlap while the false-positive rate goes from that of the levels
    above to its own, on a straight line (a jump where no normal pixel ties). So the area under each
    level's own line up to the limit is known, and the curve's area is their sum.

    Bound: the curve rises through the rectangle that its line is a diagonal of.
    """
    if not 0.0 < limit <= 1.0:
        raise MetricError(f"limit must lie above 0 and up to 1, found {limit}")
    if not _both_kinds_of_pixels(ranks, "AUPRO"):
        return UNDEFINED
    start = ranks.above / ranks.normal_pixels
    end = (ranks.above + ranks.tied) / ranks.normal_pixels
    width = end - start
    within = np.minimum(end, limit) - np.minimum(start, limit)  # of the line, what is in the limit
    under = np.divide(within**2, 2.0 * width, out=np.zeros_like(width), where=width > 0.0)
    rise = ranks.overlap / (ranks.regions * limit)
    area = under + np.maximum(limit - end, 0.0)
    return ranks.estimate(rise @ area, rise @ (within - under))


def _photos(
    anomaly_maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    image_ids: Sequence[str] | None,
    kinds: Sequence[str | None] | None,
) -> Iterator[_Photo]:
    """Those that take part, checked; a mask that marks nothing becomes None."""
    count = len(anomaly_maps)
    names = image_names(image_ids, count)
    for things, found in (("mask (or None)", masks), ("kind (or None)", kinds)):
        if found is not None and len(found) != count:
            raise MetricError(f"expected one {things} a map, {count}, found {len(found)}")
    for index, name in enumerate(names):
        mask = masks[index]
        # A grey mask of 0..255 used as an index would silently pick rows instead of pixels.
        if mask is not None and mask.dtype != bool:
            raise MetricError(f"{name}: expected a mask of bool, found {mask.dtype}")
        is_marked = mask is not None and bool(mask.any())
        kind = ("" if is_marked else None) if kinds is None else kinds[index]
        if kind is None and is_marked:
            raise MetricError(
                f"{name}: expected no anomalous pixel in a good photo, found {mask.sum()}; empty "
                "its mask, or label it as anomalous."
            )
        if kind is not None and not is_marked:
            continue
        anomaly_map = anomaly_maps[index]
        if mask is not None and mask.shape != anomaly_map.shape:
            raise MetricError(
                f"{name}: expected a mask of the map's size, {anomaly_map.shape}, found "
                f"{mask.shape}"
            )
        if not np.isfinite(anomaly_map).all():
            raise MetricError(
                f"{name}: expected an anomaly map of finite numbers, found NaN or inf"
            )
        yield _Photo(kind, mask if is_marked else None, anomaly_map)


def _by_level(photos: Iterator[_Photo], exact_pixels: int) -> tuple[Iterable[_Photo], int, bool]:
    """The photos with levels for anomalies, how many levels there are, and whether it is exact."""
    held: list[_Photo] = []
    pixels = 0
    for photo in photos:
        held.append(photo)
        pixels += photo.pixels.size
        if pixels > exact_pixels:
            every = itertools.chain(held, photos)
            rounded = (one._replace(pixels=_rounded(one.pixels)) for one in every)
            return rounded, ROUNDED_LEVELS, False
    if not held:
        return [], 0, True
    every_pixel = np.concatenate([photo.pixels.ravel() for photo in held])
    values, level = np.unique(every_pixel, return_inverse=True)
    ends = np.cumsum([photo.pixels.size for photo in held])
    levelled = [
        photo._replace(pixels=part.reshape(photo.pixels.shape))
        for photo, part in zip(held, np.split(level, ends[:-1]), strict=True)
    ]
    return levelled, len(values), True


def _rounded(anomaly_map: np.ndarray) -> np.ndarray:
    """Levels in 0..`ROUNDED_LEVELS`, (H, W) int32: a higher anomaly never has a lower one.

    The bits of a float, read as a whole number, are in the order of the floats; those of negative
    ones are in reverse. Less significant bits are cut off.
    """
    with np.errstate(over="ignore"):  # a float64 may be inf in float32, which is still the highest
        single = anomaly_map.astype(np.float32, copy=False) + np.float32(0.0)  # makes -0.0 a 0.0
    bits = single.view(np.int32)
    ordered = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return (ordered >> (23 - MANTISSA_BITS)) + np.int32(ROUNDED_LEVELS // 2)


def _tally(level: np.ndarray, mask: np.ndarray) -> LevelTally:
    """The anomalous pixels of one photo."""
    components, regions = ndimage.label(mask, structure=EIGHT_CONNECTED)
    region = components[mask]
    share = 1.0 / np.bincount(region)[region]
    levels, slot = np.unique(level[mask], return_inverse=True)
    return LevelTally(
        levels.astype(np.int64), np.bincount(slot), np.bincount(slot, share), regions, photos=1
    )


def _together(tallies: Sequence[LevelTally]) -> LevelTally:
    """The anomalous pixels of several tallies; of none, no pixel."""
    if len(tallies) == 1:
        return tallies[0]
    empty = LevelTally(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), 0, 0)
    levels, pixels, overlaps, regions, photos = zip(empty, *tallies, strict=True)
    level, slot = np.unique(np.concatenate(levels), return_inverse=True)
    count = len(level)
    return LevelTally(
        level,
        np.bincount(slot, np.concatenate(pixels), count).astype(np.int64),
        np.bincount(slot, np.concatenate(overlaps), count),
        sum(regions),
        sum(photos),
    )


def _both_kinds_of_pixels(ranks: PixelRanks, metric: str) -> bool:
    missing = ["normal"] * (ranks.normal_pixels == 0) + ["anomalous"] * (ranks.pixels.size == 0)
    return is_defined(metric, missing, "pixel")
