"""Where a part deviates: regions of the score map, and one plain sentence about them."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np

from .scoring import exceeds
from .shapes import AREA, LINE, SPOT, core_of, is_at_outline, shape_of

# The lowest peak score of a deviation that is called so; 0.5 is the calibrated limit.
STRENGTHS = ((0.9, "strong"), (0.7, "clear"), (0.0, "slight"))
ROWS = ("upper", "middle", "lower")
COLUMNS = ("left", "middle", "right")
PLACES = {
    ("upper", "middle"): "at the top",
    ("lower", "middle"): "at the bottom",
    ("middle", "left"): "on the left",
    ("middle", "right"): "on the right",
    ("middle", "middle"): "in the centre",
}
# A shape suggests what a deviation may be; a person decides what it is.
MEANINGS = {
    LINE: "line-shaped: possibly a scratch or a crack",
    SPOT: "a spot: possibly dirt or a nick",
    AREA: "an extended area",
}
APART_MEANING = "beside the part: something large that does not belong there"
OUTLINE_MEANING = "at the outline of the part: possibly a chip or a missing piece"


class Region(NamedTuple):
    """One connected area whose score lies above the threshold."""

    box: tuple[int, int, int, int]  # left, top, right, bottom (both excluded), in photo pixels
    area: float  # its share of the picture, 0..1
    peak: float  # its largest score, 0..1
    shape: str = AREA  # "line", "spot" or "area", from the geometry of its core
    at_outline: bool = False  # whether its core crosses the outline of the part
    apart: bool = False  # whether it is something large beside the part


class Surroundings(NamedTuple):
    """What is known of the ground on one photo, on a grid coarser than its score map."""

    scores: np.ndarray  # (h, w) in 0..1, of what differs on the ground and fails nothing; else 0
    things: np.ndarray  # (h, w) bool, what large things lie beside the part


class Finding(NamedTuple):
    """What there is to say about the regions of one photo; place and shape are the strongest's."""

    strength: str  # "strong", "clear" or "slight", by the largest score
    row: str  # "upper", "middle" or "lower"
    column: str  # "left", "middle" or "right"
    count: int  # of regions, at least 1
    area: float  # their share of the picture, 0..1
    shape: str  # as in `Region`
    at_outline: bool  # as in `Region`
    apart: bool = False  # as in `Region`


def label_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected components of a mask, (H, W) bool; diagonal neighbours touch.

    Labels (H, W), int32, 0 outside the mask and 1..n inside, and n. Runs of a row are joined with
    the touching runs of the row above. Written out because a model on the Hub must load where
    neither scipy nor scikit-image is installed.
    """
    runs = _runs_of(mask)  # a run's index is its number
    parents = list(range(len(runs)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    in_row: dict[int, list[int]] = defaultdict(list)
    for number, (row, start, stop) in enumerate(runs):
        for other in in_row[row - 1]:
            if runs[other][1] <= stop and runs[other][2] >= start:
                parents[root(number)] = root(other)
        in_row[row].append(number)

    labels = np.zeros(mask.shape, dtype=np.int32)
    names: dict[int, int] = {}
    for number, (row, start, stop) in enumerate(runs):
        labels[row, start:stop] = names.setdefault(root(number), len(names) + 1)
    return labels, len(names)


def _runs_of(mask: np.ndarray) -> list[tuple[int, int, int]]:
    """Row, start and stop of every stretch of a row that lies inside a mask, row by row."""
    edges = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, places = np.nonzero(edges)  # of each stretch first where it starts, then where it stops
    return list(zip(rows[::2].tolist(), places[::2].tolist(), places[1::2].tolist(), strict=True))


def label_regions(score_map: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """Number the connected areas of a score map, (h, w) in 0..1, above the threshold.

    Labels (h, w), int32, 0 outside and 1..n inside, sorted by peak, then area; and n.
    """
    # In double precision, as the verdict compares: a float32 map would round the threshold too.
    labels, count = label_components(exceeds(score_map.astype(np.float64), threshold))
    if count == 0:
        return labels, 0
    inside = np.flatnonzero(labels)
    peaks = np.zeros(count + 1)
    np.maximum.at(peaks, labels.ravel()[inside], score_map.ravel()[inside])
    areas = np.bincount(labels.ravel()[inside], minlength=count + 1)
    order = np.lexsort((-areas[1:], -peaks[1:]))  # positions of the components, strongest first
    numbers = np.zeros(count + 1, dtype=np.int32)
    numbers[order + 1] = np.arange(1, count + 1)
    return numbers[labels], count


def find_regions(
    score_map: np.ndarray,
    threshold: float,
    photo_size: tuple[int, int],
    part: np.ndarray | None = None,
    things: np.ndarray | None = None,
) -> list[Region]:
    """Connected areas of the score map, (h, w) in 0..1, above the threshold, strongest first.

    In the order of `label_regions`; none exactly when nothing exceeds the threshold, 0..1. The
    boxes refer to a photo of (height, width); `part` is (h, w) bool, where the part lies, if known,
    and `things`, bool and of any size, is where something large lies beside it.
    """
    height, width = score_map.shape
    labels, count = label_regions(score_map, threshold)
    scale_y, scale_x = photo_size[0] / height, photo_size[1] / width
    aside = None if things is None else _as_large(things, score_map.shape)
    regions = []
    for label, place in enumerate(_places(labels, count), start=1):
        region, levels = labels[place] == label, score_map[place]
        rows, columns = place
        box = (
            int(columns.start * scale_x),
            int(rows.start * scale_y),
            int(np.ceil(columns.stop * scale_x)),
            int(np.ceil(rows.stop * scale_y)),
        )
        core = core_of(levels, region, threshold)
        area = int(np.count_nonzero(region)) / score_map.size
        regions.append(
            Region(
                box,
                area=area,
                peak=float(levels[region].max()),
                shape=shape_of(core, (scale_y, scale_x), area, score_map.size),
                at_outline=is_at_outline(core, None if part is None else part[place]),
                apart=aside is not None and bool(aside[place][core].mean() > 0.5),
            )
        )
    return regions


def apart_from(judged: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What of judged places, (h, w) bool, lies apart from the part; the same.

    The part lies at its `places`, bool and of any size; where it has none, for it lies anyhow, it
    is the largest piece that is judged.
    """
    if places.any():
        return judged & ~_as_large(places, judged.shape)
    labels, count = label_components(judged)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return judged & (labels != 1 + areas.argmax()) if count else judged


