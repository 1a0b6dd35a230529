"""Pixel metrics of more pixels than are told apart, counted in one pass within a bound.

    STREAMED_MAPS=1000 python -m pytest tests/evaluation/test_pixel_metrics_streamed.py -s -k memory

streams as many maps, and prints what memory they took.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
from conftest import ROOT
from fresh_process import run_code

from evaluation import pixel_metrics
from evaluation.evaluate.prediction import MadeOnDemand
from evaluation.pixel_metrics import aupro, count_pixels, pixel_auroc, pixel_average_precision
from tests.evaluation.random_maps import METRICS, random_maps, ranks_of

pytestmark = pytest.mark.usefixtures("no_unexpected_warnings")
SOME_MAPS, MANY_MAPS = 10, int(os.environ.get("STREAMED_MAPS", 40))
# The most memory that a process of its own has taken, in MB, after some maps and after many.
STREAM = """
import json, resource
import numpy as np
from evaluation.evaluate.prediction import MadeOnDemand
from evaluation.pixel_metrics import aupro, count_pixels, pixel_auroc

def mask(index):
    made = np.zeros((1024, 1024), bool)
    made[index % 900 :, :60][:60] = index % 2
    return made

def anomaly_map(index):
    noise = np.random.default_rng(index).random((1024, 1024), np.float32)
    return noise + mask(index) * np.float32(0.4)

def peak_after(count):
    ranks = count_pixels(MadeOnDemand(anomaly_map, count), MadeOnDemand(mask, count)).ranks()
    assert 0.5 < aupro(ranks).value < pixel_auroc(ranks).value < 1
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

