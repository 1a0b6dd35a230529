"""Measure a model on labelled photos: a model folder in, figures out.

    python evaluation/evaluate.py --model runs/bottle --data DIR --category bottle \
        --output_dir runs/bottle/evaluation

Writes metrics.json, predictions.csv, pictures.png, restorations.png, examples.jpg, roc.png,
calibration.png and scores.png, and prints a table. In MODEL/evaluation, `training.model_card` and
`training.push` find them.
Maps, scores and verdicts are those of the model's own `detect`; the test labels are only compared
with them and decide nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

# A script started by its path finds only its own folder; the packages lie one above. Its own folder
# must not stay: there, `evaluate` and `metrics` would hide installed libraries of these names.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
import yaml
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from sklearn.exceptions import UndefinedMetricWarning

from evaluation.figures import (
    PictureRow,
    draw_calibration,
    draw_pictures,
    draw_roc,
    draw_scores,
)
from evaluation.metrics import MetricError
from evaluation.prediction import (
    Prediction,
    category_for,
    maps_of_photo_size,
    masks_of,
    predict,
)
from evaluation.summary import format_table, summarise
from modeling import (
    THRESHOLD,
    Calibration,
    InspectionImageProcessor,
    InspectionPipeline,
    ModelLoadError,
    PhotoError,
    ReconstructionModel,
    load_pipeline,
)
from modeling.allocator import keep_freed_memory
from training.dataset import DatasetError, load_inspection_dataset
from training.recipe import public_path, published_command

NUM_ROWS = 10  # of restorations.png and examples.jpg: enough to see whether defects vanish
LIBRARIES = ("torch", "transformers", "datasets", "numpy", "scikit-learn", "scipy", "pillow")
PREDICTION_FIELDS = (
    "image_id",
    "category",
    "defect",
    "label",
    "raw_score",
    "score",
    "threshold",
    "verdict",
)


@dataclass(frozen=True)
class Evaluation:
    """A test set seen by a model.

    Attributes:
        predictions: one a photo, in the order of the dataset.
        metrics: nested plain values (see `evaluation.summary.summarise`), the content of
            metrics.json without the provenance; what is undefined is NaN.
        masks: (H, W) bool or None a photo, decoded when asked for.
    """

    predictions: list[Prediction]
    metrics: dict[str, Any]
    masks: Sequence[np.ndarray | None]


def evaluate(
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    dataset: Dataset,
    *,
    batch_size: int = 16,
    progress: bool = False,
) -> Evaluation:
    """Show a model every photo of a labelled dataset and measure what it says.

    Args:
        model: calibrated or not; without calibration there is no verdict and what needs one is NaN.
        image_processor: the model's own.
        dataset: with the features of `training.dataset.load_inspection_dataset`.
        batch_size: photos at a time.
        progress: show a bar on stderr.

    Raises:
        PhotoError: a photo can't be read.
        MetricError: the model's output is not finite, or a mask has not the size of its photo.
    """
    predictions = predict(model, image_processor, dataset, batch_size=batch_size, progress=progress)
    maps, masks = maps_of_photo_size(predictions, image_processor), masks_of(dataset)
    calibration = model.calibration_of(category_for(model, dataset[:1]["category"][0]))
    return Evaluation(predictions, summarise(predictions, maps, masks, calibration), masks)


def write_results(
    output_dir: Path,
    evaluation: Evaluation,
    pipe: InspectionPipeline,
    dataset: Dataset,
    provenance: dict[str, Any],
    num_pictures: int,
) -> None:
    """Write metrics.json, predictions.csv and the figures that the module names.

    A figure that has nothing to show (a ROC curve of one class) is not written, and that of an
    earlier run is removed, so that the folder never mixes two evaluations.

    Args:
        output_dir: an existing folder.
        evaluation: what `evaluate` returned.
        pipe: the pipeline of the same model; paints the pictures.
        dataset: the photos that were evaluated.
        provenance: what made these figures; stands beside the metrics.
        num_pictures: number of rows of pictures.png; 0 writes none.
    """
    predictions, metrics = evaluation.predictions, evaluation.metrics
    (output_dir / "metrics.json").write_text(
        json.dumps(_nan_to_none({**provenance, **metrics}), indent=2, allow_nan=False) + "\n"
    )
    _write_predictions(output_dir / "predictions.csv", predictions)
    calibration = pipe.model.calibration_of(category_for(pipe.model, predictions[0].category))
    _draw_figures(output_dir, evaluation, calibration, provenance["category"])
    anomalous = [index for index, prediction in enumerate(predictions) if prediction.label == 1]
    for name, chosen, what in (
        (
            "pictures.png",
            most_telling(predictions, num_pictures),
            "misses, false alarms, strongest",
        ),
        ("restorations.png", of_every_kind(predictions, anomalous), "as it should look"),
        # JPEG: a card is read over the network.
        ("examples.jpg", of_every_kind(predictions, range(len(predictions))), "test photos"),
    ):
        path = output_dir / name
        path.unlink(missing_ok=True)
        if chosen and num_pictures:
            rows = [_picture_row(pipe, dataset, evaluation, index) for index in chosen]
            draw_pictures(path, rows, f"{provenance['category']}: {what}")


def most_telling(predictions: Sequence[Prediction], count: int) -> list[int]:
    """Indices of the photos worth looking at first.

    Misses (weakest first) and false alarms (strongest first) in turn, so that neither crowds the
    other out, then all the others, strongest first.
    """
    strongest = sorted(range(len(predictions)), key=lambda index: -predictions[index].raw_score)
    errors = [index for index in strongest if predictions[index].is_error]
    misses = [index for index in reversed(errors) if predictions[index].label == 1]
    alarms = [index for index in errors if predictions[index].label == 0]
    in_turn = [index for pair in zip_longest(misses, alarms) for index in pair if index is not None]
    others = [index for index in strongest if not predictions[index].is_error]
    return [*in_turn, *others][:count]


def of_every_kind(predictions: Sequence[Prediction], among: Iterable[int]) -> list[int]:
    """Indices of `NUM_ROWS` photos among some, good and kinds of defect in turn, in their order."""
    kinds: dict[str, list[int]] = {}
    for index in among:
        kinds.setdefault(predictions[index].defect, []).append(index)
    in_turn = [index for several in zip_longest(*kinds.values()) for index in several]
    return [index for index in in_turn if index is not None][:NUM_ROWS]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Measure a model on labelled photos and write figures, pictures and metrics.",
    )
    add = parser.add_argument
    add("--model", required=True, help="model folder, or Hub repository such as ORG/NAME")
    add("--revision", help="branch, tag or commit of the Hub repository (default: main)")
    add(
        "--data",
        required=True,
        help="folder in MVTec AD layout, Hub dataset ORG/NAME, or synthetic:PART",
    )
    add("--category", help="product to evaluate, such as bottle; not needed if data holds only one")
    add("--output_dir", required=True, type=Path, help="folder that gets the results")
    add("--batch_size", type=_count_from(1), default=16, help="photos at a time (default: 16)")
    add("--device", type=_device, help="such as cpu or cuda (default: a GPU if there is one)")
    add(
        "--num_pictures",
        type=_count_from(0),
        default=20,
        help="rows of pictures.png, misses and false alarms first; 0 draws nothing (default: 20)",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    keep_freed_memory()
    disable_progress_bar()  # of `datasets`; the evaluation's own bar is the one to watch
    options = parse_arguments(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    try:
        pipe = load_pipeline(options.model, revision=options.revision, device=options.device)
        dataset = _test_split(options.data, options.category)
        options.output_dir.mkdir(parents=True, exist_ok=True)
        _check_category(pipe.model.config.categories, dataset)
        with warnings.catch_warnings():
            # What is undefined is said by the notes, once and in words.
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            evaluation = evaluate(
                pipe.model,
                pipe.image_processor,
                dataset,
                batch_size=options.batch_size,
                progress=True,
            )
        provenance = _provenance(options, words, pipe.model, evaluation.predictions)
        write_results(
            options.output_dir, evaluation, pipe, dataset, provenance, options.num_pictures
        )
    except (DatasetError, MetricError, ModelLoadError, PhotoError) as error:
        print(f"evaluate.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"evaluate.py: {error.filename or options.output_dir} can't be read or written "
            f"({error.strerror or error}); check --output_dir.",
            file=sys.stderr,
        )
        return 2
    metrics = evaluation.metrics
    print(
        f"{options.model} on {provenance['category']}: {metrics['n_normal']} good and "
        f"{metrics['n_anomalous']} anomalous photos\n\n{format_table(metrics)}\n"
        f"Results are in {options.output_dir}"
    )
    return 0


def _write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """One line a photo; numbers with all their digits, so that metrics can be recomputed."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=PREDICTION_FIELDS)
        writer.writeheader()
        for prediction in predictions:
            judged = prediction.failed is not None
            writer.writerow(
                {
                    "image_id": prediction.image_id,
                    "category": prediction.category,
                    "defect": prediction.defect,
                    "label": "anomalous" if prediction.label else "normal",
                    "raw_score": repr(prediction.raw_score),
                    "score": repr(prediction.score) if judged else "",
                    "threshold": repr(THRESHOLD) if judged else "",
                    "verdict": prediction.verdict,
                }
            )


