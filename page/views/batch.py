"""How a batch is shown: its progress, totals, a gallery of what needs attention, and the table."""

from __future__ import annotations

import html
import math
from pathlib import PurePosixPath

from page.inspection.batch import Batch, Totals
from page.inspection.results import ACCEPT, REJECT, Result
from page.languages import Translation
from page.markup import ICONS, address, decimal, icon, said

MAX_THUMBNAILS = 60
# By verdict: the name of its style and shape, and its word.
LOOKS = {"PASS": "pass", "FAIL": "fail", "CHECK": "check", "": "error"}
WORDS = {
    "PASS": "verdict.pass",
    "FAIL": "verdict.fail",
    "CHECK": "verdict.check",
    "": "batch.not_read",
}
DECISIONS = {ACCEPT: "batch.accepted", REJECT: "batch.rejected"}
# Name, whether it is a number, and how a first click on its head sorts.
COLUMNS = (
    ("number", True, "ascending"),
    ("file", False, "ascending"),
    ("verdict", True, "ascending"),
    ("score", True, "descending"),
    ("regions", True, "descending"),
    ("decision", False, "descending"),
    ("note", False, "ascending"),
)

# For gr.HTML(js_on_load=...) of the gallery and of the table: both send the number of the photo.
# Gradio brings the HTML up to date in place, so the listener stays and the chosen order goes. With
# trigger_mode="always_last" it repeats the data of the first click, not of the last: take
# `window.goldenBatch.chosen()` in the listener's js instead.
SELECT_ON_CLICK = """
element.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-number]");
  if (!chosen) return;
  const number = Number(chosen.dataset.number);
  window.goldenBatch?.mark(number);
  trigger("select", { number });
  // Who points at a photo wants to see it; who walks by the keyboard looks at it already.
  if (event.isTrusted) document.getElementById("verdict")?.scrollIntoView({ behavior: "smooth" });
});
watch("value", () => window.goldenBatch?.restore());
"""


def progress_html(batch: Batch | None, text: Translation) -> str:
    """A bar with a count, the pace and the remaining time, or how the batch ended."""
    if batch is None:
        return f'<p class="batch-message">{said(text, "batch.empty")}</p>'
    done, total = len(batch.results), len(batch.uploads)
    share = 100 * done / total if total else 0
    return f"""
<div class="batch-progress {_state(batch)}">
  <div class="bar" role="progressbar" aria-label="{said(text, "batch.progress")}"
       aria-valuemin="0" aria-valuemax="{total}" aria-valuenow="{done}">
    <i style="width: {share:.1f}%"></i>
  </div>
  <p>{_progress_words(batch, text)}</p>
</div>"""


def totals_html(batch: Batch | None, text: Translation) -> str:
    """How many passed, failed, need a look or can't be read, and the yield; nothing before."""
    if batch is None or not batch.results:
        return ""
    totals, decided = batch.totals, batch.totals_decided
    figures = [
        ("inspected", "", totals.inspected),
        ("passed", "pass", totals.passed),
        ("failed_parts", "fail", totals.failed),
        ("to_check", "check", totals.to_check),
        ("unreadable", "error", totals.unreadable),
    ]
    boxes = [_figure(text(f"batch.{key}"), look, str(value)) for key, look, value in figures]
    boxes.append(_yield_figure(text("batch.yield"), totals, text))
    if decided is not None:
        boxes.append(_yield_figure(text("batch.yield_decided"), decided, text))
    return f'<dl class="batch-totals">{"".join(boxes)}</dl>'


def gallery_html(batch: Batch | None, text: Translation) -> str:
    """Thumbnails with their verdicts, what needs attention first; the rest is in the table."""
    if batch is None or not batch.results:
        return ""
    results = list(enumerate(batch.results, start=1))
    results.sort(key=lambda numbered: numbered[1].urgency)
    tiles = "".join(
        _tile(batch, number, result, text) for number, result in results[:MAX_THUMBNAILS]
    )
    hidden = len(results) - MAX_THUMBNAILS
    more = _one_or_many(text, "batch.more", hidden) if hidden > 0 else ""
    label = said(text, "batch.gallery")
    return (
        f'<ul class="batch-gallery" aria-label="{label}">{tiles}</ul>'
        f'<p class="batch-more">{html.escape(more)}</p>'
    )


