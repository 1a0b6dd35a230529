"""Photos that are there twice: the same file, the same pixels, or nearly the same picture.

A perceptual hash of a fixed number of bits calls every bottle of an aligned camera a copy of every
other. Here two photos are compared by the correlation of small grey pictures of them, whole and
with a little cut off, and "near" is what lies far below the distances usual within the category.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from evaluation.explore.photo import PhotoFacts

SAME_FILE, SAME_PIXELS, NEAR = "same file", "same pixels", "near"
# Of the distance that is usual within the category; docs/exploration.md says what it finds.
NEAR_LIMIT = 0.27
NEIGHBOURS = 5  # the distance to how many of them is what is usual
FEWEST = NEIGHBOURS + 2  # photos of a category that say what is usual
FLAT = 6.0  # length of a view without structure: a quarter of a grey level at each pixel
AT_ONCE = 64  # photos against all others; bounds the memory


class Match(NamedTuple):
    """Two photos that are one, or nearly.

    Attributes:
        first: one photo; of several equal ones, always the same.
        second: the other.
        how: "same file", "same pixels" or "near".
        distance: 0 for equal ones; for near ones the share of contrast that remains unexplained,
            divided by what is usual within the category, 0 to `NEAR_LIMIT`.
    """

    first: PhotoFacts
    second: PhotoFacts
    how: str
    distance: float

    @property
    def is_leak(self) -> bool:
        """Whether training sees one, and test or validation of the same category the other."""
        if self.first.stored.category != self.second.stored.category:
            return False
        splits = {self.first.stored.split, self.second.stored.split}
        return "train" in splits and len(splits) == 2

    @property
    def is_contradiction(self) -> bool:
        """Whether equal photos are called good here and defective there."""
        kinds = {self.first.stored.kind, self.second.stored.kind}
        return self.how != NEAR and "good" in kinds and len(kinds) == 2


def find_matches(photos: Sequence[PhotoFacts]) -> list[Match]:
    """All pairs of equal photos, across categories too, and of nearly equal ones within one.

    Args:
        photos: of any categories, training photos first.

    Returns:
        Equal pairs in the order of the photos, then near ones, closest first.
    """
    groups: dict[str, list[PhotoFacts]] = defaultdict(list)
    for photo in photos:
        groups[photo.pixel_digest].append(photo)
    equal = [
        Match(
            first, other, SAME_FILE if first.file_digest == other.file_digest else SAME_PIXELS, 0.0
        )
        for first, *others in groups.values()
        for other in others
    ]
    different: dict[str, list[PhotoFacts]] = defaultdict(list)
    for first, *_ in groups.values():
        different[first.stored.category].append(first)
    near = [match for some in different.values() for match in _near_matches(some)]
    return equal + sorted(near, key=lambda match: match.distance)


def _near_matches(photos: Sequence[PhotoFacts]) -> Iterator[Match]:
    """Pairs of one category that are closer than `NEAR_LIMIT` times what is usual there."""
    if len(photos) < FEWEST:
        return
    distances = _distances(np.stack([photo.views for photo in photos]))
    # Not to the nearest: where every photo has a copy, that would be the copies' own distance.
    usual = np.median(np.partition(distances, NEIGHBOURS - 1)[:, NEIGHBOURS - 1])
    for first, second in np.argwhere(np.triu(distances < NEAR_LIMIT * usual)):
        distance = float(distances[first, second] / usual)
        yield Match(photos[first], photos[second], NEAR, distance)


def _distances(views: np.ndarray) -> np.ndarray:
    """How much of one photo no brightness, contrast or cut of another explains.

    Args:
        views: (N, V, H, W) grey levels of the views of each photo, the whole one first.

    Returns:
        (N, N) in 0..1: the unexplained share of the standard deviation, of the best pair of one
        photo whole and any view of the other; infinite between a photo and itself.
    """
    count, per_photo = views.shape[:2]
    views = views.reshape(count, per_photo, -1).astype(np.float32)
    views -= views.mean(axis=2, keepdims=True)
    views /= np.maximum(np.linalg.norm(views, axis=2, keepdims=True), FLAT)
    whole, cut = views[:, 0], views.reshape(count * per_photo, -1).T
    likeness = np.concatenate(
        [
            (whole[start : start + AT_ONCE] @ cut).reshape(-1, count, per_photo).max(axis=2)
            for start in range(0, count, AT_ONCE)
        ]
    )
    likeness = np.clip(np.maximum(likeness, likeness.T), 0, 1)
    distances = np.sqrt(1 - likeness**2)
    np.fill_diagonal(distances, np.inf)
    return distances
