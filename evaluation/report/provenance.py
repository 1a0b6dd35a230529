"""The part of a report that lets somebody else make its figures again, and its glossary."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.documents.document import Block, Code, Paragraph, Section, Table
from evaluation.documents.wording import UNDEFINED
from evaluation.report.overview import name_of
from evaluation.stored import StoredEvaluation

WORDS = {
    "image AUROC": "How surely an anomalous photo scores higher than a good one: 1 is always, 0.5 "
    "is a coin. No threshold takes part.",
    "image AP": "Average precision: the area under the precision-recall curve. It depends on how "
    "many of the photos are anomalous.",
    "best F1": "The F1 at the threshold that suits the test labels best. It is out of reach in "
    "use, where there are no labels; it serves the comparison with papers.",
    "F1 at the threshold": "One number for the share of FAILs that are right and the share of "
    "anomalous photos that are found, at the threshold that is in use.",
    "pixel AUROC": "The same for single pixels. Large defects outweigh small ones.",
    "AUPRO": "How much of each defect is marked, each counting the same however small, averaged "
    "while up to 30 % (or 5 %) of the good pixels are marked as well.",
    "false alarm": "A good photo that fails.",
    "miss": "An anomalous photo that passes.",
    "95 % interval": "What the number may be for all parts, judged from so few photos: Wilson's "
    "for shares, bootstrap for AUROC, which is a single point where no photo is out of order.",
    "promised": "What the held-out good parts guarantee before any test photo is seen (split "
    "conformal prediction).",
}


def how_made(evaluations: Sequence[StoredEvaluation], command: str | None) -> Section:
    """Commands, seeds, dates and versions.

    Args:
        evaluations: all of the report.
        command: what made the report itself; None leaves it out.
    """
    commands = [evaluation.metrics.command or "" for evaluation in evaluations]
    commands = [line for line in dict.fromkeys([*commands, command or ""]) if line]
    blocks: list[Block] = [
        Paragraph("The test labels were compared with what the model said, and chose nothing."),
        Code("\n".join(commands)) if commands else Paragraph("The commands were not kept.", "note"),
        Table(
            ("category", "model", "data", "seed", "date", "device"),
            [_origin(evaluation, evaluations) for evaluation in evaluations],
        ),
        _versions(evaluations),
    ]
    return Section("How these figures were made", blocks)


def words() -> Section:
    """What the words mean, for a reader who does not know them."""
    return Section("Words", [Table(("word", "meaning"), list(WORDS.items()))])


def _origin(evaluation: StoredEvaluation, among: Sequence[StoredEvaluation]) -> list[str]:
    metrics = evaluation.metrics
    revision = f" at {metrics.model_revision}" if metrics.model_revision else ""
    facts = [metrics.data, metrics.seed, metrics.date, metrics.device]
    known = [UNDEFINED if fact is None else str(fact) for fact in facts]
    return [name_of(evaluation, among), evaluation.model + revision, *known]


def _versions(evaluations: Sequence[StoredEvaluation]) -> Block:
    """A column of versions for each different set, usually one."""
    columns: list[dict[str, str]] = []
    for evaluation in evaluations:
        versions = evaluation.metrics.versions
        if versions and versions not in columns:
            columns.append(versions)
    if not columns:
        return Paragraph("The versions of the libraries were not kept.", "note")
    libraries = dict.fromkeys(library for versions in columns for library in versions)
    head = ["library", *("version" for _ in columns)]
    rows = [
        [library, *(str(versions.get(library, UNDEFINED)) for versions in columns)]
        for library in libraries
    ]
    return Table(head, rows)
