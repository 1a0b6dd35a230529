from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest
from conftest import ROOT

from page.answers import NOTHING_NEW, Answers
from page.inspection.inspector import Bench
from page.inspection.results import ACCEPT
from page.models.catalogue import Catalogue, shipped_models
from page.session import Visit

NUT, KEY = ("flange_nut", "flange_nut"), ("key", "key")
DENT, GOOD = (str(ROOT / f"assets/examples/flange_nut/{name}.jpg") for name in ("dent", "good"))


class SlowBench(Bench):
    """A bench at which the visitor does something while a model is being loaded."""

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
    visit, said = Visit(tmp_path), []

    def go_on_to_the_key() -> None:
        answers.choose_category(visit, *KEY, NUT, "en")
        said.append(answers.prepare(visit, *KEY, "en"))

    answers = Answers(SlowBench(catalogue, {"flange_nut": go_on_to_the_key}))
    visit.turn_to(*NUT)
    late = answers.prepare(visit, *NUT, "en")
    assert late == (gr.skip(),) * 3
    assert said == [answers.prepare(visit, *KEY, "en")]
    assert visit.calibration == answers.bench.calibration_of(answers.find(*KEY))


def test_a_threshold_moved_while_the_model_loads_is_the_one_that_is_priced(catalogue, tmp_path):
    visit, said = Visit(tmp_path), []

    def move() -> None:
        said.append(answers.rejudge(visit, 0.8, *KEY, "en")[-1])

    answers = Answers(SlowBench(catalogue, {"key": move}))
    visit.turn_to(*KEY)
    cost, _, charts = answers.prepare(visit, *KEY, "en")
    assert said == [gr.skip()]  # nothing that could come late and wipe out the answer
    assert cost == answers.cost(visit, 0.8, "en") != answers.cost(visit, 0.0, "en")
    assert charts == answers.charts(visit, 0.8, "en")


def press_inspect(answers, visit, photo, threshold=0.5):
    """What lies on the light table when a photo of the nut has been inspected, as a person does."""
    answers.give_photo(visit, photo, "en")
    answers.look_at(visit, photo, *NUT)
    *_, shown = answers.inspect(visit, photo, *NUT, threshold, "en")
    return shown


def during_an_inspection(
    catalogue, visit, act: Callable[[Answers], object], threshold: float = 0.5
):
    """The answers, and what lies on the light table, where a visitor acts while a dent is found."""
    answers = Answers(SlowBench(catalogue, {"dent.jpg": lambda: act(answers)}))
    visit.turn_to(*NUT)
    return answers, press_inspect(answers, visit, DENT, threshold)


@pytest.mark.parametrize(
    "act",
    [
        lambda answers, visit: answers.give_photo(visit, GOOD, "en"),
        lambda answers, visit: answers.give_photo(visit, None, "en"),
        lambda answers, visit: answers.choose_category(visit, "key", "key", NUT, "en"),
        lambda answers, visit: answers.choose_model(visit, "another", NUT, "en"),
    ],
    ids=["photo", "removed", "category", "model"],
)
def test_an_answer_about_what_is_no_longer_looked_at_is_dropped(catalogue, tmp_path, act):
    visit = Visit(tmp_path)
    answers, shown = during_an_inspection(catalogue, visit, lambda answers: act(answers, visit))
    assert shown == NOTHING_NEW
    assert visit.result is None
    assert answers.csv(visit) == ""


def test_a_photo_of_the_batch_that_is_chosen_meanwhile_stays_on_the_table(catalogue, tmp_path):
    visit = Visit(tmp_path)
    answers = Answers(Bench(catalogue))
    answers.open(visit, "en", *NUT)
    list(answers.inspect_batch(visit, [GOOD], *NUT, 0.5, "en"))
    clicked = gr.EventData(None, {"number": 1})
    answers.bench = SlowBench(catalogue, {"dent.jpg": lambda: answers.show(visit, "en", clicked)})
    assert press_inspect(answers, visit, DENT) == NOTHING_NEW
    assert (visit.number, visit.result.file) == (1, "good.jpg")
    assert press_inspect(answers, visit, DENT) != NOTHING_NEW  # the same photo once more
    assert (visit.number, visit.result.file) == (None, "dent.jpg")


