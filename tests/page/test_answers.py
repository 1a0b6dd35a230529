from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import pytest
from conftest import ROOT

from page.answers import taking_home
from page.answers.choosing import Choosing, charts, cost
from page.answers.many_photos import ManyPhotos
from page.answers.one_photo import OnePhoto
from page.answers.values import NOTHING_NEW, cleared
from page.inspection.inspector import Inspector
from page.inspection.results import ACCEPT, Result
from page.languages import Translation
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry, shipped_models
from page.session import Session
from page.wiring import build

TEXT = Translation("en")
NUT, KEY = ("flange_nut", "flange_nut"), ("key", "key")
DENT, GOOD = (str(ROOT / f"assets/examples/flange_nut/{name}.jpg") for name in ("dent", "good"))


class Answers:
    """All that one page answers with."""

    def __init__(self, inspector: Inspector) -> None:
        self.choosing = Choosing(inspector)
        self.one_photo, self.many_photos = OnePhoto(inspector), ManyPhotos(inspector)


class SlowInspector(Inspector):
    """An inspector at which the visitor does something while a model is being loaded."""

    def __init__(self, catalogue, meanwhile):
        super().__init__(catalogue)
        self.meanwhile = meanwhile

    def calibration_of(self, entry):
        calibration = super().calibration_of(entry)
        self.meanwhile.pop(entry.category, lambda: None)()
        return calibration

    def inspect(self, file, *given):
        answer = super().inspect(file, *given)
        self.meanwhile.pop(file, lambda: None)()
        return answer


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue(shipped_models())


def test_what_is_said_is_of_the_model_chosen_last(catalogue, tmp_path):
    session, said = Session(tmp_path), []

    def go_on_to_the_key() -> None:
        answers.choosing.choose_category(session, *KEY, NUT, TEXT)
        said.append(answers.choosing.prepare(session, TEXT))

    answers = Answers(SlowInspector(catalogue, {"flange_nut": go_on_to_the_key}))
    session.turn_to(*NUT)
    late = answers.choosing.prepare(session, TEXT)
    assert late == gr.skip()
    assert said == [answers.choosing.prepare(session, TEXT)]
    assert session.calibration == Inspector(catalogue).calibration_of(catalogue.find(*KEY))


def test_a_threshold_moved_while_the_model_loads_is_the_one_that_is_priced(catalogue, tmp_path):
    session, said = Session(tmp_path), []

    def move() -> None:
        said.append(answers.one_photo.rejudge(session, 0.8, *KEY, TEXT)[-1])

    answers = Answers(SlowInspector(catalogue, {"key": move}))
    session.turn_to(*KEY)
    answers.choosing.prepare(session, TEXT)
    price, drawn = answers.choosing.measure(session, TEXT)
    assert said == [gr.skip()]  # nothing that could come late and wipe out the answer
    assert price == cost(session, 0.8, TEXT) != cost(session, 0.0, TEXT)
    assert drawn == charts(session, 0.8, TEXT)


def test_what_an_older_threshold_costs_is_not_said_after_the_newer(
    catalogue, tmp_path, monkeypatch
):
    session, answers = Session(tmp_path), Answers(Inspector(catalogue))
    session.turn_to(*KEY)
    answers.choosing.prepare(session, TEXT)
    assert answers.choosing.measure(session, TEXT)[0] == cost(session, 0.5, TEXT)

    def moved_while_it_is_drawn(*given):
        answers.one_photo.rejudge(session, 0.8, *KEY, TEXT)
        return charts(*given)

    monkeypatch.setattr("page.answers.choosing.charts", moved_while_it_is_drawn)
    assert answers.choosing.measure(session, TEXT) == (gr.skip(), gr.skip())


def test_what_a_threshold_costs_never_waits_in_the_queue(catalogue, tmp_path):
    """Else the answer for an older threshold could arrive last, and stay."""
    config = build(Inspector(catalogue), tmp_path).config
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
    telling = [
        answer
        for answer in config["dependencies"]
        if {ids["cost"], ids["charts"]} & {*answer["outputs"]}
    ]
    assert len(telling) > 5
    assert not any(answer["queue"] for answer in telling)


def test_what_follows_a_choice_is_not_asked_by_lists_that_may_be_of_two_choices(
    catalogue, tmp_path
):
    """Gradio refuses a model that is not on the list, and says so to a person who was too fast."""
    config = build(Inspector(catalogue), tmp_path).config
    ids = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
    following = [
        answer
        for answer in config["dependencies"]
        if answer["outputs"] in ([ids["about"]], [ids["cost"], ids["charts"]])
    ]
    assert len(following) > 5
    assert not any({ids["category"], ids["model"]} & {*answer["inputs"]} for answer in following)


def press_inspect(answers, session, photo, threshold=0.5):
    """What is shown when a person has had a photo of the nut inspected."""
    answers.one_photo.give(session, photo, TEXT)
    answers.one_photo.look_at(session, photo, *NUT)
    *_, shown = answers.one_photo.inspect(session, photo, *NUT, threshold, TEXT)
    return shown


