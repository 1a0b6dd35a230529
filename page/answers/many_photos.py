"""A batch: it waits, is unpacked, inspected and judged again, and its photos are shown."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from page.answers.one_photo import pictures_of
from page.answers.values import NOTHING_NEW, Listed, Shown, listed, shown
from page.inspection.batch import Batch
from page.inspection.inspector import Inspector
from page.inspection.temporary_folder import NO_ROOM_WORDS, NoRoomError, TemporaryFolder
from page.inspection.uploads import unpack
from page.languages import Translation
from page.session import Session
from page.views.batch import progress_html
from page.views.downloads import download_html
from page.views.verdict_card import message_card

LIST_SECONDS = 1.0  # between two drawings of a running batch's table and gallery


@dataclass
class ManyPhotos:
    """Answers about batches."""

    inspector: Inspector

    def start(self, session: Session, text: Translation) -> str:
        """What is said at once when a batch is started, which may wait in the queue."""
        session.is_waiting, session.stop_asked = True, False
        return message_card(text("batch.waiting"), "busy")

    def inspect(
        self,
        session: Session,
        files: Sequence[str] | None,
        category: str | None,
        model: str | None,
        threshold: float,
        text: Translation,
    ) -> Iterator[Listed]:
        """Inspect many photos; the bar moves with each, the lists once a second."""
        from modeling import ModelLoadError

        entry = self.inspector.catalogue.find(category, model)
        session.is_waiting = False
        if session.stop_asked:
            yield Listed(message_card(text("batch.not_begun")))
            return
        if not files or entry is None:
            sentence = text("batch.empty") if entry else text("page.gone")
            yield Listed(message_card(sentence, "error"))
            return
        session.end_batch()
        yield Listed(message_card(text("batch.unpacking"), "busy"), "", "", "")
        try:
            folder = TemporaryFolder(session.root)
        except NoRoomError:
            yield Listed(message_card(text(NO_ROOM_WORDS), "error"))
            return
        uploads, choice = unpack(files, folder, text), (category, model)
        # The slider may have been moved since Start was pressed.
        batch = Batch(uploads, folder, session.thresholds.get(choice, threshold), choice)
        session.start_batch(batch)
        if session.stop_asked:  # while the photos were unpacked
            batch.cancel()
        try:
            for progress in self.inspector.catalogue.load_with_progress(entry):
                yield Listed(download_html(progress, text))
        except ModelLoadError:
            pass  # met again, and told, when the batch begins
        drawn = float("-inf")
        for _ in batch.run(self.inspector, entry):
            if batch.is_running and time.monotonic() - drawn < LIST_SECONDS:
                yield Listed(progress_html(batch, text))
            else:
                drawn = time.monotonic()
                yield listed(batch, text)

    def cancel(self, session: Session, text: Translation) -> Any:
        """End the batch after the photo that is being inspected; one that waits does not begin."""
        session.stop_asked = True
        if session.is_waiting:
            return message_card(text("batch.not_begun"))
        if session.batch is not None:
            session.batch.cancel()
        return gr.skip()

    def show(self, session: Session, text: Translation, chosen: gr.EventData) -> Shown:
        """Show the result of a photo of the batch."""
        batch, number = session.batch, int(chosen.number)
        if batch is None or not 1 <= number <= len(batch.results):
            return NOTHING_NEW
        if not batch.select(number, int(chosen.clicks)):
            return NOTHING_NEW
        session.photo = None
        with batch.folder.in_use() as is_there:
            if not is_there:
                return NOTHING_NEW
            result = batch.results[number - 1]
            if number not in session.pictures and result.record.error is None:
                inspection = self.inspector.inspect_again(result, batch.folder)
                if (pictures := pictures_of(inspection, batch.folder)) is not None:
                    session.pictures[number] = pictures
            if batch is not session.batch or batch.selected != number or session.photo is not None:
                return NOTHING_NEW  # the visitor has gone on meanwhile
            result = batch.results[number - 1]
            session.show(result, number)
            return shown(session, result, session.pictures.get(number), text)

    def rejudge(
        self, session: Session, threshold: float, category: str, model: str, text: Translation
    ) -> tuple[Any, ...]:
        """All photos of the batch at another threshold; no model runs.

        A batch that another model judged stays as it is.
        """
        batch, answer = session.batch, Listed()
        if batch is not None and batch.choice == (category, model):
            batch.rejudge(threshold)
            if batch is session.batch:  # else another was started meanwhile
                answer = listed(batch, text)
        return answer[1:]
