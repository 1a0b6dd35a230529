"""The photos worth looking at: which they are, and their pictures as sheets and as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from data.rows import LABELS
from evaluation.evaluate.figures import PictureRow, draw_pictures, mask_picture, no_larger
from evaluation.evaluate.map_files import remove_old
from evaluation.evaluate.prediction import Prediction
from model_files import EXAMPLES
from modeling import THRESHOLD, InspectionPipeline

NUM_ROWS = 10  # of restorations.png and examples.jpg: enough to see whether defects vanish
NUM_CASES = 10  # misses, and as many false alarms, in cases/
FOLDER, LIST = "cases", "cases.json"
CASE_SIDE = 320  # pixels, the long side of a picture in cases/
SHOWN_SIDE = 480  # no sheet shows more pixels of a photo; all of them would fill the memory

Pictures = Callable[[int], PictureRow]


def pictures_of(
    pipe: InspectionPipeline,
    dataset: Dataset,
    predictions: Sequence[Prediction],
    masks: Sequence[np.ndarray | None],
) -> Pictures:
    """The pipeline's own pictures of each test photo with what was said of it, made once."""

    @cache
    def paint(index: int) -> PictureRow:
        prediction, row, truth = predictions[index], dataset[index], masks[index]
        category = pipe.model.category_if_several(row["category"])
        inspection = pipe(row["image"], category=category)
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
            photo=no_larger(inspection.photo, SHOWN_SIDE),
            reconstruction=no_larger(inspection.reconstruction, SHOWN_SIDE),
            heatmap=no_larger(inspection.heatmap, SHOWN_SIDE),
            truth=truth,
        )

    return paint


def write_sheets(
    output_dir: Path,
    predictions: Sequence[Prediction],
    pictures: Pictures,
    category: str,
    num_pictures: int,
) -> None:
    """Write pictures.png, restorations.png and examples.jpg, where there is something to show.

    pictures.png has `num_pictures` rows; 0 writes no sheet at all.
    """
    anomalous = [index for index, prediction in enumerate(predictions) if prediction.label == 1]
    telling = most_telling(predictions, num_pictures)
    for name, chosen, what in (
        ("pictures.png", telling, "misses, false alarms, strongest"),
        ("restorations.png", of_every_kind(predictions, anomalous), "as it should look"),
        # JPEG: a card is read over the network.
        (EXAMPLES, of_every_kind(predictions, range(len(predictions))), "test photos"),
    ):
        path = output_dir / name
        path.unlink(missing_ok=True)
        if chosen and num_pictures:
            draw_pictures(path, [*map(pictures, chosen)], f"{category}: {what}")


def write_cases(
    output_dir: Path, predictions: Sequence[Prediction], pictures: Pictures | None
) -> None:
    """Write cases/: the pictures of the worst wrong verdicts as files, and what is known of them.

    What an earlier evaluation has left there is removed; without pictures nothing is written.
    """
    folder = output_dir / FOLDER
    remove_old(folder, LIST)
    if pictures is None:
        return
    folder.mkdir(exist_ok=True)
    cases = [
        _write_case(folder, predictions[index], pictures(index), error, number)
        for error, worst in zip(("miss", "false alarm"), wrong_verdicts(predictions), strict=True)
        for number, index in enumerate(worst[:NUM_CASES], start=1)
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
    strongest = _strongest_first(predictions)
    others = [index for index in strongest if not predictions[index].is_error]
    return [*_in_turn(wrong_verdicts(predictions)), *others][:count]


def of_every_kind(predictions: Sequence[Prediction], among: Iterable[int]) -> list[int]:
    """Indices of `NUM_ROWS` photos among some, good and kinds of defect in turn, in their order."""
    kinds: dict[str, list[int]] = {}
    for index in among:
        kinds.setdefault(predictions[index].defect, []).append(index)
    return _in_turn(kinds.values())[:NUM_ROWS]


def _in_turn(lists: Iterable[list[int]]) -> list[int]:
    return [index for several in zip_longest(*lists) for index in several if index is not None]


def _strongest_first(predictions: Sequence[Prediction]) -> list[int]:
    return sorted(range(len(predictions)), key=lambda index: -predictions[index].raw_score)


def _write_case(
    folder: Path, prediction: Prediction, row: PictureRow, error: str, number: int
) -> dict[str, Any]:
    shown = {"photo": row.photo, "reconstruction": row.reconstruction, "heatmap": row.heatmap}
    name = f"{error.replace(' ', '-')}-{number:02d}"
    files: dict[str, str | None] = {what: f"{name}-{what}.jpg" for what in shown}
    for what, picture in shown.items():
        no_larger(picture, CASE_SIDE).save(folder / files[what], quality=90)
    files["truth"] = None
    if prediction.label == 1 and row.truth is not None:
        files["truth"] = f"{name}-truth.png"
        no_larger(mask_picture(row.truth), CASE_SIDE).save(folder / files["truth"])
    return {
        "image_id": prediction.image_id,
        "defect": prediction.defect,
        "label": LABELS[prediction.label],
        "verdict": prediction.verdict,
        "error": error,
        "raw_score": prediction.raw_score,
        "score": prediction.score,
        **files,
    }
