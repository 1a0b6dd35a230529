from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, f1_score

from evaluation.metrics import (
    MetricError,
    average_precision,
    false_alarm_curve,
    image_auroc,
    image_auroc_interval,
    image_f1_max,
    verdict_metrics,
)
from modeling import rate

pytestmark = pytest.mark.usefixtures("no_unexpected_warnings")
RANKINGS = [image_auroc, average_precision, image_f1_max]


def random_scores(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores on a coarse grid, so that there are ties within and between classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 3 == 0).astype(int)
    return labels, rng.integers(0, 12, count) / 4 + labels


# Whole photos


def test_image_auroc_counts_the_pairs_in_the_right_order():
    for seed in range(5):
        labels, scores = random_scores(seed)
        pairs = [(a > n) + (a == n) / 2 for a in scores[labels == 1] for n in scores[labels == 0]]
        assert image_auroc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize("metric", RANKINGS)
def test_ranking_depends_on_neither_the_order_of_photos_nor_the_scale_of_scores(metric):
    labels, scores = random_scores(3)
    expected = metric(labels, scores)
    order = np.random.default_rng(0).permutation(len(labels))
    assert metric(labels[order], scores[order]) == pytest.approx(expected, abs=1e-12)
    assert metric(labels, np.exp(3 * scores) - 7) == pytest.approx(expected, abs=1e-12)


def test_reversed_scores_give_the_complement():
    labels, scores = random_scores(4)
    assert image_auroc(labels, -scores) == pytest.approx(1 - image_auroc(labels, scores))


def test_all_scores_equal_is_chance():
    assert image_auroc([0, 1, 0, 1, 1], [2.0] * 5) == 0.5
    assert average_precision([0, 1, 0, 1, 1], [2.0] * 5) == pytest.approx(3 / 5)
    assert image_f1_max([0, 1, 0, 1, 1], [2.0] * 5) == pytest.approx(2 * 3 / (3 + 5))
    assert image_auroc_interval([0, 1, 0, 1, 1], [2.0] * 5) == (0.5, 0.5)


def test_saturated_scores_lose_what_raw_scores_know():
    labels, raw = [0, 0, 1, 1], np.array([1.0, 5.0, 6.0, 7.0])
    assert image_auroc(labels, raw) == 1.0
    assert image_auroc(labels, np.minimum(raw, 5.0)) < 1.0


@pytest.mark.parametrize("metric", RANKINGS)
@pytest.mark.parametrize(("label", "missing"), [(0, "anomalous"), (1, "normal")])
def test_one_class_only_is_nan_with_a_warning(metric, label, missing):
    with pytest.warns(UndefinedMetricWarning, match=f"no {missing} photo"):
        assert math.isnan(metric([label] * 3, [1.0, 2.0, 3.0]))


@pytest.mark.parametrize(("label", "missing"), [(0, "anomalous"), (1, "normal")])
def test_an_interval_of_one_class_only_is_nan_with_a_warning(label, missing):
    with pytest.warns(UndefinedMetricWarning, match=f"no {missing} photo"):
        assert np.isnan(image_auroc_interval([label] * 3, [1.0, 2.0, 3.0])).all()


def test_average_precision_is_precision_times_the_recall_that_each_threshold_adds():
    for seed in range(5):
        labels, scores = random_scores(seed)
        area, last = 0.0, 0.0
        for threshold in np.unique(scores)[::-1]:
            found = labels[scores >= threshold]
            recall = found.sum() / labels.sum()
            area, last = area + found.mean() * (recall - last), recall
        assert average_precision(labels, scores) == pytest.approx(area, abs=1e-12)
        assert average_precision_score(labels, scores) == pytest.approx(area, abs=1e-12)


def test_the_largest_f1_is_that_of_the_best_of_all_thresholds():
    for seed in range(5):
        labels, scores = random_scores(seed)
        expected = max(f1_score(labels, scores >= threshold) for threshold in np.unique(scores))
        assert image_f1_max(labels, scores) == pytest.approx(expected, abs=1e-12)
    assert image_f1_max([0, 0, 1, 1], [3.0, 4.0, 1.0, 2.0]) == pytest.approx(2 / 3)  # fail them all


def test_the_interval_is_that_of_photos_drawn_one_by_one():
    labels, scores = random_scores(2)
    good, bad = scores[labels == 0], scores[labels == 1]
    rng = np.random.default_rng(1)
    areas = []
    for _ in range(2000):
        drawn_good, drawn_bad = rng.choice(good, len(good)), rng.choice(bad, len(bad))
        above = (drawn_bad[:, None] > drawn_good).mean()
        areas.append(above + (drawn_bad[:, None] == drawn_good).mean() / 2)
    found = image_auroc_interval(labels, scores, resamples=20_000)
    assert found == pytest.approx(np.quantile(areas, (0.025, 0.975)), abs=0.01)
    assert found[0] < image_auroc(labels, scores) < found[1]


