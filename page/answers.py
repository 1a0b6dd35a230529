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
from page.inspection.inspector import Bench
from page.inspection.results import NO_ROOM_WORDS, UNDECIDED, NoRoomError, Result, Workplace
from page.inspection.uploads import unpack
from page.languages import text_in
from page.markup import address
from page.models.catalogue import Catalogue, ModelEntry, examples_of
from page.models.downloads import download_html, load_with_progress
from page.models.facts import defect_scores, read_facts
from page.session import Visit
from page.views.about import about_html, charts_html
from page.views.batch import gallery_html, progress_html, table_html, totals_html
from page.views.export import csv_text, write_zip
from page.views.result_pictures import Prints, lay_out, make_prints, outlines, region_table
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
    """A single photo before it is laid on the light table."""

    result: Result
    prints: Prints | None
    table: Workplace  # where its files are


class Shown(NamedTuple):
    """All that lies on the light table."""

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


def _prints(inspection: Inspection | None, workplace: Workplace) -> Prints | None:
    """The pictures; None where there are none, or the disk is full: the verdict stands anyway."""
    try:
        return None if inspection is None else make_prints(inspection, workplace)
    except NoRoomError:
        return None


def _packed(results: Sequence[Result], workplace: Workplace) -> str:
    """Address of a zip with the pictures of results."""
    try:
        return address(write_zip(results, workplace))
    except NoRoomError as error:
        raise refusal(str(error)) from error


