"""The photos worth looking at: which they are, and their pictures as sheets and as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from evaluation.evaluate.figures import PictureRow, draw_pictures
from evaluation.evaluate.map_files import remove_old
from evaluation.evaluate.prediction import Prediction
from model_files import EXAMPLES
from modeling import THRESHOLD, InspectionPipeline

NUM_ROWS = 10  # of restorations.png and examples.jpg: enough to see whether defects vanish
NUM_CASES = 10  # misses, and as many false alarms, in cases/
FOLDER, LIST = "cases", "cases.json"
CASE_SIDE = 320  # pixels, the long side of a picture in cases/
SHOWN_SIDE = 480  # no sheet shows more pixels of a photo; all of them would fill the memory


class Pictures:
    """The pipeline's own pictures of test photos, made when asked for, and once.

    Args:
        pipe: paints them.
        dataset: the photos.
        predictions: what was said of them.
        masks: (H, W) bool or None a photo.
    """

    def __init__(
        self,
        pipe: InspectionPipeline,
        dataset: Dataset,
        predictions: Sequence[Prediction],
        masks: Sequence[np.ndarray | None],
    ) -> None:
        self.pipe, self.dataset, self.masks = pipe, dataset, masks
        self.predictions = predictions
        self.made: dict[int, PictureRow] = {}

    def __getitem__(self, index: int) -> PictureRow:
        """Pictures of one photo, with what is known of it."""
        if index not in self.made:
            self.made[index] = self._make(index)
        return self.made[index]

    def _make(self, index: int) -> PictureRow:
        prediction = self.predictions[index]
        row = self.dataset[index]
        inspection = self.pipe(
            row["image"], category=self.pipe.model.category_if_several(row["category"])
        )
        truth = self.masks[index]
        if truth is None and prediction.label == 0:
            truth = np.zeros(prediction.photo_size, dtype=bool)
        error = "missed" if prediction.label else "false alarm"
        return PictureRow(
            caption=(
                f"{prediction.verdict} ({error})" if prediction.is_error else prediction.verdict,
                prediction.image_id,
                f"truth: {prediction.defect}",
                f"score {prediction.score:.3f}, threshold {THRESHOLD}",
                f"raw score {prediction.raw_score:.4g}",
            ),
            is_error=prediction.is_error,
            photo=_no_larger(inspection.photo, SHOWN_SIDE),
            reconstruction=_no_larger(inspection.reconstruction, SHOWN_SIDE),
            heatmap=_no_larger(inspection.heatmap, SHOWN_SIDE),
            truth=truth,
        )


def write_sheets(output_dir: Path, pictures: Pictures, category: str, num_pictures: int) -> None:
    """Write pictures.png, restorations.png and examples.jpg, where there is something to show.

    Args:
        output_dir: the evaluation folder.
        pictures: of the test photos.
        category: for the title.
        num_pictures: number of rows of pictures.png; 0 writes no sheet at all.
    """
    predictions = pictures.predictions
    anomalous = [index for index, prediction in enumerate(predictions) if prediction.label == 1]
    for name, chosen, what in (
        (
            "pictures.png",
            most_telling(predictions, num_pictures),
            "misses, false alarms, strongest",
        ),
        ("restorations.png", of_every_kind(predictions, anomalous), "as it should look"),
        # JPEG: a card is read over the network.
        (EXAMPLES, of_every_kind(predictions, range(len(predictions))), "test photos"),
    ):
        path = output_dir / name
        path.unlink(missing_ok=True)
        if chosen and num_pictures:
            rows = [pictures[index] for index in chosen]
            draw_pictures(path, rows, f"{category}: {what}")


def write_cases(output_dir: Path, pictures: Pictures, most: int = NUM_CASES) -> None:
    """Write cases/: the pictures of the worst wrong verdicts as files, and what is known of them.

    Args:
        output_dir: the evaluation folder.
        pictures: of the test photos.
        most: misses, and as many false alarms; 0 writes nothing.
    """
    folder = output_dir / FOLDER
    remove_old(folder, LIST)
    if most == 0:
        return
    folder.mkdir(exist_ok=True)
    misses, alarms = wrong_verdicts(pictures.predictions)
    cases = [
        _write_case(folder, pictures, index, error, number)
        for error, worst in (("miss", misses), ("false alarm", alarms))
        for number, index in enumerate(worst[:most], start=1)
    ]
    (folder / LIST).write_text(json.dumps(cases, indent=2) + "\n")


def wrong_verdicts(predictions: Sequence[Prediction]) -> tuple[list[int], list[int]]:
    """Indices of the misses, weakest first, and of the false alarms, strongest first."""
    errors = [index for index in _strongest_first(predictions) if predictions[index].is_error]
    misses = [index for index in reversed(errors) if predictions[index].label == 1]
    return misses, [index for index in errors if predictions[index].label == 0]


def most_telling(predictions: Sequence[Prediction], count: int) -> list[int]:
    """Indices of the photos worth looking at first.

    Misses (weakest first) and false alarms (strongest first) in turn, so that neither crowds the
    other out, then all the others, strongest first.
    """
    pairs = zip_longest(*wrong_verdicts(predictions))
    in_turn = [index for pair in pairs for index in pair if index is not None]
    strongest = _strongest_first(predictions)
    others = [index for index in strongest if not predictions[index].is_error]
    return [*in_turn, *others][:count]


def of_every_kind(predictions: Sequence[Prediction], among: Iterable[int]) -> list[int]:
    """Indices of `NUM_ROWS` photos among some, good and kinds of defect in turn, in their order."""
    kinds: dict[str, list[int]] = {}
    for index in among:
        kinds.setdefault(predictions[index].defect, []).append(index)
    in_turn = [index for several in zip_longest(*kinds.values()) for index in several]
    return [index for index in in_turn if index is not None][:NUM_ROWS]


def _strongest_first(predictions: Sequence[Prediction]) -> list[int]:
    return sorted(range(len(predictions)), key=lambda index: -predictions[index].raw_score)


def _write_case(
    folder: Path, pictures: Pictures, index: int, error: str, number: int
) -> dict[str, Any]:
    prediction, row = pictures.predictions[index], pictures[index]
    shown = {"photo": row.photo, "reconstruction": row.reconstruction, "heatmap": row.heatmap}
    name = f"{error.replace(' ', '-')}-{number:02d}"
    files: dict[str, str | None] = {what: f"{name}-{what}.jpg" for what in shown}
    for what, picture in shown.items():
        _no_larger(picture, CASE_SIDE).save(folder / files[what], quality=90)
    files["truth"] = None
    if prediction.label == 1 and row.truth is not None:
        files["truth"] = f"{name}-truth.png"
        mask = Image.fromarray(row.truth.astype(np.uint8) * 255)
        _no_larger(mask, CASE_SIDE).save(folder / files["truth"])
    return {
        "image_id": prediction.image_id,
        "defect": prediction.defect,
        "label": prediction.label_name,
        "verdict": prediction.verdict,
        "error": error,
        "raw_score": prediction.raw_score,
        "score": prediction.score,
        **files,
    }


def _no_larger(picture: Image.Image, side: int) -> Image.Image:
    """A copy whose long side has at most so many pixels."""
    copy = picture.copy()
    copy.thumbnail((side, side))
    return copy