def test_another_photo_takes_the_part_from_the_table_and_the_same_one_does_not(catalogue, tmp_path):
    visit, answers = Visit(tmp_path), Answers(Bench(catalogue))
    press_inspect(answers, visit, DENT)
    assert answers.give_photo(visit, DENT, "en") == NOTHING_NEW  # said late: Inspect was faster
    assert visit.result.verdict == "FAIL"
    assert answers.give_photo(visit, GOOD, "en").verdict == answers.cleared("en").verdict
    assert visit.result is None
    judged = answers.rejudge(visit, 0.1, *NUT, "en")[:-1]
    assert judged == (gr.skip(),) * len(judged)


def test_the_verdict_is_that_of_the_threshold_by_then(catalogue, tmp_path):
    visit = Visit(tmp_path)
    _, shown = during_an_inspection(
        catalogue, visit, lambda answers: answers.rejudge(visit, 1.0, *NUT, "en")
    )
    assert (visit.result.verdict, visit.result.threshold) == ("PASS", 1.0)
    assert 'data-verdict="PASS"' in shown.verdict


def test_another_model_s_threshold_leaves_a_batch_and_its_parts_as_they_are(catalogue, tmp_path):
    visit, answers = Visit(tmp_path), Answers(Bench(catalogue))
    answers.open(visit, "en", *NUT)
    answers.rejudge(visit, 0.1, *NUT, "en")  # while the batch waits
    list(answers.inspect_batch(visit, [GOOD], *NUT, 0.5, "en"))
    batch = visit.batch
    assert (batch.threshold, batch.results[0].verdict) == (0.1, "FAIL")
    answers.choose_category(visit, "key", "key", NUT, "en")
    answers.show(visit, "en", gr.EventData(None, {"number": 1}))
    for threshold in (0.5, 0.9):
        assert answers.rejudge_batch(visit, threshold, *KEY, "en") == (gr.skip(),) * 3
        assert answers.rejudge(visit, threshold, *KEY, "en")[0] == gr.skip()
        assert (batch.threshold, batch.results[0].verdict) == (0.1, "FAIL")
        assert (visit.result.threshold, visit.result.verdict) == (0.1, "FAIL")
    assert "data-keeps-threshold" in answers.decide(visit, ACCEPT, "", "en")[0]
    answers.choose_category(visit, "flange_nut", "flange_nut", KEY, "en")
    answers.rejudge_batch(visit, 0.5, *NUT, "en")
    assert batch.results[0].verdict == "PASS"


def test_single_photos_take_no_more_of_the_disk_the_more_there_are(catalogue, tmp_path):
    visit, answers = Visit(tmp_path), Answers(Bench(catalogue))
    list(answers.inspect_batch(visit, [GOOD], *NUT, 0.5, "en"))
    of_batch = {*visit.batch.workplace.folder.iterdir()}

    def files() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if path.is_file()} - of_batch

    counts = []
    for photo in (DENT, GOOD, DENT, GOOD):
        press_inspect(answers, visit, photo)
        counts.append(len(files()))
        assert Path(answers.zip(visit).split("file=")[1]) in files()
        assert visit.result.photo in files()
    assert len({*counts}) == 1
    for _ in range(2):  # the same photo once more
        press_inspect(answers, visit, GOOD)
    assert len(files()) <= 2 * counts[0] + 1
    answers.give_photo(visit, None, "en")
    answers.give_photo(visit, DENT, "en")
    assert not files()
    assert {*visit.batch.workplace.folder.iterdir()} == of_batch


def test_an_answer_that_is_dropped_leaves_no_file(catalogue, tmp_path):
    visit = Visit(tmp_path)
    during_an_inspection(catalogue, visit, lambda answers: answers.give_photo(visit, GOOD, "en"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_batch_that_is_stopped_while_it_waits_does_not_begin(catalogue, tmp_path):
    visit, answers = Visit(tmp_path), Answers(Bench(catalogue))
    assert "Waiting for the first result" in answers.start(visit, "en")
    stopped = answers.cancel(visit, "en")
    assert "Stopped before the first photo" in stopped
    (only,) = answers.inspect_batch(visit, [GOOD], *NUT, 0.5, "en")
    assert (only.progress, visit.batch) == (stopped, None)
    answers.start(visit, "en")
    *_, last = answers.inspect_batch(visit, [GOOD], *NUT, 0.5, "en")
    assert "done" in last.progress
    assert answers.cancel(visit, "en") == gr.skip()
