"""Evaluation folders in, one report out: an HTML file that needs no other, and Markdown.

    python evaluation/report.py runs/bottle/evaluation runs/screw/evaluation --output report.html

Writes report.html, which opens offline and prints, and report.md, its text and tables without
pictures, for a model card. Reads what evaluation/evaluate.py wrote, in the folders named and below
them; what an older evaluation lacks is said in a sentence.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation.documents.document import Section, write_document
from evaluation.documents.wording import percent, plural
from evaluation.report import overview, provenance
from evaluation.report.details import details_of
from evaluation.stored import StoredEvaluation, StoredEvaluationError, read_evaluations
from system.command_line import published_command, run_command


def write_report(folders: Sequence[Path], output: Path, command: str | None = None) -> None:
    """Write a report of the evaluations at and below some folders, as HTML and as Markdown.

    Args:
        folders: as `read_evaluations` takes them, which says what it raises.
        output: the HTML file; its folder is made. The Markdown has the same name with ".md".
        command: what made the report, printed among the commands.
    """
    evaluations = read_evaluations(folders)
    title, lead = title_of(evaluations), lead_of(evaluations)
    write_document(output, title, lead, sections_of(evaluations, command))


def title_of(evaluations: Sequence[StoredEvaluation]) -> str:
    """What was evaluated, in a line."""
    categories = dict.fromkeys(evaluation.category for evaluation in evaluations)
    many = plural(len(categories), "category")
    return f"Evaluation: {', '.join(categories) if len(categories) <= 3 else many}"


def lead_of(evaluations: Sequence[StoredEvaluation]) -> str:
    """What came out, in two sentences."""
    models = plural(len({evaluation.model for evaluation in evaluations}), "model")
    categories = {evaluation.category for evaluation in evaluations}
    if len(categories) < len(evaluations):  # the same photos would count twice
        return f"{models} on {plural(len(categories), 'category')}, side by side."
    good, anomalous = _total(evaluations, "n_normal"), _total(evaluations, "n_anomalous")
    lead = f"{models} on {good} good and {anomalous} anomalous test photos."
    judged = [evaluation for evaluation in evaluations if evaluation.metrics.misses is not None]
    anomalous = _total(judged, "n_anomalous")
    if anomalous:
        found = anomalous - _total(judged, "misses")
        lead += f" Found: {found} of the {anomalous} anomalous ones ({percent(found / anomalous)})."
    judged = [one for one in evaluations if one.metrics.false_alarms is not None]
    good = _total(judged, "n_normal")
    if good:
        alarms = _total(judged, "false_alarms")
        lead += f" Failed by mistake: {alarms} of the {good} good ones ({percent(alarms / good)})."
    return lead


def _total(evaluations: Sequence[StoredEvaluation], key: str) -> int:
    return sum(getattr(evaluation.metrics, key) or 0 for evaluation in evaluations)


def sections_of(
    evaluations: Sequence[StoredEvaluation], command: str | None = None
) -> list[Section]:
    """All that the report says, in order."""
    return [
        overview.at_a_glance(evaluations),
        overview.kinds_of_defect(evaluations),
        overview.spread(evaluations),
        *(details_of(evaluation, evaluations) for evaluation in evaluations),
        overview.baselines(evaluations),
        overview.cost(evaluations),
        provenance.how_made(evaluations, command),
        provenance.words(),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="report.py", description="One HTML file and Markdown from evaluation folders."
    )
    parser.add_argument("evaluations", nargs="+", type=Path, metavar="EVALUATION")
    parser.add_argument("--output", type=Path, required=True, help="HTML file to write")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    if options.output.suffix.lower() not in (".html", ".htm"):
        parser.error(f"--output: expected a file that ends in .html, found {options.output}")
    command = published_command("evaluation/report.py", words)

    def write() -> None:
        write_report(options.evaluations, options.output, command)
        print(f"The report is in {options.output} and {options.output.with_suffix('.md')}")

    return run_command(
        "report.py",
        write,
        bad_input=(StoredEvaluationError,),
        paths=(options.output, "the folders and --output"),
    )