def test_the_interval_holds_the_true_auroc_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth = 0.76025  # of two normal distributions one deviation apart: Phi(1 / sqrt(2))
    held = 0
    labels = np.repeat([0, 1], 40)
    for _ in range(100):
        low, high = image_auroc_interval(labels, rng.normal(size=80) + labels)
        held += low <= truth <= high
    assert 0.87 <= held / 100 <= 0.99


def test_the_interval_is_the_same_for_the_same_seed_and_narrows_with_more_photos():
    labels, scores = random_scores(5)
    first = image_auroc_interval(labels, scores)
    assert image_auroc_interval(labels, scores) == first
    assert image_auroc_interval(labels, scores, seed=1) != first
    low, high = image_auroc_interval(np.tile(labels, 16), np.tile(scores, 16))
    assert (high - low) == pytest.approx((first[1] - first[0]) / 4, rel=0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_names_the_image(value):
    with pytest.raises(MetricError, match=r"test/dent/004.*finite"):
        image_auroc([0, 1], [0.0, value], ["test/good/000", "test/dent/004"])


def test_wrong_shapes_and_labels_are_errors():
    with pytest.raises(MetricError, match="one score a label"):
        image_auroc([0, 1], [0.0])
    with pytest.raises(MetricError, match=r"0 \(normal\) and 1 \(anomalous\)"):
        image_auroc([0, 2], [0.0, 1.0])
    with pytest.raises(MetricError, match="one verdict a label"):
        verdict_metrics([0, 1], [True])


# Verdicts


def test_verdict_metrics_by_hand():
    #        hit   hit   miss   miss   miss   alarm pass  pass  pass
    labels = [1, 1, 1, 1, 1, 0, 0, 0, 0]
    failed = [True, True, False, False, False, True, False, False, False]
    metrics = verdict_metrics(labels, failed)
    assert metrics.precision == pytest.approx(2 / 3)
    assert metrics.recall == pytest.approx(2 / 5)
    assert metrics.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 3))
    assert metrics.false_alarm_rate[3:] == (1, 4)
    assert metrics.false_alarm_rate.value == pytest.approx(1 / 4)
    assert metrics.miss_rate[3:] == (3, 5)
    assert metrics.miss_rate.value == pytest.approx(1 - metrics.recall)


def test_nothing_fails():
    metrics = verdict_metrics([0, 0, 1], [False] * 3)
    assert math.isnan(metrics.precision)
    assert (metrics.recall, metrics.f1) == (0.0, 0.0)


def test_verdicts_on_good_photos_only():
    with pytest.warns(UndefinedMetricWarning, match="no anomalous photo"):
        metrics = verdict_metrics([0, 0, 0, 0], [True, False, False, False])
    assert metrics.false_alarm_rate.value == 0.25
    assert np.isnan([metrics.precision, metrics.recall, metrics.f1, *metrics.miss_rate[:3]]).all()


def test_verdicts_on_anomalous_photos_only():
    with pytest.warns(UndefinedMetricWarning, match="no normal photo"):
        metrics = verdict_metrics([1, 1, 1, 1], [True, False, False, False])
    assert (metrics.recall, metrics.miss_rate.value) == (0.25, 0.75)
    assert np.isnan([metrics.precision, metrics.f1, *metrics.false_alarm_rate[:3]]).all()


@pytest.mark.parametrize(("count", "total"), [(0, 20), (1, 20), (7, 20), (20, 20), (3, 1000)])
def test_the_interval_is_the_set_of_rates_that_a_score_test_accepts(count, total):
    # Wilson's definition: |p - observed| <= z * sqrt(p (1 - p) / n), searched instead of solved.
    candidates = np.linspace(0, 1, 200_001)
    deviation = np.abs(candidates - count / total)
    accepted = candidates[
        deviation <= 1.959963984540054 * np.sqrt(candidates * (1 - candidates) / total) + 1e-12
    ]
    found = rate(count, total)
    assert found.low == pytest.approx(accepted.min(), abs=1e-5)
    assert found.high == pytest.approx(accepted.max(), abs=1e-5)
    assert 0 <= found.low <= found.value <= found.high <= 1


# Promises


def test_the_false_alarm_curve_promises_what_conformal_prediction_promises():
    promised, realised = false_alarm_curve([1.0, 2.0, 3.0], [0.5, 2.5])
    assert promised == [0.25, 0.5, 0.75]
    assert [share.value for share in realised] == [0.0, 0.5, 0.5]  # above 3, above 2, above 1
    assert all(share.low <= share.value <= share.high for share in realised)


def test_the_false_alarm_curve_keeps_its_promise_on_parts_of_the_same_kind():
    draw = np.random.default_rng(0)
    promised, realised = false_alarm_curve(draw.gamma(9, size=99), draw.gamma(9, size=4000))
    assert max(abs(p - share.value) for p, share in zip(promised, realised, strict=True)) < 0.15
