"""The heatmap a person sees: the score map as colour over the photo, on one fixed scale.

The scale belongs to the calibration, not to the picture: stretched from each picture's own minimum
to its maximum, every good part would glow.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# Score -> colour and opacity. Below half the limit nothing is painted; lightness falls from yellow
# to purple as the score rises, so the order reads in grey and with any colour vision.
STOPS = (0.25, 0.40, 0.50, 0.75, 1.00)
COLOURS = ((255, 236, 130), (255, 214, 70), (255, 150, 20), (226, 42, 68), (140, 10, 110))
OPACITIES = (0.0, 0.35, 0.60, 0.75, 0.85)


def paint_heatmap(photo: Image.Image, score_map: np.ndarray) -> Image.Image:
    """Lay the score map over the photo.

    Args:
        photo: RGB.
        score_map: (H, W) of the photo, 0..1; 0.5 is the calibrated limit (orange).

    Returns:
        RGB picture of the photo's size; the photo itself where the score is at most 0.25.
    """
    pixels = np.asarray(photo, dtype=np.float32)  # (H, W, 3)
    colour = np.stack(
        [np.interp(score_map, STOPS, channel) for channel in zip(*COLOURS, strict=True)], axis=-1
    )
    opacity = np.interp(score_map, STOPS, OPACITIES)[..., None]
    blended = pixels * (1 - opacity) + colour * opacity
    return Image.fromarray(blended.round().astype(np.uint8))
