"""The page: upload a photo, see how the part should look, where it differs, PASS or FAIL.

python app.py
python app.py --models runs/bracket ORG/NAME --port 7860
MODEL_NAMESPACE=ORG python app.py

It shows models and calls the pipeline; it computes no score, no map and no verdict of its own.
From the environment: MODEL_NAMESPACE (whose models on the Hub are offered too), MODEL_REVISION
(their branch, tag or commit instead of the newest) and HF_TOKEN (for private ones).
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # the page asks nobody but its server

import gradio as gr

from catalogue import ASSETS, Catalogue, examples_of, find_models, shipped_models
from inspection_report import csv_text, message_html, notice_html, region_table, verdict_html

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import InspectionPipeline

CALIBRATED_THRESHOLD = 0.5
VISITORS_AT_ONCE = 8  # a model that is being downloaded holds only the visitor who asked for it
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]

TEXT = {
    "title": "Golden Sample",
    "subtitle": "Upload a photo of a part: see how it should look, where it differs, PASS or FAIL.",
    "category": "Category",
    "model": "Model",
    "photo": "Photo of the part",
    "examples": "Or try an example",
    "inspect": "Inspect",
    "threshold": "Threshold",
    "threshold_info": "0.5 is the calibrated limit; above it a part fails.",
    "original": "Original",
    "reconstruction": "How it should look",
    "heatmap": "Where it differs",
    "download": "Download CSV",
    "empty": "Choose the product, give a photo of it, and press Inspect.",
    "no_photo": "There is no photo yet: upload one or click an example, then press Inspect.",
    "refresh": "Refresh",
    "refreshing": "Asking …",
    "gone": "This model is no longer on offer: press Refresh and choose another one.",
}


def photo_input() -> gr.Image:
    """An upload box that leaves opening the file to the pipeline, whose errors are sentences.

    Gradio would open it first and answer a broken one with a path of the server. The method is
    replaced on the instance because Gradio writes a stub file beside every subclass.
    """
    photo = gr.Image(
        type="filepath",
        label=TEXT["photo"],
        sources=["upload", "webcam", "clipboard"],
        format="png",
        height=280,
        elem_id="photo",
    )
    photo.preprocess = lambda payload: None if payload is None else payload.path
    return photo


def choice_input(name: str, choices: Sequence[Any]) -> gr.Dropdown:
    """A list of which the catalogue, and not Gradio, says whether a choice is on offer.

    Gradio knows only what was listed when the app started, or when this visitor last refreshed.
    """
    choice = gr.Dropdown(choices, label=TEXT[name], min_width=120, elem_id=name)
    choice.preprocess = lambda payload: payload
    return choice


def category_of(pipeline: InspectionPipeline, category: str) -> str | None:
    """What the pipeline has to be told: the category if it knows several, else nothing."""
    return category if len(pipeline.model.config.categories) > 1 else None


def unchanged(changes: Sequence[Any]) -> tuple[Any, ...]:
    """As many values as these that leave their components as they are."""
    return tuple(gr.skip() for _ in changes)


class Question(NamedTuple):
    """The components that a visitor fills in.

    `shown` is the (category, key) that the page shows: a list that is opened and left, or gets a
    new option, reports a change although nothing else was chosen.
    """

    category: gr.Dropdown
    model: gr.Dropdown
    shown: gr.State
    refresh: gr.Button
    notice: gr.HTML
    photo: gr.Image
    inspect: gr.Button
    example_box: gr.Column
    examples: gr.Dataset


class Answer(NamedTuple):
    """The components that answer; `results` are those that an inspection fills."""

    threshold: gr.Slider
    download: gr.Button
    results: list[gr.components.Component]


class Page:
    """The page over a catalogue; holds no state of a visitor (that is in `gr.State`)."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._one_at_a_time = threading.Lock()  # models take all cores; two at once gain nothing

    def choices_of(self, category: str) -> list[tuple[str, str]]:
        """(label, key) of the models of a category."""
        return [(entry.label, entry.key) for entry in self.catalogue.entries_of(category)]

    def choose_category(
        self, category: str, key: str | None, shown: tuple[str, str | None]
    ) -> tuple[Any, ...]:
        """Offer the category's models and examples, and clear what belonged to the last one."""
        choices = self.choices_of(category)
        keys = [key for _, key in choices]
        kept = key if key in keys else next(iter(keys), None)  # a model may know both categories
        changes = (
            (category, kept),
            gr.Dropdown(choices=choices, value=kept),
            *self.examples(category),
            None,
            *self.cleared(),
        )
        return unchanged(changes) if category == shown[0] else changes

    def choose_model(self, key: str, shown: tuple[str, str | None]) -> tuple[Any, ...]:
        """Clear what belonged to the last model."""
        changes = ((shown[0], key), *self.cleared())
        return unchanged(changes) if key == shown[1] else changes

    def offer(self, category: str | None, key: str | None) -> tuple[Any, ...]:
        """Bring both lists up to date; the visitor's choice stays where it is still on offer."""
        entry = self.catalogue.closest(category, key)
        is_kept = (entry.category, entry.key) == (category, key)
        # Without a value, what the visitor has chosen in the meantime stays too.
        of_category = {} if is_kept else {"value": entry.category}
        of_model = {} if is_kept else {"value": entry.key}
        cleared = self.cleared()
        return (
            (entry.category, entry.key),
            gr.Dropdown(choices=self.catalogue.categories, **of_category),
            gr.Dropdown(choices=self.choices_of(entry.category), **of_model),
            gr.Button(TEXT["refresh"], interactive=True),
            gr.HTML(notice_html(self.catalogue.notice), visible=bool(self.catalogue.notice)),
            *self.examples(entry.category),
            *(unchanged(cleared) if is_kept else cleared),
        )

    def refresh(self) -> Iterator[gr.Button]:
        """Ask the Hub anew; the button says so until `offer` has brought the lists up to date."""
        yield gr.Button(TEXT["refreshing"], interactive=False)
        self.catalogue.refresh(force=True)

    def examples(self, category: str) -> tuple[gr.Column, gr.Dataset]:
        """The category's example photos; nothing is shown where there are none."""
        samples = [[path] for path in examples_of(category)]
        return gr.Column(visible=bool(samples)), gr.Dataset(samples=samples)

    def cleared(self, message: str = TEXT["empty"], kind: str = "empty") -> tuple[Any, ...]:
        """Values of the result components that show nothing but a sentence."""
        return None, message_html(message, kind), None, None, None, "", ""

    def inspect(
        self, photo: str | None, category: str | None, key: str | None, threshold: float
    ) -> tuple[Any, ...]:
        """Run the model on the photo and fill the result components."""
        from modeling import ModelLoadError, PhotoError

        if not photo:
            return self.cleared(TEXT["no_photo"], "error")
        entry = self.catalogue.find(category, key)
        if entry is None:
            return self.cleared(TEXT["gone"], "error")
        try:
            pipeline = self.catalogue.load(entry)
            known = category_of(pipeline, entry.category)
            with self._one_at_a_time:
                inspection = pipeline(photo, threshold=threshold, category=known)
        except (ModelLoadError, PhotoError) as error:
            return self.cleared(str(error), "error")
        state = {
            "inspection": inspection,
            "photo": photo,
            "entry": entry,
            "calibration": pipeline.model.calibration_of(known),
        }
        pictures = (inspection.photo, inspection.reconstruction, inspection.heatmap)
        verdict, regions, text = self.judged(state)
        return state, verdict, *pictures, regions, text

    def rejudge(self, state: dict[str, Any] | None, threshold: float) -> tuple[Any, ...]:
        """The same inspection at another threshold; the model does not run."""
        if state is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        state = state | {"inspection": state["inspection"].at_threshold(threshold)}
        return state, *self.judged(state)

    def judged(self, state: dict[str, Any]) -> tuple[str, str, str]:
        """What depends on the threshold: verdict card, region table, CSV."""
        inspection, entry = state["inspection"], state["entry"]
        return (
            verdict_html(inspection, state["calibration"]),
            region_table(inspection),
            csv_text(inspection, state["photo"], entry.category, entry.identity),
        )

    def build(self) -> gr.Blocks:
        """Lay the page out as one sees it."""
        with gr.Blocks(
            title=TEXT["title"],
            analytics_enabled=False,
            delete_cache=(600, 3600),  # seconds: looks every 10 minutes, deletes after an hour
        ) as blocks:
            gr.HTML(
                f"<h1>{TEXT['title']}</h1><p>{TEXT['subtitle']}</p>",
                elem_id="heading",
                padding=False,
            )
            with gr.Row(elem_id="top"):
                with gr.Column(scale=2, min_width=300):
                    asked = self._lay_out_question()
                with gr.Column(scale=3, min_width=300):
                    answer = self._lay_out_answer()
            self._wire_models(blocks, asked, answer)
            self._wire_inspection(blocks, asked, answer)
        return blocks

    def _lay_out_question(self) -> Question:
        first = self.catalogue.entries[0]
        with gr.Row(elem_id="choice"):
            category = choice_input("category", self.catalogue.categories)
            model = choice_input("model", self.choices_of(first.category))
            refresh = gr.Button(
                TEXT["refresh"],
                size="sm",
                scale=0,
                min_width=90,
                visible=bool(self.catalogue.wish),
                elem_id="refresh",
            )
        notice = gr.HTML(visible=False, elem_id="notice", padding=False)
        photo = photo_input()
        inspect = gr.Button(TEXT["inspect"], variant="primary", elem_id="inspect")
        samples = [[path] for path in examples_of(first.category)]
        # A hidden Dataset would leave its label behind; a hidden column hides both.
        with gr.Column(visible=bool(samples)) as example_box:
            examples = gr.Dataset(
                components=[gr.Image(visible=False)],
                samples=samples,
                label=TEXT["examples"],
                elem_id="examples",
            )
        shown = gr.State((first.category, first.key))
        return Question(
            category, model, shown, refresh, notice, photo, inspect, example_box, examples
        )

    def _lay_out_answer(self) -> Answer:
        verdict = gr.HTML(message_html(TEXT["empty"]), elem_id="verdict", padding=False)
        threshold = gr.Slider(
            0,
            1,
            value=CALIBRATED_THRESHOLD,
            step=0.01,
            label=TEXT["threshold"],
            info=TEXT["threshold_info"],
            elem_id="threshold",
        )
        with gr.Row(elem_id="pictures"):
            pictures = [
                gr.Image(
                    label=TEXT[name],
                    format="png",
                    interactive=False,
                    height=260,
                    min_width=150,
                    buttons=["download", "fullscreen"],
                    elem_id=name,
                )
                for name in ("original", "reconstruction", "heatmap")
            ]
        download = gr.Button(TEXT["download"], size="sm", elem_id="download")
        regions = gr.HTML(elem_id="regions", padding=False)
        state, text = gr.State(), gr.Textbox(visible="hidden")
        return Answer(threshold, download, [state, verdict, *pictures, regions, text])

    def _wire_models(self, blocks: gr.Blocks, asked: Question, answer: Answer) -> None:
        """Choosing a product and a model, and asking the Hub for its models."""
        shown_examples = [asked.example_box, asked.examples]
        choice = [asked.category, asked.model]
        asked.category.change(
            self.choose_category,
            [*choice, asked.shown],
            [asked.shown, asked.model, *shown_examples, asked.photo, *answer.results],
            api_name=False,
        )
        asked.model.change(
            self.choose_model,
            [asked.model, asked.shown],
            [asked.shown, *answer.results],
            api_name=False,
        )
        if not self.catalogue.wish:
            return
        # The Hub may take its time, so both lists are brought up to date in a step of their own,
        # from what the visitor has chosen by then.
        quiet = {
            "show_progress": "hidden",
            "concurrency_limit": VISITORS_AT_ONCE,
            "api_name": False,
        }
        opened = blocks.load(self.catalogue.refresh, None, None, **quiet)
        refreshed = asked.refresh.click(self.refresh, None, asked.refresh, **quiet)
        told = [asked.refresh, asked.notice, *shown_examples, *answer.results]
        for listed in (opened, refreshed):
            listed.then(self.offer, choice, [asked.shown, *choice, *told], **quiet)

    def _wire_inspection(self, blocks: gr.Blocks, asked: Question, answer: Answer) -> None:
        """Giving a photo, inspecting it, judging it at another threshold, saving the result."""
        state, verdict, *_, regions, text = answer.results
        asked.photo.clear(self.cleared, None, answer.results, api_name=False)
        asked.examples.click(lambda sample: sample[0], asked.examples, asked.photo, api_name=False)
        asked.inspect.click(
            self.inspect,
            [asked.photo, asked.category, asked.model, answer.threshold],
            answer.results,
            concurrency_limit=VISITORS_AT_ONCE,
            api_name=False,
            scroll_to_output=False,
        )
        answer.threshold.input(
            self.rejudge,
            [state, answer.threshold],
            [state, verdict, regions, text],
            js="(state, limit) => { window.showVerdict(limit); return [state, limit]; }",
            queue=False,
            trigger_mode="always_last",
            show_progress="hidden",
            api_name=False,
        )
        answer.download.click(None, text, None, js="(text) => window.saveCsv(text)")
        script = (ASSETS / "page.js").read_text()
        blocks.load(None, None, None, js=f"() => {{ {script} }}")


def theme() -> gr.themes.Base:
    """Calm greys and one accent, system fonts only: nothing is fetched from elsewhere."""
    return gr.themes.Base(
        primary_hue="amber",
        neutral_hue="slate",
        font=FONTS,
        font_mono=["ui-monospace", "monospace"],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(description="Inspect photos of parts in the browser.")
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="model folders, folders of them, or Hub ids ORG/NAME[@REVISION], beside the models "
        "that ship",
    )
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=None, help="default: the first free from 7860")
    options = parser.parse_args(arguments)
    try:
        given = [*find_models(options.models), *shipped_models()]
    except ValueError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    catalogue = Catalogue(
        given,
        namespace=os.environ.get("MODEL_NAMESPACE"),
        revision=os.environ.get("MODEL_REVISION") or None,
    )
    Page(catalogue).build().launch(
        server_name=options.host,
        server_port=options.port,
        theme=theme(),
        css=(ASSETS / "page.css").read_text(),
        footer_links=[],
        run_history=False,
        share=False,
        max_file_size="64mb",
        allowed_paths=[str(ASSETS / "examples")],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
