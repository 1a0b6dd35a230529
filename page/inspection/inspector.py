"""Inspects photos: loads models, and lets visitors take turns at them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from page.inspection.results import Result
from page.inspection.temporary_folder import NO_ROOM_WORDS, NoRoomError, TemporaryFolder
from page.languages import DEFAULT, Translation
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration, Inspection

UNEXPECTED = "trouble.unexpected"
log = logging.getLogger(__name__)


class Inspector:
    """Inspects photos with the models of a catalogue; thread safe, and shared by all visitors.

    All take turns in one thread, first come first served. A model takes all cores, so two at once
    gain nothing; and with a plain lock a batch could take it again and again while another visitor
    waits for a single photo. Each thread in which a model has run keeps memory of its own, and
    Gradio's forty threads would keep half a gigabyte.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="inspector")

    def calibration_of(self, entry: ModelEntry) -> Calibration:
        """What the held-out good parts of a model's category say; raises as `Catalogue.load`."""
        model = self.catalogue.load(entry).model
        return model.calibration_of(model.category_if_several(entry.category))

    def inspect(
        self, file: str, photo: Path, entry: ModelEntry, threshold: float, folder: TemporaryFolder
    ) -> tuple[Result, Inspection | None]:
        """Inspect one photo at an operating threshold on the score, 0..1.

        `file` is its name as the visitor gave it, `photo` the file in the visitor's folder, where
        the maps are kept too.

        Returns:
            The result, and with it the pictures; None in their place where the photo can't be
            read, the disk is full or the inspection breaks off, which the result then says.

        Raises:
            modeling.ModelLoadError: with the reason, when the model can't be loaded.
            FileNotFoundError: when the visitor has left, and their folder is gone.
        """
        from modeling import InspectionRecord, PhotoError

        pipeline = self.catalogue.load(entry)
        category = pipeline.model.category_if_several(entry.category)
        try:
            turn = self._turns.submit(pipeline, photo, threshold=threshold, category=category)
            inspection = turn.result()
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
        result = Result.of(file, photo, entry, InspectionRecord.failed(sentence, threshold))
        return replace(result, trouble=words), None

    def inspect_again(self, result: Result, folder: TemporaryFolder) -> Inspection | None:
        """The pictures of a photo that was inspected before; None where its model is gone."""
        wanted = (result.category, result.key)
        for entry in self.catalogue.entries:
            if (entry.category, entry.key) == wanted:
                threshold = result.record.threshold
                return self.inspect(result.file, result.photo, entry, threshold, folder)[1]
        return None
