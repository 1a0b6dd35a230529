from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import roc_auc_score

from evaluation.metrics import (
    MetricError,
    aupro,
    average_precision,
    false_alarm_curve,
    image_auroc,
    pixel_auroc,
    rank_pixels,
    verdict_metrics,
)
from modeling import rate


@pytest.fixture(autouse=True)
def no_unexpected_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def random_scores(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores on a coarse grid, so that there are ties within and between classes."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 3 == 0).astype(int)
    return labels, rng.integers(0, 12, count) / 4 + labels


def random_maps(seed: int, levels: int | None = None) -> tuple[list, list]:
    """Six small maps of two sizes, four with a mask of several regions, two good ones."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for index in range(6):
        shape = (9, 14) if index % 2 else (12, 7)
        mask = rng.random(shape) < 0.2 if index < 4 else None
        anomaly_map = rng.random(shape)
        if mask is not None:
            anomaly_map = anomaly_map + 0.4 * mask
        if levels is not None:
            anomaly_map = np.round(anomaly_map * levels) / levels
        maps.append(anomaly_map.astype(np.float32))
        masks.append(mask)
    return maps, masks


def pooled(maps: Sequence[np.ndarray], masks: Sequence) -> tuple[np.ndarray, np.ndarray]:
    flat = [np.zeros(m.shape, bool) if k is None else k for m, k in zip(maps, masks, strict=True)]
    return np.concatenate([k.ravel() for k in flat]), np.concatenate([m.ravel() for m in maps])


def regions_by_flood(mask: np.ndarray) -> list[list[tuple[int, int]]]:
    """Groups of pixels that touch by side or corner, found one neighbour at a time."""
    left = {tuple(place) for place in np.argwhere(mask)}
    regions = []
    while left:
        edge, region = [left.pop()], []
        while edge:
            y, x = edge.pop()
            region.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        regions.append(region)
    return regions


def aupro_by_thresholds(maps: Sequence[np.ndarray], masks: Sequence, limit: float) -> float:
    """The curve, one threshold at a time, and the trapezoids under it."""
    labels, values = pooled(maps, masks)
    normal = values[~labels]
    regions = [
        np.array([anomaly_map[place] for place in region])
        for anomaly_map, mask in zip(maps, masks, strict=True)
        if mask is not None
        for region in regions_by_flood(mask)
    ]
    curve = [(0.0, 0.0)]
    for threshold in np.unique(values)[::-1]:
        overlap = np.mean([np.mean(region >= threshold) for region in regions])
        curve.append((np.mean(normal >= threshold), overlap))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 >= limit:
            break
        if x1 > limit:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


# Whole photos


def test_image_auroc_counts_the_pairs_in_the_right_order():
    for seed in range(5):
        labels, scores = random_scores(seed)
        pairs = [(a > n) + (a == n) / 2 for a in scores[labels == 1] for n in scores[labels == 0]]
        assert image_auroc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize("metric", [image_auroc, average_precision])
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


def test_saturated_scores_lose_what_raw_scores_know():
    labels, raw = [0, 0, 1, 1], np.array([1.0, 5.0, 6.0, 7.0])
    assert image_auroc(labels, raw) == 1.0
    assert image_auroc(labels, np.minimum(raw, 5.0)) < 1.0


@pytest.mark.parametrize("metric", [image_auroc, average_precision])
@pytest.mark.parametrize(("label", "missing"), [(0, "anomalous"), (1, "normal")])
def test_one_class_only_is_nan_with_a_warning(metric, label, missing):
    with pytest.warns(UndefinedMetricWarning, match=f"no {missing} photo"):
        assert math.isnan(metric([label] * 3, [1.0, 2.0, 3.0]))


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


# Pixels


@pytest.mark.parametrize("levels", [None, 5])
def test_pixel_auroc_equals_the_library_on_all_pixels_at_once(levels):
    for seed in range(5):
        maps, masks = random_maps(seed, levels)
        expected = roc_auc_score(*pooled(maps, masks))
        assert pixel_auroc(rank_pixels(maps, masks)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("levels", [None, 5, 2])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_equals_brute_force(levels, limit):
    for seed in range(5):
        maps, masks = random_maps(seed, levels)
        expected = aupro_by_thresholds(maps, masks, limit)
        assert aupro(rank_pixels(maps, masks), limit) == pytest.approx(expected, abs=1e-12)


def test_pixel_metrics_depend_on_neither_order_nor_scale():
    maps, masks = random_maps(7, levels=20)
    ranks = rank_pixels(maps, masks)
    turned = rank_pixels([np.exp(2 * m) for m in maps[::-1]], masks[::-1])
    assert pixel_auroc(turned) == pytest.approx(pixel_auroc(ranks), abs=1e-12)
    assert aupro(turned) == pytest.approx(aupro(ranks), abs=1e-12)


def test_perfect_worst_and_constant_maps():
    mask = np.zeros((20, 20), bool)
    mask[3:6, 4:9] = True
    perfect, worst, constant = (
        rank_pixels([m], [mask]) for m in (mask * 1.0, 1.0 - mask, np.ones((20, 20)))
    )
    assert (pixel_auroc(perfect), aupro(perfect)) == (1.0, 1.0)
    assert (pixel_auroc(worst), aupro(worst)) == (0.0, 0.0)
    assert pixel_auroc(constant) == 0.5
    assert aupro(constant) == pytest.approx(0.15)  # the diagonal up to 0.3, divided by 0.3


def test_aupro_weighs_regions_alike_and_pixel_auroc_weighs_pixels():
    # A large region is found, a single pixel is not: half of the regions, nearly all the pixels.
    mask = np.zeros((20, 20), bool)
    mask[:9, :11] = True
    mask[15, 15] = True
    anomaly_map = np.zeros((20, 20))
    anomaly_map[:9, :11] = 1.0
    anomaly_map[15, 15] = -1.0
    ranks = rank_pixels([anomaly_map], [mask])
    assert pixel_auroc(ranks) == pytest.approx(99 / 100)
    assert aupro(ranks) == pytest.approx(1 / 2)


def test_pixels_that_touch_at_a_corner_are_one_region():
    anomaly_map = np.zeros((8, 8))
    diagonal = np.eye(8, dtype=bool)
    apart = np.zeros((8, 8), bool)
    apart[0, 0] = apart[0, 4] = True
    assert len(np.unique(rank_pixels([anomaly_map], [diagonal]).region)) == 1
    assert len(np.unique(rank_pixels([anomaly_map], [apart]).region)) == 2
    assert len(np.unique(rank_pixels([anomaly_map] * 2, [diagonal, apart]).region)) == 3


def test_pixel_auroc_is_the_mean_of_its_parts_weighted_by_their_pixels():
    maps, masks = random_maps(9, levels=10)
    ranks = rank_pixels(maps, masks)
    parts = [ranks.of_images([0, 2]), ranks.of_images([1, 3])]
    mean = np.average([pixel_auroc(p) for p in parts], weights=[p.above.size for p in parts])
    assert mean == pytest.approx(pixel_auroc(ranks), abs=1e-12)


@pytest.mark.parametrize("metric", [pixel_auroc, aupro])
def test_pixels_of_one_kind_only_are_nan_with_a_warning(metric):
    anomaly_map = np.random.default_rng(0).random((4, 5))
    for mask in (None, np.zeros((4, 5), bool)):
        with pytest.warns(UndefinedMetricWarning, match="no anomalous pixel"):
            assert math.isnan(metric(rank_pixels([anomaly_map], [mask])))
    with pytest.warns(UndefinedMetricWarning, match="no normal pixel"):
        assert math.isnan(metric(rank_pixels([anomaly_map], [np.ones((4, 5), bool)])))
    with pytest.warns(UndefinedMetricWarning, match="no normal and no anomalous pixel"):
        assert math.isnan(metric(rank_pixels([], [])))


@pytest.mark.parametrize("masked", [True, False])
def test_a_map_that_is_not_finite_names_the_image(masked):
    maps, masks = random_maps(1)
    maps[2 if masked else 5][3, 3] = np.nan
    names = [f"test/part/{index}" for index in range(6)]
    with pytest.raises(MetricError, match="test/part/2" if masked else "test/part/5"):
        rank_pixels(maps, masks, names)


def test_masks_that_do_not_fit_name_the_image():
    maps, masks = random_maps(1)
    names = [f"test/part/{index}" for index in range(6)]
    with pytest.raises(MetricError, match=r"test/part/1: expected a mask of the map's size"):
        rank_pixels(maps, [masks[0], masks[1].T, *masks[2:]], names)
    with pytest.raises(MetricError, match=r"test/part/0: expected a mask of bool"):
        rank_pixels(maps, [masks[0] * np.uint8(255), *masks[1:]], names)
    with pytest.raises(MetricError, match="one mask"):
        rank_pixels(maps, masks[1:], names)


def test_aupro_refuses_a_limit_outside_its_range():
    ranks = rank_pixels(*random_maps(1))
    for limit in (0.0, 1.5):
        with pytest.raises(MetricError, match=f"limit .* found {limit}"):
            aupro(ranks, limit)


def test_only_one_map_is_needed_in_memory_at_a_time():
    maps, masks = random_maps(2)

    class MadeWhenAsked(Sequence):
        def __len__(self):
            return len(maps)

        def __getitem__(self, index):
            return maps[index].copy()

    lazy, eager = rank_pixels(MadeWhenAsked(), masks), rank_pixels(maps, masks)
    for field in dataclasses.fields(eager):
        assert np.array_equal(getattr(lazy, field.name), getattr(eager, field.name))


def test_the_false_alarm_curve_promises_what_conformal_prediction_promises():
    promised, realised = false_alarm_curve([1.0, 2.0, 3.0], [0.5, 2.5])
    assert promised == [0.25, 0.5, 0.75]
    assert [share.value for share in realised] == [0.0, 0.5, 0.5]  # above 3, above 2, above 1
    assert all(share.low <= share.value <= share.high for share in realised)


def test_the_false_alarm_curve_keeps_its_promise_on_parts_of_the_same_kind():
    draw = np.random.default_rng(0)
    promised, realised = false_alarm_curve(draw.gamma(9, size=99), draw.gamma(9, size=4000))
    assert max(abs(p - share.value) for p, share in zip(promised, realised, strict=True)) < 0.15
