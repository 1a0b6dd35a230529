"""Synthetic damage: what a good part might look like with something wrong, and exactly where.

Restoration training shows the model a damaged picture and asks for the clean one. Nothing here
knows what real defects look like; published ablations find that it hardly matters (DRAEM, Zavrtanik
et al. 2021, table 4), as long as shapes, sizes and strengths vary.

Every kind takes a spot of a picture and a generator. It returns the spot's window as it would be if
it were damaged everywhere, (h, w, 3), with the share of the damage in each of its pixels, (h, w) in
0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

Damage = tuple[np.ndarray, np.ndarray]
REACH = 0.3  # a damage stays within this share of the picture's side from its place
VISIBLE = 10 / 255  # a smaller change is no damage that anybody could find
ANYWHERE = 0.2  # share of the damages that land anywhere, the others where the part has structure


@dataclass(frozen=True)
class Spot:
    """Where a picture is damaged."""

    picture: np.ndarray  # (H, W, 3), float32 in 0..1
    window: tuple[slice, slice]  # rows and columns of it that may change
    place: tuple[int, int]  # row and column within the window, around which the damage lies

    @property
    def before(self) -> np.ndarray:
        """The window as it is, (h, w, 3)."""
        return self.picture[self.window]

    @property
    def side(self) -> int:
        """The picture's shorter side, pixels."""
        return min(self.picture.shape[:2])


