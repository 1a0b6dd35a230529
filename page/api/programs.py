"""The functions that programs call, by gradio_client, plain HTTP and MCP; they answer in JSON.

`/models`, `/inspect` and `/inspect_batch` take turns with the visitors of the page at the same
models. Gradio takes names, types and descriptions of the API from the signatures and docstrings of
`Programs`. It can't read annotations that are strings, so there is no
`from __future__ import annotations` here, and it takes one line for an argument.
"""

import importlib.util
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from page.api import json_answers
from page.api.given_photos import GivenPhotoError, keep_given_photo, name_of
from page.api.json_answers import BatchAnswer, InspectionAnswer, ModelAnswer, PhotoFile
from page.inspection.inspector import Inspector
from page.inspection.results import Result
from page.inspection.temporary_folder import NoRoomError, TemporaryFolder
from page.inspection.uploads import MAX_PHOTOS
from page.models.entries import ModelEntry
from page.server.gradio_internals import answer_mcp_in_json, refuse_wrong_inputs, take_as_given
from page.server.refusals import checked_threshold, refusal, shown
from page.session import CALIBRATED_THRESHOLD

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Inspection

Chosen = tuple[str, ModelEntry]  # a model and its name, as `/models` lists it


@dataclass
class Programs:
    """The three functions; they keep nothing of a caller after the answer.

    What they refuse is a `gr.Error` with one sentence.
    """

    inspector: Inspector  # the page's
    root: Path  # where a photo lies until it is inspected

    def models(self) -> list[ModelAnswer]:
        """List the models that can inspect photos, by category.

        Returns:
            for each model category, model, label, architecture, revision, default
        """
        self.inspector.catalogue.refresh()
        named = self.inspector.catalogue.named
        defaults = {category: name for category, name in reversed(named)}
        return [
            json_answers.model_answer(entry, name, default=defaults[category] == name)
            for (category, name), entry in named.items()
        ]

    def inspect(
        self,
        photo: str | PhotoFile,
        category: str | None = None,
        model: str | None = None,
        threshold: float = CALIBRATED_THRESHOLD,
        pictures: bool = False,
    ) -> InspectionAnswer:
        """Inspect a photo of a part: PASS, FAIL or CHECK (can't be judged), where and how strong.

        Args:
            photo: an uploaded file or its path, a public http(s) address, or a data URI.
            category: the product, as the function models lists it; needed where there are several.
            model: one of the category's models; its default where none is named.
            threshold: the score from 0 to 1 above which a part fails; 0.5 is the calibrated one.
            pictures: whether heatmap, reconstruction and mask are answered too, as files.

        Returns:
            file, category, model, revision, time, score, threshold, verdict, doubt, note
            regions (number, box, area, peak, shape, at_outline, apart)
            good_parts_at_least (count, total), photo_size (width, height)
        """
        threshold, chosen = _threshold_of(threshold), self._choose(category, model)
        answer, inspection = self._inspect(photo, chosen, threshold)
        if inspection is None:
            raise refusal(answer["error"])
        try:
            return {**answer, **json_answers.picture_files(inspection)} if pictures else answer
        except NoRoomError as error:
            raise refusal(str(error)) from error

    def inspect_batch(
        self,
        photos: list[str | PhotoFile],
        category: str | None = None,
        model: str | None = None,
        threshold: float = CALIBRATED_THRESHOLD,
    ) -> BatchAnswer:
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
        threshold, chosen = _threshold_of(threshold), self._choose(category, model)
        answers = [self._inspect(photo, chosen, threshold)[0] for photo in photos]
        return json_answers.batch_answer(answers)

    def _choose(self, category: Any, model: Any) -> Chosen:
        """The model that a program asked for, of whatever types that is."""
        fitting = self._fitting(category, model)
        if not fitting:
            self.inspector.catalogue.refresh()  # it may have come since somebody last looked
            fitting = self._fitting(category, model)
        if not fitting:
            raise refusal(self._unknown(category, model))
        categories = list(dict.fromkeys(category for category, _ in fitting))
        if len(categories) > 1:
            raise refusal(f"There are several categories: name one of {', '.join(categories)}.")
        (_, name), entry = next(iter(fitting.items()))
        return name, entry

    def _fitting(self, category: Any, model: Any) -> dict[tuple[str, str], ModelEntry]:
        """The models that can be meant, by category and name; what is not given is not asked."""
        named = self.inspector.catalogue.named
        return {
            key: entry
            for key, entry in named.items()
            if (not category or category == key[0]) and (not model or model == key[1])
        }

    def _unknown(self, category: Any, model: Any) -> str:
        categories = self.inspector.catalogue.categories
        if category and category not in categories:
            return f"There is no category {shown(category)}; name one of {', '.join(categories)}."
        names = dict.fromkeys(name for _, name in self._fitting(category, None))
        of_category = f" of the category {category}" if category else ""
        return f"There is no model {shown(model)}{of_category}; name one of {', '.join(names)}."

    def _inspect(
        self, photo: Any, chosen: Chosen, threshold: float
    ) -> tuple[InspectionAnswer, "Inspection | None"]:
        """One photo's answer and what it was made from; None where it could not be read."""
        from modeling import InspectionRecord, ModelLoadError

        file, (name, entry) = name_of(photo), chosen
        try:
            with closing(TemporaryFolder(self.root)) as folder:
                kept = keep_given_photo(photo, folder)
                result, inspection = self.inspector.inspect(file, kept, entry, threshold, folder)
        except (GivenPhotoError, NoRoomError) as error:
            record = InspectionRecord.failed(str(error), threshold)
            result, inspection = Result.of(file, None, entry, record), None
        except ModelLoadError as error:
            raise refusal(str(error)) from error
        return json_answers.inspection_answer(result, name, entry.revision), inspection


def _threshold_of(given: Any) -> float:
    """The threshold that a program asked for, of whatever type it is; null means the default."""
    return checked_threshold(CALIBRATED_THRESHOLD if given is None else given)


def offer(programs: Programs, concurrency_limit: int = 8) -> None:
    """Register the functions with the `gr.Blocks` that is being built.

    So many calls of each function may be under way; the rest waits in Gradio's queue.
    """
    for function in (programs.models, programs.inspect, programs.inspect_batch):
        name = function.__name__
        offered = gr.api(function, api_name=name, concurrency_limit=concurrency_limit)
        take_as_given(offered["inputs"])
    refuse_wrong_inputs()
    if mcp_is_installed():
        answer_mcp_in_json()


def mcp_is_installed() -> bool:
    """Whether `launch(mcp_server=True)` can offer the functions as MCP tools."""
    return importlib.util.find_spec("mcp") is not None
