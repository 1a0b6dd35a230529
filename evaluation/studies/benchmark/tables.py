"""What the benchmark measured, as Markdown for people and as CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.documents.document import markdown_table
from evaluation.documents.wording import megabytes
from evaluation.studies.benchmark.stages import MODEL, STAGES

QUANTILES = (50, 95, 99)
Trial = dict[str, Any]  # as `evaluation.studies.benchmark.trial.try_out` returns it


def as_markdown(trials: Sequence[Trial], photo_size: tuple[int, int], command: str) -> str:
    """Tables of the whole, of the stages, of the start, and of the floor.

    Args:
        trials: at least one.
        photo_size: (width, height) of the photo.
        command: that measured.
    """
    first = trials[0]
    lead = (
        f"A photo of {photo_size[0]} x {photo_size[1]} pixels, a model of "
        f"{first['image_size']} x {first['image_size']}, {first['cores']} cores "
        f"({first['device']}), {len(first['seconds']['whole'])} runs; milliseconds a photo."
    )
    parts = [
        lead,
        _whole(trials),
        "Median of every stage:",
        _stages(trials),
        "Start, in seconds, in a process of its own:",
        _start(trials),
        *_floor(trials),
        f"`{command}`",
    ]
    return "\n\n".join(parts) + "\n"


def write_csv(path: Path, trials: Sequence[Trial]) -> None:
    """One row a backend, batch size and stage, `whole` among them, in milliseconds a photo."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["backend", "batch_size", "stage", *(f"p{q}_ms" for q in QUANTILES), "photos_per_s"]
        )
        for trial in trials:
            for stage in (*STAGES, "whole"):
                values = per_photo(trial, stage)
                quantiles = [f"{value:.3f}" for value in np.percentile(values, QUANTILES)]
                rate = f"{1000 / np.median(values):.2f}" if np.median(values) > 0 else ""
                writer.writerow([trial["backend"], trial["batch_size"], stage, *quantiles, rate])


def per_photo(trial: Trial, stage: str) -> np.ndarray:
    """Milliseconds a photo of every run."""
    return 1000 * np.array(trial["seconds"][stage]) / trial["batch_size"]


def _whole(trials: Sequence[Trial]) -> str:
    head = ["backend", "batch", *(f"p{q}" for q in QUANTILES), "photos/s", "peak memory", "file"]
    rows = []
    for trial in trials:
        values = per_photo(trial, "whole")
        rows.append(
            [
                trial["backend"],
                str(trial["batch_size"]),
                *(f"{value:.1f}" for value in np.percentile(values, QUANTILES)),
                f"{1000 / np.median(values):.1f}",
                megabytes(trial["memory"]),
                megabytes(trial["size"]),
            ]
        )
    return markdown_table(head, rows)


def _stages(trials: Sequence[Trial]) -> str:
    rows = [
        [
            trial["backend"],
            str(trial["batch_size"]),
            *(f"{np.median(per_photo(trial, stage)):.1f}" for stage in STAGES),
        ]
        for trial in trials
    ]
    return markdown_table(["backend", "batch", *STAGES], rows)


def _start(trials: Sequence[Trial]) -> str:
    names = ("import", "load", "first")
    rows = [
        [trial["backend"], *(f"{trial['start'][name]:.2f}" for name in names)] for trial in trials
    ]
    return markdown_table(["backend", *names], rows)


def _floor(trials: Sequence[Trial]) -> list[str]:
    """The model's part against its operations and against the trunk alone."""
    rows = []
    for trial in trials:
        model = float(np.median(per_photo(trial, MODEL)))
        floor = 1000 * trial["operations"]["whole"] / trial["peak"]
        trunk = np.median(trial["trunk"]) * 1000 / trial["batch_size"] if trial["trunk"] else None
        rows.append(
            [
                trial["backend"],
                str(trial["batch_size"]),
                f"{model:.1f}",
                f"{trial['operations']['whole'] / 1e9:.2f}",
                f"{trial['peak'] / 1e9:.0f}",
                f"{floor:.1f}",
                f"{model / floor:.1f}",
                "-" if trunk is None else f"{trunk:.1f}",
                "-" if trunk is None else f"{model / trunk:.2f}",
            ]
        )
    head = ("backend", "batch", "model", "GFLOP", "peak GFLOP/s", "floor", "model / floor")
    head += ("trunk in torch", "model / trunk")
    words = (
        "The model's part against its floor: its operations over the peak that single-precision "
        "matrix products reach here; and against the frozen trunk alone in torch:"
    )
    return [words, markdown_table(head, rows)]
