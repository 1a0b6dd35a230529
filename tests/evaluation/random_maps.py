"""Small anomaly maps with masks, the ranks of their pixels, and the metrics of these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.pixel_metrics import (
    aupro,
    count_pixels,
    pixel_auroc,
    pixel_average_precision,
    pixel_f1_max,
)

METRICS = [pixel_auroc, pixel_average_precision, pixel_f1_max, aupro]


def random_maps(seed: int, levels: int | None = None) -> tuple[list, list]:
    """Six small maps of two sizes, four with a mask of several regions, two good ones."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for index in range(6):
        shape = (9, 14) if index % 2 else (12, 7)
        mask = rng.random(shape) < 0.2 if index < 4 else None
        anomaly_map = rng.random(shape)
        if mask is not None:
            anomaly_map = anomaly_map + 0.4 * mask
        if levels is not None:
            anomaly_map = np.round(anomaly_map * levels) / levels
        maps.append(anomaly_map.astype(np.float32))
        masks.append(mask)
    return maps, masks


def ranks_of(maps: Sequence[np.ndarray], masks: Sequence, **options: object):
    return count_pixels(maps, masks, **options).ranks()
