"""Which click gets which answer, and the page as a whole."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from page.answers import taking_home
from page.answers.choosing import Choosing, charts
from page.answers.many_photos import ManyPhotos
from page.answers.one_photo import OnePhoto
from page.api.programs import Programs, offer
from page.components import Components
from page.inspection.inspector import Inspector
from page.inspection.results import ACCEPT, REJECT
from page.session import CALIBRATED_THRESHOLD

VISITORS_AT_ONCE = 8  # a model that is being downloaded holds only the visitor who asked for it
# Not for programs, which have functions of their own.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUIET = {**PRIVATE, "show_progress": "hidden", "concurrency_limit": VISITORS_AT_ONCE}
# Answers that come at once, beside the queue and without a spinner.
AT_ONCE = {**PRIVATE, "show_progress": "hidden", "queue": False}
ASKED = """() => {
  const { category, model } = window.goldenSample.link();
  return [null, window.goldenSample.language(), category, model];
}"""
# In place of what stands in the slider's box, the last of it that was a threshold.
FOLLOWED = """(session, threshold, ...rest) => {
  return [session, window.goldenSample.followThreshold(threshold), ...rest];
}"""

IN_TURN = "(...given) => window.goldenSample.inTurn(...given)"


def build(inspector: Inspector, root: Path) -> gr.Blocks:
    """The page of an inspector, on which visitors get folders of their own in `root`."""
    with gr.Blocks(
        title="Golden Sample",
        analytics_enabled=False,
        delete_cache=(600, 3600),  # seconds: looks every 10 minutes, deletes after an hour
    ) as blocks:
        components = Components(inspector.catalogue, root)
        # First, for Gradio gives a name to the first who asks: the page's own answers are private.
        offer(Programs(inspector, root), VISITORS_AT_ONCE)
        Wiring(blocks, components, inspector).connect()
    # Else whoever calls /gradio_api/run/inspect goes past all who wait, and stops the page's loop.
    return blocks.queue(api_open=False)


def start_and_stop(*, is_running: bool) -> list[gr.Button]:
    """The batch's two buttons, of which one can be pressed."""
    return [gr.Button(interactive=not is_running), gr.Button(interactive=is_running)]


