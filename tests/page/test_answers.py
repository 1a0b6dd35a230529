from __future__ import annotations

import gradio as gr
import pytest

from page.answers import Answers
from page.bench import Bench
from page.catalogue import Catalogue, shipped_models
from page.visit import Visit

NUT, KEY = ("flange_nut", "flange_nut"), ("key", "key")


class SlowBench(Bench):
    """A bench at which the visitor does something while a model is being loaded."""

    def __init__(self, catalogue, meanwhile):
        super().__init__(catalogue)
        self.meanwhile = meanwhile

    def calibration_of(self, entry):
        calibration = super().calibration_of(entry)
        self.meanwhile.pop(entry.category, lambda: None)()
        return calibration


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue(shipped_models())


def test_what_is_said_is_of_the_model_chosen_last(catalogue, tmp_path):
    visit, said = Visit(tmp_path), []

    def go_on_to_the_key() -> None:
        answers.choose_category(visit, *KEY, NUT, "en")
        said.append(answers.prepare(visit, *KEY, "en"))

    answers = Answers(SlowBench(catalogue, {"flange_nut": go_on_to_the_key}))
    late = answers.prepare(visit, *NUT, "en")
    assert late == (gr.skip(),) * 3
    assert said == [answers.prepare(visit, *KEY, "en")]
    assert visit.calibration == answers.bench.calibration_of(answers.find(*KEY))


def test_a_threshold_moved_while_the_model_loads_is_the_one_that_is_priced(catalogue, tmp_path):
    visit, said = Visit(tmp_path), []

    def move() -> None:
        said.append(answers.rejudge(visit, 0.8, *KEY, "en")[-1])

    answers = Answers(SlowBench(catalogue, {"key": move}))
    cost, _, charts = answers.prepare(visit, *KEY, "en")
    assert said == [gr.skip()]  # nothing that could come late and wipe out the answer
    assert cost == answers.cost(visit, 0.8, "en") != answers.cost(visit, 0.0, "en")
    assert charts == answers.charts(visit, 0.8, "en")