def damage(
    picture: np.ndarray,
    generator: np.random.Generator,
    count: int | None = None,
    structure: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Damage a picture, (H, W, 3) float32 in 0..1, in `count` places; 1 to 3 if None.

    The places are drawn from `structure`, (H, W), or from `structure_of` the picture. Returns the
    new picture, and its mask (H, W), bool: True where it visibly changed.
    """
    structure = structure_of(picture) if structure is None else structure
    damaged = picture.copy()
    for _ in range(count or int(generator.integers(1, 4))):
        kind = KINDS[generator.integers(len(KINDS))]
        spot = spot_in(damaged, structure, generator)
        changed, share = kind(spot, generator)
        damaged[spot.window] += share[..., None] * (changed - spot.before)
    damaged = np.clip(damaged, 0, 1).astype(np.float32)
    return damaged, np.abs(damaged - picture).max(axis=2) > VISIBLE


def paste(spot: Spot, generator: np.random.Generator) -> Damage:
    """A piece of the same picture where it does not belong (CutPaste, Li et al. 2021)."""
    height, width = spot.before.shape[:2]
    top = generator.integers(spot.picture.shape[0] - height + 1)
    left = generator.integers(spot.picture.shape[1] - width + 1)
    other = spot.picture[top : top + height, left : left + width]
    if generator.random() < 0.5:
        other = other[::-1, ::-1]
    if generator.random() < 0.5:
        other = other * generator.uniform(0.6, 1.4) + generator.uniform(-0.15, 0.15, size=3)
    return other.astype(np.float32), _blob(spot, generator)


def stain(spot: Spot, generator: np.random.Generator) -> Damage:
    """An irregular patch of another colour, clouded, more or less opaque."""
    colour = spot.before[spot.place]
    if generator.random() < 0.5:
        colour = colour + generator.normal(0, 0.25, size=3)
    else:
        colour = colour * generator.uniform(0.3, 1.7)
    clouds = _noise(spot.before.shape[:2], generator.uniform(2, 8), generator)
    changed = np.clip(colour + generator.uniform(0, 0.15) * clouds[..., None], 0, 1)
    share = _blob(spot, generator) * generator.uniform(0.5, 1)
    return changed.astype(np.float32), share


def rectangle(spot: Spot, generator: np.random.Generator) -> Damage:
    """A sharp-edged patch of one colour."""
    share = np.zeros(spot.before.shape[:2], np.float32)
    tall, wide = (generator.uniform(0.02, 0.15, size=2) * spot.side).astype(int)
    top, left = max(spot.place[0] - tall // 2, 0), max(spot.place[1] - wide // 2, 0)
    share[top : top + tall, left : left + wide] = 1
    if generator.random() < 0.5:
        colour = generator.random(3)
    else:
        colour = np.clip(spot.before[spot.place] + generator.uniform(-0.3, 0.3), 0, 1)
    return np.broadcast_to(colour.astype(np.float32), spot.before.shape), share


def scratch(spot: Spot, generator: np.random.Generator) -> Damage:
    """A thin bent line, lighter or darker than what it crosses."""
    points = 40
    length = spot.side * generator.uniform(0.05, REACH)
    bend = np.linspace(-0.5, 0.5, points)
    direction = generator.uniform(0, 2 * np.pi) + generator.normal(0, 1.5) * bend
    rows = spot.place[0] + np.cumsum(np.sin(direction)) * length / points
    columns = spot.place[1] + np.cumsum(np.cos(direction)) * length / points
    line = Image.new("L", spot.before.shape[1::-1])
    ImageDraw.Draw(line).line(
        list(zip(columns.tolist(), rows.tolist(), strict=True)),
        fill=255,
        width=int(generator.integers(1, max(3, spot.side // 60))),
    )
    share = ndimage.gaussian_filter(np.asarray(line, np.float32) / 255, 0.5)
    strength = generator.choice([-1, 1]) * generator.uniform(0.15, 0.6)
    return spot.before + np.float32(strength), share


def dent(spot: Spot, generator: np.random.Generator) -> Damage:
    """A region whose content is pushed to one side."""
    here = spot.before
    share = _blob(spot, generator)
    push = spot.side * ndimage.gaussian_filter(share, 0.012 * spot.side)
    distance = generator.choice([-1, 1], size=2) * generator.uniform(0.01, 0.035, size=2)
    rows, columns = np.mgrid[: here.shape[0], : here.shape[1]].astype(np.float32)
    where = [rows + distance[0] * push, columns + distance[1] * push]
    channels = [
        ndimage.map_coordinates(here[..., channel], where, order=1, mode="nearest")
        for channel in range(3)
    ]
    return np.stack(channels, axis=2), share


def smear(spot: Spot, generator: np.random.Generator) -> Damage:
    """A region whose structure is worn away."""
    share = _blob(spot, generator)
    sigma = generator.uniform(2, 5)
    return ndimage.gaussian_filter(spot.before, (sigma, sigma, 0)), share


KINDS: tuple[Callable[..., Damage], ...] = (paste, stain, rectangle, scratch, dent, smear)


def structure_of(picture: np.ndarray) -> np.ndarray:
    """How much there is to damage at each place, (H, W), a distribution."""
    grey = picture.mean(axis=2)
    slope = np.hypot(ndimage.sobel(grey, axis=0), ndimage.sobel(grey, axis=1))
    slope = ndimage.uniform_filter(slope, max(3, min(grey.shape) // 24)) + 1e-6
    return (1 - ANYWHERE) * slope / slope.sum() + ANYWHERE / slope.size


def spot_in(picture: np.ndarray, structure: np.ndarray, generator: np.random.Generator) -> Spot:
    """A spot of a picture, mostly where `structure_of` says that there is something."""
    place = place_in(structure, generator)
    reach = int(REACH * min(structure.shape))
    firsts = [max(position - reach, 0) for position in place]
    rows, columns = (
        slice(first, min(position + reach + 1, length))
        for first, position, length in zip(firsts, place, structure.shape, strict=True)
    )
    row, column = (position - first for position, first in zip(place, firsts, strict=True))
    return Spot(picture, (rows, columns), (row, column))


def place_in(structure: np.ndarray, generator: np.random.Generator) -> tuple[int, int]:
    """Row and column, drawn from a distribution, (H, W)."""
    # Inverting the cumulated distribution is ten times faster than `generator.choice`.
    index = np.searchsorted(np.cumsum(structure), generator.random() * structure.sum())
    row, column = np.unravel_index(min(index, structure.size - 1), structure.shape)
    return int(row), int(column)


def _blob(spot: Spot, generator: np.random.Generator) -> np.ndarray:
    """An irregular region around the spot's place with a soft edge, (h, w) in 0..1."""
    shape = spot.before.shape[:2]
    side = spot.side * generator.uniform(0.03, 0.25) ** generator.uniform(1, 1.5)
    stretch = np.exp(generator.uniform(-0.7, 0.7))
    tall, wide = max(4, int(side * stretch)), max(4, int(side / stretch))
    rows, columns = np.mgrid[-1 : 1 : tall * 1j, -1 : 1 : wide * 1j]
    rough = _noise((tall, wide), max(3, side / generator.uniform(1.5, 4)), generator)
    inside = 1 - 1.3 * np.hypot(rows, columns) + 0.5 * rough > 0
    share = np.zeros(shape, np.float32)
    top, left = spot.place[0] - tall // 2, spot.place[1] - wide // 2
    rows = slice(max(top, 0), min(top + tall, shape[0]))
    columns = slice(max(left, 0), min(left + wide, shape[1]))
    share[rows, columns] = inside[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return ndimage.gaussian_filter(share, generator.uniform(0.5, 1.2))


def _noise(shape: tuple[int, int], scale: float, generator: np.random.Generator) -> np.ndarray:
    """Smooth noise of about unit deviation, (H, W), with features about `scale` pixels wide.

    Values on a coarse lattice, cubically interpolated: what Perlin noise is used for, at a fraction
    of its cost.
    """
    lattice = [int(np.ceil(length / scale)) + 3 for length in shape]
    values = generator.standard_normal(lattice, dtype=np.float32)
    rows, columns = (
        np.linspace(1, count - 2, length) for count, length in zip(lattice, shape, strict=True)
    )
    where = np.meshgrid(rows, columns, indexing="ij")
    return ndimage.map_coordinates(values, where, order=3, mode="nearest")
