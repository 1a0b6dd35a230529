"""The functions that programs call, by gradio_client, plain HTTP and MCP; they answer in JSON.

`/models`, `/inspect` and `/inspect_batch` take turns with the visitors of the page at the same
models. Gradio takes names, types and descriptions of the API from the signatures and docstrings of
`Programs`. It can't read annotations that are strings, so there is no
`from __future__ import annotations` here, and it takes one line for an argument.
"""

import html
import importlib.util
import itertools
import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
from gradio.context import Context
from gradio.exceptions import InvalidPathError
from gradio_client.utils import is_http_url_like, traverse

from page.api.given_photos import GivenPhotoError, keep_given_photo, name_of
from page.api.records import (
    BatchRecord,
    InspectionRecord,
    ModelRecord,
    PhotoFile,
    batch_record,
    inspection_record,
    model_record,
    picture_files,
)
from page.inspection.inspector import Inspector
from page.inspection.results import Result
from page.inspection.temporary_folder import NoRoomError, TemporaryFolder
from page.inspection.uploads import MAX_PHOTOS
from page.languages import Translation, text_in
from page.models.entries import ModelEntry
from page.session import CALIBRATED_THRESHOLD

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Inspection

LANGUAGE = "language_code"  # the page's input that says what language the visitor reads
CALLS_AT_ONCE = 8  # of each function; the rest waits in Gradio's queue
EXAMPLE = """\
from gradio_client import Client, handle_file

app = Client("{address}")
print(app.predict(api_name="/models"))
print(app.predict(handle_file("photo.jpg"), {category}, api_name="/inspect"))"""


class Asked(NamedTuple):
    """What a program asked for, checked."""

    name: str  # of the model, as `/models` lists it
    entry: ModelEntry
    threshold: float  # 0..1


