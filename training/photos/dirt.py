"""Dirt beside a part: specks, hairs and shadows on its ground, with which it is as good.

Every kind takes a picture, where the ground lies and a generator, and returns what the picture
would be under the dirt, (H, W, 3), with the share of the dirt in each pixel, (H, W) in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from training.photos.damage import place_in

Dirt = tuple[np.ndarray, np.ndarray]

SPECK = (0.004, 0.025)  # smallest and largest width, as shares of the side
HAIR = (0.05, 0.3)  # shortest and longest
SHADOW = (0.03, 0.12)  # smallest and largest deviation of its bell
FADING = 0.05  # distance from the part, as a share of the side, over which it fades
DARKER = (0.1, 0.35)  # share of the light that a shadow takes
CONTRAST = (0.15, 0.6)  # of specks and hairs to the ground, as shares of full scale
SOFT = 0.005  # width of the edge where the ground ends, as a share of the side


def dirty(
    picture: np.ndarray, ground: np.ndarray, generator: np.random.Generator, count: int = 3
) -> np.ndarray:
    """A picture, (H, W, 3) float32 in 0..1, with so much dirt on its ground, (H, W) bool.

    What is no ground stays as it is, and so does a picture without any.
    """
    if not ground.any():
        return picture
    clear = ndimage.gaussian_filter(ground.astype(np.float32), SOFT * min(ground.shape)) * ground
    for _ in range(count):
        kind = KINDS[generator.integers(len(KINDS))]
        changed, share = kind(picture, ground, generator)
        picture = picture + (clear * share)[..., None] * (changed - picture)
    return np.clip(picture, 0, 1).astype(np.float32)


def speck(picture: np.ndarray, ground: np.ndarray, generator: np.random.Generator) -> Dirt:
    """A few crumbs beside each other."""
    side = min(ground.shape)
    row, column = place_in(ground.astype(np.float32), generator)
    drawing = Image.new("L", ground.shape[::-1])
    for _ in range(generator.integers(1, 4)):
        width, height = generator.uniform(*SPECK, size=2) * side
        down, across = generator.normal(0, SPECK[1] * side, size=2)
        left, top = column + across - width / 2, row + down - height / 2
        ImageDraw.Draw(drawing).ellipse((left, top, left + width, top + height), fill=255)
    return _tinted(picture, (row, column), generator), _softened(drawing)


def hair(picture: np.ndarray, ground: np.ndarray, generator: np.random.Generator) -> Dirt:
    """A thin curled line."""
    side, points = min(ground.shape), 60
    row, column = place_in(ground.astype(np.float32), generator)
    curl = np.linspace(0, 1, points) * generator.normal(0, 4)
    direction = generator.uniform(0, 2 * np.pi) + curl
    step = generator.uniform(*HAIR) * side / points
    columns = column + step * np.cos(direction).cumsum()
    rows = row + step * np.sin(direction).cumsum()
    drawing = Image.new("L", ground.shape[::-1])
    width = int(generator.integers(1, max(2, side // 150) + 1))
    ImageDraw.Draw(drawing).line(
        list(zip(columns.tolist(), rows.tolist(), strict=True)), fill=255, width=width
    )
    return _tinted(picture, (row, column), generator), _softened(drawing)


def shadow(picture: np.ndarray, ground: np.ndarray, generator: np.random.Generator) -> Dirt:
    """A patch with less light and a soft edge, which fades towards the part."""
    side = min(ground.shape)
    row, column = place_in(ground.astype(np.float32), generator)
    rows, columns = np.indices(ground.shape, dtype=np.float32)
    height, width = generator.uniform(*SHADOW, size=2) * side
    share = np.exp(-(np.square((rows - row) / height) + np.square((columns - column) / width)) / 2)
    share *= np.clip(ndimage.distance_transform_edt(ground) / (FADING * side), 0, 1)
    return picture * np.float32(1 - generator.uniform(*DARKER)), share.astype(np.float32)


KINDS: tuple[Callable[..., Dirt], ...] = (speck, hair, shadow)


def _tinted(
    picture: np.ndarray, place: tuple[int, int], generator: np.random.Generator
) -> np.ndarray:
    """One colour, lighter or darker than the picture at a place, whichever there is room for."""
    colour = picture[place]
    lighter = generator.random() > colour.mean()
    colour = colour + (1 if lighter else -1) * generator.uniform(*CONTRAST)
    colour = colour + generator.normal(0, 0.03, size=3)
    return np.broadcast_to(np.clip(colour, 0, 1).astype(np.float32), picture.shape)


def _softened(drawing: Image.Image) -> np.ndarray:
    return ndimage.gaussian_filter(np.asarray(drawing, np.float32) / 255, 0.5)
