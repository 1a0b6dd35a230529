"""The components of the page, laid out as one sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from page.api.programs import checked_threshold, name_models
from page.languages import DEFAULT, NAMES, Translation, all_words
from page.models.catalogue import Catalogue
from page.models.entries import examples_of
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


@dataclass(frozen=True)
class Components:
    """All that takes part in an event, by what it is for."""

    session: gr.State
    pulse: gr.Timer  # says that the visitor is still there; never seen
    language: gr.Textbox  # of the visitor, as the browser says; never seen
    languages: gr.Dropdown
    category: gr.Dropdown
    model: gr.Dropdown
    shown: gr.State  # the (category, model) that the page shows
    refresh: gr.Button
    notice: gr.HTML
    one: gr.Tab
    photo: gr.Image
    inspect: gr.Button
    example_box: gr.Column
    examples: gr.Dataset
    many: gr.Tab
    files: gr.File
    start: gr.Button
    cancel: gr.Button
    progress: gr.HTML
    verdict: gr.HTML
    decision: gr.Row
    accept: gr.Button
    reject: gr.Button
    note: gr.Textbox
    threshold: gr.Slider
    cost: gr.HTML
    calibrated: gr.Button
    outlines: gr.HTML
    pictures: gr.HTML
    regions: gr.HTML
    saving: gr.Row
    csv: gr.Button
    zip: gr.Button
    batch_box: gr.Column
    totals: gr.HTML
    batch_csv: gr.Button
    batch_zip: gr.Button
    gallery: gr.HTML
    table: gr.HTML
    about: gr.HTML
    charts: gr.HTML
    programs: gr.HTML
    saved: gr.Textbox  # text or address on its way to the browser's downloads; never seen


def lay_out(catalogue: Catalogue, root: Path) -> Components:
    """Build the page inside the current `gr.Blocks`.

    Args:
        catalogue: its first model is the one that is shown first.
        root: folder in which visitors get folders of their own.
    """
    text = Translation(DEFAULT)
    parts: dict[str, Any] = {
        "session": gr.State(Session(root), delete_callback=_end),
        "pulse": gr.Timer(PULSE_SECONDS),
        "language": gr.Textbox(visible="hidden", elem_id="language_code"),
        "saved": gr.Textbox(visible="hidden", elem_id="saved"),
    }
    parts |= _heading()
    with gr.Row(elem_id="top"):
        with gr.Column(scale=2, min_width=300, elem_id="question"):
            parts |= _question(catalogue, text)
        with gr.Column(scale=5, min_width=300, elem_id="answer"):
            parts |= _answer(text)
    with gr.Column(visible=False, elem_id="batch") as batch_box:
        parts |= _batch() | {"batch_box": batch_box}
    with gr.Accordion(translate("page.about"), open=False, elem_id="about_box"):
        parts |= {"about": _html("about"), "charts": _html("charts")}
    with gr.Accordion(translate("page.programs"), open=False, elem_id="programs_box"):
        parts["programs"] = _html("programs")
    return Components(**parts)


def choice_input(name: str, choices: Sequence[Any]) -> gr.Dropdown:
    """A list of which the catalogue, and not Gradio, says whether a choice is on offer.

    Gradio knows only what was listed when the app started, or when this visitor last refreshed.
    """
    choice = gr.Dropdown(choices, label=translate(f"page.{name}"), min_width=120, elem_id=name)
    choice.preprocess = lambda payload: payload
    return choice


def _end(session: Session) -> None:
    session.end()


def _html(name: str, value: str = "", **options: Any) -> gr.HTML:
    return gr.HTML(value, elem_id=name, padding=False, **options)


def _button(name: str, **options: Any) -> gr.Button:
    return gr.Button(translate(f"page.{name}"), elem_id=name, **options)


def _heading() -> dict[str, Any]:
    with gr.Row(elem_id="heading"):
        gr.HTML(
            f"<h1>{Translation(DEFAULT)('page.title')}</h1>",
            padding=False,
            scale=1,
            elem_id="title",
        )
        languages = gr.Dropdown(
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
    return {"languages": languages}


def _question(catalogue: Catalogue, text: Translation) -> dict[str, Any]:
    first = catalogue.entries[0]
    models = [
        (entry.label, name)
        for (category, name), entry in name_models(catalogue.entries).items()
        if category == first.category
    ]
    with gr.Row(elem_id="choice"):
        category = choice_input("category", catalogue.categories)
        model = choice_input("model", models)
        refresh = _button("refresh", size="sm", scale=0, min_width=90, visible=catalogue.asks_hub)
    parts = {
        "category": category,
        "model": model,
        "refresh": refresh,
        "shown": gr.State((first.category, models[0][1])),
        "notice": _html("notice", visible=False),
    }
    with gr.Tabs(elem_id="ways"):
        with gr.Tab(translate("page.one_photo"), elem_id="one") as one:
            parts |= _one_photo(first.category)
        with gr.Tab(translate("page.many_photos"), elem_id="many") as many:
            parts |= _many_photos(text)
    return parts | {"one": one, "many": many}


def _one_photo(category: str) -> dict[str, Any]:
    photo, inspect = _photo_input(), _button("inspect", variant="primary")
    samples = [[path] for path in examples_of(category)]
    # A hidden Dataset would leave its label behind; a hidden column hides both.
    with gr.Column(visible=bool(samples)) as example_box:
        examples = gr.Dataset(
            components=[gr.Image(visible=False)],
            samples=samples,
            label=translate("page.examples"),
            elem_id="examples",
        )
    return {
        "photo": photo,
        "inspect": inspect,
        "example_box": example_box,
        "examples": examples,
    }


def _photo_input() -> gr.Image:
    """An upload box that leaves opening the file to the pipeline, whose errors are sentences.

    Gradio would open it first and answer a broken one with a path of the server. The method is
    replaced on the instance because Gradio writes a stub file beside every subclass.
    """
    photo = gr.Image(
        type="filepath",
        label=translate("page.photo"),
        sources=["upload", "webcam", "clipboard"],
        webcam_options=CAMERA,
        format="png",
        height=240,
        elem_id="photo",
    )
    photo.preprocess = lambda payload: None if payload is None else payload.path
    return photo


def _many_photos(text: Translation) -> dict[str, Any]:
    files = gr.File(
        label=translate("batch.drop"),
        file_count="multiple",
        type="filepath",
        height=160,
        elem_id="files",
    )
    with gr.Row():
        start = gr.Button(translate("batch.start"), variant="primary", elem_id="start")
        cancel = gr.Button(translate("batch.cancel"), interactive=False, elem_id="cancel")
    progress = _html("progress", progress_html(None, text))
    return {"files": files, "start": start, "cancel": cancel, "progress": progress}


def _answer(text: Translation) -> dict[str, Any]:
    parts: dict[str, Any] = {"verdict": _html("verdict", message_card(text("page.empty")))}
    with gr.Row(visible=False, elem_id="decision") as parts["decision"]:
        parts["accept"] = _button("accept", size="sm", scale=0, min_width=110)
        parts["reject"] = _button("reject", size="sm", scale=0, min_width=110)
        parts["note"] = gr.Textbox(
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
        parts["threshold"] = _threshold_slider()
        with gr.Row(elem_id="limit_row"):
            parts["cost"] = _html("cost", scale=1)
            parts["calibrated"] = _button("calibrated", size="sm", scale=0, min_width=220)
    parts["outlines"] = _html("outlines")
    parts["pictures"] = _html("pictures")
    parts["regions"] = _html("regions")
    with gr.Row(visible=False, elem_id="saving") as parts["saving"]:
        parts["csv"] = _button("csv", size="sm")
        parts["zip"] = _button("zip", size="sm")
    return parts


def _threshold_slider() -> gr.Slider:
    """A slider that refuses what is no number from 0 to 1, NaN among it, with a sentence.

    The page itself sends none such (see page.js); Gradio's own check lets NaN pass, and logs a
    traceback where nothing was given.
    """
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
    slider.preprocess = checked_threshold
    return slider


def _batch() -> dict[str, Any]:
    totals = _html("totals")
    gallery = _html("gallery", js_on_load=SELECT_ON_CLICK)
    with gr.Row(elem_id="batch_saving"):
        batch_csv, batch_zip = _button("batch_csv", size="sm"), _button("batch_zip", size="sm")
    table = _html("batch_list", js_on_load=SELECT_ON_CLICK)
    return {
        "totals": totals,
        "gallery": gallery,
        "batch_csv": batch_csv,
        "batch_zip": batch_zip,
        "table": table,
    }