print(json.dumps([peak_after(count) for count in {counts}]))
"""


def rounded_maps(maps: Sequence[np.ndarray], bits: int) -> list[np.ndarray]:
    """The same with fewer digits, by arithmetic instead of bits."""
    scale = [2.0 ** (np.floor(np.log2(m)) - bits) for m in maps]
    return [(np.floor(m / s) * s).astype(np.float32) for m, s in zip(maps, scale, strict=True)]


@pytest.mark.parametrize("bits", [2, 4, 6])
@pytest.mark.parametrize("metric", [*METRICS, lambda ranks: aupro(ranks, 0.05)])
def test_rounded_levels_are_exact_for_rounded_maps_and_within_the_bound_for_others(
    metric, bits, monkeypatch
):
    monkeypatch.setattr(pixel_metrics, "MANTISSA_BITS", bits)
    monkeypatch.setattr(pixel_metrics, "ROUNDED_LEVELS", 2 ** (9 + bits))
    bounds = []
    for seed in range(10):
        maps, masks = random_maps(seed)
        exact = metric(ranks_of(maps, masks))
        streamed = metric(ranks_of(maps, masks, exact_pixels=0))
        expected = metric(ranks_of(rounded_maps(maps, bits), masks))
        assert streamed.value == pytest.approx(expected.value, abs=1e-12)
        assert abs(streamed.value - exact.value) <= streamed.error_bound + 1e-12
        bounds.append(streamed.error_bound)
    assert min(bounds) >= 0
    assert 0 < np.mean(bounds) < 0.4


def test_the_bounds_hold_where_the_worst_is_true():
    # Too close to be told apart, and every anomalous pixel above or below every normal one.
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    order = np.where(mask, np.arange(4), 0)
    for above in (1, -8):
        anomaly_map = (1 + 2.0**-20 * (8 + order + above * mask)).astype(np.float32)
        for metric in METRICS:
            exact = metric(ranks_of([anomaly_map], [mask])).value
            streamed = metric(ranks_of([anomaly_map], [mask], exact_pixels=0))
            assert abs(streamed.value - exact) <= streamed.error_bound + 1e-12
            if above > 0:  # all of them are perfect, and no bound is wider than it has to be
                assert streamed.value + streamed.error_bound == pytest.approx(1.0)


def test_anomalous_pixels_that_only_tie_with_one_another_leave_average_precision_uncertain():
    mask = np.zeros((4, 4), bool)
    mask[0] = True
    anomaly_map = np.where(mask, 1 + 2.0**-20 * np.arange(4), 2.0)  # all the normal ones are above
    exact = pixel_average_precision(ranks_of([anomaly_map], [mask])).value
    streamed = pixel_average_precision(ranks_of([anomaly_map], [mask], exact_pixels=0))
    assert 0.08 < streamed.value - exact <= streamed.error_bound < 0.09
    assert pixel_auroc(ranks_of([anomaly_map], [mask], exact_pixels=0)) == (0.0, 0.0)


@pytest.mark.parametrize("metric", METRICS)
def test_the_bound_of_maps_as_models_make_them_lies_below_the_digits_that_are_printed(metric):
    rng = np.random.default_rng(0)
    maps = list(rng.gamma(2.0, size=(4, 200, 200)).astype(np.float32))
    masks = [None, None, *(rng.random((2, 200, 200)) < 0.3)]
    maps[2] += masks[2]
    exact = metric(ranks_of(maps, masks))
    streamed = metric(ranks_of(maps, masks, exact_pixels=0))
    assert abs(streamed.value - exact.value) <= streamed.error_bound < 5e-5


def test_levels_are_in_the_order_of_the_numbers():
    numbers = [-np.inf, -3e38, -1.5, -1.0, -1e-30, -1e-44, 0.0, 1e-44, 1e-30, 1.0, 1.5, 3e38]
    ascending = np.array(numbers[1:], np.float32)
    for place in (0, 2, 5, 9):
        mask = np.zeros((1, len(ascending)), bool)
        mask[0, place] = True
        area = pixel_auroc(ranks_of([ascending[None]], [mask], exact_pixels=0))
        # The two tiny ones have only bits that are cut off and tie with zero or its neighbour.
        assert area.value == pytest.approx(place / (len(ascending) - 1), abs=0.1)
        assert abs(area.value - place / (len(ascending) - 1)) <= area.error_bound + 1e-12


@pytest.mark.parametrize("exact_pixels", [0, 100])
def test_a_zero_with_a_sign_is_a_zero(exact_pixels):
    mask = np.array([[True, False]])
    for values in ([[0.0, -0.0]], [[-0.0, 0.0]]):
        area = pixel_auroc(ranks_of([np.array(values)], [mask], exact_pixels=exact_pixels))
        assert area.value == 0.5


def test_numbers_beyond_single_precision_are_the_highest():
    anomaly_map, mask = np.array([[1e300, 1.0, -1e300]]), np.array([[True, False, False]])
    assert pixel_auroc(ranks_of([anomaly_map], [mask], exact_pixels=0)).value == 1.0


def test_where_the_exact_count_was_given_up_changes_nothing():
    maps, masks = random_maps(2)
    at_once = ranks_of(maps, masks, exact_pixels=0)
    for pixels in (1, 200, 600):  # there are 630
        later = ranks_of(maps, masks, exact_pixels=pixels)
        assert not later.exact
        assert [metric(later) for metric in METRICS] == [metric(at_once) for metric in METRICS]
    assert ranks_of(maps, masks, exact_pixels=630).exact


def test_maps_are_made_once_and_let_go():
    maps, masks = random_maps(2)
    made: list[weakref.ref] = []
    most = 0

    def make(index: int) -> np.ndarray:
        nonlocal most
        anomaly_map = maps[index % 6].copy()
        made.append(weakref.ref(anomaly_map))
        most = max(most, sum(one() is not None for one in made))
        return anomaly_map

    count_pixels(
        MadeOnDemand(make, 60),
        MadeOnDemand(lambda index: masks[index % 6], 60),
        exact_pixels=300,
    )
    assert len(made) == 60
    assert most <= 6  # four to fill the exact count, and the one at hand


def test_memory_does_not_grow_with_the_number_of_maps():
    code = STREAM.format(counts=[SOME_MAPS, MANY_MAPS])
    some, many = run_code(code, os.environ, ROOT)
    print(f"{SOME_MAPS} maps of 1024 x 1024: {some:.0f} MB at most; {MANY_MAPS}: {many:.0f} MB")
    assert many - some < 32  # MB; each map has 4, and its mask 1
