"""The part of a report that lets somebody else make its figures again, and its glossary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from evaluation.documents.document import Block, Code, Paragraph, Section, Table
from evaluation.documents.wording import UNDEFINED
from evaluation.report.overview import name_of
from evaluation.stored import StoredEvaluation

GLOSSARY = Path(__file__).with_name("glossary.yaml")


def how_made(evaluations: Sequence[StoredEvaluation], command: str | None) -> Section:
    """Commands, that of the report itself last, seeds, dates and versions."""
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
    meanings = yaml.safe_load(GLOSSARY.read_text(encoding="utf-8"))
    return Section("Words", [Table(("word", "meaning"), [*meanings.items()])])


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
