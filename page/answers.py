"""What the page answers: a click comes in, the values of the components to change go out."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr

from page.api.programs import mcp_is_installed, name_models, programs_html, refusal
from page.inspection.batch import Batch
from page.inspection.inspector import Inspector
from page.inspection.results import UNDECIDED, Result
from page.inspection.temporary_folder import NO_ROOM_WORDS, NoRoomError, TemporaryFolder
from page.inspection.uploads import unpack
from page.languages import text_in
from page.markup import address
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry, examples_of
from page.models.facts import defect_scores, read_facts
from page.session import Session
from page.views.about import about_html
from page.views.batch import gallery_html, progress_html, table_html, totals_html
from page.views.charts import charts_html
from page.views.downloads import download_html
from page.views.export import csv_text, write_zip
from page.views.result_pictures import (
    ResultPictures,
    outlines_html,
    pictures_html,
    regions_html,
    write_pictures,
)
from page.views.verdict_card import message_card, notice_html, threshold_cost, verdict_card

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Inspection

MARK = "\ufeff"  # before a CSV, without which Excel shows "ü" as "Ã¼"
LIST_SECONDS = 1.0  # between two drawings of a running batch's table and gallery


class Judged(NamedTuple):
    """What depends on the threshold."""

    verdict: str
    outlines: str
    regions: str


class Inspected(NamedTuple):
    """A single photo before it is shown."""

    result: Result
    pictures: ResultPictures | None
    folder: TemporaryFolder  # where its files are


class Shown(NamedTuple):
    """All that shows one photo's result."""

    verdict: Any
    outlines: Any
    regions: Any
    pictures: Any
    note: Any
    decision: Any  # whether the operator's buttons are there
    saving: Any  # whether the downloads are there


class Listed(NamedTuple):
    """All that shows a batch."""

    progress: Any
    totals: Any
    gallery: Any
    table: Any


NO_FACTS = ("", "", "")  # nothing is said of what the threshold costs, nor of the model


def unchanged(count: int) -> tuple[Any, ...]:
    """Values that leave so many components as they are."""
    return tuple(gr.skip() for _ in range(count))


NOTHING_NEW = Shown(*unchanged(len(Shown._fields)))


def _pictures(inspection: Inspection | None, folder: TemporaryFolder) -> ResultPictures | None:
    """The pictures; None where there are none, or the disk is full: the verdict stands anyway."""
    try:
        return None if inspection is None else write_pictures(inspection, folder)
    except NoRoomError:
        return None


def _packed(results: Sequence[Result], folder: TemporaryFolder) -> str:
    """Address of a zip with the pictures of results."""
    try:
        return address(write_zip(results, folder))
    except NoRoomError as error:
        raise refusal(str(error)) from error