class Answers:
    """The page's answers over a bench; a visitor's things are in the `Visit` that comes along."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.catalogue: Catalogue = bench.catalogue

    # Which product, which model

    def models_of(self, category: str | None) -> list[tuple[str, str]]:
        """(label, name) of a category's models, as the list takes them."""
        named = name_models(self.catalogue.entries)
        return [(entry.label, name) for (of, name), entry in named.items() if of == category]

    def find(self, category: str | None, model: str | None) -> ModelEntry | None:
        """The model that was chosen; None when it is no longer on offer."""
        return name_models(self.catalogue.entries).get((category, model))

    def open(
        self, visit: Visit, language: str, category: str | None, model: str | None
    ) -> tuple[Any, ...]:
        """The choice that the page's address asks for, as far as it is on offer."""
        category, model = self._closest(category, model)
        visit.turn_to(category, model)
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
        visit: Visit,
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
            visit.threshold_of(category, kept),
            *self._examples(category),
            None,
            *self.cleared(language),
            *NO_FACTS,
        )
        if category == shown[0]:
            return unchanged(len(changes))
        visit.turn_to(category, kept)
        return changes

    def choose_model(
        self, visit: Visit, model: str, shown: tuple[str, str | None], language: str
    ) -> tuple[Any, ...]:
        """Clear what belonged to the last model."""
        threshold = visit.threshold_of(shown[0], model)
        changes = ((shown[0], model), threshold, *self.cleared(language), *NO_FACTS)
        if model == shown[1]:
            return unchanged(len(changes))
        visit.turn_to(shown[0], model)
        return changes

    def offer(
        self, visit: Visit, category: str | None, model: str | None, language: str
    ) -> tuple[Any, ...]:
        """Bring both lists up to date; the visitor's choice stays where it is still on offer."""
        closest = self._closest(category, model)
        is_kept = closest == (category, model)
        if not is_kept:
            visit.turn_to(*closest)
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
        self, visit: Visit, category: str, model: str, language: str
    ) -> tuple[Any, Any, Any]:
        """Load the chosen model ahead of the first photo; what there is to say about it."""
        from modeling import ModelLoadError

        if visit.choice != (category, model):  # it may have waited in the queue
            return unchanged(3)
        entry, text = self.find(category, model), text_in(language)
        if entry is None:
            return NO_FACTS
        facts = read_facts(entry)
        try:
            calibration = self.bench.calibration_of(entry)
            backend = self.bench.backend_of(entry)
        except ModelLoadError:  # said when a photo is inspected
            calibration = None
        if visit.choice != (category, model):
            return unchanged(3)  # the visitor has gone on meanwhile
        if calibration is None:
            return "", about_html(facts, text), ""
        visit.facts, visit.calibration = facts, calibration
        visit.defect_scores = defect_scores(facts, calibration)
        threshold = visit.threshold_of(category, model)  # it may have been moved meanwhile
        return (
            self.cost(visit, threshold, language),
            about_html(facts, text, backend),
            self.charts(visit, threshold, language),
        )

    # One photo

    def give_photo(self, visit: Visit, photo: str | None, language: str) -> Shown:
        """Another photo than the last, or none, takes the part from the light table.

        Of a photo that is being inspected already, this comes too late and changes nothing.
        """
        if photo == visit.photo:
            return NOTHING_NEW
        visit.clear()
        visit.photo = photo
        return self.cleared(language)

    def look_at(self, visit: Visit, photo: str | None, category: str, model: str) -> None:
        """Note what is to be inspected; it is shown if the visitor still looks at it by then."""
        visit.turn_to(category, model)
        visit.photo = photo

    def inspect(
        self,
        visit: Visit,
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
        is_looked_at = partial(visit.looks_at, photo, category, model)
        inspected, sentence = None, ""
        try:
            if not photo:
                raise ValueError(text("page.no_photo"))
            if entry is None:
                raise ValueError(text("page.gone"))
            for waiting in self._load(entry, language):
                yield waiting if is_looked_at() else NOTHING_NEW
            inspected = self._inspected(photo, entry, threshold, visit.new_table())
        except NoRoomError:
            sentence = text(NO_ROOM_WORDS)
        except ValueError as error:  # also a ModelLoadError: one sentence
            sentence = str(error)
        if not is_looked_at():
            if inspected is not None:
                inspected.table.close()
            yield NOTHING_NEW
        elif inspected is None:
            visit.lay(None)
            yield self.cleared(language, sentence, "error")
        else:
            result, prints, table = inspected
            visit.lay(result, table=table)
            newest = visit.thresholds.get((category, model), threshold)
            if result.threshold != newest:
                visit.result = result = result.at_threshold(newest)
            yield self._shown(visit, result, prints, language)

    def cleared(self, language: str, message: str = "", kind: str = "empty") -> Shown:
        """An empty light table with a sentence on it."""
        message = message or text_in(language)("page.empty")
        hidden = gr.Row(visible=False)
        return Shown(message_card(message, kind), "", "", "", "", hidden, hidden)

    def rejudge(
        self, visit: Visit, threshold: float, category: str, model: str, language: str
    ) -> tuple[Any, ...]:
        """The part on the table at another threshold, and what it costs; no model runs.

        A part that another model judged stays as it is.
        """
        visit.thresholds[category, model] = threshold
        cost = self.cost(visit, threshold, language)
        result = visit.result
        if result is None or visit.keeps_threshold:
            return *unchanged(len(Judged._fields)), cost
        judged = result.at_threshold(threshold)
        if visit.result is not result:  # the visitor has gone on meanwhile
            return *unchanged(len(Judged._fields)), cost
        visit.result = judged
        return *self._judged(visit, judged, language), cost

    def decide(
        self, visit: Visit, decision: str | None, note: str, language: str
    ) -> tuple[Any, ...]:
        """Record the operator's decision, or take it back where it is made twice.

        Args:
            visit: whose part it is.
            decision: `ACCEPT` or `REJECT`; None for a change of the note alone.
            note: the operator's own words.
            language: the visitor's.

        Returns:
            Verdict card, and totals, gallery and table of the batch.
        """
        result = visit.result
        if result is None:
            return unchanged(4)
        if decision is None:
            decision = result.decision
        elif decision == result.decision:
            decision = UNDECIDED
        visit.result = result = replace(result, decision=decision, note=note.strip())
        card = self._card(visit, result, language)
        if visit.batch is None or visit.number is None:
            return card, *unchanged(3)
        visit.batch.decide(visit.number, decision, note.strip())
        return card, *self._listed(visit.batch, language)[1:]

    # The threshold and the model

    def cost(self, visit: Visit, threshold: float, language: str) -> Any:
        """What the threshold costs; before the model is loaded, that is left to `prepare`."""
        if visit.calibration is None:
            return gr.skip()
        return threshold_cost(visit.calibration, threshold, visit.defect_scores, text_in(language))

    def charts(self, visit: Visit, threshold: float, language: str) -> Any:
        """Histogram and ROC curve with the threshold in them; as with the cost, see there."""
        if visit.facts is None or visit.calibration is None:
            return gr.skip()
        return charts_html(visit.facts, visit.calibration, threshold, text_in(language))

    # Many photos

    def start(self, visit: Visit, language: str) -> str:
        """What is said at once when a batch is started, which may wait in the queue."""
        visit.is_waiting, visit.stop_asked = True, False
        return message_card(text_in(language)("batch.waiting"), "busy")

    def inspect_batch(
        self,
        visit: Visit,
        files: Sequence[str] | None,
        category: str | None,
        model: str | None,
        threshold: float,
        language: str,
    ) -> Iterator[Listed]:
        """Inspect many photos; the bar moves with each, the lists once a second."""
        text, entry = text_in(language), self.find(category, model)
        visit.is_waiting = False
        if visit.stop_asked:
            yield Listed(message_card(text("batch.not_begun")), *unchanged(3))
            return
        if not files or entry is None:
            sentence = text("batch.empty") if entry else text("page.gone")
            yield Listed(message_card(sentence, "error"), *unchanged(3))
            return
        visit.end_batch()
        yield Listed(message_card(text("batch.unpacking"), "busy"), "", "", "")
        try:
            workplace = Workplace(visit.root)
        except NoRoomError:
            yield Listed(message_card(text(NO_ROOM_WORDS), "error"), *unchanged(3))
            return
        uploads, choice = unpack(files, workplace, text), (category, model)
        # The slider may have been moved since Start was pressed.
        newest = visit.thresholds.get(choice, threshold)
        batch = Batch(uploads, workplace, newest, choice)
        visit.start_batch(batch)
        if visit.stop_asked:  # while the photos were unpacked
            batch.cancel()
        for waiting in self._load_or_leave(entry, language):
            yield Listed(waiting, *unchanged(3))
        drawn = float("-inf")
        for _ in batch.run(self.bench, entry):
            if batch.is_running and time.monotonic() - drawn < LIST_SECONDS:
                yield Listed(progress_html(batch, text), *unchanged(3))
            else:
                drawn = time.monotonic()
                yield self._listed(batch, language)

    def cancel(self, visit: Visit, language: str) -> Any:
        """End the batch after the photo that is being inspected; one that waits does not begin."""
        visit.stop_asked = True
        if visit.is_waiting:
            return message_card(text_in(language)("batch.not_begun"))
        if visit.batch is not None:
            visit.batch.cancel()
        return gr.skip()

    def show(self, visit: Visit, language: str, chosen: gr.EventData) -> Shown:
        """Lay a photo of the batch on the light table."""
        batch, number = visit.batch, int(chosen.number)
        if batch is None or not 1 <= number <= len(batch.results):
            return NOTHING_NEW
        batch.selected, visit.photo = number, None
        result = batch.results[number - 1]
        if number not in visit.prints and not result.error:
            inspection = self.bench.inspect_again(result, batch.workplace)
            if (prints := _prints(inspection, batch.workplace)) is not None:
                visit.prints[number] = prints
        if batch is not visit.batch or batch.selected != number or visit.photo is not None:
            return NOTHING_NEW  # the visitor has gone on meanwhile
        result = batch.results[number - 1]
        visit.lay(result, number)
        return self._shown(visit, result, visit.prints.get(number), language)

    def rejudge_batch(
        self, visit: Visit, threshold: float, category: str, model: str, language: str
    ) -> tuple[Any, ...]:
        """All photos of the batch at another threshold; no model runs.

        A batch that another model judged stays as it is.
        """
        if visit.batch is None or visit.batch.choice != (category, model):
            return unchanged(3)
        visit.batch.rejudge(threshold)
        return self._listed(visit.batch, language)[1:]

    # Taking it home

    def csv(self, visit: Visit) -> str:
        """The result on the light table, as CSV."""
        return MARK + csv_text([visit.result]) if visit.result else ""

    def batch_csv(self, visit: Visit) -> str:
        """All results of the batch, as CSV."""
        return MARK + csv_text(visit.batch.results) if visit.batch else ""

    def zip(self, visit: Visit) -> str:
        """Address of a zip with the pictures of the result on the light table."""
        if visit.result is None:
            return ""
        return _packed([visit.result], visit.table)

    def batch_zip(self, visit: Visit) -> str:
        """Address of a zip with the pictures of the whole batch."""
        if visit.batch is None:
            return ""
        return _packed(visit.batch.results, visit.batch.workplace)

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
        self, photo: str, entry: ModelEntry, threshold: float, table: Workplace
    ) -> Inspected:
        """Inspect a single photo; what was begun is deleted where that fails."""
        try:
            kept = table.keep(photo)
            result, found = self.bench.inspect(Path(photo).name, kept, entry, threshold, table)
        except BaseException:
            table.close()
            raise
        return Inspected(result, _prints(found, table), table)

    def _load(self, entry: ModelEntry, language: str) -> Generator[Shown, None, None]:
        """Load a model, and say on the light table how far it is."""
        for progress in load_with_progress(self.catalogue, entry):
            waiting = download_html(progress, text_in(language))
            yield self.cleared(language)._replace(verdict=waiting)

    def _load_or_leave(self, entry: ModelEntry, language: str) -> Iterator[str]:
        """The same in the place of the batch's progress; the batch itself says what failed."""
        from modeling import ModelLoadError

        try:
            for progress in load_with_progress(self.catalogue, entry):
                yield download_html(progress, text_in(language))
        except ModelLoadError:
            return

    def _card(self, visit: Visit, result: Result, language: str) -> str:
        """The verdict card, which page.js leaves alone where the slider has no say in it."""
        card = verdict_card(result, text_in(language))
        return f"<div data-keeps-threshold>{card}</div>" if visit.keeps_threshold else card

    def _judged(self, visit: Visit, result: Result, language: str) -> Judged:
        table = region_table(result, text_in(language))
        return Judged(self._card(visit, result, language), outlines(result), table)

    def _shown(self, visit: Visit, result: Result, prints: Any, language: str) -> Shown:
        pictures = "" if prints is None else lay_out(result, prints, text_in(language))
        visible = gr.Row(visible=True)
        judged = self._judged(visit, result, language)
        return Shown(*judged, pictures, result.note, visible, visible)

    def _listed(self, batch: Batch, language: str) -> Listed:
        text = text_in(language)
        return Listed(
            progress_html(batch, text),
            totals_html(batch, text),
            gallery_html(batch, text),
            table_html(batch, text),
        )
