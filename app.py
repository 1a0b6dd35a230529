"""The page: upload a photo, see how the part should look, where it differs, PASS or FAIL.

python app.py
python app.py --models runs/bracket --port 7860

It shows models and calls the pipeline; it computes no score, no map and no verdict of its own.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # the page asks nobody but its server

import gradio as gr

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration, Inspection, InspectionPipeline

ROOT = Path(__file__).parent
ASSETS = ROOT / "assets"
SHIPPED_MODELS = ASSETS / "models"
MODELS_IN_MEMORY = 4  # least recently used first out; a model takes about 30 MB
CALIBRATED_THRESHOLD = 0.5
CSV_COLUMNS = ("file", "category", "model", "score", "threshold", "verdict", "note", "time")
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
    "regions": ("No.", "Left, top, right, bottom (pixels)", "Share", "Peak score"),
    "download": "Download CSV",
    "empty": "Choose the product, give a photo of it, and press Inspect.",
    "no_photo": "There is no photo yet: upload one or click an example, then press Inspect.",
    "judge": "Decision support: the operator judges.",
}


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be chosen: what its config.json says, read without loading it."""

    name: str
    category: str
    source: str


def find_models(sources: Sequence[str]) -> list[ModelEntry]:
    """List the models in folders (a model's own or one that holds several) and Hub ids.

    Args:
        sources: folders and Hub ids; folders that hold no model are an error of the caller.

    Returns:
        One entry a model and category, in the order given, by name within a folder.

    Raises:
        ValueError: when a folder holds no model.
    """
    entries = []
    for source in sources:
        folder = Path(source)
        if not folder.is_dir():
            entries.append(ModelEntry(source.split("/")[-1], source.split("/")[-1], source))
            continue
        configs = [folder / "config.json", *sorted(folder.glob("*/config.json"))]
        found = [entry for path in configs if path.is_file() for entry in _entries(path)]
        if not found:
            raise ValueError(
                f"The folder {source} holds no model (no config.json in it or one level below); "
                "give a folder that training/train.py wrote."
            )
        entries += found
    return entries


def examples_of(category: str) -> list[list[str]]:
    """Example photos of a category that ship with the project, as rows of a `gr.Dataset`."""
    return [[str(path)] for path in sorted((ASSETS / "examples" / category).glob("*.jpg"))]


def shipped_models() -> list[ModelEntry]:
    """The models under assets/, those with example photos first: a visitor can try them at once."""
    entries = find_models([str(SHIPPED_MODELS)])
    return sorted(entries, key=lambda entry: not examples_of(entry.category))


def _entries(config: Path) -> list[ModelEntry]:
    """One entry for each category of the model beside its config.json."""
    name = config.parent.resolve().name
    try:
        categories = json.loads(config.read_text()).get("categories")
    except (OSError, ValueError, AttributeError):
        categories = None  # the reason is shown when the model is chosen; the others stay usable
    return [
        ModelEntry(name, str(category), str(config.parent)) for category in categories or [name]
    ]


@lru_cache(maxsize=MODELS_IN_MEMORY)
def load(source: str) -> InspectionPipeline:
    """Load a model once; raises `modeling.ModelLoadError` with the reason."""
    from modeling import load_pipeline

    return load_pipeline(source)


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


def category_of(pipeline: InspectionPipeline, category: str) -> str | None:
    """What the pipeline has to be told: the category if it knows several, else nothing."""
    return category if len(pipeline.model.config.categories) > 1 else None


def verdict_html(inspection: Inspection, calibration: Calibration) -> str:
    """The verdict card: word, shape and colour, score on its scale, note, what the score means."""
    n, rate = len(calibration.normal_scores), calibration.promised_false_alarm_rate
    meaning = (
        f"0.5 is the limit: calibrated on {n} good parts it was not trained on, so that at most "
        f"about 1 good part in {round(1 / rate)} is rejected."
    )
    return f"""
<div class="verdict" data-score="{inspection.score!r}" data-verdict="{inspection.verdict}"
     style="--score:{inspection.score:.4f}; --threshold:{inspection.threshold:.4f}">
  <div class="badge pass"><span class="shape">✓</span> PASS</div>
  <div class="badge fail"><span class="shape">✕</span> FAIL</div>
  <div class="reading">
    <div class="score">Score <b>{inspection.score:.3f}</b></div>
    <div class="scale"><i class="limit"></i><i class="mark"></i></div>
    <p class="note">{html.escape(inspection.notes)}</p>
    <p class="meaning">{meaning} {TEXT["judge"]}</p>
  </div>
</div>"""


def message_html(message: str, kind: str = "empty") -> str:
    """A sentence in place of a verdict; `kind` is "empty" or "error"."""
    return f'<div class="verdict message {kind}">{html.escape(message)}</div>'


def region_table(inspection: Inspection) -> str:
    """The regions as an HTML table, strongest first; nothing where there is none."""
    if not inspection.regions:
        return ""
    head = "".join(f"<th>{name}</th>" for name in TEXT["regions"])
    rows = "".join(
        f"<tr><td>{number}</td><td>{', '.join(map(str, region.box))}</td>"
        f"<td>{100 * region.area:.2f} %</td><td>{region.peak:.3f}</td></tr>"
        for number, region in enumerate(inspection.regions, start=1)
    )
    return f"<table class='regions'><tr>{head}</tr>{rows}</table>"


