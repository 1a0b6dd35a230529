"""Structural damage: what a good part looks like with a piece, or all of it, in the wrong place.

Local damage (`training/photos/damage.py`) changes what a surface looks like. This leaves every
surface as good as it was and changes what is where: a piece missing, moved, doubled or swapped with
another; the whole part gone, moved or turned. Edges are soft, so that no seam gives it away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from training.photos.augmentation import EDGE, moved_picture
from training.photos.damage import place_in, structure_of

FILLED_SIDE = 112  # pixels at which what fills a gap is made
SOFT = 0.01  # width of a piece's edge, as a share of the side

Kind = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def without_piece(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A piece is gone, and what surrounds it goes on in its place."""
    share = _piece(picture, generator.uniform(0.08, 0.3), generator)
    return _blend(picture, _filled(picture, share, generator), share)


def without_part(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Nothing is left but what can be seen at the border of the picture."""
    height, width = picture.shape[:2]
    inset = generator.uniform(0.03, 0.06)
    share = np.zeros((height, width), np.float32)
    rows, columns = round(inset * height), round(inset * width)
    share[rows : height - rows, columns : width - columns] = 1
    return _blend(picture, _filled(picture, share, generator), _soft(share))


def moved(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The whole part lies elsewhere."""
    across, down = _away(generator.uniform(0.05, 0.15), generator)
    return moved_picture(picture, across=across, down=down, outside=EDGE)


def turned(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The whole part is turned."""
    angle = generator.choice([-1, 1]) * generator.uniform(8, 45)
    return moved_picture(picture, angle=angle, outside=EDGE)


def doubled(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A piece is there a second time, nearby."""
    size = generator.uniform(0.08, 0.25)
    share = _piece(picture, size, generator)
    return _blend(picture, _shifted(picture, _away(1.2 * size, generator)), share)


def swapped(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Two pieces have changed places."""
    size = generator.uniform(0.08, 0.2)
    share = _piece(picture, size, generator)
    away = _away(generator.uniform(1.2, 3) * size, generator)
    back = (-away[0], -away[1])
    one = _blend(picture, _shifted(picture, away), share)
    return _blend(one, _shifted(picture, back), _shifted(share, away))


KINDS: tuple[Kind, ...] = (without_piece, without_part, moved, turned, doubled, swapped)
OF_PIECES: tuple[Kind, ...] = (without_piece, doubled, swapped)


def kinds_for(turns: bool) -> tuple[Kind, ...]:
    """What is damage to a part: one that may lie anyhow is as good when it is moved or turned."""
    return OF_PIECES if turns else KINDS


def damage_structure(
    picture: np.ndarray, generator: np.random.Generator, kinds: Sequence[Kind] = KINDS
) -> np.ndarray:
    """One of the kinds of damage, done to a picture, (H, W, 3) float32 in 0..1."""
    kind = kinds[generator.integers(len(kinds))]
    return np.clip(kind(picture, generator), 0, 1).astype(np.float32)


def _piece(picture: np.ndarray, size: float, generator: np.random.Generator) -> np.ndarray:
    """An ellipse of about this size, a share of the side, where something is; (H, W) in 0..1."""
    shape = picture.shape[:2]
    side = min(shape)
    half = size * side / 2 * np.exp(generator.uniform(-0.4, 0.4) * np.array([1, -1]))
    centre = place_in(structure_of(picture), generator)
    angle = generator.uniform(0, np.pi)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    down, across = rows - centre[0], columns - centre[1]
    along = (np.cos(angle) * across + np.sin(angle) * down) / half[1]
    beside = (-np.sin(angle) * across + np.cos(angle) * down) / half[0]
    return _soft((np.hypot(along, beside) < 1).astype(np.float32))


def _soft(share: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(share, SOFT * min(share.shape))


def _filled(picture: np.ndarray, share: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The picture with what surrounds a region going on inside it, as coloured and as grainy.

    Colours are means of what lies outside, the nearer the more.
    """
    outside = (share < 0.01).astype(np.float32)
    smaller = max(1, min(share.shape) // FILLED_SIDE)  # the colours are smooth
    known = (picture * outside[..., None])[::smaller, ::smaller]
    seen = outside[::smaller, ::smaller]
    colours = np.zeros_like(known)
    for reach in (0.32, 0.16, 0.08, 0.04, 0.02):  # the finest that reaches a place counts there
        width = reach * min(seen.shape)
        weight = ndimage.gaussian_filter(seen, width, mode="nearest")[..., None]
        colour = ndimage.gaussian_filter(known, (width, width, 0), mode="nearest")
        colours += np.clip(weight / 0.1, 0, 1) * (colour / np.maximum(weight, 1e-6) - colours)
    filled = _enlarged(colours, share.shape)
    grain = picture - ndimage.gaussian_filter(picture, (1, 1, 0))
    deviation = np.median(np.abs(grain[outside > 0])) / 0.6745  # of what is no edge
    noise = generator.standard_normal(share.shape, dtype=np.float32)[..., None]
    return filled + 1.2 * deviation * noise  # the filter has taken some of the grain along


def _enlarged(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    channels = torch.from_numpy(picture).permute(2, 0, 1)[None]
    larger = F.interpolate(channels, size=shape, mode="bilinear", align_corners=False)
    return larger[0].permute(1, 2, 0).numpy()


def _away(distance: float, generator: np.random.Generator) -> tuple[float, float]:
    """A step of this length in any direction: across and down."""
    direction = generator.uniform(0, 2 * np.pi)
    return distance * np.cos(direction), distance * np.sin(direction)


def _shifted(picture: np.ndarray, away: tuple[float, float]) -> np.ndarray:
    """A picture, or a share of it, moved by whole pixels, across and down as shares of the side."""
    side = min(picture.shape[:2])
    steps = (round(away[1] * side), round(away[0] * side))
    if picture.ndim == 2:  # nothing of a share is outside
        return ndimage.shift(picture, steps, order=0, mode="constant")
    return ndimage.shift(picture, (*steps, 0), order=0, mode="nearest")


def _blend(picture: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return picture + share[..., None] * (other - picture)
