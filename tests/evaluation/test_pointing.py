"""A photo is found by its defect, or by something else; both are told."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from evaluation.evaluate.prediction import Prediction
from evaluation.pointing import MARGIN, near_defect, of_pointing, point

SIDE = 100


def mask_of(rows: slice, columns: slice, side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[rows, columns] = True
    return mask


def map_of(places: dict[tuple[int, int], float]) -> np.ndarray:
    anomaly_map = np.zeros((SIDE, SIDE), np.float32)
    for place, value in places.items():
        anomaly_map[place] = value
    return anomaly_map


MASK = mask_of(slice(40, 50), slice(40, 50))


@pytest.mark.parametrize(
    ("place", "hits"), [((45, 45), True), ((40, 51), True), ((40, 53), False), ((5, 5), False)]
)
def test_the_highest_place_lies_on_the_defect_or_within_the_margin(place, hits):
    assert MARGIN * SIDE == 2
    assert point(map_of({place: 3.0, (44, 44): 1.0}), MASK).hits is hits


def test_what_the_defect_says_is_the_highest_place_on_it():
    assert point(map_of({(5, 5): 3.0, (44, 44): 1.0}), MASK).at_defect == 1.0


def test_nobody_said_where_the_defect_is():
    assert point(map_of({(5, 5): 3.0}), None) is None
    assert point(map_of({(5, 5): 3.0}), np.zeros((SIDE, SIDE), bool)) is None


def test_a_mask_of_another_size_is_brought_to_that_of_the_map_and_keeps_its_smallest_defect():
    mask = mask_of(slice(700, 702), slice(300, 302), side=1000)
    near = near_defect(mask, (SIDE, SIDE))
    assert near.shape == (SIDE, SIDE)
    assert near[70, 30] and near[72, 30] and not near[73, 30]


def prediction(label: int, raw_score: float, failed: bool) -> Prediction:
    return Prediction(
        f"test/{label}", "nut", "dent" if label else "good", label, raw_score, 0.5, failed, None,
        np.zeros((SIDE, SIDE), np.float32), (SIDE, SIDE),
    )  # fmt: skip


def test_the_figures_of_a_test_set():
    predictions = [
        prediction(0, 1.0, False),
        prediction(0, 2.0, True),
        prediction(1, 5.0, True),  # by its defect
        prediction(1, 4.0, True),  # by a speck; its defect is below both good photos
        prediction(1, 0.5, False),  # points at its defect, and passes
        prediction(1, 9.0, True),  # nobody said where
    ]
    pointed = [
        None,
        None,
        point(map_of({(45, 45): 5.0}), MASK),
        point(map_of({(5, 5): 4.0, (45, 45): 0.8}), MASK),
        point(map_of({(45, 45): 0.5}), MASK),
        None,
    ]
    figures = of_pointing(predictions, pointed)
    assert figures["pointing"] == pytest.approx(2 / 3)
    assert figures["pointing_of_fails"] == pytest.approx(1 / 2)
    assert figures["image_auroc_at_defects"] == pytest.approx(2 / 6)
    uncalibrated = [dataclasses.replace(one, failed=None) for one in predictions]
    assert math.isnan(of_pointing(uncalibrated, pointed)["pointing_of_fails"])
    nobody = of_pointing(predictions, [None] * len(predictions))
    assert all(map(math.isnan, nobody.values()))
