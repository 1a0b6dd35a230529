"""Inspects photos: loads models, and lets visitors take turns at them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from page.inspection.results import Result
from page.inspection.temporary_folder import NO_ROOM_WORDS, NoRoomError, TemporaryFolder
from page.languages import DEFAULT, Translation
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration, Inspection, InspectionPipeline

UNEXPECTED = "trouble.unexpected"
log = logging.getLogger(__name__)
T = TypeVar("T")


class Turns:
    """One at a time, first come first served, and all in the same thread.

    A model takes all cores, so two at once gain nothing; and with a plain lock a batch could take
    it again and again while another visitor waits for a single photo. Each thread in which a model
    has run keeps memory of its own, and Gradio's forty threads would keep half a gigabyte.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inspector")

    def take(self, work: Callable[..., T], *words: Any, **named: Any) -> T:
        """Wait for the turn; returns or raises what the work does."""
        return self._thread.submit(work, *words, **named).result()


class Inspector:
    """Inspects photos with the models of a catalogue; thread safe, and shared by all visitors."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._turns = Turns()

    def calibration_of(self, entry: ModelEntry) -> Calibration:
        """What the held-out good parts of a model's category say.

        Raises:
            modeling.ModelLoadError: with the reason, when the model can't be loaded.
        """
        pipeline = self.catalogue.load(entry)
        return pipeline.model.calibration_of(category_of(pipeline, entry.category))

    def backend_of(self, entry: ModelEntry) -> str:
        """The name of what runs a model: torch, or a faster runtime that has its graph.

        Raises:
            modeling.ModelLoadError: with the reason, when the model can't be loaded.
        """
        return self.catalogue.load(entry).backend

    def inspect(
        self, file: str, photo: Path, entry: ModelEntry, threshold: float, folder: TemporaryFolder
    ) -> tuple[Result, Inspection | None]:
        """Inspect one photo.

        Args:
            file: its name as the visitor gave it.
            photo: the file, kept in the visitor's folder.
            entry: the model, for one category.
            threshold: operating threshold on the score, 0..1.
            folder: where the maps are kept.

        Returns:
            The result, and with it the pictures; None in their place where the photo can't be
            read, the disk is full or the inspection breaks off, which the result then says.

        Raises:
            modeling.ModelLoadError: with the reason, when the model can't be loaded.
            FileNotFoundError: when the visitor has left, and their folder is gone.
        """
        from modeling import InspectionRecord, PhotoError

        pipeline = self.catalogue.load(entry)
        category = category_of(pipeline, entry.category)
        try:
            inspection = self._turns.take(pipeline, photo, threshold=threshold, category=category)
            calibration = pipeline.model.calibration_of(category)
            result = Result.of(file, photo, entry, inspection.record())
            return result.with_maps(inspection, calibration, folder.path), inspection
        except PhotoError as error:
            # It may name the file as it is called here, which is nobody's business.
            sentence = str(error).replace(str(photo), file).replace(photo.name, file)
            words = f"trouble.{error.reason}" if error.reason else ""
        except NoRoomError as error:
            sentence, words = str(error), NO_ROOM_WORDS
        except Exception:  # whoever waits is told, and the rest of a batch goes on
            if not folder.path.is_dir():
                raise  # the visitor has left, and their files with them: nobody waits
            log.exception("An inspection with the model %s broke off", entry.identity)
            sentence, words = Translation(DEFAULT)(UNEXPECTED), UNEXPECTED
        record = InspectionRecord.failed(sentence, threshold)
        return Result.of(file, photo, entry, record, trouble=words), None

    def inspect_again(self, result: Result, folder: TemporaryFolder) -> Inspection | None:
        """The pictures of a photo that was inspected before; None where its model is gone.

        Raises:
            modeling.ModelLoadError: with the reason, when the model can't be loaded.
        """
        wanted = (result.category, result.key)
        for entry in self.catalogue.entries:
            if (entry.category, entry.key) == wanted:
                threshold = result.record.threshold
                return self.inspect(result.file, result.photo, entry, threshold, folder)[1]
        return None


def category_of(pipeline: InspectionPipeline, category: str) -> str | None:
    """What the pipeline has to be told: the category if it knows several, else nothing."""
    return pipeline.model.category_if_several(category)
