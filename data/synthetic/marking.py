"""Laser marks on a part: lettering drawn in the part's own frame."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import map_coordinates

from .surface import Array, Surface

_TILE_HEIGHT = 64  # pixels of the lettering's tile; finer than any picture shows it


@lru_cache(maxsize=64)
def _lettering(text: str) -> Array:
    """(rows, columns) float32 in 0..1, the text's ink with an empty margin."""
    font = ImageFont.load_default(size=_TILE_HEIGHT * 0.9)
    left, top, right, bottom = font.getbbox(text, stroke_width=1)
    tile = Image.new("L", (int(right - left) + 8, int(bottom - top) + 8))
    pen = ImageDraw.Draw(tile)
    pen.text((4 - left, 4 - top), text, fill=255, font=font, stroke_width=1)
    return np.asarray(tile, np.float32) / 255


def lettering(
    surface: Surface, text: str, centre: tuple[float, float], height: float, angle: float = 0.0
) -> Array:
    """Ink of a line of text over a surface, (n, n) float32 in 0..1.

    The text's middle is at (u, v) in the part's frame, its letters are so many half picture widths
    high, and it is turned against the frame by an angle in radians, clockwise.
    """
    tile = _lettering(text)
    scale = tile.shape[0] / height
    reach = np.hypot(*tile.shape) / 2 / scale
    du, dv = surface.u - centre[0], surface.v - centre[1]
    near = np.maximum(np.abs(du), np.abs(dv)) < reach
    du, dv = du[near], dv[near]
    cos, sin = math.cos(angle), math.sin(angle)
    column = (cos * du + sin * dv) * scale + tile.shape[1] / 2 - 0.5
    row = (cos * dv - sin * du) * scale + tile.shape[0] / 2 - 0.5
    ink = np.zeros(surface.u.shape, np.float32)
    ink[near] = map_coordinates(tile, [row, column], order=1, prefilter=False)
    return ink
