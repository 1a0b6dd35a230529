"""The components of the page, laid out as one sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from page.languages import DEFAULT, NAMES, Translation, all_words, text_in
from page.markup import render
from page.models.catalogue import Catalogue
from page.models.entries import examples_of
from page.server.gradio_internals import LANGUAGE, read_with
from page.server.refusals import checked_threshold
from page.session import CALIBRATED_THRESHOLD, Session
from page.views.batch import SELECT_ON_CLICK, progress_html
from page.views.verdict_card import message_card

# Never mirrored, as Gradio does unless told: on a part that lies the same way every time, that is a
# defect. A phone takes the camera on its back, and any camera as many pixels as it has.
CAMERA = gr.WebcamOptions(
    mirror=False,
    constraints={
        "video": {
            "facingMode": {"ideal": "environment"},
            "width": {"ideal": 4096},
            "height": {"ideal": 4096},
        }
    },
)
PULSE_SECONDS = 600  # well within the hour for which Gradio keeps what a closed page has left
# Chinese goes by its full name in the browser's half of Gradio, which knows no "zh".
LOCALES = {"zh": ("zh-CN", "zh-TW")}

# In the visitor's language without asking the server, so that nothing flickers at the start.
translate = gr.I18n(
    **{
        locale: words
        for language, words in all_words().items()
        for locale in LOCALES.get(language, (language,))
    }
)
TEXT = Translation(DEFAULT)  # until the browser has said its language


class Components:
    """All that is on the page, laid out inside the current `gr.Blocks`; named by what it is for.

    The catalogue's first model is shown first; visitors get folders of their own in `root`.
    """

    def __init__(self, catalogue: Catalogue, root: Path) -> None:
        self.session = gr.State(Session(root), delete_callback=lambda session: session.end())
        # Never seen: a sign that the visitor is still there, the language that the browser says,
        # and text or an address on its way to the browser's downloads.
        self.pulse = gr.Timer(PULSE_SECONDS)
        self.language = read_with(gr.Textbox(visible="hidden", elem_id=LANGUAGE), text_in)
        self.saved = gr.Textbox(visible="hidden", elem_id="saved")
        self._heading()
        with gr.Row(elem_id="top"):
            with gr.Column(scale=2, min_width=300, elem_id="question"):
                self._question(catalogue)
            with gr.Column(scale=5, min_width=300, elem_id="answer"):
                self._answer()
        with gr.Column(visible=False, elem_id="batch") as self.batch_box:
            self.totals = _html("totals")
            self.gallery = _html("gallery", js_on_load=SELECT_ON_CLICK)
            with gr.Row(elem_id="batch_saving"):
                self.batch_csv = _button("batch_csv", size="sm")
                self.batch_zip = _button("batch_zip", size="sm")
            self.table = _html("batch_list", js_on_load=SELECT_ON_CLICK)
        with gr.Accordion(translate("page.about"), open=False, elem_id="about_box"):
            self.about, self.charts = _html("about"), _html("charts")
        with gr.Accordion(translate("page.programs"), open=False, elem_id="programs_box"):
            self.programs = _html("programs")

    def _heading(self) -> None:
        with gr.Row(elem_id="heading"):
            _html("title", render("title.html", title=TEXT("page.title")), scale=1)
            self.languages = gr.Dropdown(
                [(name, language) for language, name in NAMES.items()],
                value=DEFAULT,
                label=translate("page.language"),
                show_label=False,
                container=False,
                filterable=False,
                scale=0,
                min_width=130,
                elem_id="languages",
            )

    def _question(self, catalogue: Catalogue) -> None:
        first = catalogue.entries[0]
        models = models_of(catalogue, first.category)
        self.shown = gr.State((first.category, models[0][1]))  # category and model on the page
        with gr.Row(elem_id="choice"):
            self.category = _choice("category", catalogue.categories)
            self.model = _choice("model", models)
            self.refresh = _button(
                "refresh", size="sm", scale=0, min_width=90, visible=catalogue.asks_hub
            )
        self.notice = _html("notice", visible=False)
        with gr.Tabs(elem_id="ways"):
            with gr.Tab(translate("page.one_photo"), elem_id="one") as self.one:
                self._one_photo(first.category)
            with gr.Tab(translate("page.many_photos"), elem_id="many") as self.many:
                self._many_photos()

    def _one_photo(self, category: str) -> None:
        photo = gr.Image(
            type="filepath",
            label=translate("page.photo"),
            sources=["upload", "webcam", "clipboard"],
            webcam_options=CAMERA,
            format="png",
            height=240,
            elem_id="photo",
        )
        # Opening the file is left to the pipeline, whose errors are sentences: Gradio would open it
        # first and answer a broken one with a path of the server.
        self.photo = read_with(photo, lambda payload: None if payload is None else payload.path)
        self.inspect = _button("inspect", variant="primary")
        samples = [[path] for path in examples_of(category)]
        # A hidden Dataset would leave its label behind; a hidden column hides both.
        with gr.Column(visible=bool(samples)) as self.example_box:
            self.examples = gr.Dataset(
                components=[gr.Image(visible=False)],
                samples=samples,
                label=translate("page.examples"),
                elem_id="examples",
            )

    def _many_photos(self) -> None:
        self.files = gr.File(
            label=translate("batch.drop"),
            file_count="multiple",
            type="filepath",
            height=160,
            elem_id="files",
        )
        with gr.Row():
            self.start = gr.Button(translate("batch.start"), variant="primary", elem_id="start")
            self.cancel = gr.Button(translate("batch.cancel"), interactive=False, elem_id="cancel")
        self.progress = _html("progress", progress_html(None, TEXT))

    def _answer(self) -> None:
        self.verdict = _html("verdict", message_card(TEXT("page.empty")))
        with gr.Row(visible=False, elem_id="decision") as self.decision:
            self.accept = _button("accept", size="sm", scale=0, min_width=110)
            self.reject = _button("reject", size="sm", scale=0, min_width=110)
            self.note = gr.Textbox(
                label=translate("page.note"),
                show_label=False,
                placeholder=translate("page.note_hint"),
                container=False,
                max_length=500,
                scale=1,
                min_width=140,
                elem_id="note",
            )
        with gr.Column(elem_id="limit"):
            slider = gr.Slider(
                0,
                1,
                value=CALIBRATED_THRESHOLD,
                step=0.01,
                label=translate("page.threshold"),
                info=translate("page.threshold_info"),
                buttons=[],
                elem_id="threshold",
            )
            # The page itself sends no threshold that is none (see page.js); Gradio's own check lets
            # NaN pass, and logs a traceback where nothing was given.
            self.threshold = read_with(slider, checked_threshold)
            with gr.Row(elem_id="limit_row"):
                self.cost = _html("cost", scale=1)
                self.calibrated = _button("calibrated", size="sm", scale=0, min_width=220)
        self.outlines, self.pictures = _html("outlines"), _html("pictures")
        self.regions = _html("regions")
        with gr.Row(visible=False, elem_id="saving") as self.saving:
            self.csv, self.zip = _button("csv", size="sm"), _button("zip", size="sm")


def models_of(catalogue: Catalogue, category: str | None) -> list[tuple[str, str]]:
    """(label, name) of a category's models, as the list takes them."""
    return [(entry.label, name) for (of, name), entry in catalogue.named.items() if of == category]


def _choice(name: str, choices: Sequence[Any]) -> gr.Dropdown:
    """A list of which the catalogue, and not Gradio, says whether a choice is on offer.

    Gradio knows only what was listed when the app started, or when this visitor last refreshed.
    """
    choice = gr.Dropdown(choices, label=translate(f"page.{name}"), min_width=120, elem_id=name)
    return read_with(choice, lambda payload: payload)


def _html(name: str, value: str = "", **options: Any) -> gr.HTML:
    return gr.HTML(value, elem_id=name, padding=False, **options)


def _button(name: str, **options: Any) -> gr.Button:
    return gr.Button(translate(f"page.{name}"), elem_id=name, **options)
