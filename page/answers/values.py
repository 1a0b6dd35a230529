"""The values that answers give to components, in the order in which the wiring names those."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from page.inspection.batch import Batch
from page.inspection.results import Result
from page.languages import Translation
from page.session import Session
from page.views.batch import gallery_html, progress_html, table_html, totals_html
from page.views.result_pictures import ResultPictures, outlines_html, pictures_html, regions_html
from page.views.verdict_card import message_card, verdict_card

SKIP = gr.skip()  # leaves a component as it is


class Shown(NamedTuple):
    """All that shows one photo's result; the first three depend on the threshold."""

    verdict: Any = SKIP
    outlines: Any = SKIP
    regions: Any = SKIP
    pictures: Any = SKIP
    note: Any = SKIP
    decision: Any = SKIP  # whether the operator's buttons are there
    saving: Any = SKIP  # whether the downloads are there


class Listed(NamedTuple):
    """All that shows a batch."""

    progress: Any = SKIP
    totals: Any = SKIP
    gallery: Any = SKIP
    table: Any = SKIP


NOTHING_NEW = Shown()


def cleared(text: Translation, message: str = "", kind: str = "empty") -> Shown:
    """No result, and a sentence in its place."""
    message = message or text("page.empty")
    hidden = gr.Row(visible=False)
    return Shown(message_card(message, kind), "", "", "", "", hidden, hidden)


def judged(session: Session, result: Result, text: Translation) -> Shown:
    """What changes with the threshold."""
    verdict = verdict_card(result, text, session.keeps_threshold)
    return Shown(verdict, outlines_html(result), regions_html(result, text))


def shown(
    session: Session, result: Result, pictures: ResultPictures | None, text: Translation
) -> Shown:
    """A result with its pictures, where there are any."""
    html = "" if pictures is None else pictures_html(result, pictures, text)
    there = gr.Row(visible=True)
    again = judged(session, result, text)
    return again._replace(pictures=html, note=result.note, decision=there, saving=there)


def listed(batch: Batch, text: Translation) -> Listed:
    """A batch as far as it is."""
    views = (progress_html, totals_html, gallery_html, table_html)
    return Listed(*(view(batch, text) for view in views))
