"""Evaluation folders read back: what evaluate.py wrote, today or with an older version.

What an older folder lacks is None. What is there and damaged is a `StoredEvaluationError` whose
sentence names the file.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

METRICS, PREDICTIONS, LEARNING_CURVE = "metrics.json", "predictions.csv", "learning_curve.csv"
CASES = Path("cases", "cases.json")
LABELS = {"normal": 0, "anomalous": 1}
AGAIN = "evaluate the model again"
SCORE_LISTS = ("good", "anomalous")


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
        metrics: the content of metrics.json; see docs/metrics.md.
        labels: (N,) 0 for normal, 1 for anomalous.
        raw_scores: (N,) of the same photos: exact ones from predictions.csv, otherwise the rounded
            ones in metrics.json, otherwise none.
        learning_curve: None where there is none.
        cases: wrong verdicts with pictures; None where none were kept.
    """

    folder: Path
    metrics: Mapping[str, Any]
    labels: Sequence[int]
    raw_scores: Sequence[float]
    learning_curve: LearningCurve | None
    cases: Sequence[Case] | None

    @property
    def category(self) -> str:
        """The product."""
        return self.metrics["category"]

    @property
    def model(self) -> str:
        """The model's folder or Hub id, as the command named it."""
        return str(self.metrics.get("model") or self.folder.name)

    @property
    def good_scores(self) -> list[float]:
        """Raw scores of the good photos."""
        scores = zip(self.labels, self.raw_scores, strict=True)
        return [score for label, score in scores if label == 0]

    @property
    def per_defect(self) -> Mapping[str, Mapping[str, Any]]:
        """Metrics by kind of defect."""
        return self.metrics.get("per_defect") or {}

    def number(self, *keys: str) -> float | None:
        """A figure of metrics.json by its keys, such as "cost", "weights_bytes"; None if undefined.

        Raises:
            StoredEvaluationError: what stands there is no number.
        """
        return number_in(self.metrics, *keys, source=self.folder / METRICS)


def number_in(values: Mapping[str, Any], *keys: str, source: Path) -> float | None:
    """A finite number at a path of keys, None where there is none.

    Args:
        values: nested values read from JSON.
        keys: from the outside inwards.
        source: the file, for the message.

    Raises:
        StoredEvaluationError: what stands there is no number.
    """
    found: Any = values
    for key in keys:
        if not isinstance(found, Mapping) or found.get(key) is None:
            return None
        found = found[key]
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise StoredEvaluationError(
            f"{source}: expected a number as {'.'.join(keys)}, found {found!r}; {AGAIN}."
        )
    return found


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


def _read_metrics(path: Path) -> dict[str, Any]:
    metrics = _read_json(path)
    if not isinstance(metrics, dict) or not isinstance(metrics.get("category"), str):
        raise StoredEvaluationError(
            f"{path}: expected an object with the text 'category', found another content; {AGAIN}."
        )
    for key in ("per_defect", "scores", "cost", "baselines", "versions"):
        if not isinstance(metrics.get(key) or {}, dict):
            raise StoredEvaluationError(
                f"{path}: expected an object as {key}, found {metrics[key]!r}; {AGAIN}."
            )
    return metrics


def _read_scores(path: Path, metrics: dict[str, Any]) -> tuple[list[int], list[float]]:
    if not path.is_file():
        stored = [(metrics.get("scores") or {}).get(name) or [] for name in SCORE_LISTS]
        labels = [label for label, scores in enumerate(stored) for _ in scores]
        return labels, [score for scores in stored for score in scores]
    rows = _read_csv(path)
    try:
        return [LABELS[row["label"]] for row in rows], [float(row["raw_score"]) for row in rows]
    except (KeyError, ValueError, TypeError) as error:
        raise StoredEvaluationError(
            f"{path}: expected the columns label (normal or anomalous) and raw_score (a number) "
            f"in every line, found {error}; {AGAIN}."
        ) from error


def _read_learning_curve(path: Path) -> LearningCurve | None:
    rows = _read_csv(path)
    try:
        columns = [
            [float(row[name]) for row in rows] for name in ("epoch", "loss", "held_out_loss")
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise StoredEvaluationError(
            f"{path}: expected the columns epoch, loss and held_out_loss with a number in every "
            f"line, found {error}; copy the file from the model folder again."
        ) from error
    return LearningCurve(*columns) if rows else None


def _read_cases(path: Path) -> list[Case]:
    entries = _read_json(path)
    try:
        return [_read_case(entry, path) for entry in entries]
    except (KeyError, TypeError, AttributeError) as error:
        raise StoredEvaluationError(
            f"{path}: expected a list of cases with image_id, defect and error, found another "
            f"content ({error}); {AGAIN}."
        ) from error


def _read_case(entry: dict[str, Any], path: Path) -> Case:
    pictures = {}
    for name in ("photo", "reconstruction", "heatmap", "truth"):
        # Only the name counts: a report must not carry a file from elsewhere on the machine.
        file = path.parent / Path(entry[name]).name if entry.get(name) else None
        pictures[name] = _checked(file) if file is not None and file.is_file() else None
    return Case(
        image_id=str(entry["image_id"]),
        defect=str(entry["defect"]),
        error=str(entry["error"]),
        raw_score=number_in(entry, "raw_score", source=path),
        score=number_in(entry, "score", source=path),
        pictures=pictures,
    )


def _checked(path: Path) -> Path:
    """A file that is a picture."""
    try:
        with Image.open(path) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError) as error:  # a broken PNG is a SyntaxError to Pillow
        raise StoredEvaluationError(
            f"{path}: expected a picture, found a file that can't be read ({error}); {AGAIN}."
        ) from error
    return path


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoredEvaluationError(
            f"{path}: expected JSON from evaluate.py, found a file that can't be read ({error}); "
            f"{AGAIN}."
        ) from error


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise StoredEvaluationError(
            f"{path}: expected a table of comma-separated values, found a file that can't be read "
            f"({error}); {AGAIN}."
        ) from error
