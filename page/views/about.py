"""What a model was made from, how well it judges, and for what: the page's panel about it."""

from __future__ import annotations

import re
from typing import Any

from model_files import Interval, Metrics
from page.languages import Translation
from page.markup import render
from page.models.facts import ModelFacts

LIMITS, DATA = "For and not for", "Data and licence"  # sections of the card, which is in English
UNKNOWN = "·"  # in a table's cell
RUNTIME_NAMES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def about_html(facts: ModelFacts, text: Translation, backend: str | None = None) -> str:
    """The panel about a model, without its charts; anything in the facts may be missing.

    `backend` is what runs the model, if it is loaded.
    """
    training, measured = facts.training, facts.measured
    versions = [" ".join(pair) for pair in training.versions.items()] if training else []
    return render(
        "about/panel.html",
        text=text,
        facts=facts,
        unknown=UNKNOWN,
        data=_paragraphs(facts.section(DATA)),
        runtime=RUNTIME_NAMES.get(backend, backend),
        commands=[made.command for made in (training, measured) if made and made.command],
        made_with=[*versions, training.device] if training and training.device else versions,
        figures=_figures(measured, text) if measured else {},
        defects=_defects(measured, text) if measured else [],
        limits=_paragraphs(facts.section(LIMITS)),
        address=re.match(r"https?://.*", facts.address or "") and facts.address,
        gaps=_gaps(facts, text),
    )


def _figures(measured: Metrics, text: Translation) -> dict[str, tuple[str, str]]:
    """What was measured on all labelled test photos: by its name, value and interval."""
    n_anomalous, n_normal = measured.n_anomalous, measured.n_normal
    found = None if None in (n_anomalous, measured.misses) else n_anomalous - measured.misses
    missed, alarms = measured.miss_rate_interval, measured.false_alarm_rate_interval
    of_found = None if missed is None else (1 - missed[1], 1 - missed[0])
    counts = {
        "found": _counted(found, n_anomalous, of_found, text),
        "rejected": _counted(measured.false_alarms, n_normal, alarms, text),
    }
    areas = ("image_auroc", "pixel_auroc", "aupro")
    return counts | {name: (_ratio(getattr(measured, name), text), UNKNOWN) for name in areas}


def _defects(measured: Metrics, text: Translation) -> list[tuple[Any, ...]]:
    """The same by kind of defect: the kind, how many were missed, interval and AUROC."""
    return [
        (
            name,
            *_counted(defect.misses, defect.n, defect.miss_rate_interval, text),
            _ratio(defect.image_auroc, text),
        )
        for name, defect in measured.per_defect.items()
    ]


def _gaps(facts: ModelFacts, text: Translation) -> list[str]:
    """Sentences on what could not be read, so that nobody takes a gap for a fact."""
    sentences = [] if facts.reached else [text("about.unreachable")]
    if facts.missing:
        sentences.append(text("about.missing", files=", ".join(facts.missing)))
    return sentences


def _paragraphs(markdown: str | None) -> list[list[str]]:
    """Paragraphs of a card, each as pieces of which every second one is code.

    All marks but those of `code` stay as they were written.
    """
    paragraphs = re.split(r"\n\s*\n", markdown) if markdown else []
    return [re.split(r"`([^`]+)`", " ".join(paragraph.split())) for paragraph in paragraphs]


def _counted(
    count: int | None, total: int | None, interval: Interval | None, text: Translation
) -> tuple[str, str]:
    """A count as "7 of 40 (17.5 %)" and its interval as "8.7 to 31.9 %", both for a cell."""
    if count is None or not total:
        return UNKNOWN, UNKNOWN
    percent = _percent(count / total, text)
    share = text("about.count", count=count, total=total, percent=percent)
    if interval is None:
        return share, UNKNOWN
    low, high = (_percent(end, text) for end in interval)
    return share, text("about.range", low=low, high=high)


def _ratio(value: float | None, text: Translation) -> str:
    return UNKNOWN if value is None else text.number(value, ".3f")


def _percent(share: float, text: Translation) -> str:
    return text.number(100 * share, ".1f")
