"""Where a part deviates: regions of the score map, and one plain sentence about them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .scoring import exceeds

# From which peak score on a deviation is called so; 0.5 is the calibrated limit.
STRENGTHS = ((0.9, "Strong"), (0.7, "Clear"), (0.0, "Slight"))
ROWS = ("upper", "middle", "lower")
COLUMNS = ("left", "middle", "right")


class Region(NamedTuple):
    """One connected area whose score lies above the threshold.

    Attributes:
        box: (left, top, right, bottom) in pixels of the photo; right and bottom are excluded.
        area: its share of the picture, 0..1.
        peak: its largest score, 0..1.
    """

    box: tuple[int, int, int, int]
    area: float
    peak: float


def label_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected components of a mask; diagonal neighbours touch.

    Runs of a row are joined with the touching runs of the row above. Written out because a model
    on the Hub must load where neither scipy nor scikit-image is installed.

    Args:
        mask: (H, W), bool.

    Returns:
        Labels (H, W), int32, 0 outside the mask and 1..n inside, and n.
    """
    parents: list[int] = []

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    runs: list[tuple[int, int, int]] = []  # row, start, stop; its index is the run's number
    above: list[int] = []
    for row, line in enumerate(mask):
        edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0))
        current = []
        for start, stop in edges.reshape(-1, 2):
            number = len(runs)
            runs.append((row, int(start), int(stop)))
            parents.append(number)
            current.append(number)
            for other in above:
                if runs[other][1] <= stop and runs[other][2] >= start:
                    parents[root(number)] = root(other)
        above = current

    labels = np.zeros(mask.shape, dtype=np.int32)
    names: dict[int, int] = {}
    for number, (row, start, stop) in enumerate(runs):
        labels[row, start:stop] = names.setdefault(root(number), len(names) + 1)
    return labels, len(names)


def find_regions(
    score_map: np.ndarray, threshold: float, photo_size: tuple[int, int]
) -> list[Region]:
    """Connected areas of the score map above the threshold, strongest first.

    Args:
        score_map: (h, w), 0..1, at the model's input size.
        threshold: operating threshold on the score, 0..1.
        photo_size: (height, width) of the photo that the boxes refer to.

    Returns:
        Regions sorted by peak, then area; empty exactly when nothing exceeds the threshold.
    """
    height, width = score_map.shape
    labels, count = label_components(exceeds(score_map, threshold))
    scale_y, scale_x = photo_size[0] / height, photo_size[1] / width
    regions = []
    for label in range(1, count + 1):
        rows, columns = np.nonzero(labels == label)
        box = (
            int(columns.min() * scale_x),
            int(rows.min() * scale_y),
            int(np.ceil((columns.max() + 1) * scale_x)),
            int(np.ceil((rows.max() + 1) * scale_y)),
        )
        peak = float(score_map[rows, columns].max())
        regions.append(Region(box, len(rows) / score_map.size, peak))
    return sorted(regions, key=lambda region: (-region.peak, -region.area, region.box))


def describe(regions: list[Region], photo_size: tuple[int, int]) -> str:
    """One plain sentence: where, how large, how strong.

    Args:
        regions: as `find_regions` returns them, strongest first.
        photo_size: (height, width) of the photo.

    Example:
        >>> describe([Region((80, 0, 100, 20), 0.04, 0.95)], (100, 100))
        'Strong deviation in the upper right, 1 region, about 4 % of the picture.'
    """
    if not regions:
        return "No deviation above the limit: the part looks as it should."
    strongest = regions[0]
    strength = next(word for limit, word in STRENGTHS if strongest.peak >= limit)
    number = "1 region" if len(regions) == 1 else f"{len(regions)} regions"
    area = sum(region.area for region in regions)
    return (
        f"{strength} deviation {_place(strongest.box, photo_size)}, {number}, "
        f"{_share(area)} of the picture."
    )


def _place(box: tuple[int, int, int, int], photo_size: tuple[int, int]) -> str:
    left, top, right, bottom = box
    height, width = photo_size
    row = ROWS[min(2, int(3 * (top + bottom) / 2 / height))]
    column = COLUMNS[min(2, int(3 * (left + right) / 2 / width))]
    if row == column:  # both "middle"
        return "in the centre"
    if row == "middle":
        return f"on the {column}"
    if column == "middle":
        return "at the top" if row == "upper" else "at the bottom"
    return f"in the {row} {column}"


def _share(area: float) -> str:
    percent = 100 * area
    if percent < 0.1:
        return "less than 0.1 %"
    return f"about {percent:.1f} %" if percent < 1 else f"about {percent:.0f} %"
