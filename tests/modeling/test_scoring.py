from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from modeling.calibration import THRESHOLD, Calibration
from modeling.scoring import (
    calibrated_score,
    conformal_threshold,
    exceeds,
    normalise_residual,
    raised_threshold,
    raw_score,
    roc_threshold,
)


def test_score_is_one_half_exactly_at_the_threshold_and_increases():
    raw = torch.linspace(-5, 5, 1001)
    score = calibrated_score(raw, raw_threshold=raw[700].item(), scale=0.7)
    assert score[700].item() == THRESHOLD
    assert (score.diff() > 0).all()
    assert score.min() >= 0
    assert score.max() <= 1


def test_a_part_at_the_threshold_passes_and_one_above_fails():
    assert not exceeds(0.5, 0.5)
    assert exceeds(math.nextafter(0.5, 1), 0.5)


@pytest.mark.parametrize("false_alarm_rate", [0.01, 0.05, 0.1, 0.5])
def test_conformal_threshold_keeps_its_promise_on_new_good_parts(false_alarm_rate):
    generator = np.random.default_rng(0)
    realised, promised = [], 0.0
    for _ in range(2000):
        scores = generator.lognormal(size=40)
        threshold, promised = conformal_threshold(scores[:39], false_alarm_rate)
        realised.append(exceeds(scores[39], threshold))
    # Standard error of the mean over 2,000 draws is at most 0.011.
    assert np.mean(realised) <= promised + 0.03
    assert promised <= max(false_alarm_rate, 1 / 40) + 1e-12


def test_the_largest_score_is_the_threshold_when_the_rate_cannot_be_promised():
    threshold, promised = conformal_threshold([3.0, 1.0, 2.0], 0.01)
    assert (threshold, promised) == (3.0, 0.25)


def test_rounding_does_not_move_the_threshold_by_one_part():
    # (19 + 1) * (1 - 0.05) is 19 in exact arithmetic: the 19th smallest of 19.
    assert conformal_threshold(range(1, 20), 0.05) == (19.0, pytest.approx(0.05))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match="false_alarm_rate"):
        conformal_threshold([1.0], rate)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        conformal_threshold([1.0, math.nan], 0.1)


def test_calibration_survives_the_round_trip_through_plain_numbers():
    calibration = Calibration.fit([0.3, 0.1, 0.2, 0.7], 0.2)
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_calibration_of_equal_scores_still_gives_a_usable_scale():
    calibration = Calibration.fit([2.0] * 5, 0.2)
    score = calibration.score(torch.tensor([1.0, 2.0, 3.0]))
    assert score[0] < score[1] == 0.5 < score[2]


@pytest.mark.parametrize(
    "change", [{"scale": 0.0}, {"raw_threshold": math.inf}, {"normal_scores": None}, {"x": 1}]
)
def test_a_damaged_calibration_is_refused(change):
    values = Calibration.fit([1.0, 2.0], 0.5).to_dict() | change
    with pytest.raises(ValueError, match=r"config\.json"):
        Calibration.from_dict(values)


def test_normalised_residual_is_zero_where_the_residual_is_usual():
    mean = torch.rand(16, 16)
    usual = normalise_residual(mean[None], mean, torch.rand(16, 16))
    assert (usual == 0).all()
    flat = normalise_residual(mean[None] + 1, mean, torch.zeros(16, 16))
    assert torch.isfinite(flat).all()


def test_raw_score_is_the_maximum_of_each_map():
    maps = torch.rand(3, 8, 8)
    assert torch.equal(raw_score(maps), torch.stack([single.max() for single in maps]))


def test_a_threshold_is_raised_halfway_to_the_least_damage_that_it_finds():
    assert raised_threshold(4.0, [1.0, 9.0, 16.0]) == 6.0
    assert raised_threshold(4.0, [4.0, 1.0]) == raised_threshold(4.0, []) == 4.0
    assert raised_threshold(0.0, [9.0]) == 0.0
    least = [4.1]  # of a hundred, which may be too faint for any eye
    assert raised_threshold(4.0, [*least, *[16.0] * 99]) == 8.0
    assert raised_threshold(4.0, [*least, *[16.0] * 98]) < 4.1
    with pytest.raises(ValueError, match="finite"):
        raised_threshold(4.0, [9.0, math.nan])


def test_a_raised_threshold_promises_what_it_promised():
    conformal = Calibration.fit(range(1, 20), 0.05)
    raised = conformal.raised_towards([10.0, 76.0, 80.0])
    assert raised.raw_threshold == pytest.approx(38)  # the root of 19 x 76
    assert raised.promised_false_alarm_rate == conformal.promised_false_alarm_rate
    assert raised.score(torch.tensor(raised.raw_threshold)).item() == 0.5
    assert raised.score(torch.tensor(10.0)) == pytest.approx(0.1)  # the median good part, still
    assert Calibration.from_dict(raised.to_dict()) == raised


def test_a_threshold_from_labelled_parts_separates_them_best():
    scores, labels = [1.0, 2.0, 3.0, 6.0, 7.0, 2.5], [0, 0, 0, 1, 1, 1]
    threshold = roc_threshold(scores, labels)
    assert threshold == 4.5  # as good as 2.25, and fails no good part
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(size=60), generator.integers(2, size=60)

    def youden(at):
        fails = exceeds(scores, at)
        return fails[labels == 1].mean() - fails[labels == 0].mean()

    brute_force = max(youden(at) for at in np.linspace(-4, 4, 4001))
    assert youden(roc_threshold(scores, labels)) == pytest.approx(brute_force)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_a_threshold_needs_both_kinds(labels):
    with pytest.raises(ValueError, match="good and defective"):
        roc_threshold([1.0, 2.0], labels)


def test_a_calibration_from_labelled_parts_says_what_good_parts_show():
    conformal = Calibration.fit(range(1, 20), 0.05)
    labelled = conformal.with_labelled([1.0, 9.4, 9.6, 12.0], [0, 0, 1, 1])
    assert labelled.rule == "roc"
    assert labelled.raw_threshold == pytest.approx(9.5)
    assert labelled.promised_false_alarm_rate == pytest.approx((10 + 1) / 20)
    assert labelled.score(torch.tensor(labelled.raw_threshold)).item() == 0.5
    assert Calibration.from_dict(labelled.to_dict()) == labelled
