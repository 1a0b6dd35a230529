"""Anomaly maps as files, one a photo and of its size, for other people's tools.

maps/maps.json says how to read them: of a 16-bit PNG, the anomaly is the pixel times `scale`, which
is the same for all of them; an npz holds float32 as `anomaly_map`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.evaluate.prediction import Prediction

PNG16, NPZ = FORMATS = ("png16", "npz")
FOLDER, LIST = "maps", "maps.json"
WHITE = 2**16 - 1  # of a 16-bit picture


def write_maps(
    output_dir: Path,
    kind: str | None,
    predictions: Sequence[Prediction],
    anomaly_maps: Sequence[np.ndarray],
) -> None:
    """Write maps/ instead of what an earlier evaluation has left there.

    The kind is one of `FORMATS`; None writes nothing. A prediction's map is (H, W) float32 at the
    size of its photo, >= 0 and finite.
    """
    folder = output_dir / FOLDER
    remove_old(folder, LIST)
    if kind is None:
        return
    folder.mkdir(exist_ok=True)
    # The raw score is the map's largest value, and resizing makes no larger ones.
    scale = max(prediction.raw_score for prediction in predictions) / WHITE or 1.0
    scale = scale if kind == PNG16 else 1.0
    maps = []
    for index, prediction in enumerate(predictions):
        # An image id as part of a file name, whatever signs it has.
        plain_name = re.sub(r"[^\w.-]+", "_", prediction.image_id)[-100:]
        file = f"{index:05d}-{plain_name}.{'png' if kind == PNG16 else 'npz'}"
        if kind == PNG16:
            pixels = np.rint(anomaly_maps[index] / scale).clip(0, WHITE).astype(np.uint16)
            Image.fromarray(pixels).save(folder / file)
        else:
            np.savez_compressed(folder / file, anomaly_map=anomaly_maps[index])
        maps.append({"image_id": prediction.image_id, "file": file})
    listed = {"format": kind, "scale": scale, "maps": maps}
    (folder / LIST).write_text(json.dumps(listed, indent=2) + "\n")


def remove_old(folder: Path, mark: str) -> None:
    """Remove a folder of an earlier evaluation, known by a file in it; never somebody else's."""
    if (folder / mark).is_file():
        shutil.rmtree(folder)