class Programs:
    """The three functions; they keep nothing of a caller after the answer.

    What they refuse is a `gr.Error` with one sentence.

    Args:
        inspector: where the page inspects too.
        root: where a photo lies until it is inspected.
    """

    def __init__(self, inspector: Inspector, root: Path) -> None:
        self._inspector = inspector
        self._root = root

    def models(self) -> list[ModelRecord]:
        """List the models that can inspect photos, by category.

        Returns:
            for each model category, model, label, architecture, revision, default
        """
        self._inspector.catalogue.refresh()
        named = name_models(self._inspector.catalogue.entries)
        defaults = {category: name for category, name in reversed(named)}
        return [
            model_record(entry, name, default=defaults[category] == name)
            for (category, name), entry in named.items()
        ]

    def inspect(
        self,
        photo: str | PhotoFile,
        category: str | None = None,
        model: str | None = None,
        threshold: float = CALIBRATED_THRESHOLD,
        pictures: bool = False,
    ) -> InspectionRecord:
        """Inspect a photo of a part: PASS, FAIL or CHECK (can't be judged), where and how strong.

        Args:
            photo: an uploaded file or its path, a public http(s) address, or a data URI.
            category: the product, as the function models lists it; needed where there are several.
            model: one of the category's models; its default where none is named.
            threshold: the score from 0 to 1 above which a part fails; 0.5 is the calibrated one.
            pictures: whether heatmap, reconstruction and mask are answered too, as files.

        Returns:
            file, category, model, revision, time, score, threshold, verdict, doubt, note
            regions (number, box, area, peak, shape, at_outline)
            good_parts_at_least (count, total), photo_size (width, height)
        """
        asked = self._understand(category, model, threshold)
        record, inspection = self._inspect(photo, asked)
        if inspection is None:
            raise refusal(record["error"])
        try:
            return {**record, **picture_files(inspection)} if pictures else record
        except NoRoomError as error:
            raise refusal(str(error)) from error

    def inspect_batch(
        self,
        photos: list[str | PhotoFile],
        category: str | None = None,
        model: str | None = None,
        threshold: float = CALIBRATED_THRESHOLD,
    ) -> BatchRecord:
        """Inspect many photos of one product; one that can't be read says so, the rest goes on.

        Args:
            photos: a list of photos, each as the function inspect takes it.
            category: the product, as the function models lists it; needed where there are several.
            model: one of the category's models; its default where none is named.
            threshold: the score from 0 to 1 above which a part fails; 0.5 is the calibrated one.

        Returns:
            results (of each photo what the function inspect answers, or file and error)
            totals (photos, passed, failed, to_check, unreadable, yield)
        """
        if not isinstance(photos, list) or not 0 < len(photos) <= MAX_PHOTOS:
            raise refusal(f"A batch is a list of 1 to {MAX_PHOTOS} photos; divide a longer one.")
        asked = self._understand(category, model, threshold)
        return batch_record([self._inspect(photo, asked)[0] for photo in photos])

    def _understand(self, category: Any, model: Any, threshold: Any) -> Asked:
        """Check what a program asked for, of whatever types it is; null means the default."""
        threshold = checked_threshold(CALIBRATED_THRESHOLD if threshold is None else threshold)
        fitting = self._fitting(category, model)
        if not fitting:
            self._inspector.catalogue.refresh()  # it may have come since somebody last looked
            fitting = self._fitting(category, model)
        if not fitting:
            raise refusal(self._unknown(category, model))
        categories = list(dict.fromkeys(category for category, _ in fitting))
        if len(categories) > 1:
            raise refusal(f"There are several categories: name one of {', '.join(categories)}.")
        (_, name), entry = next(iter(fitting.items()))
        return Asked(name, entry, float(threshold))

    def _fitting(self, category: Any, model: Any) -> dict[tuple[str, str], ModelEntry]:
        """The models that can be meant, by category and name; what is not given is not asked."""
        named = name_models(self._inspector.catalogue.entries)
        return {
            key: entry
            for key, entry in named.items()
            if (not category or category == key[0]) and (not model or model == key[1])
        }

    def _unknown(self, category: Any, model: Any) -> str:
        categories = self._inspector.catalogue.categories
        if category and category not in categories:
            return f"There is no category {shown(category)}; name one of {', '.join(categories)}."
        names = dict.fromkeys(name for _, name in self._fitting(category, None))
        of_category = f" of the category {category}" if category else ""
        return f"There is no model {shown(model)}{of_category}; name one of {', '.join(names)}."

    def _inspect(self, photo: Any, asked: Asked) -> tuple[InspectionRecord, "Inspection | None"]:
        """One photo's record and what it was made from; None where it could not be read."""
        from modeling import InspectionRecord, ModelLoadError

        file, entry = name_of(photo), asked.entry
        try:
            with closing(TemporaryFolder(self._root)) as folder:
                kept = keep_given_photo(photo, folder)
                result, inspection = self._inspector.inspect(
                    file, kept, entry, asked.threshold, folder
                )
        except (GivenPhotoError, NoRoomError) as error:
            record = InspectionRecord.failed(str(error), asked.threshold)
            result, inspection = Result.of(file, None, entry, record), None
        except ModelLoadError as error:
            raise refusal(str(error)) from error
        return inspection_record(result, asked.name, entry.revision), inspection


def offer(programs: Programs, concurrency_limit: int = CALLS_AT_ONCE) -> None:
    """Register the functions with the `gr.Blocks` that is being built.

    Args:
        programs: what to offer.
        concurrency_limit: how many calls of each function may be under way.
    """
    blocks = Context.root_block
    for function in (programs.models, programs.inspect, programs.inspect_batch):
        name = function.__name__
        offered = gr.api(function, api_name=name, concurrency_limit=concurrency_limit)
        for number in offered["inputs"]:
            # Gradio would fetch an address itself, and answer later with what it showed first.
            blocks.blocks[number].async_move_resource_to_block_cache = _as_given
    _refuse_wrong_inputs(blocks)
    if mcp_is_installed():
        _answer_mcp_in_json()


def mcp_is_installed() -> bool:
    """Whether `launch(mcp_server=True)` can offer the functions as MCP tools."""
    return importlib.util.find_spec("mcp") is not None


