"""Pixel metrics against definitions and references, what they mean and what they refuse."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation import pixel_metrics
from evaluation.metrics import MetricError
from evaluation.pixel_metrics import (
    Estimate,
    aupro,
    count_pixels,
    pixel_auroc,
    pixel_average_precision,
    pixel_f1_max,
)
from tests.evaluation.make_reference_metrics import digest, reference_maps
from tests.evaluation.random_maps import METRICS, random_maps, ranks_of

pytestmark = pytest.mark.usefixtures("no_unexpected_warnings")
REFERENCE = Path(__file__).with_name("reference_metrics.json")


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


# Against references


@pytest.mark.parametrize("levels", [None, 5, 2])
@pytest.mark.parametrize(
    ("metric", "library"),
    [(pixel_auroc, roc_auc_score), (pixel_average_precision, average_precision_score)],
)
def test_it_equals_the_library_on_all_pixels_at_once(metric, library, levels):
    for seed in range(5):
        maps, masks = random_maps(seed, levels)
        expected = library(*pooled(maps, masks))
        assert metric(ranks_of(maps, masks)) == (pytest.approx(expected, abs=1e-12), 0.0)


@pytest.mark.parametrize("levels", [None, 5, 2])
def test_the_largest_f1_is_that_of_the_best_of_all_thresholds(levels):
    for seed in range(3):
        maps, masks = random_maps(seed, levels)
        labels, values = pooled(maps, masks)
        # Twice what both sets, what fails and what is anomalous, share, by the size of both.
        expected = max(
            2
            * np.sum(labels & (values >= threshold))
            / (np.sum(values >= threshold) + labels.sum())
            for threshold in np.unique(values)
        )
        assert pixel_f1_max(ranks_of(maps, masks)) == (pytest.approx(expected, abs=1e-12), 0.0)


@pytest.mark.parametrize("levels", [None, 5, 2])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_aupro_equals_brute_force(levels, limit):
    for seed in range(5):
        maps, masks = random_maps(seed, levels)
        expected = aupro_by_thresholds(maps, masks, limit)
        assert aupro(ranks_of(maps, masks), limit) == (pytest.approx(expected, abs=1e-12), 0.0)


def test_other_peoples_code_gives_the_same_figures():
    maps, masks = reference_maps()
    reference = json.loads(REFERENCE.read_text())
    assert digest(maps, masks) == reference["sha256"], "numpy's generator drew other maps"
    ranks = ranks_of(maps, masks)
    ours = {
        "pixel_auroc": pixel_auroc(ranks).value,
        "pixel_average_precision": pixel_average_precision(ranks).value,
        "pixel_f1_max": pixel_f1_max(ranks).value,
        "aupro": aupro(ranks).value,
        "aupro_5": aupro(ranks, 0.05).value,
    }
    for name, value in reference["anomalib"].items():  # sums 92,160 pixels in float32
        assert ours[name] == pytest.approx(value, abs=1e-6)
    # MVTec's code has a point of the curve at every normal pixel and a straight line between; ours
    # has the step in between where it is, which differs by half a normal pixel at most.
    for name, limit in (("aupro", 0.3), ("aupro_5", 0.05)):
        half_a_pixel = 0.5 / (ranks.normal_pixels * limit)
        assert ours[name] == pytest.approx(reference["adeval"][name], abs=half_a_pixel)


def test_the_reference_tells_regions_that_touch_at_corners_from_those_that_do_not(monkeypatch):
    monkeypatch.setattr(pixel_metrics, "EIGHT_CONNECTED", ndimage.generate_binary_structure(2, 1))
    other = aupro(ranks_of(*reference_maps())).value
    assert abs(other - json.loads(REFERENCE.read_text())["adeval"]["aupro"]) > 1e-3


# What the figures mean


@pytest.mark.parametrize("exact_pixels", [0, 10_000])
def test_they_depend_on_neither_order_nor_scale(exact_pixels):
    maps, masks = random_maps(7, levels=20)
    ranks = ranks_of(maps, masks, exact_pixels=exact_pixels)
    turned = ranks_of([np.exp(2 * m) for m in maps[::-1]], masks[::-1], exact_pixels=exact_pixels)
    for metric in METRICS:
        assert metric(turned).value == pytest.approx(metric(ranks).value, abs=1e-12)


@pytest.mark.parametrize("exact_pixels", [0, 10_000])
def test_perfect_worst_and_constant_maps(exact_pixels):
    mask = np.zeros((20, 20), bool)
    mask[3:6, 4:9] = True
    share = mask.mean()
    perfect, worst, constant = (
        [metric(ranks_of([m], [mask], exact_pixels=exact_pixels)).value for metric in METRICS]
        for m in (mask * 1.0, 1.0 - mask, np.ones((20, 20)))
    )
    chance = 2 * share / (1 + share)
    assert perfect == pytest.approx([1.0, 1.0, 1.0, 1.0], abs=1e-12)
    assert worst == pytest.approx([0.0, share, chance, 0.0])
    assert constant == pytest.approx([0.5, share, chance, 0.15])  # a diagonal up to 0.3, over 0.3


def test_aupro_weighs_regions_alike_and_pixel_auroc_weighs_pixels():
    # A large region is found, a single pixel is not: half of the regions, nearly all the pixels.
    mask = np.zeros((20, 20), bool)
    mask[:9, :11] = True
    mask[15, 15] = True
    anomaly_map = np.zeros((20, 20))
    anomaly_map[:9, :11] = 1.0
    anomaly_map[15, 15] = -1.0
    ranks = ranks_of([anomaly_map], [mask])
    assert pixel_auroc(ranks).value == pytest.approx(99 / 100)
    assert aupro(ranks).value == pytest.approx(1 / 2)


def test_pixels_that_touch_at_a_corner_are_one_region():
    anomaly_map = np.zeros((8, 8))
    diagonal = np.eye(8, dtype=bool)
    apart = np.zeros((8, 8), bool)
    apart[0, 0] = apart[0, 4] = True
    assert ranks_of([anomaly_map], [diagonal]).regions == 1
    assert ranks_of([anomaly_map], [apart]).regions == 2
    assert ranks_of([anomaly_map] * 2, [diagonal, apart]).regions == 3


def test_kinds_of_defect_are_parts_of_the_whole():
    maps, masks = random_maps(9, levels=10)
    counts = count_pixels(maps, masks, kinds=["dent", "cut", "dent", "cut", None, None])
    parts = [counts.ranks("dent"), counts.ranks("cut")]
    alone = count_pixels(maps[:1] + maps[2:3], masks[:1] + masks[2:3]).ranks()
    assert parts[0].regions == alone.regions
    assert parts[0].normal_pixels == counts.ranks().normal_pixels > alone.normal_pixels
    for metric, weights in (
        (pixel_auroc, [part.pixels.sum() for part in parts]),
        (aupro, [part.regions for part in parts]),
    ):
        mean = np.average([metric(part).value for part in parts], weights=weights)
        assert mean == pytest.approx(metric(counts.ranks()).value, abs=1e-12)


def test_a_defective_photo_without_truth_takes_no_part():
    maps, masks = random_maps(3)
    kinds = ["dent", "cut", "dent", "hole", None, None]
    hidden = [masks[0], None, masks[2], np.zeros_like(masks[3]), None, None]
    counts = count_pixels(maps, hidden, kinds=kinds)
    shown = [0, 2, 4, 5]
    rest = count_pixels([maps[i] for i in shown], [masks[i] for i in shown])
    assert counts.photos == 2
    for metric in METRICS:
        assert metric(counts.ranks()) == metric(rest.ranks())
        with pytest.warns(UndefinedMetricWarning, match="no anomalous pixel"):
            assert math.isnan(metric(counts.ranks("cut")).value)


# What can't be answered


@pytest.mark.parametrize("metric", METRICS)
def test_pixels_of_one_kind_only_are_nan_with_a_warning(metric):
    anomaly_map = np.random.default_rng(0).random((4, 5))
    nothing = Estimate(math.nan, math.nan)
    for mask in (None, np.zeros((4, 5), bool)):
        with pytest.warns(UndefinedMetricWarning, match="no anomalous pixel"):
            assert metric(ranks_of([anomaly_map], [mask])) == pytest.approx(nothing, nan_ok=True)
    with pytest.warns(UndefinedMetricWarning, match="no normal pixel"):
        ranks = ranks_of([anomaly_map], [np.ones((4, 5), bool)])
        assert metric(ranks) == pytest.approx(nothing, nan_ok=True)
    with pytest.warns(UndefinedMetricWarning, match="no normal and no anomalous pixel"):
        assert metric(ranks_of([], [])) == pytest.approx(nothing, nan_ok=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("image", [2, 5])  # with and without a mask
@pytest.mark.parametrize("exact_pixels", [0, 10_000])
def test_a_map_that_is_not_finite_names_the_image(image, value, exact_pixels):
    maps, masks = random_maps(1)
    maps[image][3, 3] = value
    names = [f"test/part/{index}" for index in range(6)]
    with pytest.raises(MetricError, match=f"test/part/{image}: .*finite"):
        count_pixels(maps, masks, names, exact_pixels=exact_pixels)


def test_masks_that_do_not_fit_name_the_image():
    maps, masks = random_maps(1)
    names = [f"test/part/{index}" for index in range(6)]
    with pytest.raises(MetricError, match=r"test/part/1: expected a mask of the map's size"):
        count_pixels(maps, [masks[0], masks[1].T, *masks[2:]], names)
    with pytest.raises(MetricError, match=r"test/part/5: expected a mask of the map's size"):
        count_pixels(maps, [*masks[:5], np.zeros((3, 3), bool)], names)
    with pytest.raises(MetricError, match=r"test/part/0: expected a mask of bool"):
        count_pixels(maps, [masks[0] * np.uint8(255), *masks[1:]], names)
    with pytest.raises(MetricError, match=r"test/part/3: expected no anomalous pixel in a good"):
        count_pixels(maps, masks, names, ["dent"] * 3 + [None] * 3)
    with pytest.raises(MetricError, match=r"one mask \(or None\) a map, 6, found 5"):
        count_pixels(maps, masks[1:], names)
    with pytest.raises(MetricError, match=r"one kind \(or None\) a map, 6, found 1"):
        count_pixels(maps, masks, names, ["dent"])


def test_aupro_refuses_a_limit_outside_its_range():
    ranks = ranks_of(*random_maps(1))
    for limit in (0.0, 1.5):
        with pytest.raises(MetricError, match=f"limit .* found {limit}"):
            aupro(ranks, limit)
