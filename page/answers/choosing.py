"""Which product and which model, and what is known of the chosen one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from page.answers.values import NOTHING_NEW, SKIP, cleared
from page.api.programs import mcp_is_installed
from page.components import models_of
from page.inspection.inspector import Inspector
from page.languages import Translation
from page.models.entries import examples_of
from page.models.facts import defect_scores, read_facts
from page.session import Session
from page.views.about import about_html
from page.views.batch import progress_html
from page.views.charts import charts_html
from page.views.programs import programs_html
from page.views.verdict_card import notice_html, threshold_cost

NO_FACTS = ("", "", "")  # nothing is said of what the threshold costs, nor of the model


class Choosing:
    """Answers about the lists of products and models."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector
        self.catalogue = inspector.catalogue

    def open(
        self, session: Session, text: Translation, category: str | None, model: str | None
    ) -> tuple[Any, ...]:
        """The choice that the page's address asks for, as far as it is on offer."""
        category, model = self._closest(category, model)
        session.turn_to(category, model)
        return (
            (category, model),
            gr.Dropdown(choices=self.catalogue.categories, value=category),
            gr.Dropdown(choices=models_of(self.catalogue, category), value=model),
            *examples(category),
            text.language,
            text.language,
            *cleared(text),
            progress_html(None, text),
        )

    def describe_programs(self, text: Translation, category: str, request: gr.Request) -> str:
        """The panel for programs, with the address by which this visitor reaches the app."""
        address = f"{str(request.request.base_url).rstrip('/')}/"
        has_mcp = mcp_is_installed() and request.username is None  # not behind a login
        return programs_html(text, address, category, has_mcp)

    def choose_category(
        self,
        session: Session,
        category: str,
        model: str | None,
        shown: tuple[str, str | None],
        text: Translation,
    ) -> tuple[Any, ...]:
        """Offer the category's models and examples, and clear what belonged to the last one."""
        choices = models_of(self.catalogue, category)
        names = [name for _, name in choices]
        kept = model if model in names else next(iter(names), None)  # it may know both categories
        changes = (
            (category, kept),
            gr.Dropdown(choices=choices, value=kept),
            session.threshold_of(category, kept),
            *examples(category),
            None,
            *cleared(text),
            *NO_FACTS,
        )
        if category == shown[0]:
            return (SKIP,) * len(changes)
        session.turn_to(category, kept)
        return changes

    def choose_model(
        self, session: Session, model: str, shown: tuple[str, str | None], text: Translation
    ) -> tuple[Any, ...]:
        """Clear what belonged to the last model."""
        threshold = session.threshold_of(shown[0], model)
        changes = ((shown[0], model), threshold, *cleared(text), *NO_FACTS)
        if model == shown[1]:
            return (SKIP,) * len(changes)
        session.turn_to(shown[0], model)
        return changes

    def offer(
        self, session: Session, category: str | None, model: str | None, text: Translation
    ) -> tuple[Any, ...]:
        """Bring both lists up to date; the visitor's choice stays where it is still on offer."""
        closest = self._closest(category, model)
        is_kept = closest == (category, model)
        if not is_kept:
            session.turn_to(*closest)
        # Without a value, what the visitor has chosen in the meantime stays too.
        values = [{}, {}] if is_kept else [{"value": name} for name in closest]
        notice = self.catalogue.notice
        return (
            closest,
            gr.Dropdown(choices=self.catalogue.categories, **values[0]),
            gr.Dropdown(choices=models_of(self.catalogue, closest[0]), **values[1]),
            gr.Button(text("page.refresh"), interactive=True),
            gr.HTML(notice_html(notice), visible=bool(notice)),
            *examples(closest[0]),
            *(NOTHING_NEW if is_kept else cleared(text)),
        )

    def refresh(self, text: Translation) -> Iterator[gr.Button]:
        """Ask the Hub anew; the button says so until `offer` has brought the lists up to date."""
        yield gr.Button(text("page.refreshing"), interactive=False)
        self.catalogue.refresh(force=True)

    def prepare(self, session: Session, text: Translation) -> Any:
        """Load the model that is chosen by now, ahead of the first photo; what it is, in words."""
        from modeling import ModelLoadError

        if session.choice is None:
            return SKIP
        choice = session.choice
        entry = self.catalogue.find(*choice)
        if entry is None:
            return ""
        facts = read_facts(entry)
        try:
            calibration = self.inspector.calibration_of(entry)
            backend = self.catalogue.load(entry).backend
        except ModelLoadError:  # said when a photo is inspected
            calibration = None
        if session.choice != choice:
            return SKIP  # the visitor has gone on meanwhile
        if calibration is None:
            return about_html(facts, text)
        session.facts, session.calibration = facts, calibration
        session.defect_scores = defect_scores(facts, calibration)
        return about_html(facts, text, backend)

    def measure(self, session: Session, text: Translation) -> tuple[Any, Any]:
        """What the threshold costs with the model that `prepare` has loaded: in words, in charts.

        A step of its own, beside the queue: the answer of `prepare` may arrive after that to a
        threshold which the visitor has moved meanwhile, and would put the old one in its place.
        """
        if session.calibration is None:
            return SKIP, SKIP
        choice = session.choice
        threshold = session.threshold_of(*choice)
        answer = cost(session, threshold, text), charts(session, threshold, text)
        # Drawing takes a while; if the visitor has moved it by then, they are answered already.
        is_current = (session.choice, session.threshold_of(*choice)) == (choice, threshold)
        return answer if is_current else (SKIP, SKIP)

    def _closest(self, category: str | None, model: str | None) -> tuple[str, str]:
        """The chosen category and model, else the nearest to them that is on offer."""
        return min(
            self.catalogue.named,
            key=lambda named: (named != (category, model), named[1] != model, named[0] != category),
        )


def examples(category: str) -> tuple[gr.Column, gr.Dataset]:
    """The category's example photos; nothing is shown where there are none."""
    samples = [[path] for path in examples_of(category)]
    return gr.Column(visible=bool(samples)), gr.Dataset(samples=samples)


def cost(session: Session, threshold: float, text: Translation) -> Any:
    """What the threshold costs; before the model is loaded, that is left to `measure`."""
    if session.calibration is None:
        return SKIP
    return threshold_cost(session.calibration, threshold, session.defect_scores, text)


def charts(session: Session, threshold: float, text: Translation) -> Any:
    """Histogram and ROC curve with the threshold in them; as with the cost, see there."""
    if session.facts is None or session.calibration is None:
        return SKIP
    return charts_html(session.facts, session.calibration, threshold, text)
