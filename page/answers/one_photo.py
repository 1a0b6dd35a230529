"""One photo: its inspection, the threshold, and what the operator decides of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from page.answers.choosing import cost
from page.answers.values import (
    NOTHING_NEW,
    Judged,
    Shown,
    card,
    cleared,
    judged,
    listed,
    shown,
    unchanged,
)
from page.inspection.inspector import Inspector
from page.inspection.results import UNDECIDED, Result
from page.inspection.temporary_folder import NO_ROOM_WORDS, NoRoomError, TemporaryFolder
from page.languages import text_in
from page.models.entries import ModelEntry
from page.session import Session
from page.views.downloads import download_html
from page.views.result_pictures import ResultPictures, write_pictures

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Inspection


class Inspected(NamedTuple):
    """A single photo before it is shown."""

    result: Result
    pictures: ResultPictures | None
    folder: TemporaryFolder  # where its files are


class OnePhoto:
    """Answers about the photo that is shown.

    Args:
        inspector: inspects it.
    """

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector

    def give(self, session: Session, photo: str | None, language: str) -> Shown:
        """Another photo than the last, or none: the last result is shown no longer.

        Of a photo that is being inspected already, this comes too late and changes nothing.
        """
        if photo == session.photo:
            return NOTHING_NEW
        session.clear()
        session.photo = photo
        return cleared(language)

    def look_at(self, session: Session, photo: str | None, category: str, model: str) -> None:
        """Note what is to be inspected; it is shown if the visitor still looks at it by then."""
        session.turn_to(category, model)
        session.photo = photo

    def inspect(
        self,
        session: Session,
        photo: str | None,
        category: str | None,
        model: str | None,
        threshold: float,
        language: str,
    ) -> Iterator[Shown]:
        """Inspect a photo; says what it waits for.

        Nothing of it is shown any more once the visitor has turned to another photo or model, and
        the verdict is that of the threshold at which the slider stands by then.
        """
        entry, text = self.inspector.catalogue.find(category, model), text_in(language)
        is_looked_at = partial(session.looks_at, photo, category, model)
        inspected, sentence = None, ""
        try:
            if not photo:
                raise ValueError(text("page.no_photo"))
            if entry is None:
                raise ValueError(text("page.gone"))
            for progress in self.inspector.catalogue.load_with_progress(entry):
                waiting = cleared(language)._replace(verdict=download_html(progress, text))
                yield waiting if is_looked_at() else NOTHING_NEW
            inspected = self._inspected(photo, entry, threshold, session.new_photo_folder())
        except NoRoomError:
            sentence = text(NO_ROOM_WORDS)
        except ValueError as error:  # also a ModelLoadError: one sentence
            sentence = str(error)
        if is_looked_at():
            newest = session.thresholds.get((category, model), threshold)
            yield self._show(session, inspected, newest, sentence, language)
        else:
            if inspected is not None:
                inspected.folder.close()
            yield NOTHING_NEW

    def rejudge(
        self, session: Session, threshold: float, category: str, model: str, language: str
    ) -> tuple[Any, ...]:
        """The photo that is shown at another threshold, and what it costs; no model runs.

        A part that another model judged stays as it is.
        """
        session.thresholds[category, model] = threshold
        price = cost(session, threshold, language)
        result = session.result
        if result is None or session.keeps_threshold:
            return *unchanged(len(Judged._fields)), price
        with session.photo_folder.in_use():
            again = result.at_threshold(threshold)
            if session.result is not result:  # the visitor has gone on meanwhile
                return *unchanged(len(Judged._fields)), price
            session.result = again
            return *judged(session, again, language), price

    def decide(
        self, session: Session, decision: str | None, note: str, language: str
    ) -> tuple[Any, ...]:
        """Record the operator's decision, or take it back where it is made twice.

        Args:
            session: whose part it is.
            decision: `ACCEPT` or `REJECT`; None for a change of the note alone.
            note: the operator's own words.
            language: the visitor's.

        Returns:
            Verdict card, and totals, gallery and table of the batch.
        """
        result = session.result
        if result is None:
            return unchanged(4)
        if decision is None:
            decision = result.decision
        elif decision == result.decision:
            decision = UNDECIDED
        session.result = result = replace(result, decision=decision, note=note.strip())
        verdict = card(session, result, language)
        if session.batch is None or session.number is None:
            return verdict, *unchanged(3)
        session.batch.decide(session.number, decision, note.strip())
        return verdict, *listed(session.batch, language)[1:]

    def _inspected(
        self, photo: str, entry: ModelEntry, threshold: float, folder: TemporaryFolder
    ) -> Inspected:
        """Inspect a single photo; what was begun is deleted where that fails."""
        try:
            kept = folder.keep(photo)
            result, found = self.inspector.inspect(Path(photo).name, kept, entry, threshold, folder)
        except BaseException:
            folder.close()
            raise
        return Inspected(result, pictures_of(found, folder), folder)

    def _show(
        self,
        session: Session,
        inspected: Inspected | None,
        threshold: float,
        sentence: str,
        language: str,
    ) -> Shown:
        """The result at a threshold; without one, the sentence that says why."""
        if inspected is None:
            session.show(None)
            return cleared(language, sentence, "error")
        result, pictures, folder = inspected
        if result.record.threshold != threshold:
            result = result.at_threshold(threshold)
        session.show(result, folder=folder)
        return shown(session, result, pictures, language)


def pictures_of(inspection: Inspection | None, folder: TemporaryFolder) -> ResultPictures | None:
    """The pictures; None where there are none, or the disk is full: the verdict stands anyway."""
    try:
        return None if inspection is None else write_pictures(inspection, folder)
    except NoRoomError:
        return None
