"""What the benchmark measured, as Markdown for people and as CSV for programs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.documents.document import markdown_table
from evaluation.documents.wording import UNDEFINED, megabytes
from evaluation.studies.benchmark.stages import MODEL, STAGES

QUANTILES = (50, 95, 99)
Timing = Mapping[str, Any]  # as `evaluation.studies.benchmark.timing.time_inspections` returns it
Columns = Mapping[str, Callable[[Timing], str]]  # head -> cell

FLOOR = (
    "The model's part against its floor: its operations over the peak that single-precision matrix "
    "products reach here; and against the frozen trunk alone in torch:"
)


def as_markdown(timings: Sequence[Timing], photo_size: tuple[int, int], command: str) -> str:
    """Tables of the whole, of the stages, of the start, and of the floor.

    There is at least one timing; the photo's size is (width, height).
    """
    first = timings[0]
    parts = [
        f"A photo of {photo_size[0]} x {photo_size[1]} pixels, a model of "
        f"{first['image_size']} x {first['image_size']}, {first['cores']} cores "
        f"({first['device']}), {len(first['seconds']['whole'])} runs; milliseconds a photo.",
        _table(timings, BACKEND | BATCH | WHOLE),
        "Median of every stage:",
        _table(timings, BACKEND | BATCH | OF_STAGES),
        "Start, in seconds, in a process of its own:",
        _table(timings, BACKEND | START),
        FLOOR,
        _table(timings, BACKEND | BATCH | OF_FLOOR),
        f"`{command}`",
    ]
    return "\n\n".join(parts) + "\n"


def write_csv(path: Path, timings: Sequence[Timing]) -> None:
    """One row a backend, batch size and stage, `whole` among them, in milliseconds a photo."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["backend", "batch_size", "stage", *(f"p{q}_ms" for q in QUANTILES), "photos_per_s"]
        )
        for timing in timings:
            for stage in (*STAGES, "whole"):
                values = per_photo(timing, stage)
                quantiles = [f"{value:.3f}" for value in np.percentile(values, QUANTILES)]
                rate = f"{1000 / np.median(values):.2f}" if np.median(values) > 0 else ""
                writer.writerow([timing["backend"], timing["batch_size"], stage, *quantiles, rate])


def per_photo(timing: Timing, stage: str) -> np.ndarray:
    """Milliseconds a photo of every run."""
    return 1000 * np.array(timing["seconds"][stage]) / timing["batch_size"]


def _median(timing: Timing, stage: str) -> float:
    return float(np.median(per_photo(timing, stage)))


def _floor(timing: Timing) -> float:
    """The least milliseconds that the model's operations take here."""
    return 1000 * timing["operations"]["whole"] / timing["peak"]


def _trunk(timing: Timing) -> float:
    """Milliseconds a photo of the frozen trunk alone; NaN of a model without one."""
    return 1000 * np.median(timing["trunk"] or [np.nan]) / timing["batch_size"]


def _or_dash(value: float, digits: int) -> str:
    return UNDEFINED if np.isnan(value) else f"{value:.{digits}f}"


BACKEND: Columns = {"backend": lambda timing: timing["backend"]}
BATCH: Columns = {"batch": lambda timing: str(timing["batch_size"])}
WHOLE: Columns = {
    **{
        f"p{q}": lambda timing, q=q: f"{np.percentile(per_photo(timing, 'whole'), q):.1f}"
        for q in QUANTILES
    },
    "photos/s": lambda timing: f"{1000 / _median(timing, 'whole'):.1f}",
    "peak memory": lambda timing: megabytes(timing["memory"]),
    "file": lambda timing: megabytes(timing["size"]),
}
OF_STAGES: Columns = {
    stage: lambda timing, stage=stage: f"{_median(timing, stage):.1f}" for stage in STAGES
}
START: Columns = {
    name: lambda timing, name=name: f"{timing['start'][name]:.2f}"
    for name in ("import", "load", "first")
}
OF_FLOOR: Columns = {
    "model": lambda timing: f"{_median(timing, MODEL):.1f}",
    "GFLOP": lambda timing: f"{timing['operations']['whole'] / 1e9:.2f}",
    "peak GFLOP/s": lambda timing: f"{timing['peak'] / 1e9:.0f}",
    "floor": lambda timing: f"{_floor(timing):.1f}",
    "model / floor": lambda timing: f"{_median(timing, MODEL) / _floor(timing):.1f}",
    "trunk in torch": lambda timing: _or_dash(_trunk(timing), 1),
    "model / trunk": lambda timing: _or_dash(_median(timing, MODEL) / _trunk(timing), 2),
}


def _table(timings: Sequence[Timing], columns: Columns) -> str:
    rows = [[cell(timing) for cell in columns.values()] for timing in timings]
    return markdown_table(list(columns), rows)