def _draw_figures(
    output_dir: Path, evaluation: Evaluation, calibration: Calibration | None, category: str
) -> None:
    metrics = evaluation.metrics
    labels = [prediction.label for prediction in evaluation.predictions]
    raw_scores = [prediction.raw_score for prediction in evaluation.predictions]
    title = f"{category}: {len(labels)} test photos"
    draw_scores(output_dir / "scores.png", labels, raw_scores, metrics["raw_threshold"], title)
    roc = output_dir / "roc.png"
    roc.unlink(missing_ok=True)
    if not math.isnan(metrics["image_auroc"]):
        point = (metrics["false_alarm_rate"], metrics["recall"])
        point = None if math.isnan(sum(point)) else point
        draw_roc(roc, labels, raw_scores, metrics["image_auroc"], point, title)
    plot = output_dir / "calibration.png"
    plot.unlink(missing_ok=True)
    good = [score for score, label in zip(raw_scores, labels, strict=True) if label == 0]
    if calibration is not None and good:
        draw_calibration(plot, calibration, good, title)


def _picture_row(
    pipe: InspectionPipeline, dataset: Dataset, evaluation: Evaluation, index: int
) -> PictureRow:
    """The pipeline's own pictures of one photo, with what is known of it."""
    prediction = evaluation.predictions[index]
    row = dataset[index]
    inspection = pipe(row["image"], category=category_for(pipe.model, row["category"]))
    truth = evaluation.masks[index]
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
        photo=inspection.photo,
        reconstruction=inspection.reconstruction,
        heatmap=inspection.heatmap,
        truth=truth,
    )


