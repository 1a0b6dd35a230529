"""What a model was made from, how well it judges, and for what: the page's panel about it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from page.languages import Translation
from page.markup import decimal, said
from page.models.facts import (
    Defect,
    Interval,
    Measured,
    ModelFacts,
    Training,
    defect_scores,
    good_test_scores,
    normal_scores,
)
from page.views.charts import histogram_svg, operating_point, roc_svg

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration

LIMITS, DATA = "For and not for", "Data and licence"  # sections of the card, which is in English
UNKNOWN = "·"  # in a table's cell
RUNTIME_NAMES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def about_html(facts: ModelFacts, text: Translation, backend: str | None = None) -> str:
    """The panel about a model, without its charts.

    Args:
        facts: from `read_facts`; everything in them may be missing and is escaped here.
        text: words.
        backend: what runs the model, if it is loaded.
    """
    parts = (
        _origin(facts, text, backend),
        _figures(facts.measured, text),
        _limits(facts, text),
        _card(facts, text),
        _unknown(facts, text),
    )
    return f'<section class="about">{"".join(parts)}</section>'


def charts_html(
    facts: ModelFacts, calibration: Calibration, threshold: float, text: Translation
) -> str:
    """How the threshold was set, and histogram and ROC curve with the current one drawn in.

    The ROC curve is left out where no test scores are known.

    Args:
        facts: from `read_facts`.
        calibration: of the model for its category.
        threshold: the operating threshold, 0..1.
        text: words.
    """
    good = good_test_scores(facts, calibration) or ()
    anomalous = defect_scores(facts, calibration) or ()
    histogram = histogram_svg(good, anomalous, normal_scores(calibration), threshold, text)
    figures = [_figure(said(text, "about.histogram"), histogram, said(text, "about.shaded"))]
    if good and anomalous:
        rejected, found = operating_point(good, anomalous, threshold)
        shares = {"found": f"{100 * found:.0f}", "rejected": f"{100 * rejected:.0f}"}
        caption = said(text, "about.roc_point", **shares)
        curve = roc_svg(good, anomalous, threshold, text)
        figures.append(_figure(said(text, "about.roc"), curve, caption))
    promised = _percent(calibration.promised_false_alarm_rate, text)
    parts = {"n": len(calibration.normal_scores), "percent": promised}
    return (
        f'<div class="charts" data-follows-threshold style="--threshold: {threshold:.4f}">'
        f"<p>{said(text, 'about.calibrated_on', **parts)}</p>{''.join(figures)}</div>"
    )


def _figure(title: str, drawing: str, caption: str) -> str:
    return f"<figure><h4>{title}</h4>{drawing}<figcaption>{caption}</figcaption></figure>"


def _origin(facts: ModelFacts, text: Translation, backend: str | None) -> str:
    """Name, licence, what it was trained on, and what runs it."""
    training = facts.training
    rows = [("model", html.escape(facts.name))]
    if training and training.n_photos:
        photos = {"n": training.n_photos, "category": facts.category}
        rows.append(("training", said(text, "about.trained_on", **photos)))
    if training and training.date:
        rows.append(("date", html.escape(training.date)))
    rows.append(("licence", html.escape(facts.licence or text("about.licence_unknown"))))
    if data := facts.section(DATA):
        rows.append(("data", _prose(data)))
    if backend:
        rows.append(("backend", html.escape(RUNTIME_NAMES.get(backend, backend))))
    terms = "".join(
        f"<dt>{said(text, f'about.{name}')}</dt><dd>{value}</dd>" for name, value in rows
    )
    return f"<dl>{terms}</dl>{_made(training, facts.measured, text)}"


def _made(training: Training | None, measured: Measured | None, text: Translation) -> str:
    """Commands and versions, folded away: for the one who makes the model again."""
    commands = [made.command for made in (training, measured) if made and made.command]
    if not commands:
        return ""
    versions = [" ".join(pair) for pair in training.versions] if training else []
    device = [training.device] if training and training.device else []
    made_with = html.escape(", ".join([*versions, *device]))
    return (
        f"<details><summary>{said(text, 'about.made')}</summary>"
        f"<pre>{html.escape(chr(10).join(commands))}</pre><p>{made_with}</p></details>"
    )


def _figures(measured: Measured | None, text: Translation) -> str:
    """What was measured on labelled test photos, in all and by kind of defect."""
    if measured is None:
        return f"<h4>{said(text, 'about.figures')}</h4><p>{said(text, 'about.not_measured')}</p>"
    found = None if measured.misses is None else measured.n_defective - measured.misses
    alarms, alarm_interval = measured.false_alarms, measured.false_alarm_interval
    rows = {
        "found": _counted(found, measured.n_defective, _rest_of(measured.miss_interval), text),
        "rejected": _counted(alarms, measured.n_good, alarm_interval, text),
        "image_auroc": (_ratio(measured.image_auroc, text), UNKNOWN),
        "pixel_auroc": (_ratio(measured.pixel_auroc, text), UNKNOWN),
        "aupro": (_ratio(measured.aupro, text), UNKNOWN),
    }
    body = "".join(
        f'<tr><th scope="row">{said(text, f"about.{name}")}</th>'
        f"<td>{value}</td><td>{interval}</td></tr>"
        for name, (value, interval) in rows.items()
    )
    counts = {"good": measured.n_good, "defective": measured.n_defective}
    when = (measured.date or "")[:10] or UNKNOWN
    return (
        f"<h4>{said(text, 'about.figures')}</h4>"
        f"<p>{said(text, 'about.measured_on', date=when, **counts)}</p>"
        f"{_table(('figure', 'value', 'interval'), body, text)}{_defects(measured, text)}"
    )


def _defects(measured: Measured, text: Translation) -> str:
    if not measured.defects:
        return ""
    weakest = measured.weakest
    body = "".join(_defect(defect, defect is weakest, text) for defect in measured.defects)
    columns = ("defect", "missed", "interval", "auroc")
    return f"<h4>{said(text, 'about.defects')}</h4>{_table(columns, body, text)}"


def _defect(defect: Defect, is_weakest: bool, text: Translation) -> str:
    missed, interval = _counted(defect.missed, defect.count, defect.miss_interval, text)
    mark = f' <span class="weakest">▲ {said(text, "about.weakest")}</span>' if is_weakest else ""
    return (
        f'<tr{" class=weakest" if is_weakest else ""}><th scope="row">'
        f"{html.escape(defect.name.replace('_', ' '))}{mark}</th>"
        f"<td>{missed}</td><td>{interval}</td><td>{_ratio(defect.auroc, text)}</td></tr>"
    )


def _table(columns: Sequence[str], body: str, text: Translation) -> str:
    head = "".join(f'<th scope="col">{said(text, f"about.{column}")}</th>' for column in columns)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _limits(facts: ModelFacts, text: Translation) -> str:
    limits = facts.section(LIMITS)
    words = _prose(limits) if limits else f"<p>{said(text, 'about.limits_unknown')}</p>"
    return f'<h4>{said(text, "about.limits")}</h4><div class="limits">{words}</div>'


def _card(facts: ModelFacts, text: Translation) -> str:
    """The card's text as it was written, and where on the Hub it stands."""
    parts = []
    if facts.address and re.match(r"https?://", facts.address):
        parts.append(
            f'<p><a href="{html.escape(facts.address)}" target="_blank" '
            f'rel="noopener noreferrer">{said(text, "about.card_on_hub")}</a></p>'
        )
    if facts.card:
        parts.append(
            f"<details><summary>{said(text, 'about.card')}</summary>"
            f'<pre lang="en">{html.escape(facts.card)}</pre></details>'
        )
    return "".join(parts)


