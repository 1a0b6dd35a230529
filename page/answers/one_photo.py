"""One photo: its inspection, the threshold, and what the operator decides of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page.answers import values
from page.answers.choosing import cost
from page.answers.values import NOTHING_NEW, SKIP, Listed, Shown
from page.inspection.inspector import Inspector
from page.inspection.results import UNDECIDED
from page.inspection.temporary_folder import NO_ROOM_WORDS, NoRoomError, TemporaryFolder
from page.languages import Translation
from page.session import Session
from page.views.downloads import download_html
from page.views.result_pictures import ResultPictures, write_pictures
from page.views.verdict_card import verdict_card

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Inspection


@dataclass
class OnePhoto:
    """Answers about the photo that is shown."""

    inspector: Inspector

    def give(self, session: Session, photo: str | None, text: Translation) -> Shown:
        """Another photo than the last, or none: the last result is shown no longer.

        Of a photo that is being inspected already, this comes too late and changes nothing.
        """
        if photo == session.photo:
            return NOTHING_NEW
        session.clear()
        session.photo = photo
        return values.cleared(text)

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
        text: Translation,
    ) -> Iterator[Shown]:
        """Inspect a photo; says what it waits for.

        Nothing of it is shown any more once the visitor has turned to another photo or model, and
        the verdict is that of the threshold at which the slider stands by then.
        """
        choice = (category, model)
        entry = self.inspector.catalogue.find(category, model)
        answer, folder, sentence = NOTHING_NEW, None, ""
        try:
            if not photo:
                raise ValueError(text("page.no_photo"))
            if entry is None:
                raise ValueError(text("page.gone"))
            for progress in self.inspector.catalogue.load_with_progress(entry):
                waiting = values.cleared(text)._replace(verdict=download_html(progress, text))
                yield waiting if session.looks_at(photo, choice) else NOTHING_NEW
            folder = TemporaryFolder(session.folder.path)
            file, kept = Path(photo).name, folder.keep(photo)
            result, found = self.inspector.inspect(file, kept, entry, threshold, folder)
            pictures = pictures_of(found, folder)
            if session.looks_at(photo, choice):
                newest = session.thresholds.get(choice, threshold)
                if result.record.threshold != newest:
                    result = result.at_threshold(newest)
                session.show(result, folder=folder)
                folder = None  # it is the session's now
                answer = values.shown(session, result, pictures, text)
        except NoRoomError:
            sentence = text(NO_ROOM_WORDS)
        except ValueError as error:  # also a ModelLoadError: one sentence
            sentence = str(error)
        finally:
            if folder is not None:
                folder.close()
        if sentence and session.looks_at(photo, choice):
            session.show(None)
            answer = values.cleared(text, sentence, "error")
        yield answer

    def rejudge(
        self, session: Session, threshold: float, category: str, model: str, text: Translation
    ) -> tuple[Any, ...]:
        """The photo that is shown at another threshold, and what it costs; no model runs.

        A part that another model judged stays as it is.
        """
        session.thresholds[category, model] = threshold
        result, answer = session.result, NOTHING_NEW
        if result is not None and not session.keeps_threshold:
            with session.photo_folder.in_use():
                again = result.at_threshold(threshold)
                if session.result is result:  # else the visitor has gone on meanwhile
                    session.result = again
                    answer = values.judged(session, again, text)
        return *answer[:3], cost(session, threshold, text)

    def decide(
        self, decision: str | None, session: Session, note: str, text: Translation
    ) -> tuple[Any, ...]:
        """Record the operator's note and decision, or take this back where it is made twice.

        The decision is `ACCEPT` or `REJECT`, or None for a change of the note alone. Returns the
        verdict card, and totals, gallery and table of the batch.
        """
        result, of_batch = session.result, Listed()
        if result is None:
            return SKIP, *of_batch[1:]
        if decision is None:
            decision = result.decision
        elif decision == result.decision:
            decision = UNDECIDED
        session.result = result = replace(result, decision=decision, note=note.strip())
        if session.batch is not None and session.number is not None:
            session.batch.decide(session.number, decision, note.strip())
            of_batch = values.listed(session.batch, text)
        return verdict_card(result, text, session.keeps_threshold), *of_batch[1:]


def pictures_of(inspection: Inspection | None, folder: TemporaryFolder) -> ResultPictures | None:
    """The pictures; None where there are none, or the disk is full: the verdict stands anyway."""
    try:
        return None if inspection is None else write_pictures(inspection, folder)
    except NoRoomError:
        return None