def _provenance(
    options: argparse.Namespace,
    words: Sequence[str],
    model: ReconstructionModel,
    predictions: Sequence[Prediction],
) -> dict[str, Any]:
    """What made the figures, so that somebody else can make them again."""
    category = ", ".join(sorted({prediction.category for prediction in predictions}))
    return {
        "category": category,
        "model": public_path(options.model),
        "model_revision": getattr(model.config, "_commit_hash", None),
        "model_categories": model.config.categories,
        "architecture": model.config.model_type,
        "data": public_path(options.data),
        "seed": _training_seed(options.model),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": published_command("evaluation/evaluate.py", words),
        "versions": {
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        "device": str(model.device),
    }


def _training_seed(model: str) -> int | None:
    """The seed in the recipe beside the weights, if there is one."""
    recipe = Path(model) / "recipe.yaml"
    return yaml.safe_load(recipe.read_text()).get("seed") if recipe.is_file() else None


def _test_split(data: str, category: str | None) -> Dataset:
    splits = load_inspection_dataset(data, category)
    if "test" not in splits or len(splits["test"]) == 0:
        raise DatasetError(
            f"{data} has no test photos, so there is nothing to evaluate; put them into "
            "test/good and test/DEFECT of the category."
        )
    return splits["test"]


def _check_category(known: Sequence[str], dataset: Dataset) -> None:
    """Warn when the model learned another product; refuse when it has to choose and can't."""
    shown = dataset[:1]["category"][0]
    if not known or shown in known:
        return
    if len(known) > 1:
        raise DatasetError(
            f"The model knows {', '.join(known)}, found --category {shown}; choose one of them."
        )
    print(
        f"evaluate.py: warning: the model was trained on {known[0]} but is evaluated on {shown}; "
        "check --model and --category.",
        file=sys.stderr,
    )


def _nan_to_none(value: Any) -> Any:
    """JSON knows no NaN: what is undefined becomes null."""
    if isinstance(value, dict):
        return {key: _nan_to_none(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_nan_to_none(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _count_from(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {least} up, found {text!r}"
            )
        return int(text)

    return read


def _device(text: str) -> str:
    try:
        torch.zeros(1, device=text)
    except (RuntimeError, AssertionError) as error:  # unknown name; not compiled in; none there
        raise argparse.ArgumentTypeError(
            f"expected a device that is there, such as cpu, found {text!r}"
        ) from error
    return text


if __name__ == "__main__":
    sys.exit(main())
