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
from typing import Any, NamedTuple

from PIL import Image

from model_files import LEARNING_CURVE, METRICS, Metrics

PREDICTIONS = "predictions.csv"
CASES = Path("cases", "cases.json")
PICTURES = ("photo", "reconstruction", "heatmap", "truth")  # of a case
LABELS = {"normal": 0, "anomalous": 1}
AGAIN = "evaluate the model again"
# What reading damaged files raises; a broken PNG is a SyntaxError to Pillow.
DAMAGE = (
    *(AttributeError, KeyError, OSError, RecursionError, SyntaxError, TypeError, ValueError),
    csv.Error,
)


class StoredEvaluationError(ValueError):
    """An evaluation folder that can't be read; the message names the file and the way out."""


class LearningCurve(NamedTuple):
    """Losses on the training photos and on held-out good ones, (E,) each, over ascending epochs."""

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
        raw_score, score: unbounded, and 0..1; None where the file does not say.
        pictures: files by `PICTURES`; None where there is none.
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
    """Every folder with a metrics.json, at or below each of the paths, once each and in order.

    A path without any is a `StoredEvaluationError`.
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
    """What `find_evaluations` finds, read and in order; raises as `read_evaluation` does."""
    return [read_evaluation(folder) for folder in find_evaluations(paths)]


def read_evaluation(folder: Path) -> StoredEvaluation:
    """One evaluation folder; a `StoredEvaluationError` where metrics.json is missing, or damage."""
    metrics = _read_metrics(folder / METRICS)
    labels, raw_scores = _read_scores(folder / PREDICTIONS, metrics)
    # evaluate.py of older days left the curve in the model folder around.
    files = [place / LEARNING_CURVE for place in (folder, folder.parent)]
    curve = next((_read_learning_curve(file) for file in files if file.is_file()), None)
    cases = _read_cases(folder / CASES) if (folder / CASES).is_file() else None
    return StoredEvaluation(folder, metrics, labels, raw_scores, curve, cases)


@contextmanager
def _damage_told(
    path: Path, expected: str, found: str = "a file that can't be read ({})", remedy: str = AGAIN
) -> Iterator[None]:
    """Tell in one sentence what is wrong with a file; errors that do so already pass."""
    try:
        yield
    except StoredEvaluationError:
        raise
    except DAMAGE as error:
        raise StoredEvaluationError(
            f"{path}: expected {expected}, found {found.format(error)}; {remedy}."
        ) from error


def _read_metrics(path: Path) -> Metrics:
    content = _read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("category"), str):
        raise StoredEvaluationError(
            f"{path}: expected an object with the text 'category', found another content; {AGAIN}."
        )
    try:
        return Metrics.parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoredEvaluationError(f"{path}: {error}; {AGAIN}.") from error


def _read_scores(path: Path, metrics: Metrics) -> tuple[list[int], list[float]]:
    if not path.is_file():
        good, anomalous = metrics.scores.good, metrics.scores.anomalous
        return [0] * len(good) + [1] * len(anomalous), [*good, *anomalous]
    columns = "the columns label (normal or anomalous) and raw_score (a number) in every line"
    rows = _read_csv(path)
    with _damage_told(path, columns, "{}"):
        return [LABELS[row["label"]] for row in rows], [float(row["raw_score"]) for row in rows]


def _read_learning_curve(path: Path) -> LearningCurve | None:
    names = ("epoch", "loss", "held_out_loss")
    columns = "the columns epoch, loss and held_out_loss with a number in every line"
    rows = _read_csv(path)
    with _damage_told(path, columns, "{}", "copy the file from the model folder again"):
        curve = LearningCurve(*([float(row[name]) for row in rows] for name in names))
    return curve if rows else None


def _read_cases(path: Path) -> list[Case]:
    entries = _read_json(path)
    expected = "a list of cases with image_id, defect and error"
    with _damage_told(path, expected, "another content ({})"):
        return [_read_case(entry, path.parent) for entry in entries]


def _read_case(entry: dict[str, Any], folder: Path) -> Case:
    pictures = {}
    for name in PICTURES:
        # Only the name counts: a report must not carry a file from elsewhere on the machine.
        file = folder / Path(entry[name]).name if entry.get(name) else None
        pictures[name] = _checked(file) if file and file.is_file() else None
    scores = [entry.get(name) for name in ("raw_score", "score")]
    return Case(
        *(str(entry[name]) for name in ("image_id", "defect", "error")),
        *(None if score is None else float(score) for score in scores),
        pictures,
    )


def _checked(path: Path) -> Path:
    """A file that is a picture."""
    with _damage_told(path, "a picture"), Image.open(path) as picture:
        picture.verify()
    return path


def _read_json(path: Path) -> Any:
    with _damage_told(path, "JSON from evaluate.py"):
        return json.loads(path.read_text(encoding="utf-8"))


def _read_csv(path: Path) -> list[dict[str, str]]:
    with (
        _damage_told(path, "a table of comma-separated values"),
        path.open(newline="", encoding="utf-8") as file,
    ):
        return list(csv.DictReader(file))
