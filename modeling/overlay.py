"""The heatmap a person sees: the score map as colour over the photo, on one fixed scale.

The scale belongs to the calibration, not to the picture: stretched from each picture's own minimum
to its maximum, every good part would glow.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# Score -> colour and opacity; 0.5, the calibrated limit, is orange. Below half the limit nothing is
# painted; lightness falls from yellow to purple, so the order reads in grey and with any colour
# vision.
STOPS = (0.25, 0.40, 0.50, 0.75, 1.00)
COLOURS = ((255, 236, 130), (255, 214, 70), (255, 150, 20), (226, 42, 68), (140, 10, 110))
OPACITIES = (0.0, 0.35, 0.60, 0.75, 0.85)

LEVELS = 1024  # steps of the score that are told apart: finer than 8 bits of colour


def heat_layer(score_map: np.ndarray) -> Image.Image:
    """The deviation as an RGBA picture of its own, to be laid over the photo.

    Of a score map, (H, W) in 0..1; transparent where the score is at most 0.25.
    """
    index = (np.clip(score_map, 0, 1) * (LEVELS - 1) + 0.5).astype(np.uint16)
    # Taken as one number a pixel, colours come five times as fast as in four.
    colours = _PALETTE.view(np.uint32)[:, 0].take(index)
    return Image.fromarray(colours.view(np.uint8).reshape(*index.shape, 4), "RGBA")


def paint_heatmap(photo: Image.Image, score_map: np.ndarray) -> Image.Image:
    """Lay a score map, (H, W) of the photo in 0..1, over the RGB photo.

    The photo itself remains where the score is at most 0.25.
    """
    painted = photo.copy()
    visible = score_map > STOPS[0]
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if len(rows):
        top, left = rows[0], columns[0]
        layer = heat_layer(score_map[top : rows[-1] + 1, left : columns[-1] + 1])
        painted.paste(layer.convert("RGB"), (left, top), mask=layer.getchannel("A"))
    return painted


def _palette() -> np.ndarray:
    """(LEVELS, 4) uint8: colour and opacity of every score from 0 to 1."""
    scores = np.linspace(0, 1, LEVELS)
    channels = [*zip(*COLOURS, strict=True), [255 * opacity for opacity in OPACITIES]]
    values = [np.interp(scores, STOPS, channel) for channel in channels]
    return np.stack(values, axis=-1).round().astype(np.uint8)


_PALETTE = _palette()
