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
    """Write maps/, instead of what an earlier evaluation has left there.

    Args:
        output_dir: the evaluation folder.
        kind: one of `FORMATS`; None writes nothing.
        predictions: N of them.
        anomaly_maps: N maps, (H, W) float32 at the size of their photos, >= 0 and finite.
    """
    folder = output_dir / FOLDER
    remove_old(folder, LIST)
    if kind is None:
        return
    folder.mkdir(exist_ok=True)
    # The raw score is the map's largest value, and resizing makes no larger ones.
    scale = max(prediction.raw_score for prediction in predictions) / WHITE or 1.0
    files = []
    for index, prediction in enumerate(predictions):
        name = f"{index:05d}-{_plain(prediction.image_id)}"
        anomaly_map = anomaly_maps[index]
        if kind == PNG16:
            files.append(f"{name}.png")
            pixels = np.rint(anomaly_map / scale).clip(0, WHITE).astype(np.uint16)
            Image.fromarray(pixels).save(folder / files[-1])
        else:
            files.append(f"{name}.npz")
            np.savez_compressed(folder / files[-1], anomaly_map=anomaly_map)
    listed = {
        "format": kind,
        "scale": scale if kind == PNG16 else 1.0,
        "maps": [
            {"image_id": prediction.image_id, "file": file}
            for prediction, file in zip(predictions, files, strict=True)
        ],
    }
    (folder / LIST).write_text(json.dumps(listed, indent=2) + "\n")


def remove_old(folder: Path, mark: str) -> None:
    """Remove a folder of an earlier evaluation, known by a file in it; never somebody else's."""
    if (folder / mark).is_file():
        shutil.rmtree(folder)


def _plain(image_id: str) -> str:
    """An image id as part of a file name, whatever signs it has."""
    return re.sub(r"[^\w.-]+", "_", image_id)[-100:]