def _as_large(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask enlarged, or made smaller, to a size (height, width)."""
    rows, columns = (
        np.arange(wanted) * found // wanted for wanted, found in zip(size, mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]


def _places(labels: np.ndarray, count: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the box around each label from 1 to `count`.

    A region is measured within its box: over the whole map, hundreds of regions take seconds.
    """
    rows, columns = np.nonzero(labels)
    found = labels[rows, columns]
    order = np.argsort(found)
    ends = np.searchsorted(found[order], np.arange(1, count + 1), side="right")
    groups = np.split(order, ends)[:-1]  # of positions, one a label
    return [tuple(slice(at[g].min(), at[g].max() + 1) for at in (rows, columns)) for g in groups]


def summarise_regions(regions: list[Region], photo_size: tuple[int, int]) -> Finding | None:
    """What there is to say about regions, strongest first, of a photo of (height, width)."""
    if not regions:
        return None
    strongest = regions[0]
    left, top, right, bottom = strongest.box
    height, width = photo_size
    return Finding(
        strength=next(word for limit, word in STRENGTHS if strongest.peak >= limit),
        row=ROWS[min(2, int(3 * (top + bottom) / 2 / height))],
        column=COLUMNS[min(2, int(3 * (left + right) / 2 / width))],
        count=len(regions),
        area=sum(region.area for region in regions),
        shape=strongest.shape,
        at_outline=strongest.at_outline,
        apart=strongest.apart,
    )


def describe(finding: Finding | None, beside: Finding | None = None) -> str:
    """One plain sentence: where, how large, how strong, of what shape.

    And another one about what differs beside the part and does not count, if anything does.

    Example:
        >>> describe(Finding("strong", "upper", "right", 1, 0.04, "line", False))
        'Strong deviation in the upper right, 1 region, about 4 % of the picture; line-shaped: \
possibly a scratch or a crack.'
    """
    if beside is not None:
        return f"{describe(finding)} {describe_beside(beside)}"
    if finding is None:
        return "No deviation above the limit: the part looks as it should."
    place = _describe_place(finding)
    number = "1 region" if finding.count == 1 else f"{finding.count} regions"
    meaning = OUTLINE_MEANING if finding.at_outline else MEANINGS[finding.shape]
    meaning = APART_MEANING if finding.apart else meaning
    return (
        f"{finding.strength.capitalize()} deviation {place}, {number}, "
        f"{describe_share(finding.area)} of the picture; {meaning}."
    )


def describe_beside(beside: Finding) -> str:
    """One plain sentence about what differs on the ground and fails nothing."""
    place = _describe_place(beside)
    if beside.count == 1:
        return f"Beside the part, {place}, something small differs and does not count."
    return f"Beside the part, {beside.count} small places differ and do not count, one {place}."


def _describe_place(finding: Finding) -> str:
    return PLACES.get((finding.row, finding.column), f"in the {finding.row} {finding.column}")


def describe_share(area: float) -> str:
    """A share of the picture, 0..1, as a person says it."""
    percent = 100 * area
    if percent < 0.1:
        return "less than 0.1 %"
    return f"about {percent:.1f} %" if percent < 1 else f"about {percent:.0f} %"
