"""Numbers over the photos of a category: spreads, and good training photos unlike the others."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from evaluation.explore.photo import QUANTITIES, PhotoFacts

# Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993), take 3.5 for normal values. Light
# and look of good photos have longer tails: of MVTec AD's 529 good bottles and screws for training,
# 3.5 names 20 and 5 names 2.
OUTLIER_LIMIT = 5.0
TO_DEVIATIONS = 0.6745  # median absolute deviation of a normal distribution with deviation 1
FEWEST = 20  # photos that say what is usual

Groups = dict[str, list[PhotoFacts]]


class Outlier(NamedTuple):
    """A good training photo that differs from the others: a hint, and no verdict.

    Attributes:
        photo: which.
        quantity, value: brightness, contrast, sharpness or unlikeness, and how much of it.
        usual: the median of the good training photos of its category.
        z: robust z-score, (value - usual) in deviations; of sharpness, of its logarithm.
    """

    photo: PhotoFacts
    quantity: str
    value: float
    usual: float
    z: float


def by_group(photos: Iterable[PhotoFacts]) -> Groups:
    """Photos of one category by split and kind, such as "test/scratch", in their order."""
    groups: Groups = defaultdict(list)
    for photo in photos:
        groups[photo.stored.group].append(photo)
    return dict(groups)


def summarise_group(photos: Sequence[PhotoFacts]) -> dict[str, Any]:
    """Counts and spreads of one group, as exploration.json has them (see docs/exploration.md)."""
    return {
        "photos": len(photos),
        "sizes": _counts("{}x{}".format(*photo.size) for photo in photos),
        "modes": _counts(photo.mode for photo in photos),
        "formats": _counts(photo.file_format for photo in photos),
        **{name: spread([getattr(photo, name) for photo in photos]) for name in QUANTITIES},
        "masks": sum(photo.defect_area is not None for photo in photos),
        "defect_area": spread([photo.defect_area for photo in photos if photo.defect_area]),
        "components": spread([photo.components for photo in photos if photo.components]),
    }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Least, middle and greatest value; None where there is none."""
    if not values:
        return None
    return {
        "min": float(min(values)),
        "median": float(np.median(values)),
        "max": float(max(values)),
    }


def robust_z(values: Sequence[float]) -> np.ndarray:
    """Modified z-scores (Iglewicz and Hoaglin 1993), (N,); 0 where most values are the same.

    Median and median absolute deviation, so that an outlier does not hide itself.
    """
    values = np.asarray(values, dtype=float)
    distances = values - np.median(values)
    deviation = np.median(np.abs(distances)) / TO_DEVIATIONS
    return distances / deviation if deviation > 0 else np.zeros_like(values)


def find_outliers(photos: Sequence[PhotoFacts]) -> list[Outlier]:
    """Good training photos among those of one category whose light, sharpness or look is unusual.

    One entry a photo, for the quantity that is most unusual; most unusual first.
    """
    good = [photo for photo in photos if photo.stored.is_for_training]
    if len(good) < FEWEST:
        return []
    quantities = {name: [getattr(photo, name) for photo in good] for name in QUANTITIES}
    quantities["unlikeness"] = unlikeness(good).tolist()
    worst: dict[int, Outlier] = {}
    for quantity, values in quantities.items():
        scale = [math.log(value + 1) for value in values] if quantity == "sharpness" else values
        for index, z in enumerate(robust_z(scale)):
            # A photo can't look too much like the others.
            far = z if quantity == "unlikeness" else abs(z)
            if far > OUTLIER_LIMIT and (index not in worst or far > abs(worst[index].z)):
                usual = float(np.median(values))
                worst[index] = Outlier(good[index], quantity, values[index], usual, float(z))
    return sorted(worst.values(), key=lambda outlier: -abs(outlier.z))


def unlikeness(photos: Sequence[PhotoFacts]) -> np.ndarray:
    """How far each photo looks from the median one, (N,) in 0..1.

    Root mean square difference of the 16 x 16 colour pictures: another product, another camera or
    an empty place differ there, a defect hardly does.
    """
    colours = np.stack([photo.colour for photo in photos]).astype(np.float32) / 255
    return np.sqrt(np.square(colours - np.median(colours, axis=0)).mean(axis=(1, 2, 3)))


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
