"""What geometry alone says of a region: a line, a spot or an area, and whether at the outline."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

LINE, SPOT, AREA = "line", "spot", "area"
# A smoothed map shows a scratch several times as wide as it is, so a region's shape is taken from
# its core: where the logit of the score is at least this share of the way from threshold to peak.
CORE = 0.5
LARGEST_LOGIT = 16.0  # beyond it a score is 1 in single precision and its logit says nothing
LEAST_ELONGATION = 3.0  # longest by shortest axis of what is called a line
LARGEST_SPOT = 0.01  # share of the picture; a compact core that is larger is an area
WIDEST_SPOT = 0.05  # share of the picture that the whole region may have beside it

BORDER = 0.03  # width of the ring that shows the background, as a share of the side
FARTHEST_BACKGROUND = 0.5  # share of the ring that may look like the part
PART_SHARES = (0.03, 0.9)  # of the picture; anything else is no part on a background
LEAST_CONTRAST = 3.0  # between part and background, in deviations of the background
LEAST_SIDE = 0.1  # share of a region that lies on the smaller side of the outline


def core_of(score_map: np.ndarray, region: np.ndarray, threshold: float) -> np.ndarray:
    """What deviates most of a region, where a map, (h, w) in 0..1, exceeds the threshold.

    Regions and cores are (h, w) bool; a core is not empty where its region is not.
    """
    edges = np.array([1 / (1 + math.exp(LARGEST_LOGIT)), 1 / (1 + math.exp(-LARGEST_LOGIT))])
    score = np.clip(score_map.astype(np.float64), *edges)
    level = np.log(score / (1 - score))
    low = float(np.log(np.clip(threshold, *edges) / (1 - np.clip(threshold, *edges))))
    peak = level[region].max(initial=low)
    return region & (level >= low + CORE * (peak - low))


def shape_of(
    core: np.ndarray,
    cell: tuple[float, float] = (1.0, 1.0),
    region_share: float = 0.0,
    picture_size: int | None = None,
) -> str:
    """`LINE`, `SPOT` or `AREA`, from the second moments of a mask, (h, w) bool and not empty.

    A pixel of it has the height and width `cell` in the photo, which may have been stretched. The
    whole region takes `region_share` of the picture, 0..1, and that has `picture_size` pixels,
    where `core` is cut out of it.
    """
    rows, columns = np.nonzero(core)
    points = np.stack([rows * cell[0], columns * cell[1]])  # (2, n)
    # Each pixel adds its own extent, or a single row of them would be endlessly thin.
    covariance = np.cov(points, bias=True) if len(rows) > 1 else np.zeros((2, 2))
    shortest, longest = np.linalg.eigvalsh(covariance + np.diag(np.square(cell)) / 12)
    if math.sqrt(longest / shortest) >= LEAST_ELONGATION:
        return LINE
    core_share = len(rows) / (picture_size or core.size)
    is_small = core_share <= LARGEST_SPOT and region_share <= WIDEST_SPOT
    return SPOT if is_small else AREA


def silhouette(picture: Image.Image, size: tuple[int, int]) -> np.ndarray | None:
    """Where the part lies in an RGB picture, if its background shows all around it.

    Otsu's threshold (1979) on the distance from the colour of the picture's border divides part and
    background. A mask of that size, (height, width) bool, True on the part; None for a texture, a
    part that fills the picture, or one that hardly stands out.
    """
    small = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, dtype=np.float32)  # (h, w, 3)
    ring = np.ones(size, dtype=bool)
    margin = max(1, round(BORDER * min(size)))
    ring[margin:-margin, margin:-margin] = False
    background = np.median(pixels[ring], axis=0)
    distance = np.linalg.norm(pixels - background, axis=2)
    limit = otsu(distance)
    part = distance > limit
    stands_out = limit > LEAST_CONTRAST * float(np.median(distance[ring]))
    is_whole = part[ring].mean() < FARTHEST_BACKGROUND
    fits = PART_SHARES[0] <= part.mean() <= PART_SHARES[1]
    return part if stands_out and is_whole and fits else None


def is_at_outline(core: np.ndarray, part: np.ndarray | None) -> bool:
    """Whether a region lies on both sides of the part's outline; False where none is known."""
    if part is None:
        return False
    inside = part[core].mean()
    return bool(LEAST_SIDE <= inside <= 1 - LEAST_SIDE)


def otsu(values: np.ndarray) -> float:
    """The threshold that divides values into two groups with the largest variance between them."""
    counts, edges = np.histogram(values, bins=256)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total / below - (total[-1] - total) / above
    between = np.nan_to_num(below * above * gap**2)
    return float(edges[int(np.argmax(between)) + 1])