def csv_text(inspection: Inspection, photo: str, entry: ModelEntry) -> str:
    """The result as CSV; cells that a spreadsheet would run as a formula are quoted off."""
    values = (
        Path(photo).name,
        entry.category,
        entry.name,
        repr(inspection.score),
        repr(inspection.threshold),
        inspection.verdict,
        inspection.notes,
        datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    writer.writerow([f"'{cell}" if cell[:1] in "=+-@\t\r" else cell for cell in values])
    return buffer.getvalue()


class Page:
    """The page over a list of models; holds no state of a visitor (that is in `gr.State`)."""

    def __init__(self, models: Sequence[ModelEntry]) -> None:
        self.models = list(models)
        self.categories = list(dict.fromkeys(entry.category for entry in self.models))

    def sources_of(self, category: str) -> list[tuple[str, str]]:
        """(name, source) of the models of a category."""
        return [(entry.name, entry.source) for entry in self.models if entry.category == category]

    def choose_category(self, category: str) -> tuple[Any, ...]:
        """Offer the category's models and examples, and clear what belonged to the last one."""
        sources, examples = self.sources_of(category), examples_of(category)
        return (
            gr.Dropdown(choices=sources, value=sources[0][1]),
            gr.Column(visible=bool(examples)),
            gr.Dataset(samples=examples),
            None,
            *self.cleared(),
        )

    def cleared(self, message: str = TEXT["empty"], kind: str = "empty") -> tuple[Any, ...]:
        """Values of the result components that show nothing but a sentence."""
        return None, message_html(message, kind), None, None, None, "", ""

    def inspect(
        self, photo: str | None, category: str, source: str, threshold: float
    ) -> tuple[Any, ...]:
        """Run the model on the photo and fill the result components."""
        from modeling import ModelLoadError, PhotoError

        if not photo:
            return self.cleared(TEXT["no_photo"], "error")
        try:
            pipeline = load(source)
            inspection = pipeline(
                photo, threshold=threshold, category=category_of(pipeline, category)
            )
        except (ModelLoadError, PhotoError) as error:
            return self.cleared(str(error), "error")
        pictures = (inspection.photo, inspection.reconstruction, inspection.heatmap)
        state = {"inspection": inspection, "photo": photo, "source": source, "category": category}
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
        inspection = state["inspection"]
        source, category = state["source"], state["category"]
        entry = next(
            entry for entry in self.models if (entry.source, entry.category) == (source, category)
        )
        pipeline = load(source)
        calibration = pipeline.model.calibration_of(category_of(pipeline, category))
        return (
            verdict_html(inspection, calibration),
            region_table(inspection),
            csv_text(inspection, state["photo"], entry),
        )

    def build(self) -> gr.Blocks:
        """Lay the page out as one sees it; the wiring stands at the end."""
        first = self.categories[0]
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
                    with gr.Row():
                        category = gr.Dropdown(
                            self.categories,
                            value=first,
                            label=TEXT["category"],
                            min_width=130,
                            elem_id="category",
                        )
                        model = gr.Dropdown(
                            self.sources_of(first),
                            label=TEXT["model"],
                            min_width=130,
                            elem_id="model",
                        )
                    photo = photo_input()
                    inspect = gr.Button(TEXT["inspect"], variant="primary", elem_id="inspect")
                    # A hidden Dataset would leave its label behind; a hidden column hides both.
                    with gr.Column(visible=bool(examples_of(first))) as example_box:
                        examples = gr.Dataset(
                            components=[gr.Image(visible=False)],
                            samples=examples_of(first),
                            label=TEXT["examples"],
                            elem_id="examples",
                        )
                with gr.Column(scale=3, min_width=300):
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
            state = gr.State()
            csv_result = gr.Textbox(visible="hidden")

            results = [state, verdict, *pictures, regions, csv_result]
            script = (ASSETS / "page.js").read_text()
            category.change(
                self.choose_category,
                category,
                [model, example_box, examples, photo, *results],
                api_name=False,
            )
            model.input(self.cleared, None, results, api_name=False)
            photo.clear(self.cleared, None, results, api_name=False)
            examples.click(lambda sample: sample[0], examples, photo, api_name=False)
            inspect.click(
                self.inspect,
                [photo, category, model, threshold],
                results,
                api_name=False,
                scroll_to_output=False,
            )
            threshold.input(
                self.rejudge,
                [state, threshold],
                [state, verdict, regions, csv_result],
                js="(state, limit) => { window.showVerdict(limit); return [state, limit]; }",
                queue=False,
                trigger_mode="always_last",
                show_progress="hidden",
                api_name=False,
            )
            download.click(None, csv_result, None, js="(text) => window.saveCsv(text)")
            blocks.load(None, None, None, js=f"() => {{ {script} }}")
        return blocks


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
        help="model folders, folders of them, or Hub ids, beside the models that ship",
    )
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
    parser.add_argument("--port", type=int, default=None, help="default: the first free from 7860")
    options = parser.parse_args(arguments)
    try:
        models = [*find_models(options.models), *shipped_models()]
    except ValueError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 2
    Page(models).build().launch(
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