def during_an_inspection(
    catalogue, session, act: Callable[[Answers], object], threshold: float = 0.5
):
    """The answers, and what is shown, where a visitor acts while a dent is found."""
    answers = Answers(SlowInspector(catalogue, {"dent.jpg": lambda: act(answers)}))
    session.turn_to(*NUT)
    return answers, press_inspect(answers, session, DENT, threshold)


@pytest.mark.parametrize(
    "act",
    [
        lambda answers, session: answers.one_photo.give(session, GOOD, TEXT),
        lambda answers, session: answers.one_photo.give(session, None, TEXT),
        lambda answers, session: answers.choosing.choose_category(session, "key", "key", NUT, TEXT),
        lambda answers, session: answers.choosing.choose_model(session, "another", NUT, TEXT),
    ],
    ids=["photo", "removed", "category", "model"],
)
def test_an_answer_about_what_is_no_longer_looked_at_is_dropped(catalogue, tmp_path, act):
    session = Session(tmp_path)
    _, shown = during_an_inspection(catalogue, session, lambda answers: act(answers, session))
    assert shown == NOTHING_NEW
    assert session.result is None
    assert taking_home.csv(session) == ""


def click_on(number: int, clicks: int = 1) -> gr.EventData:
    """A click on a photo of the batch, the page's first unless it says otherwise."""
    return gr.EventData(None, {"number": number, "clicks": clicks})


def test_of_two_clicks_the_later_one_counts_though_it_comes_first(catalogue, tmp_path):
    session, answers = Session(tmp_path), Answers(Inspector(catalogue))
    answers.choosing.open(session, TEXT, *NUT)
    list(answers.many_photos.inspect(session, [GOOD, DENT], *NUT, 0.5, TEXT))
    assert answers.many_photos.show(session, TEXT, click_on(1, clicks=2)) != NOTHING_NEW
    assert answers.many_photos.show(session, TEXT, click_on(2, clicks=1)) == NOTHING_NEW
    assert (session.number, session.batch.selected) == (1, 1)
    assert answers.many_photos.show(session, TEXT, click_on(2, clicks=3)) != NOTHING_NEW
    assert (session.number, session.batch.selected) == (2, 2)


def test_a_photo_of_the_batch_that_is_chosen_meanwhile_stays_shown(catalogue, tmp_path):
    session = Session(tmp_path)
    answers = Answers(Inspector(catalogue))
    answers.choosing.open(session, TEXT, *NUT)
    list(answers.many_photos.inspect(session, [GOOD], *NUT, 0.5, TEXT))
    clicked = click_on(1)
    answers.one_photo.inspector = SlowInspector(
        catalogue, {"dent.jpg": lambda: answers.many_photos.show(session, TEXT, clicked)}
    )
    assert press_inspect(answers, session, DENT) == NOTHING_NEW
    assert (session.number, session.result.file) == (1, "good.jpg")
    assert press_inspect(answers, session, DENT) != NOTHING_NEW  # the same photo once more
    assert (session.number, session.result.file) == (None, "dent.jpg")


def test_another_photo_takes_the_place_of_the_result_and_the_same_one_does_not(catalogue, tmp_path):
    session, answers = Session(tmp_path), Answers(Inspector(catalogue))
    press_inspect(answers, session, DENT)
    said_late = answers.one_photo.give(session, DENT, TEXT)  # Inspect was faster
    assert said_late == NOTHING_NEW
    assert session.result.record.verdict == "FAIL"
    assert answers.one_photo.give(session, GOOD, TEXT).verdict == cleared(TEXT).verdict
    assert session.result is None
    judged = answers.one_photo.rejudge(session, 0.1, *NUT, TEXT)[:-1]
    assert judged == (gr.skip(),) * len(judged)


def test_the_verdict_is_that_of_the_threshold_by_then(catalogue, tmp_path):
    session = Session(tmp_path)
    _, shown = during_an_inspection(
        catalogue, session, lambda answers: answers.one_photo.rejudge(session, 1.0, *NUT, TEXT)
    )
    assert (session.result.record.verdict, session.result.record.threshold) == ("PASS", 1.0)
    assert 'data-verdict="PASS"' in shown.verdict