def name_models(entries: Iterable[ModelEntry]) -> dict[tuple[str, str], ModelEntry]:
    """The models by category and a name that stays while the app runs.

    A model on the Hub is called as there. The key of a folder is a path of the server, so it goes
    by its own name, with a number where an earlier model of the category has that name.
    """
    named: dict[tuple[str, str], ModelEntry] = {}
    for entry in entries:
        plain = entry.key if entry.on_hub else entry.name
        names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
        name = next(name for name in names if (entry.category, name) not in named)
        named[entry.category, name] = entry
    return named


def refusal(sentence: str) -> gr.Error:
    """An error that the caller can mend; the server's log stays quiet."""
    return gr.Error(sentence, print_exception=False)


def checked_threshold(value: Any) -> float:
    """A threshold that somebody sent; refuses what is no number from 0 to 1, NaN among it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise refusal(f"The threshold must be a number from 0 to 1, found {shown(value)}.")
    return float(value)


def shown(value: Any) -> str:
    """What somebody sent, short enough for a sentence."""
    words = repr(value)
    return words if len(words) <= 80 else f"{words[:80]}..."


def programs_html(text: Translation, address: str, category: str, has_mcp: bool) -> str:
    """A short panel for the page: the three names, and an example to copy.

    Args:
        text: the language.
        address: where the app runs, such as "http://127.0.0.1:7860/".
        category: the one in the example.
        has_mcp: whether the functions are offered as MCP tools.
    """
    names = "".join(
        f"<li><code>/{name}</code> {html.escape(text(f'programs.{name}'))}</li>"
        for name in ("models", "inspect", "inspect_batch")
    )
    example = html.escape(EXAMPLE.format(address=address, category=json.dumps(category)))
    where = f"{address}gradio_api/mcp/"
    mcp = f"<p>{html.escape(text('programs.mcp', address=where))}</p>" if has_mcp else ""
    return (
        f'<div class="programs"><p>{html.escape(text("programs.introduction"))}</p>'
        f"<ul>{names}</ul><pre><code>{example}</code></pre>{mcp}</div>"
    )


async def _as_given(source: str) -> str:
    """In the place of Gradio's fetching and copying."""
    return source


def _refuse_wrong_inputs(blocks: gr.Blocks) -> None:
    """Answer a path that was not uploaded, and an address on the page, with a sentence.

    Gradio refuses the path before a function is called, says nothing and logs a traceback; so it
    does where arguments are missing. What is at the address it would fetch itself, for any input,
    and hold in memory however much it is.
    """
    preprocess_data = blocks.preprocess_data

    async def refusing(function: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        if len(inputs) < len(function.inputs):
            raise refusal(
                f"The function takes {len(function.inputs)} arguments, found {len(inputs)}; "
                "/gradio_api/info describes them."
            )
        given = [*zip(function.inputs, inputs, strict=False)]
        if any(_would_be_fetched(value) for block, value in given if not _is_as_given(block)):
            language = next((value for block, value in given if block.elem_id == LANGUAGE), None)
            raise refusal(text_in(str(language))("guards.no_addresses"))
        try:
            return await preprocess_data(function, inputs, *args, **kwargs)
        except InvalidPathError as error:
            raise refusal(
                "The file was not uploaded to this app; upload it first, and give the path that "
                "comes back."
            ) from error

    blocks.preprocess_data = refusing


def _is_as_given(block: Any) -> bool:
    return block.async_move_resource_to_block_cache is _as_given


def _would_be_fetched(value: Any) -> bool:
    """Whether a file with an address in the place of its path is somewhere in a value."""
    found: list[Any] = []
    traverse(value, found.append, _is_at_an_address)
    return bool(found)


def _is_at_an_address(value: Any) -> bool:
    return isinstance(value, dict) and is_http_url_like(value.get("path"))


def _answer_mcp_in_json() -> None:
    """Have an MCP tool answer in JSON; Gradio would write what Python prints of a dictionary."""
    import gradio.mcp

    class Server(gradio.mcp.GradioMCPServer):
        def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
            answers = [each if isinstance(each, str) else json.dumps(each) for each in data]
            return super().postprocess_output_data(answers, root_url)

    gradio.mcp.GradioMCPServer = Server
