"""What a model says of every photo of a test set, in the dataset's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from datasets import Dataset
from tqdm import tqdm

from modeling import InspectionImageProcessor, ReconstructionModel, open_photo
from training.dataset import decode_picture

Element = TypeVar("Element")


class MadeOnDemand(Sequence[Element]):
    """A sequence whose elements are made when asked for, since all at once may not fit in memory.

    Args:
        make: makes the element at an index from 0 to length - 1.
        length: how many there are.
    """

    def __init__(self, make: Callable[[int], Element], length: int) -> None:
        self._make = make
        self._indices = range(length)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Element:
        return self._make(self._indices[index])


@dataclass(frozen=True)
class Prediction:
    """What the model said of one test photo, beside what is known of it.

    Attributes:
        image_id: name of the photo in its dataset.
        category: the product.
        defect: kind of defect, "good" for a normal photo.
        label: 0 normal, 1 anomalous.
        raw_score: unbounded, >= 0; ranks photos.
        score: 0..1; NaN while the model is uncalibrated.
        failed: the verdict at the calibrated threshold; None while uncalibrated.
        anomaly_map: (h, w) float32 at the model's input size.
        photo_size: (height, width) of the upright photo.
    """

    image_id: str
    category: str
    defect: str
    label: int
    raw_score: float
    score: float
    failed: bool | None
    anomaly_map: np.ndarray
    photo_size: tuple[int, int]

    @property
    def verdict(self) -> str:
        """FAIL or PASS, empty while the model is uncalibrated."""
        return "" if self.failed is None else "FAIL" if self.failed else "PASS"

    @property
    def is_error(self) -> bool:
        """A miss or a false alarm."""
        return self.failed is not None and self.failed != bool(self.label)


def predict(
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    dataset: Dataset,
    *,
    batch_size: int = 16,
    progress: bool = False,
) -> list[Prediction]:
    """What the model says of every photo, in the dataset's order.

    Args:
        model: calibrated or not.
        image_processor: the model's own.
        dataset: with the features of `training.dataset.load_inspection_dataset`.
        batch_size: photos at a time.
        progress: show a bar on stderr.

    Raises:
        DatasetError: a photo can't be decoded; the message names it.
    """
    model.eval()
    facts = dataset.remove_columns(["image", "mask"])
    anomalous = facts.features["label"].str2int("anomalous")
    stored = dataset.select_columns(["image", "image_id"])
    predictions: list[Prediction] = []
    with tqdm(total=len(dataset), desc="evaluating", unit="photo", disable=not progress) as bar:
        for batch in facts.iter(batch_size):
            first = len(predictions)
            pictures = [
                open_photo(decode_picture(stored, first + row, "image"))
                for row in range(len(batch["image_id"]))
            ]
            pixel_values = image_processor(pictures, return_tensors="pt")["pixel_values"]
            categories = [category_for(model, category) for category in batch["category"]]
            with torch.inference_mode():
                output = model.detect(
                    pixel_values.to(model.device, model.dtype),
                    None if None in categories else categories,
                )
            failed = [None] * len(pictures)
            if output.is_anomalous is not None:
                failed = output.is_anomalous.tolist()
            predictions.extend(
                Prediction(
                    image_id=batch["image_id"][row],
                    category=batch["category"][row],
                    defect=batch["defect"][row],
                    label=int(batch["label"][row] == anomalous),
                    raw_score=output.raw_score[row].item(),
                    score=output.anomaly_score[row].item(),
                    failed=failed[row],
                    anomaly_map=output.anomaly_map[row].float().cpu().numpy(),
                    photo_size=(pictures[row].height, pictures[row].width),
                )
                for row in range(len(pictures))
            )
            bar.update(len(pictures))
    return predictions


def category_for(model: ReconstructionModel, category: str) -> str | None:
    """The category to judge a photo by: its own if the model knows several, else the only one."""
    return category if len(model.config.categories) > 1 else None


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