def table_html(batch: Batch | None, text: Translation) -> str:
    """A row for each photo, in the order of the batch; the browser sorts them otherwise."""
    if batch is None or not batch.results:
        return ""
    heads = "".join(_head(*column, text) for column in COLUMNS)
    rows = "".join(
        _row(number, result, number == batch.selected, text)
        for number, result in enumerate(batch.results, start=1)
    )
    return (
        '<div class="batch-frame"><table id="batch_table" class="batch-table">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _state(batch: Batch) -> str:
    """One of "running", "failed", "cancelled", "finished" and "ended"."""
    if batch.is_running:
        return "running"
    if batch.error:
        return "failed"
    if batch.is_cancelled:
        return "cancelled"
    return "finished" if len(batch.results) == len(batch.uploads) else "ended"


def _progress_words(batch: Batch, text: Translation) -> str:
    """HTML: the count while it runs, else one sentence that says how it ended."""
    done, total = len(batch.results), len(batch.uploads)
    state = _state(batch)
    if state == "running":
        words = [text("batch.count", done=done, total=total), *_pace_words(batch, text)]
        return " ".join(f"<span>{html.escape(word)}</span>" for word in words)
    if state == "finished":
        sentence = _one_or_many(text, "batch.finished", total)
    else:
        sentence = text(f"batch.{state}", done=done, total=total, reason=batch.error)
    return f'<span role="status">{html.escape(sentence)}</span>'


def _pace_words(batch: Batch, text: Translation) -> list[str]:
    if batch.is_cancelled:
        return [text("batch.cancelling")]
    if not batch.results:
        return [text("batch.waiting")]
    if math.isnan(batch.seconds_left):
        return []
    pace = text("batch.pace", number=round(batch.photos_per_minute))
    if batch.seconds_left < 60:
        return [pace, text("batch.seconds_left", number=max(1, round(batch.seconds_left)))]
    return [pace, text("batch.minutes_left", number=round(batch.seconds_left / 60))]


def _figure(name: str, look: str, value: str, hint: str = "") -> str:
    return (
        f'<div class="{look}"><dt>{html.escape(name)}</dt><dd>{html.escape(value)}'
        f"<small>{html.escape(hint)}</small></dd></div>"
    )


def _yield_figure(name: str, totals: Totals, text: Translation) -> str:
    if totals.judged == 0:
        return _figure(name, "yield", "-", text("batch.none_judged"))
    value = text("batch.percent", number=decimal(f"{100 * totals.good_share:.1f}", text))
    hint = text("batch.of_judged", passed=totals.passed, judged=totals.judged)
    return _figure(name, "yield", value, hint)


def _tile(batch: Batch, number: int, result: Result, text: Translation) -> str:
    chosen = " selected" if number == batch.selected else ""
    thumbnail = batch.thumbnails[number - 1]
    picture = f'<img src="{address(thumbnail)}" loading="lazy" alt="">' if thumbnail else ""
    name = html.escape(PurePosixPath(result.file).name)
    return (
        f'<li><button type="button" class="tile {LOOKS[result.verdict]}{chosen}" '
        f'data-number="{number}" title="{html.escape(result.file)}">'
        f'<span class="picture">{picture}</span>'
        f'<span class="words">{_badge(result.verdict, text)}{_decision(result, text)}</span>'
        f'<span class="file">{name}</span></button></li>'
    )


def _head(name: str, is_number: bool, first: str, text: Translation) -> str:
    order = "ascending" if name == "number" else "none"
    kind = "number" if is_number else "words"
    hint = said(text, "batch.sort")
    return (
        f'<th scope="col" class="{name}" data-column="{name}" data-kind="{kind}" '
        f'data-first="{first}" aria-sort="{order}"><button type="button" title="{hint}">'
        f"{said(text, f'batch.{name}')}<i></i></button></th>"
    )


def _row(number: int, result: Result, is_selected: bool, text: Translation) -> str:
    """One photo; `data-value` is what its column is sorted by, and empty ones stay last."""
    verdict, is_judged = result.verdict, not result.error
    cells = {
        "number": (number, str(number)),
        "file": (result.file, html.escape(result.file)),
        "verdict": (list(LOOKS).index(verdict), _badge(verdict, text)),
        "score": (result.score, decimal(f"{result.score:.3f}", text)) if is_judged else ("", ""),
        "regions": (len(result.regions), str(len(result.regions))) if is_judged else ("", ""),
        "decision": (result.decision, _decision(result, text)),
        "note": (result.note or _reason(result, text), _notes(result, text)),
    }
    inner = "".join(
        f'<td class="{name}" data-value="{html.escape(str(value))}">{shown}</td>'
        for name, (value, shown) in cells.items()
    )
    chosen, marked = ("selected", "true") if is_selected else ("", "false")
    return (
        f'<tr data-number="{number}" tabindex="0" class="{LOOKS[verdict]} {chosen}" '
        f'aria-selected="{marked}">{inner}</tr>'
    )


def _badge(verdict: str, text: Translation) -> str:
    look = LOOKS[verdict]
    shape = icon(look) if look in ICONS else "<b>!</b>"
    return f'<span class="badge {look}">{shape}{said(text, WORDS[verdict])}</span>'


def _decision(result: Result, text: Translation) -> str:
    if not result.decision:
        return ""
    return f'<span class="decided">{said(text, DECISIONS[result.decision])}</span>'


def _reason(result: Result, text: Translation) -> str:
    """Why there is no verdict; nothing where there is one."""
    if result.doubt is not None:
        return text(f"verdict.{result.doubt}", category=result.category.replace("_", " "))
    return result.why_not(text)


def _notes(result: Result, text: Translation) -> str:
    """HTML: why there is no verdict, and the operator's own words."""
    reason, note = html.escape(_reason(result, text)), html.escape(result.note)
    return " ".join(filter(None, [f'<span class="reason">{reason}</span>' if reason else "", note]))


def _one_or_many(text: Translation, key: str, number: int) -> str:
    return text(f"{key}_one") if number == 1 else text(key, number=number)
