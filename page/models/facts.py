"""What is known of a model beside its weights: read from its folder or from the Hub.

A model on the Hub can be anybody's, so nothing in its files is believed: sizes are bounded, numbers
and words are of the kind that is expected or taken for missing, and nothing here raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration
    from page.models.entries import ModelEntry

CARD, CONFIG, TRAINING, METRICS = (
    "README.md",
    "config.json",
    "training.json",
    "evaluation/metrics.json",
)
ANSWER_SECONDS = 5.0  # for the Hub's word about which files there are
MOST_BYTES = 1_000_000  # of a file that is read; those of this project have some thousand
MOST_SCORES, MOST_DEFECTS, MOST_LIBRARIES = 50_000, 100, 20
LONGEST_WORD, LONGEST_COMMAND, LONGEST_SECTION, LONGEST_CARD = 100, 1_000, 4_000, 40_000
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
LICENCE = re.compile(r"""^(license(?:_name)?):[ \t]*["']?([^"'\n]{1,200})""", re.MULTILINE)
# A reader of the card's text sees no pictures; the bounds keep a hostile line from taking long.
PICTURE = re.compile(r"!\[[^\]\n]{0,200}\]\([^)\n]{0,300}\)\n?")
# Controls that no text needs: invisible ones, those that turn its direction, halves of characters.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

Interval = tuple[float, float]


@dataclass(frozen=True)
class Training:
    """What training/train.py left beside the weights; None where it does not say.

    Attributes:
        n_photos: good parts that the weights were fitted to.
        date: ISO 8601.
        command: the command line.
        versions: (library, version), in order.
        device: what it ran on.
    """

    n_photos: int | None
    date: str | None
    command: str | None
    versions: tuple[tuple[str, str], ...]
    device: str | None


@dataclass(frozen=True)
class Defect:
    """How one kind of defect was found among the test photos.

    Attributes:
        name: the kind.
        count: its photos.
        auroc: image AUROC against all the good photos, 0..1.
        missed: how many passed at the calibrated threshold.
        miss_interval: 95 % interval of that as a share.
    """

    name: str
    count: int
    auroc: float | None
    missed: int | None
    miss_interval: Interval | None


@dataclass(frozen=True)
class Measured:
    """What evaluation/evaluate.py found on labelled test photos; None where it is undefined.

    Attributes:
        n_good: good test photos.
        n_defective: defective ones.
        date: ISO 8601.
        command: the command line.
        image_auroc, pixel_auroc, aupro: 0..1.
        false_alarms: good photos that failed at the calibrated threshold.
        false_alarm_interval: 95 % interval of that as a share.
        misses: defective photos that passed.
        miss_interval: 95 % interval of that as a share.
        defects: by kind, in the order of the file.
        good_scores: raw scores of the good photos; empty where the file has none.
        defect_scores: raw scores of the defective ones.
    """

    n_good: int
    n_defective: int
    date: str | None
    command: str | None
    image_auroc: float | None
    pixel_auroc: float | None
    aupro: float | None
    false_alarms: int | None
    false_alarm_interval: Interval | None
    misses: int | None
    miss_interval: Interval | None
    defects: tuple[Defect, ...]
    good_scores: tuple[float, ...]
    defect_scores: tuple[float, ...]

    @property
    def weakest(self) -> Defect | None:
        """The kind that is found least well, which an average hides; None where none stands out."""
        ranked = [defect for defect in self.defects if defect.auroc is not None]
        if len({(defect.auroc, defect.missed) for defect in ranked}) < 2:
            return None
        return min(ranked, key=lambda defect: (defect.auroc, -(defect.missed or 0)))


@dataclass(frozen=True)
class ModelFacts:
    """All that is known of a model beside its weights.

    Attributes:
        name: `ModelEntry.identity`.
        category: the product.
        address: of the model's page on the Hub; None for a folder.
        card: its text without front matter and pictures; None where there is none.
        licence: as the card's front matter names it.
        training: None where that is unknown.
        measured: None where it was not measured, or on another product.
        missing: names of the files that are not there or not readable.
        reached: False where the Hub did not answer, and only what was downloaded is known.
    """

    name: str
    category: str
    address: str | None = None
    card: str | None = None
    licence: str | None = None
    training: Training | None = None
    measured: Measured | None = None
    missing: tuple[str, ...] = ()
    reached: bool = True

    def section(self, title: str) -> str | None:
        """The text under a heading "## title" of the card, without the heading."""
        return _section(self.card, title) if self.card else None


def read_facts(entry: ModelEntry) -> ModelFacts:
    """What a model's folder, or the Hub at the entry's commit, says of it.

    Whatever is missing, damaged or out of reach is None in the answer; nothing is raised.
    """
    if not entry.on_hub:
        paths = {name: Path(entry.source) / name for name in _wanted(entry)}
        return _facts(entry, _read_all(paths))
    try:
        return _read_from_hub(entry)
    except Exception:  # many libraries take part; the facts are no reason to stop an inspection
        found = {
            name: try_to_load_from_cache(entry.source, name, revision=entry.revision)
            for name in _wanted(entry)
        }
        paths = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
        return _facts(entry, _read_all(paths), reached=False)


def defect_scores(facts: ModelFacts, calibration: Calibration) -> tuple[float, ...] | None:
    """Scores, 0..1, of the known defects, the model's defective test photos; None if unknown."""
    return _calibrated(facts.measured.defect_scores if facts.measured else (), calibration)


def good_test_scores(facts: ModelFacts, calibration: Calibration) -> tuple[float, ...] | None:
    """Scores, 0..1, of the good test photos; None if unknown."""
    return _calibrated(facts.measured.good_scores if facts.measured else (), calibration)


def normal_scores(calibration: Calibration) -> tuple[float, ...]:
    """Scores, 0..1, of the held-out good parts that the threshold was set with."""
    return _calibrated(calibration.normal_scores, calibration) or ()


def _calibrated(raw: tuple[float, ...], calibration: Calibration) -> tuple[float, ...] | None:
    import torch

    return tuple(calibration.score(torch.tensor(raw)).tolist()) if raw else None


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
    return _facts(entry, _read_all(paths))


def _wanted(entry: ModelEntry) -> list[str]:
    """The files to read; a model of several categories was measured in a folder for each."""
    names = [CARD, CONFIG, TRAINING, METRICS]
    if not re.search(r"[/\\\x00]", entry.category) and entry.category.strip("."):
        names.append(f"evaluation/{entry.category}/metrics.json")
    return names


def _read_all(paths: Mapping[str, Path]) -> dict[str, str]:
    """The text of each file that is there and no longer than `MOST_BYTES`."""
    return {name: text for name, path in paths.items() if (text := _read(path)) is not None}


def _read(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return UNSEEN.sub("", path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return None


def _facts(entry: ModelEntry, texts: Mapping[str, str], *, reached: bool = True) -> ModelFacts:
    card = texts.get(CARD)
    config, training = _json(texts.get(CONFIG)), _json(texts.get(TRAINING))
    measured = _measured_on(_category(entry, config), texts)
    present = {CARD: card, CONFIG: config, TRAINING: training, METRICS: measured}
    return ModelFacts(
        name=entry.identity,
        category=entry.category,
        address=f"{constants.ENDPOINT}/{entry.source}" if entry.on_hub else None,
        card=_body(card) if card else None,
        licence=_licence(card) if card else None,
        training=_training(training) if training else None,
        measured=measured,
        missing=tuple(name for name, content in present.items() if content is None),
        reached=reached,
    )


def _category(entry: ModelEntry, config: dict[str, Any] | None) -> str:
    """What the figures must be of: a model without a tag is listed under its own name."""
    categories = config.get("categories") if config else None
    alone = categories[0] if isinstance(categories, list) and len(categories) == 1 else None
    return alone if isinstance(alone, str) else entry.category


def _measured_on(category: str, texts: Mapping[str, str]) -> Measured | None:
    for name, text in texts.items():
        metrics = _json(text) if name.endswith("metrics.json") else None
        if metrics and metrics.get("category") == category:
            return _measured(metrics)
    return None


def _json(text: str | None) -> dict[str, Any] | None:
    try:
        content = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _licence(card: str) -> str | None:
    """What the front matter says; a licence that is "other" has a name of its own."""
    front_matter = FRONT_MATTER.match(card)
    # Not by a parser of YAML, which a hostile front matter keeps busy for minutes.
    found = dict(LICENCE.findall(front_matter[1])) if front_matter else {}
    return _word(found.get("license_name")) or _word(found.get("license"))


def _body(card: str) -> str:
    front_matter = FRONT_MATTER.match(card)
    body = card[front_matter.end() :] if front_matter else card
    return PICTURE.sub("", body[: 2 * LONGEST_CARD])[:LONGEST_CARD].strip()


def _section(card: str, title: str) -> str | None:
    lines, inside, fenced = [], False, False
    for line in card.splitlines():
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"##? ", line):
            if inside:
                break
            inside = line.rstrip() == f"## {title}"
        elif inside:
            lines.append(line)
    return "\n".join(lines).strip()[:LONGEST_SECTION] or None


def _training(facts: dict[str, Any]) -> Training:
    return Training(
        n_photos=_count(facts.get("n_training")),
        date=_word(facts.get("date")),
        command=_word(facts.get("command"), LONGEST_COMMAND),
        versions=_versions(facts.get("versions")),
        device=_word(facts.get("device")),
    )


def _versions(libraries: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(libraries, dict):
        return ()
    named = ((_word(name), _word(version)) for name, version in libraries.items())
    return tuple((name, version) for name, version in named if name and version)[:MOST_LIBRARIES]


def _measured(metrics: dict[str, Any]) -> Measured:
    n_good, n_defective = (_count(metrics.get(name)) or 0 for name in ("n_normal", "n_anomalous"))
    kinds = metrics.get("per_defect")
    scores = metrics.get("scores")
    scores = scores if isinstance(scores, dict) else {}
    return Measured(
        n_good=n_good,
        n_defective=n_defective,
        date=_word(metrics.get("date")),
        command=_word(metrics.get("command"), LONGEST_COMMAND),
        image_auroc=_share(metrics.get("image_auroc")),
        pixel_auroc=_share(metrics.get("pixel_auroc")),
        aupro=_share(metrics.get("aupro")),
        false_alarms=_count(metrics.get("false_alarms"), n_good),
        false_alarm_interval=_interval(metrics.get("false_alarm_rate_interval")),
        misses=_count(metrics.get("misses"), n_defective),
        miss_interval=_interval(metrics.get("miss_rate_interval")),
        defects=_defects(kinds) if isinstance(kinds, dict) else (),
        good_scores=_scores(scores.get("good")),
        defect_scores=_scores(scores.get("anomalous")),
    )


def _defects(kinds: dict[str, Any]) -> tuple[Defect, ...]:
    found = []
    for name, kind in [*kinds.items()][:MOST_DEFECTS]:
        count = _count(kind.get("n")) if isinstance(kind, dict) else None
        if count and _word(name):
            missed, interval = _count(kind.get("misses"), count), kind.get("miss_rate_interval")
            auroc = _share(kind.get("image_auroc"))
            found.append(Defect(_word(name), count, auroc, missed, _interval(interval)))
    return tuple(found)


def _scores(values: Any) -> tuple[float, ...]:
    """Raw scores, all of them or none: a part of them would tell another rate."""
    if not isinstance(values, list) or len(values) > MOST_SCORES:
        return ()
    scores = [_number(value) for value in values]
    return () if None in scores or min(scores, default=0.0) < 0 else tuple(scores)


def _number(value: Any) -> float | None:
    """A finite number; True, False and what is beyond all bounds are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        return None
    return float(value)


def _share(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def _interval(value: Any) -> Interval | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = map(_share, value)
    return None if low is None or high is None or low > high else (low, high)


def _count(value: Any, most: int = 10**9) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value <= most else None


def _word(value: Any, most: int = LONGEST_WORD) -> str | None:
    """Text on one line and not too long; a date that YAML or JSON made of it is no text."""
    return (
        " ".join(UNSEEN.sub("", value).split())[:most] or None if isinstance(value, str) else None
    )