def test_another_model_s_threshold_leaves_a_batch_and_its_parts_as_they_are(catalogue, tmp_path):
    session, answers = Session(tmp_path), Answers(Inspector(catalogue))
    answers.choosing.open(session, TEXT, *NUT)
    answers.one_photo.rejudge(session, 0.1, *NUT, TEXT)  # while the batch waits
    list(answers.many_photos.inspect(session, [GOOD], *NUT, 0.5, TEXT))
    batch = session.batch
    assert (batch.threshold, batch.results[0].record.verdict) == (0.1, "FAIL")
    answers.choosing.choose_category(session, "key", "key", NUT, TEXT)
    answers.many_photos.show(session, TEXT, click_on(1))
    for threshold in (0.5, 0.9):
        assert answers.many_photos.rejudge(session, threshold, *KEY, TEXT) == (gr.skip(),) * 3
        assert answers.one_photo.rejudge(session, threshold, *KEY, TEXT)[0] == gr.skip()
        assert (batch.threshold, batch.results[0].record.verdict) == (0.1, "FAIL")
        assert (session.result.record.threshold, session.result.record.verdict) == (0.1, "FAIL")
    assert "data-keeps-threshold" in answers.one_photo.decide(ACCEPT, session, "", TEXT)[0]
    answers.choosing.choose_category(session, "flange_nut", "flange_nut", KEY, TEXT)
    answers.many_photos.rejudge(session, 0.5, *NUT, TEXT)
    assert batch.results[0].record.verdict == "PASS"


def test_a_batch_that_is_replaced_while_it_is_rejudged_keeps_its_maps_until_then(
    catalogue, tmp_path, monkeypatch
):
    session, answers = Session(tmp_path), Answers(Inspector(catalogue))
    list(answers.many_photos.inspect(session, [GOOD, DENT], *NUT, 0.5, TEXT))
    first, read_maps = session.batch, Result.read_maps
    reading, go_on = threading.Event(), threading.Event()

    def read_late(result: Result):
        reading.set()
        assert go_on.wait(60)
        return read_maps(result)

    monkeypatch.setattr(Result, "read_maps", read_late)
    with ThreadPoolExecutor(1) as threads:
        moved = threads.submit(answers.many_photos.rejudge, session, 0.4, *NUT, TEXT)
        assert reading.wait(60)
        started = answers.many_photos.inspect(session, [GOOD], *NUT, 0.4, TEXT)
        next(started)  # the batch is replaced
        go_on.set()
        assert moved.result(60) == (gr.skip(),) * 3  # it is shown no longer
    assert not first.folder.path.exists()
    *_, last = started
    assert "done" in last.progress


def test_single_photos_take_no_more_of_the_disk_the_more_there_are(catalogue, tmp_path):
    session, answers = Session(tmp_path), Answers(Inspector(catalogue))
    list(answers.many_photos.inspect(session, [GOOD], *NUT, 0.5, TEXT))
    of_batch = {*session.batch.folder.path.iterdir()}

    def files() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if path.is_file()} - of_batch

    counts = []
    for photo in (DENT, GOOD, DENT, GOOD):
        press_inspect(answers, session, photo)
        counts.append(len(files()))
        assert Path(taking_home.photo_zip(session).split("file=")[1]) in files()
        assert session.result.photo in files()
    assert len({*counts}) == 1
    for _ in range(2):  # the same photo once more
        press_inspect(answers, session, GOOD)
    assert len(files()) <= 2 * counts[0] + 1
    answers.one_photo.give(session, None, TEXT)
    answers.one_photo.give(session, DENT, TEXT)
    assert not files()
    assert {*session.batch.folder.path.iterdir()} == of_batch


def test_an_answer_that_is_dropped_leaves_no_file(catalogue, tmp_path):
    session = Session(tmp_path)
    during_an_inspection(
        catalogue, session, lambda answers: answers.one_photo.give(session, GOOD, TEXT)
    )
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_batch_that_is_stopped_while_it_waits_does_not_begin(catalogue, tmp_path):
    session, answers = Session(tmp_path), Answers(Inspector(catalogue))
    assert "Waiting for the first result" in answers.many_photos.start(session, TEXT)
    stopped = answers.many_photos.cancel(session, TEXT)
    assert "Stopped before the first photo" in stopped
    (only,) = answers.many_photos.inspect(session, [GOOD], *NUT, 0.5, TEXT)
    assert (only.progress, session.batch) == (stopped, None)
    answers.many_photos.start(session, TEXT)
    *_, last = answers.many_photos.inspect(session, [GOOD], *NUT, 0.5, TEXT)
    assert "done" in last.progress
    assert answers.many_photos.cancel(session, TEXT) == gr.skip()


def test_of_what_is_not_on_offer_the_page_opens_the_nearest(tmp_path):
    entries = [
        ModelEntry("nut", "nut", "models/nut"),
        ModelEntry("both", "nut", "org/both", "1" * 40, on_hub=True),
        ModelEntry("both", "key", "org/both", "1" * 40, on_hub=True),
    ]
    answers = Answers(Inspector(Catalogue(entries)))
    for wanted, opened in (
        (("key", "org/both"), ("key", "org/both")),
        (("bolt", "org/both"), ("nut", "org/both")),
        (("key", "org/gone"), ("key", "org/both")),
        (("bolt", "org/gone"), ("nut", "nut")),
        ((None, None), ("nut", "nut")),
    ):
        assert answers.choosing.open(Session(tmp_path), TEXT, *wanted)[0] == opened
