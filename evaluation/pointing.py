"""Right for the right reason: whether what makes a photo FAIL is the defect, or something else.

The pointing game (Zhang et al., "Top-Down Neural Attention by Excitation Backprop", IJCV 2018) asks
whether a map's highest place lies on the object; here, on the defect's mask. A photo that fails by
a speck beside its defect is no success, although image AUROC counts it as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from evaluation.evaluate.prediction import Prediction
from evaluation.metrics import image_auroc

MARGIN = 0.02  # of the map's side, by which the highest place may miss the mask


@dataclass(frozen=True)
class Pointed:
    """Where the map of a defective photo points."""

    hits: bool  # whether its highest place lies on the defect, or next to it
    at_defect: float  # the largest anomaly on the defect or next to it; what the defect itself says


def point(anomaly_map: np.ndarray, mask: np.ndarray | None) -> Pointed | None:
    """What a map, (h, w), says at a defect's mask, (H, W) bool of the photo's size.

    None without a mask, or where it marks nothing: nobody said where the defect is.
    """
    if mask is None or not mask.any():
        return None
    near = near_defect(mask, anomaly_map.shape)
    highest = np.unravel_index(np.argmax(anomaly_map), anomaly_map.shape)
    return Pointed(bool(near[highest]), float(anomaly_map[near].max()))


def near_defect(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask, (H, W) bool, at the size of a map: True within `MARGIN` of its side, (h, w)."""
    height, width = shape
    shares = Image.fromarray(mask.astype(np.float32))
    on_defect = np.asarray(shares.resize((width, height), Image.Resampling.BOX)) > 0
    distance = ndimage.distance_transform_edt(~on_defect)
    return distance <= MARGIN * max(shape)


def of_pointing(
    predictions: Sequence[Prediction], pointed: Sequence[Pointed | None]
) -> dict[str, float]:
    """The figures of a test set, or of the good photos and one kind of defect; NaN if undefined.

    `pointed` has None for good photos and for defective ones without a mask, which take no part.
    """
    known = [pair for pair in zip(predictions, pointed, strict=True) if pair[1] is not None]
    good = [one.raw_score for one in predictions if one.label == 0]
    at_defects = [place.at_defect for _, place in known]
    labels = np.repeat([0, 1], [len(good), len(at_defects)])
    defined = bool(good and at_defects)
    return {
        "pointing": _share(place.hits for _, place in known),
        "pointing_of_fails": _share(place.hits for one, place in known if one.failed),
        "image_auroc_at_defects": image_auroc(labels, [*good, *at_defects])
        if defined
        else math.nan,
    }


def _share(hits: Iterable[bool]) -> float:
    hits = list(hits)
    return sum(hits) / len(hits) if hits else math.nan
