"""Evaluations side by side: one table over models and categories, with published figures.

    python evaluation/leaderboard.py runs --output_dir runs

Prints Markdown and writes leaderboard.html and leaderboard.md. Measured rows come from the
evaluation folders at and below the paths named; published ones from published.yaml. They are
marked, and their protocols stand in a table of their own, since they differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from evaluation.documents.document import (
    Code,
    Paragraph,
    Section,
    Table,
    as_markdown,
    write_document,
)
from evaluation.documents.wording import duration, figure, megabytes, plural
from evaluation.leaderboard.published import (
    FIGURES,
    MEAN,
    PROTOCOL,
    PUBLISHED,
    Published,
    PublishedError,
    read_published,
    sources_in_words,
)
from evaluation.stored import StoredEvaluation, StoredEvaluationError, read_evaluations
from system.command_line import published_command, run_command

TITLE = "Leaderboard"
FILE = "leaderboard.html"
COSTS = ("seconds_per_photo", "weights_bytes", "training_seconds")


@dataclass(frozen=True)
class Row:
    """A model on a category, or on several as their mean; what is unknown is None.

    The figures lie in 0..1. The architecture is empty where the model's name says it; a row is
    `published` if it is quoted from others and not measured here.
    """

    model: str
    category: str
    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    seconds_per_photo: float | None = None
    weights_bytes: float | None = None
    training_seconds: float | None = None
    architecture: str = ""
    published: bool = False


def _time(row: Row) -> str:
    is_quoted = row.published and row.seconds_per_photo is not None
    return duration(row.seconds_per_photo) + ("\n(measured here)" if is_quoted else "")


# Name of a column to what makes its cell.
COLUMNS: dict[str, Callable[[Row], str]] = {
    "model": lambda row: row.model + (f"\n({row.architecture})" if row.architecture else ""),
    "category": lambda row: row.category,
    "image AUROC": lambda row: figure(row.image_auroc),
    "pixel AUROC": lambda row: figure(row.pixel_auroc),
    "AUPRO (30 %)": lambda row: figure(row.aupro),
    "time a photo": _time,
    "weights": lambda row: megabytes(row.weights_bytes),
    "training": lambda row: duration(row.training_seconds),
}
# What the rows of a category can be sorted by: in words, and the field; those in 0..1 descend.
ORDERS = {
    "image_auroc": ("image AUROC, highest first", "image_auroc"),
    "aupro": ("AUPRO, highest first", "aupro"),
    "latency": ("time a photo, shortest first", "seconds_per_photo"),
    "size": ("size of the weights, smallest first", "weights_bytes"),
    "training": ("training time, shortest first", "training_seconds"),
}


def rows_of(
    evaluations: Sequence[StoredEvaluation], published: Sequence[Published], sort_by: str
) -> list[Row]:
    """Measured and published rows, category by category and each sorted by one of `ORDERS`.

    A published figure is shown for a category that was measured, and as the mean over all of
    MVTec AD, which is beside the mean over the measured categories of a model and not equal to it.
    """
    measured = [_measured(evaluation) for evaluation in evaluations]
    categories = sorted({row.category for row in measured})
    rows = [*measured, *_means(measured)]
    rows += [
        _quoted(entry, category)
        for entry in published
        for category in (*categories, MEAN)
        if category in entry.results
    ]
    places = [*categories, *sorted({row.category for row in rows} - {*categories, MEAN}), MEAN]
    field = ORDERS[sort_by][1]
    sign = -1 if field in FIGURES else 1

    def order(row: Row) -> tuple[int, bool, float, str]:
        value = getattr(row, field)
        return places.index(row.category), value is None, sign * (value or 0.0), row.model

    return sorted(rows, key=order)


def sections_of(
    rows: Sequence[Row], published: Sequence[Published], sort_by: str, command: str = ""
) -> list[Section]:
    """The table of `rows_of`, what its published rows rest on, and the command, if any."""
    quoted = {index for index, row in enumerate(rows) if row.published}
    used = {rows[index].model for index in quoted}
    entries = [entry for entry in published if entry.method in used]
    table = Table(
        [*COLUMNS],
        [[cell(row) for cell in COLUMNS.values()] for row in rows],
        f"By category, then by {ORDERS[sort_by][0]}; {MEAN} is the mean over MVTec AD. A dash: "
        "not measured, or not published.",
        quoted,
        mark="published",
        faint=True,
    )
    what_is_quoted = Paragraph(
        "Rows marked as published are quoted, not measured here: other code, other resolution, "
        "other choice of checkpoint. Only the unmarked rows were measured by one procedure. The "
        "times of published methods were measured here, on untrained networks of their kind."
    )
    blocks = [what_is_quoted, table] if quoted else [table]
    sections = [Section("Models and categories", blocks)]
    if entries:
        how_we_measure = Paragraph(
            "Measured rows: the whole photo is judged, the last checkpoint, masks that are true "
            "above half, thresholds and choices without test labels."
        )
        head = ("method", *PROTOCOL.values(), "remarks", "source")
        blocks = [Table(head, sources_in_words(entries)), how_we_measure]
        sections.append(Section("What the published rows rest on", blocks))
    if command:
        sections.append(Section("How this was made", [Code(command)]))
    return sections


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="leaderboard.py", description="One table over models and categories."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="evaluation folders")
    parser.add_argument("--output_dir", type=Path, help="folder for leaderboard.html and .md")
    parser.add_argument("--sort_by", choices=ORDERS, default="image_auroc")
    parser.add_argument("--published", type=Path, default=PUBLISHED, help="YAML of quoted figures")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    options = parse_arguments(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = published_command("evaluation/leaderboard.py", words)
    return run_command(
        "leaderboard.py",
        lambda: _compare(options, command),
        bad_input=(PublishedError, StoredEvaluationError),
        paths=(options.output_dir or Path(), "the paths"),
    )


def _compare(options: argparse.Namespace, command: str) -> None:
    published = read_published(options.published)
    rows = rows_of(read_evaluations(options.runs), published, options.sort_by)
    sections = sections_of(rows, published, options.sort_by, command)
    lead = _lead(rows)
    print(as_markdown(TITLE, lead, sections))
    if options.output_dir:
        write_document(options.output_dir / FILE, TITLE, lead, sections)


def _measured(evaluation: StoredEvaluation) -> Row:
    metrics = evaluation.metrics
    figures = {name: getattr(metrics, name) for name in FIGURES}
    costs = {name: getattr(metrics.cost, name) for name in COSTS}
    kind = metrics.architecture or ""
    return Row(evaluation.model, evaluation.category, **figures, **costs, architecture=kind)


def _means(rows: Sequence[Row]) -> list[Row]:
    """The mean of every model that was measured on several categories."""
    means = []
    for model in dict.fromkeys(row.model for row in rows):
        own = [row for row in rows if row.model == model]
        if len({row.category for row in own}) > 1:
            names = ", ".join(sorted(row.category for row in own))
            averaged = {}
            for name in (*FIGURES, "seconds_per_photo"):
                values = [getattr(row, name) for row in own]
                averaged[name] = None if None in values else fmean(values)
            category, architecture = f"mean of {len(own)}: {names}", own[0].architecture
            means.append(Row(model, category, **averaged, architecture=architecture))
    return means


def _quoted(entry: Published, category: str) -> Row:
    figures = {key: entry.results[category].get(key) for key in FIGURES}
    return Row(entry.method, category, **figures, seconds_per_photo=entry.latency, published=True)


def _lead(rows: Sequence[Row]) -> str:
    models = {row.model for row in rows if not row.published}
    categories = {row.category for row in rows if not row.published and "mean" not in row.category}
    return (
        f"{plural(len(models), 'model')} measured on {plural(len(categories), 'category')}, beside "
        f"{plural(len({row.model for row in rows if row.published}), 'published method')}."
    )
