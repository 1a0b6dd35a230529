"""Evaluation folders read back: what evaluate.py wrote, today or with an older version.

What an older folder lacks is None. What is there and damaged is a `StoredEvaluationError` whose
sentence names the file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from model_files import LEARNING_CURVE, METRICS, Metrics

PREDICTIONS = "predictions.csv"
CASES = Path("cases", "cases.json")
LABELS = {"normal": 0, "anomalous": 1}
AGAIN = "evaluate the model again"
# What reading damaged files raises; a broken PNG is a SyntaxError to Pillow.
DAMAGE = (
    *(AttributeError, KeyError, OSError, RecursionError, SyntaxError, TypeError, ValueError),
    csv.Error,
)


class StoredEvaluationError(ValueError):
    """An evaluation folder that can't be read; the message names the file and the way out."""


@dataclass(frozen=True)
class LearningCurve:
    """The loss over the training.

    Attributes:
        epochs: (E,) ascending.
        loss: (E,) on the training photos.
        held_out_loss: (E,) on held-out good photos.
    """

    epochs: Sequence[float]
    loss: Sequence[float]
    held_out_loss: Sequence[float]


@dataclass(frozen=True)
class Case:
    """A wrong verdict with its pictures.

    Attributes:
        image_id: name of the photo.
        defect: kind of defect, "good" for a normal photo.
        error: "miss" or "false alarm".
        raw_score: unbounded; None where the file does not say.
        score: 0..1; None where the file does not say.
        pictures: files by what they show ("photo", "reconstruction", "heatmap", "truth"); None
            where there is none.
    """

    image_id: str
    defect: str
    error: str
    raw_score: float | None
    score: float | None
    pictures: Mapping[str, Path | None]


@dataclass(frozen=True)
class StoredEvaluation:
    """One evaluation folder.

    Attributes:
        folder: where it lies.
        metrics: the figures.
        labels: (N,) 0 for normal, 1 for anomalous.
        raw_scores: (N,) of the same photos: exact ones from predictions.csv, otherwise the rounded
            ones in metrics.json, otherwise none.
        learning_curve: None where there is none.
        cases: wrong verdicts with pictures; None where none were kept.
    """

    folder: Path
    metrics: Metrics
    labels: Sequence[int]
    raw_scores: Sequence[float]
    learning_curve: LearningCurve | None
    cases: Sequence[Case] | None

    @property
    def category(self) -> str:
        """The product."""
        return self.metrics.category

    @property
    def model(self) -> str:
        """The model's folder or Hub id, as the command named it."""
        return self.metrics.model or self.folder.name

    @property
    def good_scores(self) -> list[float]:
        """Raw scores of the good photos."""
        scores = zip(self.labels, self.raw_scores, strict=True)
        return [score for label, score in scores if label == 0]


def find_evaluations(paths: Iterable[Path]) -> list[Path]:
    """Every folder with a metrics.json, at or below the paths, once each and in order.

    Raises:
        StoredEvaluationError: there is none at or below one of the paths.
    """
    folders: list[Path] = []
    for path in paths:
        found = sorted(file.parent for file in path.rglob(METRICS)) if path.is_dir() else []
        if not found:
            raise StoredEvaluationError(
                f"{path}: expected a folder with {METRICS} in it or below it, found none; make "
                "one with evaluation/evaluate.py."
            )
        folders += found
    return list({folder.resolve(): folder for folder in folders}.values())


def read_evaluations(paths: Iterable[Path]) -> list[StoredEvaluation]:
    """Every evaluation at or below the paths, in order.

    Raises:
        StoredEvaluationError: there is none, or one is damaged.
    """
    return [read_evaluation(folder) for folder in find_evaluations(paths)]


def read_evaluation(folder: Path) -> StoredEvaluation:
    """One evaluation folder.

    Raises:
        StoredEvaluationError: metrics.json is missing, or one of the files is damaged.
    """
    metrics = _read_metrics(folder / METRICS)
    labels, raw_scores = _read_scores(folder / PREDICTIONS, metrics)
    curve = folder / LEARNING_CURVE
    if not curve.is_file():  # evaluate.py of older days left it in the model folder around
        curve = folder.parent / LEARNING_CURVE
    cases = folder / CASES
    return StoredEvaluation(
        folder,
        metrics,
        labels,
        raw_scores,
        _read_learning_curve(curve) if curve.is_file() else None,
        _read_cases(cases) if cases.is_file() else None,
    )


@contextmanager
def _damage_told(path: Path, expected: str, remedy: str = AGAIN) -> Iterator[None]:
    """Tell in one sentence what is wrong with a file; errors that do so already pass."""
    try:
        yield
    except StoredEvaluationError:
        raise
    except DAMAGE as error:
        raise StoredEvaluationError(
            f"{path}: expected {expected}, found something else ({error}); {remedy}."
        ) from error


def _read_metrics(path: Path) -> Metrics:
    try:
        metrics = Metrics.parse(path.read_text(encoding="utf-8"))
        metrics.require(["category"])
    except (OSError, ValueError) as error:
        raise StoredEvaluationError(
            f"{path}: {error}; {AGAIN} for an object with the text 'category' and figures."
        ) from error
    return metrics


def _read_scores(path: Path, metrics: Metrics) -> tuple[list[int], list[float]]:
    if not path.is_file():
        good, anomalous = metrics.scores.good, metrics.scores.anomalous
        return [0] * len(good) + [1] * len(anomalous), [*good, *anomalous]
    columns = "the columns label (normal or anomalous) and raw_score (a number) in every line"
    with _damage_told(path, columns):
        rows = _read_csv(path)
        return [LABELS[row["label"]] for row in rows], [float(row["raw_score"]) for row in rows]


def _read_learning_curve(path: Path) -> LearningCurve | None:
    names = ("epoch", "loss", "held_out_loss")
    columns = "the columns epoch, loss and held_out_loss with a number in every line"
    with _damage_told(path, columns, "copy the file from the model folder again"):
        rows = _read_csv(path)
        return (
            LearningCurve(*([float(row[name]) for row in rows] for name in names)) if rows else None
        )


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _read_cases(path: Path) -> list[Case]:
    with _damage_told(path, "a list of cases with image_id, defect and error"):
        return [_read_case(entry, path.parent) for entry in json.loads(path.read_text("utf-8"))]


def _read_case(entry: dict[str, Any], folder: Path) -> Case:
    pictures = {}
    for name in ("photo", "reconstruction", "heatmap", "truth"):
        # Only the name counts: a report must not carry a file from elsewhere on the machine.
        file = folder / Path(entry[name]).name if entry.get(name) else None
        pictures[name] = file if file is not None and _is_picture(file) else None
    numbers = {
        name: None if entry.get(name) is None else float(entry[name])
        for name in ("raw_score", "score")
    }
    words = {name: str(entry[name]) for name in ("image_id", "defect", "error")}
    return Case(**words, **numbers, pictures=pictures)


def _is_picture(path: Path) -> bool:
    """False where there is no file; one that is none is an error."""
    if not path.is_file():
        return False
    with _damage_told(path, "a picture"), Image.open(path) as picture:
        picture.verify()
    return True