class Answers:
    """The page's answers; what is a visitor's own is in the `Session` that comes along."""

    def __init__(self, inspector: Inspector) -> None:
        self.inspector = inspector
        self.catalogue: Catalogue = inspector.catalogue

    # Which product, which model

    def models_of(self, category: str | None) -> list[tuple[str, str]]:
        """(label, name) of a category's models, as the list takes them."""
        named = name_models(self.catalogue.entries)
        return [(entry.label, name) for (of, name), entry in named.items() if of == category]

    def find(self, category: str | None, model: str | None) -> ModelEntry | None:
        """The model that was chosen; None when it is no longer on offer."""
        return name_models(self.catalogue.entries).get((category, model))

    def open(
        self, session: Session, language: str, category: str | None, model: str | None
    ) -> tuple[Any, ...]:
        """The choice that the page's address asks for, as far as it is on offer."""
        category, model = self._closest(category, model)
        session.turn_to(category, model)
        return (
            (category, model),
            gr.Dropdown(choices=self.catalogue.categories, value=category),
            gr.Dropdown(choices=self.models_of(category), value=model),
            *self._examples(category),
            language,
            language,
            *self.cleared(language),
            progress_html(None, text_in(language)),
        )

    def describe_programs(self, language: str, category: str, request: gr.Request) -> str:
        """The panel for programs, with the address by which this visitor reaches the app."""
        address = f"{str(request.request.base_url).rstrip('/')}/"
        has_mcp = mcp_is_installed() and request.username is None  # not behind a login
        return programs_html(text_in(language), address, category, has_mcp)

    def choose_category(
        self,
        session: Session,
        category: str,
        model: str | None,
        shown: tuple[str, str | None],
        language: str,
    ) -> tuple[Any, ...]:
        """Offer the category's models and examples, and clear what belonged to the last one."""
        choices = self.models_of(category)
        names = [name for _, name in choices]
        kept = model if model in names else next(iter(names), None)  # it may know both categories
        changes = (
            (category, kept),
            gr.Dropdown(choices=choices, value=kept),
            session.threshold_of(category, kept),
            *self._examples(category),
            None,
            *self.cleared(language),
            *NO_FACTS,
        )
        if category == shown[0]:
            return unchanged(len(changes))
        session.turn_to(category, kept)
        return changes

    def choose_model(
        self, session: Session, model: str, shown: tuple[str, str | None], language: str
    ) -> tuple[Any, ...]:
        """Clear what belonged to the last model."""
        threshold = session.threshold_of(shown[0], model)
        changes = ((shown[0], model), threshold, *self.cleared(language), *NO_FACTS)
        if model == shown[1]:
            return unchanged(len(changes))
        session.turn_to(shown[0], model)
        return changes

    def offer(
        self, session: Session, category: str | None, model: str | None, language: str
    ) -> tuple[Any, ...]:
        """Bring both lists up to date; the visitor's choice stays where it is still on offer."""
        closest = self._closest(category, model)
        is_kept = closest == (category, model)
        if not is_kept:
            session.turn_to(*closest)
        # Without a value, what the visitor has chosen in the meantime stays too.
        values = [{}, {}] if is_kept else [{"value": name} for name in closest]
        notice, cleared = self.catalogue.notice, self.cleared(language)
        return (
            closest,
            gr.Dropdown(choices=self.catalogue.categories, **values[0]),
            gr.Dropdown(choices=self.models_of(closest[0]), **values[1]),
            gr.Button(text_in(language)("page.refresh"), interactive=True),
            gr.HTML(notice_html(notice), visible=bool(notice)),
            *self._examples(closest[0]),
            *(unchanged(len(cleared)) if is_kept else cleared),
        )

    def refresh(self, language: str) -> Iterator[gr.Button]:
        """Ask the Hub anew; the button says so until `offer` has brought the lists up to date."""
        yield gr.Button(text_in(language)("page.refreshing"), interactive=False)
        self.catalogue.refresh(force=True)

    def prepare(
        self, session: Session, category: str, model: str, language: str
    ) -> tuple[Any, Any, Any]:
        """Load the chosen model ahead of the first photo; what there is to say about it."""
        from modeling import ModelLoadError

        if session.choice != (category, model):  # it may have waited in the queue
            return unchanged(3)
        entry, text = self.find(category, model), text_in(language)
        if entry is None:
            return NO_FACTS
        facts = read_facts(entry)
        try:
            calibration = self.inspector.calibration_of(entry)
            backend = self.inspector.backend_of(entry)
        except ModelLoadError:  # said when a photo is inspected
            calibration = None
        if session.choice != (category, model):
            return unchanged(3)  # the visitor has gone on meanwhile
        if calibration is None:
            return "", about_html(facts, text), ""
        session.facts, session.calibration = facts, calibration
        session.defect_scores = defect_scores(facts, calibration)
        threshold = session.threshold_of(category, model)  # it may have been moved meanwhile
        return (
            self.cost(session, threshold, language),
            about_html(facts, text, backend),
            self.charts(session, threshold, language),
        )

    # One photo

    def give_photo(self, session: Session, photo: str | None, language: str) -> Shown:
        """Another photo than the last, or none: the last result is shown no longer.

        Of a photo that is being inspected already, this comes too late and changes nothing.
        """
        if photo == session.photo:
            return NOTHING_NEW
        session.clear()
        session.photo = photo
        return self.cleared(language)

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
        entry, text = self.find(category, model), text_in(language)
        is_looked_at = partial(session.looks_at, photo, category, model)
        inspected, sentence = None, ""
        try:
            if not photo:
                raise ValueError(text("page.no_photo"))
            if entry is None:
                raise ValueError(text("page.gone"))
            for waiting in self._load(entry, language):
                yield waiting if is_looked_at() else NOTHING_NEW
            inspected = self._inspected(photo, entry, threshold, session.new_photo_folder())
        except NoRoomError:
            sentence = text(NO_ROOM_WORDS)
        except ValueError as error:  # also a ModelLoadError: one sentence
            sentence = str(error)
        if not is_looked_at():
            if inspected is not None:
                inspected.folder.close()
            yield NOTHING_NEW
        elif inspected is None:
            session.show(None)
            yield self.cleared(language, sentence, "error")
        else:
            result, pictures, folder = inspected
            session.show(result, folder=folder)
            newest = session.thresholds.get((category, model), threshold)
            if result.record.threshold != newest:
                session.result = result = result.at_threshold(newest)
            yield self._shown(session, result, pictures, language)

    def cleared(self, language: str, message: str = "", kind: str = "empty") -> Shown:
        """No result, and a sentence in its place."""
        message = message or text_in(language)("page.empty")
        hidden = gr.Row(visible=False)
        return Shown(message_card(message, kind), "", "", "", "", hidden, hidden)

    def rejudge(
        self, session: Session, threshold: float, category: str, model: str, language: str
    ) -> tuple[Any, ...]:
        """The photo that is shown at another threshold, and what it costs; no model runs.

        A part that another model judged stays as it is.
        """
        session.thresholds[category, model] = threshold
        cost = self.cost(session, threshold, language)
        result = session.result
        if result is None or session.keeps_threshold:
            return *unchanged(len(Judged._fields)), cost
        judged = result.at_threshold(threshold)
        if session.result is not result:  # the visitor has gone on meanwhile
            return *unchanged(len(Judged._fields)), cost
        session.result = judged
        return *self._judged(session, judged, language), cost

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
        card = self._card(session, result, language)
        if session.batch is None or session.number is None:
            return card, *unchanged(3)
        session.batch.decide(session.number, decision, note.strip())
        return card, *self._listed(session.batch, language)[1:]

    # The threshold and the model

    def cost(self, session: Session, threshold: float, language: str) -> Any:
        """What the threshold costs; before the model is loaded, that is left to `prepare`."""
        if session.calibration is None:
            return gr.skip()
        return threshold_cost(
            session.calibration, threshold, session.defect_scores, text_in(language)
        )

    def charts(self, session: Session, threshold: float, language: str) -> Any:
        """Histogram and ROC curve with the threshold in them; as with the cost, see there."""
        if session.facts is None or session.calibration is None:
            return gr.skip()
        return charts_html(session.facts, session.calibration, threshold, text_in(language))

    # Many photos

    def start(self, session: Session, language: str) -> str:
        """What is said at once when a batch is started, which may wait in the queue."""
        session.is_waiting, session.stop_asked = True, False
        return message_card(text_in(language)("batch.waiting"), "busy")

    def inspect_batch(
        self,
        session: Session,
        files: Sequence[str] | None,
        category: str | None,
        model: str | None,
        threshold: float,
        language: str,
    ) -> Iterator[Listed]:
        """Inspect many photos; the bar moves with each, the lists once a second."""
        text, entry = text_in(language), self.find(category, model)
        session.is_waiting = False
        if session.stop_asked:
            yield Listed(message_card(text("batch.not_begun")), *unchanged(3))
            return
        if not files or entry is None:
            sentence = text("batch.empty") if entry else text("page.gone")
            yield Listed(message_card(sentence, "error"), *unchanged(3))
            return
        session.end_batch()
        yield Listed(message_card(text("batch.unpacking"), "busy"), "", "", "")
        try:
            folder = TemporaryFolder(session.root)
        except NoRoomError:
            yield Listed(message_card(text(NO_ROOM_WORDS), "error"), *unchanged(3))
            return
        uploads, choice = unpack(files, folder, text), (category, model)
        # The slider may have been moved since Start was pressed.
        newest = session.thresholds.get(choice, threshold)
        batch = Batch(uploads, folder, newest, choice)
        session.start_batch(batch)
        if session.stop_asked:  # while the photos were unpacked
            batch.cancel()
        for waiting in self._load_or_leave(entry, language):
            yield Listed(waiting, *unchanged(3))
        drawn = float("-inf")
        for _ in batch.run(self.inspector, entry):
            if batch.is_running and time.monotonic() - drawn < LIST_SECONDS:
                yield Listed(progress_html(batch, text), *unchanged(3))
            else:
                drawn = time.monotonic()
                yield self._listed(batch, language)

    def cancel(self, session: Session, language: str) -> Any:
        """End the batch after the photo that is being inspected; one that waits does not begin."""
        session.stop_asked = True
        if session.is_waiting:
            return message_card(text_in(language)("batch.not_begun"))
        if session.batch is not None:
            session.batch.cancel()
        return gr.skip()

    def show(self, session: Session, language: str, chosen: gr.EventData) -> Shown:
        """Show the result of a photo of the batch."""
        batch, number = session.batch, int(chosen.number)
        if batch is None or not 1 <= number <= len(batch.results):
            return NOTHING_NEW
        batch.selected, session.photo = number, None
        result = batch.results[number - 1]
        if number not in session.pictures and not result.record.error:
            inspection = self.inspector.inspect_again(result, batch.folder)
            if (pictures := _pictures(inspection, batch.folder)) is not None:
                session.pictures[number] = pictures
        if batch is not session.batch or batch.selected != number or session.photo is not None:
            return NOTHING_NEW  # the visitor has gone on meanwhile
        result = batch.results[number - 1]
        session.show(result, number)
        return self._shown(session, result, session.pictures.get(number), language)

    def rejudge_batch(
        self, session: Session, threshold: float, category: str, model: str, language: str
    ) -> tuple[Any, ...]:
        """All photos of the batch at another threshold; no model runs.

        A batch that another model judged stays as it is.
        """
        batch = session.batch
        if batch is None or batch.choice != (category, model):
            return unchanged(3)
        batch.rejudge(threshold)
        if batch is not session.batch:  # another was started meanwhile
            return unchanged(3)
        return self._listed(batch, language)[1:]

    # Taking it home

    def csv(self, session: Session) -> str:
        """The result that is shown, as CSV."""
        return MARK + csv_text([session.result]) if session.result else ""

    def batch_csv(self, session: Session) -> str:
        """All results of the batch, as CSV."""
        return MARK + csv_text(session.batch.results) if session.batch else ""

    def zip(self, session: Session) -> str:
        """Address of a zip with the pictures of the result that is shown."""
        if session.result is None:
            return ""
        return _packed([session.result], session.photo_folder)

    def batch_zip(self, session: Session) -> str:
        """Address of a zip with the pictures of the whole batch."""
        if session.batch is None:
            return ""
        return _packed(session.batch.results, session.batch.folder)

    # Inside

    def _closest(self, category: str | None, model: str | None) -> tuple[str, str]:
        """The chosen category and model, else the nearest to them that is on offer."""
        return min(
            name_models(self.catalogue.entries),
            key=lambda named: (named != (category, model), named[1] != model, named[0] != category),
        )

    def _examples(self, category: str) -> tuple[gr.Column, gr.Dataset]:
        """The category's example photos; nothing is shown where there are none."""
        samples = [[path] for path in examples_of(category)]
        return gr.Column(visible=bool(samples)), gr.Dataset(samples=samples)

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
        return Inspected(result, _pictures(found, folder), folder)

    def _load(self, entry: ModelEntry, language: str) -> Generator[Shown, None, None]:
        """Load a model, and say in the place of a result how far it is."""
        for progress in self.catalogue.load_with_progress(entry):
            waiting = download_html(progress, text_in(language))
            yield self.cleared(language)._replace(verdict=waiting)

    def _load_or_leave(self, entry: ModelEntry, language: str) -> Iterator[str]:
        """The same in the place of the batch's progress; the batch itself says what failed."""
        from modeling import ModelLoadError

        try:
            for progress in self.catalogue.load_with_progress(entry):
                yield download_html(progress, text_in(language))
        except ModelLoadError:
            return

    def _card(self, session: Session, result: Result, language: str) -> str:
        """The verdict card, which page.js leaves alone where the slider has no say in it."""
        card = verdict_card(result, text_in(language))
        return f"<div data-keeps-threshold>{card}</div>" if session.keeps_threshold else card

    def _judged(self, session: Session, result: Result, language: str) -> Judged:
        table = regions_html(result, text_in(language))
        return Judged(self._card(session, result, language), outlines_html(result), table)

    def _shown(self, session: Session, result: Result, pictures: Any, language: str) -> Shown:
        pictures = "" if pictures is None else pictures_html(result, pictures, text_in(language))
        visible = gr.Row(visible=True)
        judged = self._judged(session, result, language)
        return Shown(*judged, pictures, result.note, visible, visible)

    def _listed(self, batch: Batch, language: str) -> Listed:
        text = text_in(language)
        return Listed(
            progress_html(batch, text),
            totals_html(batch, text),
            gallery_html(batch, text),
            table_html(batch, text),
        )
