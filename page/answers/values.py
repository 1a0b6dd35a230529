"""The values that answers give to components, in the order in which the wiring names those."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from page.inspection.batch import Batch
from page.inspection.results import Result
from page.languages import text_in
from page.session import Session
from page.views.batch import gallery_html, progress_html, table_html, totals_html
from page.views.result_pictures import ResultPictures, outlines_html, pictures_html, regions_html
from page.views.verdict_card import message_card, verdict_card


class Judged(NamedTuple):
    """What depends on the threshold."""

    verdict: str
    outlines: str
    regions: str


class Shown(NamedTuple):
    """All that shows one photo's result."""

    verdict: Any
    outlines: Any
    regions: Any
    pictures: Any
    note: Any
    decision: Any  # whether the operator's buttons are there
    saving: Any  # whether the downloads are there


class Listed(NamedTuple):
    """All that shows a batch."""

    progress: Any
    totals: Any
    gallery: Any
    table: Any


def unchanged(count: int) -> tuple[Any, ...]:
    """Values that leave so many components as they are."""
    return tuple(gr.skip() for _ in range(count))


NOTHING_NEW = Shown(*unchanged(len(Shown._fields)))


def cleared(language: str, message: str = "", kind: str = "empty") -> Shown:
    """No result, and a sentence in its place."""
    message = message or text_in(language)("page.empty")
    hidden = gr.Row(visible=False)
    return Shown(message_card(message, kind), "", "", "", "", hidden, hidden)


def card(session: Session, result: Result, language: str) -> str:
    """The verdict card."""
    return verdict_card(result, text_in(language), session.keeps_threshold)


def judged(session: Session, result: Result, language: str) -> Judged:
    """What changes with the threshold."""
    regions = regions_html(result, text_in(language))
    return Judged(card(session, result, language), outlines_html(result), regions)


def shown(
    session: Session, result: Result, pictures: ResultPictures | None, language: str
) -> Shown:
    """A result with its pictures, where there are any."""
    html = "" if pictures is None else pictures_html(result, pictures, text_in(language))
    visible = gr.Row(visible=True)
    return Shown(*judged(session, result, language), html, result.note, visible, visible)


def listed(batch: Batch, language: str) -> Listed:
    """A batch as far as it is."""
    text = text_in(language)
    views = (progress_html, totals_html, gallery_html, table_html)
    return Listed(*(view(batch, text) for view in views))


def progress_only(progress: str) -> Listed:
    """Something in the place of a batch's progress; the rest stays."""
    return Listed(progress, *unchanged(3))
