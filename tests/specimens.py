"""A result as the pipeline gives it, with regions where a test wants them, and no model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from data.synthetic import render
from modeling import Calibration, Inspection, InspectionRecord, judge
from modeling.overlay import paint_heatmap
from page.inspection.results import Result
from page.inspection.temporary_folder import TemporaryFolder

PHOTO_SIZE = (240, 320)  # (height, width)
MAP_SIZE = (48, 64)
# Row, column, height, width of deviating cells in the map, and their score.
SCRATCH = (4, 44, 2, 16, 0.97)
SPOT = (36, 6, 3, 3, 0.8)


def calibration(good: int = 49) -> Calibration:
    """Of so many good parts whose raw scores are 1, 2, 3, ...; about 1 in 20 is to fail."""
    return Calibration.fit([float(score) for score in range(1, good + 1)], 0.05)


def score_map(*areas: tuple[int, int, int, int, float]) -> np.ndarray:
    """(h, w) float32, 0.1 everywhere but in the areas."""
    values = np.full(MAP_SIZE, 0.1, np.float32)
    for row, column, height, width, score in areas:
        values[row : row + height, column : column + width] = score
    return values


def inspection(scores: np.ndarray, threshold: float = 0.5, doubt: str | None = None) -> Inspection:
    """What the pipeline would say of a photo with this score map."""
    height, width = PHOTO_SIZE
    photo, good = (
        render("flange_nut", seed=5, defect=defect, size=width).image.crop((0, 40, width, 280))
        for defect in ("scratch", "good")
    )
    large = Image.fromarray(scores).resize((width, height), Image.Resampling.BILINEAR)
    score = float(scores.max())
    return Inspection(
        score=score,
        doubt=doubt,
        heatmap=paint_heatmap(photo, np.asarray(large)),
        reconstruction=good,
        photo=photo,
        score_map=scores,
        **judge(score, scores, PHOTO_SIZE, threshold, doubt=doubt)._asdict(),
    )


def inspected(
    workplace: TemporaryFolder, *areas: tuple[int, int, int, int, float], doubt: str | None = None
) -> tuple[Result, Inspection]:
    """A result and its inspection, for a photo that deviates in these areas."""
    found = inspection(score_map(*areas), doubt=doubt)
    return result_of(found, workplace), found


def result_of(found: Inspection, folder: TemporaryFolder) -> Result:
    """What the page keeps of an inspection."""
    path = folder.new_file(".png")
    found.photo.save(path)
    result = Result(
        *("part 7.png", path, "flange_nut", "model", "key"),
        record=found.record(),
        time="2026-11-24T12:00:00+00:00",
    )
    return result.with_maps(found, calibration(), folder.path)


def unreadable(file: str, error: str) -> Result:
    """The result of a file that is no photo."""
    record = InspectionRecord.failed(error, 0.5)
    return Result(file, None, "flange_nut", "model", "key", record, time="")


def changed(result: Result, **fields: object) -> Result:
    """The result with other values in its record."""
    return replace(result, record=replace(result.record, **fields))
