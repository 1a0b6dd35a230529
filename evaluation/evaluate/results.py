"""Write an evaluation folder: figures, predictions, pictures, and maps on request."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from datasets import Dataset

from data.rows import LABELS
from evaluation.documents.charts import calibration_chart, roc_chart, scores_chart
from evaluation.evaluate.cases import pictures_of, write_cases, write_sheets
from evaluation.evaluate.figures import DOTS_PER_INCH
from evaluation.evaluate.map_files import write_maps
from evaluation.evaluate.prediction import Prediction, maps_of_photo_size, masks_of
from model_files import CALIBRATION_PLOT, LEARNING_CURVE, ROC_PLOT, SCORES_PLOT, write_metrics
from modeling import THRESHOLD, Calibration, InspectionPipeline
from system.cores import single_threaded


def write_results(
    output_dir: Path,
    predictions: Sequence[Prediction],
    metrics: dict[str, Any],
    pipe: InspectionPipeline,
    dataset: Dataset,
    *,
    num_pictures: int,
    maps: str | None = None,
    learning_curve: Path | None = None,
) -> None:
    """Write everything that is kept of an evaluation into a folder that exists.

    What has nothing to show (a ROC curve of one class) is not written, and that of an earlier run
    is removed, so that the folder never mixes two evaluations.

    `metrics` is the content of metrics.json. The model's own pipeline paints the pictures, with
    `num_pictures` rows in pictures.png; 0 writes no pictures of photos at all. `maps` is a kind of
    `write_maps`. The model's learning curve, if it has one, lies beside its figures.
    """
    write_metrics(output_dir, metrics)
    _write_predictions(output_dir / "predictions.csv", predictions)
    if learning_curve is None:
        (output_dir / LEARNING_CURVE).unlink(missing_ok=True)
    else:
        with suppress(shutil.SameFileError):
            shutil.copyfile(learning_curve, output_dir / LEARNING_CURVE)
    calibration = pipe.model.calibration_of(pipe.model.category_if_several(predictions[0].category))
    _draw_figures(output_dir, predictions, metrics, calibration)
    with single_threaded():  # a single photo is too little work to be shared
        pictures = pictures_of(pipe, dataset, predictions, masks_of(dataset))
        write_sheets(output_dir, predictions, pictures, metrics["category"], num_pictures)
        write_cases(output_dir, predictions, pictures if num_pictures else None)
    anomaly_maps = maps_of_photo_size(predictions, pipe.image_processor)
    write_maps(output_dir, maps, predictions, anomaly_maps)


def _write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """One line a photo; numbers with all their digits, so that metrics can be recomputed."""
    rows = [
        {
            "image_id": prediction.image_id,
            "category": prediction.category,
            "defect": prediction.defect,
            "label": LABELS[prediction.label],
            "raw_score": prediction.raw_score,
            "score": None if prediction.failed is None else prediction.score,
            "threshold": None if prediction.failed is None else THRESHOLD,
            "verdict": prediction.verdict,
            "doubt": prediction.doubt,
        }
        for prediction in predictions
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _draw_figures(
    output_dir: Path,
    predictions: Sequence[Prediction],
    metrics: dict[str, Any],
    calibration: Calibration | None,
) -> None:
    labels = [prediction.label for prediction in predictions]
    raw_scores = [prediction.raw_score for prediction in predictions]
    title = f"{metrics['category']}: {len(labels)} test photos"
    charts = {
        SCORES_PLOT: scores_chart(labels, raw_scores, metrics["raw_threshold"], title),
        ROC_PLOT: None,
        CALIBRATION_PLOT: None,
    }
    if not math.isnan(metrics["image_auroc"]):
        point = (metrics["false_alarm_rate"], metrics["recall"])
        point = None if math.isnan(sum(point)) else point
        charts[ROC_PLOT] = roc_chart(labels, raw_scores, metrics["image_auroc"], point, title)
    good = [score for score, label in zip(raw_scores, labels, strict=True) if label == 0]
    if calibration is not None and good:
        asked = calibration.promised_false_alarm_rate
        charts[CALIBRATION_PLOT] = calibration_chart(calibration.normal_scores, asked, good, title)
    for name, chart in charts.items():
        (output_dir / name).unlink(missing_ok=True)
        if chart is not None:
            chart.savefig(output_dir / name, dpi=DOTS_PER_INCH)
