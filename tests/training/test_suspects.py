"""Good photos whose scores are unlike all others' are named, and few others."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibration.held_out_calibration import Scored
from training.calibration.suspects import (
    LEAST_SCORED,
    in_words,
    looks_defective,
    modified_z_scores,
    suspects_of,
)
from training.recipe import Recipe

USUAL = [1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 1.15, 0.85, 1.0]


def test_the_score_is_that_of_iglewicz_and_hoaglin():
    # Median 3, distances from it 2, 1, 0, 1, 11: their median is 1.
    found = modified_z_scores([1.0, 2.0, 3.0, 4.0, 14.0])
    assert found == pytest.approx(0.6745 * np.array([-2, -1, 0, 1, 11]))
    assert modified_z_scores([2.0, 2.0, 2.0, 9.0]).tolist() == [0, 0, 0, 0]


def test_one_unlike_all_others_is_named_whatever_the_unit_of_the_score():
    for unit in (1e-6, 1.0, 1e6):
        raw = [unit * score for score in (*USUAL, 9.0)]
        assert np.flatnonzero(looks_defective(raw, raw_threshold=raw[-1])).tolist() == [10]


@pytest.mark.parametrize(
    ("raw", "raw_threshold"),
    [
        (USUAL, 1.1),  # nothing unusual among them
        ([*USUAL, 0.01], 1.1),  # better than usual
        ([*USUAL, 9.0], 9.1),  # passes even so
        ([*USUAL[: LEAST_SCORED - 2], 9.0], 9.0),  # too few to know what is usual
        ([0.0] * 10, 0.0),
    ],
)
def test_nothing_else_is_named(raw, raw_threshold):
    assert not looks_defective(raw, raw_threshold).any()


def test_the_least_usual_comes_first_in_each_category():
    ids = [f"nut/train/good/{n:03}" for n in range(12)]
    nuts = Scored(ids, [*USUAL, 7.0, 9.0])
    keys = Scored([name.replace("nut", "key") for name in ids], [8.0, *USUAL, 1.0])
    recipe = Recipe(false_alarm_rate=0.2)
    names = suspects_of({"nut": nuts, "key": keys}, recipe)
    assert names == ["nut/train/good/011", "nut/train/good/010", "key/train/good/000"]
    # A rate by which the threshold lies above the second of them.
    names = suspects_of({"nut": nuts}, Recipe(false_alarm_rate=0.05))
    assert names == ["nut/train/good/011"]


def test_the_sentence_can_be_typed():
    sentence = in_words(["nut/train/good/my photo", "nut/train/good/2"], 40)
    assert sentence.startswith("2 of the 40 good photos")
    assert sentence.endswith("--leave_out 'nut/train/good/my photo' nut/train/good/2")
