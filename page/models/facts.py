"""What is known of a model beside its weights: read from its folder or from the Hub.

A model on the Hub can be anybody's, so nothing in its files is believed (see `model_files`), and
nothing here raises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from pydantic import Field

from model_files import (
    CARD,
    METRICS,
    MOST_BYTES,
    TRAINING,
    Metrics,
    ModelFile,
    TrainingRun,
    Word,
    bounded_text,
    metrics_path,
)

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration
    from page.models.entries import ModelEntry

CONFIG = "config.json"
ANSWER_SECONDS = 5.0  # for the Hub's word about which files there are
MOST_SCORES = 50_000  # of a curve that is drawn
LONGEST_LICENCE, LONGEST_SECTION, LONGEST_CARD = 100, 4_000, 40_000
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
LICENCE = re.compile(r"""^(license(?:_name)?):[ \t]*["']?([^"'\n]{1,200})""", re.MULTILINE)
# A reader of the card's text sees no pictures; the bounds keep a hostile line from taking long.
PICTURE = re.compile(r"!\[[^\]\n]{0,200}\]\([^)\n]{0,300}\)\n?")


class _Config(ModelFile):
    categories: list[Word] = Field([])


@dataclass(frozen=True)
class ModelFacts:
    """All that is known of a model beside its weights; None where that is unknown."""

    name: str  # `ModelEntry.identity`
    category: str  # the product
    address: str | None = None  # of the model's page on the Hub; None for a folder
    card: str | None = None  # its text without front matter and pictures
    licence: str | None = None  # as the card's front matter names it
    training: TrainingRun | None = None
    measured: Metrics | None = None  # None also where it was measured on another product
    missing: tuple[str, ...] = ()  # names of the files that are not there or not readable
    reached: bool = True  # False: the Hub did not answer, and only what was downloaded is known

    def section(self, title: str) -> str | None:
        """The text under a heading "## title" of the card, without the heading."""
        lines, inside, fenced = [], False, False
        for line in (self.card or "").splitlines():
            fenced ^= line.startswith("```")
            if not fenced and re.match(r"##? ", line):
                if inside:
                    break
                inside = line.rstrip() == f"## {title}"
            elif inside:
                lines.append(line)
        return "\n".join(lines).strip()[:LONGEST_SECTION] or None


def read_facts(entry: ModelEntry) -> ModelFacts:
    """What a model's folder, or the Hub at the entry's commit, says of it.

    Whatever is missing, damaged or out of reach is None in the answer; nothing is raised.
    """
    if not entry.on_hub:
        paths = {name: Path(entry.source) / name for name in _wanted(entry)}
        return _facts(entry, paths)
    try:
        return _read_from_hub(entry)
    except Exception:  # many libraries take part; the facts are no reason to stop an inspection
        found = {
            name: try_to_load_from_cache(entry.source, name, revision=entry.revision)
            for name in _wanted(entry)
        }
        paths = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
        return _facts(entry, paths, reached=False)


def defect_scores(facts: ModelFacts, calibration: Calibration) -> tuple[float, ...] | None:
    """Scores, 0..1, of the known defects, the model's defective test photos; None if unknown."""
    return _calibrated(facts.measured.scores.anomalous if facts.measured else (), calibration)


def good_test_scores(facts: ModelFacts, calibration: Calibration) -> tuple[float, ...] | None:
    """Scores, 0..1, of the good test photos; None if unknown."""
    return _calibrated(facts.measured.scores.good if facts.measured else (), calibration)


def normal_scores(calibration: Calibration) -> tuple[float, ...]:
    """Scores, 0..1, of the held-out good parts that the threshold was set with."""
    return _calibrated(calibration.normal_scores, calibration) or ()


def _calibrated(raw: Sequence[float], calibration: Calibration) -> tuple[float, ...] | None:
    import torch

    if not 0 < len(raw) <= MOST_SCORES:
        return None
    return tuple(calibration.score(torch.tensor(raw)).tolist())


@lru_cache(maxsize=64)  # a commit does not change, and the model itself is kept as long
def _read_from_hub(entry: ModelEntry) -> ModelFacts:
    """Raises whatever the Hub's client raises when it can't be reached or refuses."""
    info = HfApi().model_info(
        entry.source, revision=entry.revision, files_metadata=True, timeout=ANSWER_SECONDS
    )
    sizes = {file.rfilename: file.size for file in info.siblings or ()}
    paths = {
        name: Path(hf_hub_download(entry.source, name, revision=info.sha))
        for name in _wanted(entry)
        if (sizes.get(name) or math.inf) <= MOST_BYTES  # before it is downloaded, not after
    }
    return _facts(entry, paths)


def _wanted(entry: ModelEntry) -> list[str]:
    """The files to read; a model of several categories was measured in a folder for each."""
    names = [CARD, CONFIG, TRAINING, metrics_path()]
    if not re.search(r"[/\\\x00]", entry.category) and entry.category.strip("."):
        names.append(metrics_path(entry.category))
    return names


def _facts(entry: ModelEntry, paths: Mapping[str, Path], *, reached: bool = True) -> ModelFacts:
    texts = {name: bounded_text(path) for name, path in paths.items()}
    card = texts.get(CARD)
    config = _Config.parse_untrusted(texts.get(CONFIG))
    training = TrainingRun.parse_untrusted(texts.get(TRAINING))
    # What the figures must be of: a model without a tag is listed under its own name.
    is_of_one = config is not None and len(config.categories) == 1
    measured = _measured_on(config.categories[0] if is_of_one else entry.category, texts)
    present = {CARD: card, CONFIG: config, TRAINING: training, metrics_path(): measured}
    return ModelFacts(
        name=entry.identity,
        category=entry.category,
        address=f"{constants.ENDPOINT}/{entry.source}" if entry.on_hub else None,
        card=_body(card) if card else None,
        licence=_licence(card) if card else None,
        training=training,
        measured=measured,
        missing=tuple(name for name, content in present.items() if content is None),
        reached=reached,
    )


def _measured_on(category: str, texts: Mapping[str, str | None]) -> Metrics | None:
    for name, text in texts.items():
        metrics = Metrics.parse_untrusted(text) if name.endswith(METRICS) else None
        if metrics and metrics.category == category:
            return metrics
    return None


def _licence(card: str) -> str | None:
    """What the front matter says; a licence that is "other" has a name of its own."""
    front_matter = FRONT_MATTER.match(card)
    # Not by a parser of YAML, which a hostile front matter keeps busy for minutes.
    found = dict(LICENCE.findall(front_matter[1])) if front_matter else {}
    named = found.get("license_name") or found.get("license") or ""
    return " ".join(named.split())[:LONGEST_LICENCE] or None


def _body(card: str) -> str:
    front_matter = FRONT_MATTER.match(card)
    body = card[front_matter.end() :] if front_matter else card
    return PICTURE.sub("", body[: 2 * LONGEST_CARD])[:LONGEST_CARD].strip()
