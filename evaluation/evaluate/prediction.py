"""What a model says of every photo of a test set, in the dataset's order."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from tqdm import tqdm

from data.rows import decode_picture
from modeling import (
    InspectionImageProcessor,
    ReconstructionModel,
    ReconstructionOutput,
    open_photo,
    verdict_of,
)
from system.batches import batches_of, map_in_threads
from system.cores import single_threaded
from system.processes import state, together

# Photos at a time. On a CPU, more need memory and gain nothing.
BATCH_SIZE = 4

Element = TypeVar("Element")
Detect = Callable[[Tensor, Sequence[str] | None], ReconstructionOutput]


@dataclass(frozen=True)
class MadeOnDemand(Sequence[Element]):
    """A sequence of elements made when asked for, since all at once may not fit in memory."""

    make: Callable[[int], Element]  # of an index from 0 to length - 1
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Element:
        return self.make(range(self.length)[index])


@dataclass(frozen=True)
class Prediction:
    """What the model said of one test photo, beside what is known of it."""

    image_id: str  # name of the photo in its dataset
    category: str  # the product
    defect: str  # kind of defect, "good" for a normal photo
    label: int  # 0 normal, 1 anomalous
    raw_score: float  # unbounded, >= 0; ranks photos
    score: float  # 0..1; NaN while the model is uncalibrated
    failed: bool | None  # whether the score exceeds the calibrated threshold; None without one
    doubt: str | None  # one of `modeling.out_of_distribution.DOUBTS`; None where the model judges
    anomaly_map: np.ndarray  # (h, w) float32 as the model's input; from `predict`, a file's view
    photo_size: tuple[int, int]  # (height, width) of the upright photo

    @property
    def verdict(self) -> str:
        """What the pipeline says: CHECK, FAIL or PASS; empty while the model is uncalibrated."""
        return verdict_of(self.failed, self.doubt) or ""

    @property
    def is_error(self) -> bool:
        """A miss or a false alarm, by the score: also where the verdict is CHECK."""
        return self.failed is not None and self.failed != bool(self.label)


def predict(
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    dataset: Dataset,
    *,
    batch_size: int = BATCH_SIZE,
    progress: bool = False,
    title: str = "evaluating",
    detect: Detect | None = None,
    scratch_dir: Path | None = None,
) -> list[Prediction]:
    """What the model, calibrated or not, says of every photo, in the dataset's order.

    The dataset has the features of `data.dataset.load_inspection_dataset`. A given `detect`, as of
    a baseline, judges instead of the model's own. Progress is a bar on stderr beside the title.

    The maps are written to a file without a name, on the disk of `scratch_dir` (None: that of
    temporary files), which goes with the last prediction, and are read from it when they are looked
    at: those of a thousand large photos do not fit in memory.

    Under `accelerate launch` the processes take the batches in turn. A batch is computed by a
    single thread, several batches at once: the last bit of a result depends on how many threads
    share it and on what else is in the batch, and so neither cores nor processes change a bit.

    Returns:
        N predictions in the main process, none in the others.

    Raises:
        DatasetError: a photo can't be decoded; the message names it.
        ElsewhereError: the same in another process.
    """
    model.eval()
    predict_batch = _predictor(model, image_processor, dataset, detect or model.detect)
    rank, count = state().process_index, state().num_processes
    batches = batches_of(len(dataset), batch_size)
    # One batch a process and round; in the last round some have none, but wait for the others.
    rounds = math.ceil(len(batches) / count)
    own = batches[rank::count] + [range(0)] * (rounds - len(batches[rank::count]))
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryFile(dir=scratch_dir) as file:
        with (
            single_threaded() as threads,
            closing(map_in_threads(predict_batch, own, model.device, threads)) as judged,
            tqdm(total=len(dataset), desc=title, unit="photo", disable=not progress) as bar,
        ):
            for _ in range(rounds):
                for facts, maps in together(lambda: next(judged)):
                    if state().is_main_process:
                        file.write(maps.tobytes())
                        found += facts
                        bar.update(len(facts))
        file.flush()
        shape = (len(found), *[model.config.image_size] * 2)
        # Whoever writes to them writes to a copy: torch takes no array that can't be written to.
        stored = np.memmap(file, np.float32, mode="c", shape=shape) if found else ()
    return [
        Prediction(**facts, anomaly_map=anomaly_map)
        for facts, anomaly_map in zip(found, stored, strict=True)
    ]


def _predictor(
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    dataset: Dataset,
    detect: Detect,
) -> Callable[[range], tuple[list[dict[str, Any]], np.ndarray]]:
    """A batch of photos to the fields of each one's `Prediction`, and the maps, (B, h, w)."""
    known = dataset.select_columns(["image_id", "category", "defect", "label"])
    anomalous = dataset.features["label"].str2int("anomalous")
    photos = dataset.select_columns(["image", "image_id"])

    def predict_batch(batch: range) -> tuple[list[dict[str, Any]], np.ndarray]:
        if not batch:
            return [], np.empty((0, 0, 0), np.float32)
        pictures = [open_photo(decode_picture(photos, index, "image")) for index in batch]
        rows = [known[index] for index in batch]
        categories = [model.category_if_several(row["category"]) for row in rows]
        pixel_values = image_processor(pictures, return_tensors="pt")["pixel_values"]
        pixel_values = pixel_values.to(model.device, model.dtype)
        output = detect(pixel_values, None if None in categories else categories)
        fails = output.is_anomalous
        found = {
            "label": [int(row["label"] == anomalous) for row in rows],
            "raw_score": output.raw_score.tolist(),
            "score": output.anomaly_score.tolist(),
            "failed": [None] * len(batch) if fails is None else fails.tolist(),
            "doubt": output.doubt_names(),
            "photo_size": [(picture.height, picture.width) for picture in pictures],
        }
        facts = [
            {**row, **dict(zip(found, values, strict=True))}
            for row, *values in zip(rows, *found.values(), strict=True)
        ]
        return facts, output.anomaly_map.float().cpu().numpy()

    return predict_batch


def maps_of_photo_size(
    predictions: Sequence[Prediction], image_processor: InspectionImageProcessor
) -> Sequence[np.ndarray]:
    """Each anomaly map at the size of its photo, (H, W) float32, resized when asked for."""

    def resize(index: int) -> np.ndarray:
        anomaly_map = torch.from_numpy(predictions[index].anomaly_map)[None]  # (1, h, w)
        size = predictions[index].photo_size
        return image_processor.post_process_anomaly_map(anomaly_map, [size])[0]

    return MadeOnDemand(resize, len(predictions))


def masks_of(dataset: Dataset) -> Sequence[np.ndarray | None]:
    """Each photo's mask, (H, W) bool or None, decoded when asked for.

    Anomalous is above half of the grey range, as in MVTec AD's own evaluation.
    """
    stored = dataset.select_columns(["mask", "image_id"])

    def decode(index: int) -> np.ndarray | None:
        mask = decode_picture(stored, index, "mask")
        return None if mask is None else np.asarray(mask.convert("L")) > 127

    return MadeOnDemand(decode, len(stored))
