"""How a batch is shown: its progress, totals, a gallery of what needs attention, and the table."""

from __future__ import annotations

import math
from typing import Any

from page.inspection.batch import Batch, Totals
from page.inspection.results import ACCEPT, REJECT
from page.languages import Translation
from page.markup import render
from page.views.verdict_card import doubt_sentence

MAX_THUMBNAILS = 60
# By verdict: the name of its style and shape, and its word.
VERDICTS = {
    "PASS": ("pass", "verdict.pass"),
    "FAIL": ("fail", "verdict.fail"),
    "CHECK": ("check", "verdict.check"),
    "ERROR": ("error", "batch.not_read"),
}
DECISIONS = {ACCEPT: "batch.accepted", REJECT: "batch.rejected"}
# Name, what it is sorted as (see batch.js), and how a first click on its head sorts.
COLUMNS = (
    ("number", "number", "ascending"),
    ("file", "words", "ascending"),
    ("verdict", "number", "ascending"),
    ("score", "number", "descending"),
    ("regions", "number", "descending"),
    ("decision", "words", "descending"),
    ("note", "words", "ascending"),
)

# For gr.HTML(js_on_load=...) of the gallery and of the table. Their listener needs
# trigger_mode="multiple": with "always_last" Gradio repeats the data of the first click.
SELECT_ON_CLICK = "window.goldenBatch.connect(element, trigger, watch)"


def progress_html(batch: Batch | None, text: Translation) -> str:
    """A bar with a count, the pace and the remaining time, or how the batch ended."""
    if batch is None:
        return render("sentences.html", kind="batch-message", sentences=[text("batch.empty")])
    return render(
        "batch/progress.html",
        text=text,
        state=_state(batch),
        done=len(batch.results),
        total=len(batch.uploads),
        sentences=_progress_sentences(batch, text),
    )


def totals_html(batch: Batch | None, text: Translation) -> str:
    """How many passed, failed, need a look or can't be read, and the yield; nothing before."""
    if batch is None or not batch.results:
        return ""
    totals, decided = batch.totals, batch.totals_decided
    figures = [
        ("inspected", "", totals.inspected, ""),
        ("passed", "pass", totals.passed, ""),
        ("failed_parts", "fail", totals.failed, ""),
        ("to_check", "check", totals.to_check, ""),
        ("unreadable", "error", totals.unreadable, ""),
        ("yield", "yield", *_yield(totals, text)),
    ]
    if decided is not None:
        figures.append(("yield_decided", "yield", *_yield(decided, text)))
    return render("batch/totals.html", text=text, figures=figures)


def gallery_html(batch: Batch | None, text: Translation) -> str:
    """Thumbnails with their verdicts, what needs attention first; the rest is in the table."""
    if batch is None or not batch.results:
        return ""
    photos = sorted(_photos(batch, text), key=lambda photo: photo["result"].urgency)
    hidden = len(photos) - MAX_THUMBNAILS
    return render(
        "batch/gallery.html",
        text=text,
        photos=photos[:MAX_THUMBNAILS],
        more=_one_or_many(text, "batch.more", hidden) if hidden > 0 else "",
    )


def table_html(batch: Batch | None, text: Translation) -> str:
    """A row for each photo, in the order of the batch; the browser sorts them otherwise."""
    if batch is None or not batch.results:
        return ""
    return render("batch/table.html", text=text, columns=COLUMNS, photos=_photos(batch, text))


def _state(batch: Batch) -> str:
    """One of "running", "failed", "cancelled", "finished" and "ended"."""
    if batch.is_running:
        return "running"
    if batch.error:
        return "failed"
    if batch.is_cancelled:
        return "cancelled"
    return "finished" if len(batch.results) == len(batch.uploads) else "ended"


def _progress_sentences(batch: Batch, text: Translation) -> list[str]:
    """The count while it runs, else one sentence that says how it ended."""
    done, total = len(batch.results), len(batch.uploads)
    state = _state(batch)
    if state == "running":
        return [text("batch.count", done=done, total=total), *_pace_words(batch, text)]
    if state == "finished":
        return [_one_or_many(text, "batch.finished", total)]
    return [text(f"batch.{state}", done=done, total=total, reason=batch.error)]


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


def _yield(totals: Totals, text: Translation) -> tuple[str, str]:
    """The yield, and of how many photos it is."""
    if totals.judged == 0:
        return "-", text("batch.none_judged")
    value = text("batch.percent", number=text.number(100 * totals.good_share, ".1f"))
    return value, text("batch.of_judged", passed=totals.passed, judged=totals.judged)


def _photos(batch: Batch, text: Translation) -> list[dict[str, Any]]:
    """What gallery and table show of each photo beside its result."""
    done = zip(batch.results, batch.thumbnails, strict=False)  # more may be done meanwhile
    return [
        {
            "number": number,
            "is_selected": number == batch.selected,
            "result": result,
            "thumbnail": thumbnail,
            "look": VERDICTS[result.record.verdict][0],
            "verdict": text(VERDICTS[result.record.verdict][1]),
            "rank": list(VERDICTS).index(result.record.verdict),
            "decided": text(DECISIONS[result.decision]) if result.decision else "",
            "reason": doubt_sentence(result, text) or result.why_not(text),
        }
        for number, (result, thumbnail) in enumerate(done, start=1)
    ]


def _one_or_many(text: Translation, key: str, number: int) -> str:
    return text(f"{key}_one") if number == 1 else text(key, number=number)