class Wiring:
    """Connects components and answers; each method is one thing that a visitor does."""

    def __init__(self, blocks: gr.Blocks, components: Components, inspector: Inspector) -> None:
        self.blocks, self.components = blocks, components
        self.choosing = Choosing(inspector)
        self.one_photo, self.many_photos = OnePhoto(inspector), ManyPhotos(inspector)
        c = components
        self.judged = [c.verdict, c.outlines, c.regions]
        self.result = [*self.judged, c.pictures, c.note, c.decision, c.saving]
        self.batch = [c.progress, c.totals, c.gallery, c.table]
        self.facts = [c.cost, c.about, c.charts]
        self.examples = [c.example_box, c.examples]
        self.choice = [c.category, c.model]
        self.chosen = [c.session, *self.choice, c.language]
        self.operating = [*self.choice, c.threshold, c.language]

    def connect(self) -> None:
        """Connect everything."""
        self._staying()
        self._opening()
        self._choosing()
        self._inspecting()
        self._moving_the_threshold()
        self._deciding()
        self._inspecting_many()
        self._taking_home()

    def _staying(self) -> None:
        """As long as the page is open, the session is kept; an hour after it was closed, it ends.

        Gradio deletes a closed page's state an hour after an event last gave it out, and one that
        no event ever gave out never. A connection that was lost for a moment counts as closed for
        good, so the hour has to begin anew while the visitor is there.
        """
        session = self.components.session
        for event in (self.blocks.load, self.components.pulse.tick):
            event(lambda session: session, session, session, **AT_ONCE)

    def _opening(self) -> None:
        """The page's address names language, category and model."""
        c = self.components
        given = [c.session, c.language, *self.choice]
        told = [c.shown, *self.choice, *self.examples, c.language, c.languages, *self.result]
        told.append(c.progress)
        opened = self.blocks.load(self.choosing.open, given, told, js=ASKED, **AT_ONCE)
        described = opened.then(
            self.choosing.describe_programs, [c.language, c.category], c.programs, **AT_ONCE
        )
        if self.choosing.catalogue.asks_hub:
            # The Hub may take its time, so both lists are brought up to date in a step of their
            # own, from what the visitor has chosen by then.
            asked = described.then(self.choosing.catalogue.refresh, None, None, **QUIET)
            refreshed = c.refresh.click(self.choosing.refresh, c.language, c.refresh, **QUIET)
            told = [c.shown, *self.choice, c.refresh, c.notice, *self.examples, *self.result]
            for listed in (asked, refreshed):
                described = listed.then(self.choosing.offer, self.chosen, told, **QUIET)
        self._preparing(described)
        c.languages.input(
            None, c.languages, None, js="(code) => window.goldenSample.chooseLanguage(code)"
        )

    def _choosing(self) -> None:
        c = self.components
        chosen = c.category.change(
            self.choosing.choose_category,
            [c.session, *self.choice, c.shown, c.language],
            [c.shown, c.model, c.threshold, *self.examples, c.photo, *self.result, *self.facts],
            **AT_ONCE,
        )
        changed = c.model.change(
            self.choosing.choose_model,
            [c.session, c.model, c.shown, c.language],
            [c.shown, c.threshold, *self.result, *self.facts],
            **AT_ONCE,
        )
        for event in (chosen, changed):
            linked = event.then(
                None, self.choice, None, js="(...choice) => window.goldenSample.setLink(...choice)"
            )
            self._preparing(linked)

    def _preparing(self, before: gr.events.Dependency) -> None:
        """The model is loaded, which may take a while, and then the threshold has a meaning."""
        c = self.components
        # Without the lists: while the visitor makes another choice, one may be of the old and one
        # of the new, which Gradio refuses.
        given = [c.session, c.language]
        prepared = before.then(self.choosing.prepare, given, c.about, **QUIET)
        prepared.then(self.choosing.measure, given, [c.cost, c.charts], **AT_ONCE)

    def _inspecting(self) -> None:
        c = self.components
        c.photo.change(
            self.one_photo.give, [c.session, c.photo, c.language], self.result, **AT_ONCE
        )
        c.examples.click(lambda sample: sample[0], c.examples, c.photo, **AT_ONCE)
        # At once, for the inspection itself may wait in the queue.
        c.inspect.click(self.one_photo.look_at, [c.session, c.photo, *self.choice], None, **AT_ONCE)
        inspected = c.inspect.click(
            self.one_photo.inspect,
            [c.session, c.photo, *self.operating],
            self.result,
            concurrency_limit=VISITORS_AT_ONCE,
            scroll_to_output=False,
            show_progress_on=c.verdict,
            **PRIVATE,
        )
        self._preparing(inspected)

    def _moving_the_threshold(self) -> None:
        """The browser flips the verdict at once; the server brings what has to be computed."""
        c = self.components
        following = {"js": FOLLOWED, "trigger_mode": "always_last", **AT_ONCE}
        given = [c.session, c.threshold, *self.choice, c.language]
        c.threshold.change(self.one_photo.rejudge, given, [*self.judged, c.cost], **following)
        c.threshold.change(self.many_photos.rejudge, given, self.batch[1:], **following)
        given = [c.session, c.threshold, c.language]
        c.threshold.change(charts, given, c.charts, **following)
        c.calibrated.click(None, None, c.threshold, js=f"() => {CALIBRATED_THRESHOLD}")

    def _deciding(self) -> None:
        c = self.components
        given, told = [c.session, c.note, c.language], [c.verdict, *self.batch[1:]]
        for event, decision in (
            (c.accept.click, ACCEPT),
            (c.reject.click, REJECT),
            (c.note.submit, None),
            (c.note.blur, None),
        ):
            decide = partial(self.one_photo.decide, decision)
            # A click on a button also leaves the note, so there are often two at once.
            decided = event(decide, given, told, js=IN_TURN, **AT_ONCE)
            decided.then(None, None, None, js="() => window.goldenSample.endTurn()")

    def _inspecting_many(self) -> None:
        c = self.components
        c.many.select(lambda: gr.Column(visible=True), None, c.batch_box, **AT_ONCE)
        c.one.select(lambda: gr.Column(visible=False), None, c.batch_box, **AT_ONCE)
        buttons = [c.start, c.cancel]
        c.start.click(
            lambda session, text: [
                *start_and_stop(is_running=True),
                self.many_photos.start(session, text),
            ],
            [c.session, c.language],
            [*buttons, c.progress],
            **AT_ONCE,
        ).then(
            self.many_photos.inspect,
            [c.session, c.files, *self.operating],
            self.batch,
            **QUIET | {"show_progress": "minimal"},  # whose place in the queue waiting.js reads
            show_progress_on=c.progress,
        ).then(lambda: start_and_stop(is_running=False), None, buttons, **AT_ONCE)
        c.cancel.click(self.many_photos.cancel, [c.session, c.language], c.progress, **AT_ONCE)
        for shown in (c.gallery, c.table):
            shown.select(
                self.many_photos.show,
                [c.session, c.language],
                self.result,
                trigger_mode="multiple",  # who walks fast sees the photo where they stop
                **QUIET,
            )

    def _taking_home(self) -> None:
        c = self.components
        save_text = "(text) => window.goldenSample.saveText(text, 'inspection.csv')"
        save_file = "(address) => window.goldenSample.saveUrl(address)"
        for button, answer, save in (
            (c.csv, taking_home.csv, save_text),
            (c.batch_csv, taking_home.batch_csv, save_text),
            (c.zip, taking_home.photo_zip, save_file),
            (c.batch_zip, taking_home.batch_zip, save_file),
        ):
            button.click(answer, c.session, c.saved, **QUIET).then(None, c.saved, None, js=save)