def _unknown(facts: ModelFacts, text: Translation) -> str:
    """What could not be read, so that nobody takes a gap for a fact."""
    sentences = [] if facts.reached else [said(text, "about.unreachable")]
    if facts.missing:
        sentences.append(said(text, "about.missing", files=", ".join(facts.missing)))
    return f'<p class="unknown">{" ".join(sentences)}</p>' if sentences else ""


def _prose(markdown: str) -> str:
    """Paragraphs of a card with `code` as code; all other marks stay as they were written."""
    paragraphs = (
        re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(" ".join(paragraph.split())))
        for paragraph in re.split(r"\n\s*\n", markdown)
    )
    return "".join(f'<p lang="en">{paragraph}</p>' for paragraph in paragraphs)


def _counted(
    count: int | None, total: int, interval: Interval | None, text: Translation
) -> tuple[str, str]:
    """A count as "7 of 40 (17.5 %)" and its interval as "8.7 to 31.9 %", both for a cell."""
    if count is None or total == 0:
        return UNKNOWN, UNKNOWN
    percent = _percent(count / total, text)
    share = said(text, "about.count", count=count, total=total, percent=percent)
    if interval is None:
        return share, UNKNOWN
    low, high = (_percent(end, text) for end in interval)
    return share, said(text, "about.range", low=low, high=high)


def _rest_of(interval: Interval | None) -> Interval | None:
    """The interval of what was found, from that of what was missed."""
    return None if interval is None else (1 - interval[1], 1 - interval[0])


def _ratio(value: float | None, text: Translation) -> str:
    return UNKNOWN if value is None else decimal(f"{value:.3f}", text)


def _percent(share: float, text: Translation) -> str:
    return decimal(f"{100 * share:.1f}", text)
