"""The rules on distributions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.thresholds.rules import (
    CONFORMAL,
    EXTREME_VALUE,
    LEAST_EXCESSES,
    QUANTILE,
    RULES,
    conformal,
    extreme_value,
    quantile,
    roc,
)
from modeling import Calibration
from modeling.scoring import conformal_threshold

DRAWS = 4_000


def realised_on_uniform(rule, n: int, rate: float) -> tuple[float, float]:
    """The average rate at which uniform scores exceed the threshold, and its standard error."""
    rng = np.random.default_rng(0)
    found = [1 - rule(rng.random(n), rate).raw for _ in range(DRAWS)]
    return float(np.mean(found)), float(np.std(found) / np.sqrt(DRAWS))


@pytest.mark.parametrize(("n", "rate"), [(20, 0.05), (20, 0.1), (33, 0.07), (99, 0.05)])
def test_conformal_fails_no_more_than_it_promises_on_average(n, rate):
    promised = conformal([0.0] * n, rate).promised
    mean, error = realised_on_uniform(conformal, n, rate)
    assert promised <= rate
    assert mean <= promised + 3 * error
    assert mean >= promised - 3 * error  # nor does it fail less: the promise is exact


@pytest.mark.parametrize(("n", "rate"), [(20, 0.05), (40, 0.1), (100, 0.02), (200, 0.05)])
def test_the_quantile_fails_more_than_was_asked_by_the_part_that_it_forgets(n, rate):
    mean, error = realised_on_uniform(quantile, n, rate)
    assert mean - rate == pytest.approx((1 - rate) / (n + 1), abs=3 * error)
    assert quantile([0.0] * n, rate).promised == rate


@pytest.mark.parametrize("n", [20, 40, 60, 100, 200])
@pytest.mark.parametrize("rate", [0.01, 0.02, 0.05, 0.1])
def test_the_quantile_leaves_the_asked_share_of_its_own_scores_above_it(n, rate):
    scores = np.arange(n) + 1.0
    assert quantile(scores, rate).raw == n - int(n * rate + 1e-9)


def test_below_what_n_parts_can_show_only_conformal_says_so():
    scores = np.random.default_rng(1).random(20)
    assert quantile(scores, 0.01) == (scores.max(), 0.01)
    assert conformal(scores, 0.01) == (scores.max(), pytest.approx(1 / 21))
    assert extreme_value(scores, 0.01).promised == 0.01


def test_conformal_is_the_one_that_calibrates_models():
    scores = np.random.default_rng(2).random(37).tolist()
    assert conformal(scores, 0.05) == conformal_threshold(scores, 0.05)
    calibration = Calibration.fit(scores, 0.05)
    assert conformal(scores, 0.05).raw == calibration.raw_threshold


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_extreme_value_finds_the_quantile_of_an_exponential_tail(rate):
    scores = 3 + np.random.default_rng(3).exponential(2.0, 20_000)
    assert extreme_value(scores, rate).raw == pytest.approx(3 - 2 * np.log(rate), rel=0.03)


@pytest.mark.parametrize("rate", [0.05, 0.005])
def test_extreme_value_finds_the_end_of_a_bounded_tail(rate):
    scores = np.random.default_rng(4).beta(2, 3, 20_000)  # at 1 like (1 - x)^2: shape -1/3
    above = (scores > extreme_value(scores, rate).raw).mean()
    assert above == pytest.approx(rate, rel=0.15)
    assert extreme_value(scores, 1e-6).raw < 1.1


def test_extreme_value_goes_beyond_the_largest_score_when_less_is_asked_than_was_seen():
    scores = np.random.default_rng(5).exponential(size=200)
    raw = [extreme_value(scores, rate).raw for rate in (0.1, 0.01, 0.001, 0.0001)]
    assert raw == sorted(raw)
    assert raw[0] < scores.max() < raw[-1]


def test_extreme_value_takes_the_quantile_where_nothing_is_extrapolated():
    scores = np.random.default_rng(6).random(100)
    assert extreme_value(scores, 0.5) == quantile(scores, 0.5)


@pytest.mark.parametrize("scores", [[1.0] * 20, [0.0] * 5 + [1.0] * 15, [1.0, 2.0]])
def test_extreme_value_survives_scores_without_a_tail(scores):
    assert extreme_value(scores, 0.01) == (max(scores), 0.01)


def test_the_tail_has_ten_scores_at_least():
    """Of 20 scores the upper ten decide: what lies below may be moved."""
    scores = np.sort(np.random.default_rng(7).exponential(size=20))
    moved = scores.copy()
    moved[: 20 - LEAST_EXCESSES - 1] -= 5
    assert extreme_value(moved, 0.02) == extreme_value(scores, 0.02)
    moved[20 - LEAST_EXCESSES] += 0.3 * (scores[20 - LEAST_EXCESSES + 1] - moved[-LEAST_EXCESSES])
    assert extreme_value(moved, 0.02) != extreme_value(scores, 0.02)


def test_roc_separates_the_labelled_parts_and_promises_what_held_out_parts_show():
    threshold = roc([1.0, 2.0, 3.0, 6.0], [1.0, 2.0, 8.0, 9.0], [0, 0, 1, 1])
    assert threshold == (5.0, pytest.approx(2 / 5))  # one of four above it, and the new part


def test_every_rule_that_needs_good_parts_alone_is_compared():
    assert set(RULES) == {CONFORMAL, QUANTILE, EXTREME_VALUE}
