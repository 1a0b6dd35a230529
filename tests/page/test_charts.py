"""The charts are sound SVG and say what the scores say."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from page.languages import Translation
from page.views.charts import (
    BINS,
    LEFT,
    RIGHT,
    WIDTH,
    count_by_bin,
    histogram_svg,
    operating_point,
    roc_points,
    roc_svg,
)

TEXT = Translation("en")


@pytest.fixture
def scores() -> tuple[list[float], list[float]]:
    """Good and defective parts' scores that overlap, with ties among and between them."""
    rng = np.random.default_rng(0)
    good, anomalous = rng.beta(2, 5, 40), rng.beta(5, 2, 72)
    return good.round(2).tolist(), anomalous.round(2).tolist()


def area_under(points: list[tuple[float, float]]) -> float:
    x, y = np.transpose(points)
    return float(np.trapezoid(y, x))


def test_the_area_under_the_curve_is_the_auroc(scores):
    good, anomalous = scores
    labels = [0] * len(good) + [1] * len(anomalous)
    points = roc_points(good, anomalous)
    assert (points[0], points[-1]) == ((0, 0), (1, 1))
    assert points == sorted(points)
    assert area_under(points) == pytest.approx(roc_auc_score(labels, good + anomalous), abs=1e-12)


@pytest.mark.parametrize("threshold", [step / 20 for step in range(21)])
def test_the_operating_point_lies_on_the_curve_and_follows_the_verdict(scores, threshold):
    good, anomalous = scores
    rejected, found = operating_point(good, anomalous, threshold)
    assert rejected == np.mean(np.array(good) > threshold)
    assert found == np.mean(np.array(anomalous) > threshold)
    assert (rejected, found) in roc_points(good, anomalous)


def test_every_score_is_in_one_bin_and_one_at_the_threshold_is_left_of_it():
    edges = [0.0, 0.05, 0.0501, 0.5, 0.5001, 1.0]
    counts = count_by_bin(edges)
    assert sum(counts) == len(edges)
    assert len(counts) == BINS
    assert (counts[0], counts[1], counts[9], counts[10], counts[-1]) == (2, 1, 1, 1, 1)


def test_the_histogram_has_a_row_for_each_group_that_has_parts(scores):
    good, anomalous = scores
    for given, rows in (((good, anomalous, good), 3), (((), (), good), 1)):
        drawing = ElementTree.fromstring(histogram_svg(*given, 0.5, TEXT))
        groups = [one for one in drawing.iter("g") if "bars" in one.get("class", "")]
        bars = [len(list(group.iter("rect"))) for group in groups]
        assert bars == [
            sum(count > 0 for count in count_by_bin(scores))
            for scores in (given[2], given[0], given[1])[:rows]
        ]


def test_the_bars_lie_on_the_side_of_the_threshold_that_their_parts_are_on():
    drawing = ElementTree.fromstring(histogram_svg([0.5], [0.51], [0.5], 0.5, TEXT))
    middle = LEFT + 0.5 * (WIDTH - LEFT - RIGHT)
    normal, good, defect = drawing.iter("rect")
    for bar in (normal, good):
        assert float(bar.get("x")) + float(bar.get("width")) < middle
    assert float(defect.get("x")) > middle


def test_the_line_stands_where_the_css_variable_says():
    drawing = histogram_svg([0.1], [0.9], [0.1], 0.37, TEXT)
    assert drawing.count(f"calc(var(--threshold) * {WIDTH - LEFT - RIGHT}px)") == 2
    assert "0.37" not in drawing  # the browser moves it: nothing is drawn for one threshold only


def test_a_screen_reader_hears_how_many_parts_fail_now(scores):
    good, anomalous = scores
    drawing = ElementTree.fromstring(histogram_svg(good, anomalous, [], 0.3, TEXT))
    assert drawing.get("role") == "img"
    description = drawing.find("desc").text
    for failing in (np.sum(np.array(good) > 0.3), np.sum(np.array(anomalous) > 0.3)):
        assert re.search(rf"\b{failing} fail", description)
    assert description in drawing.get("aria-label")


def test_the_dot_of_the_roc_curve_is_the_operating_point():
    good, anomalous = [0.1, 0.2, 0.3, 0.6], [0.4, 0.7, 0.8, 0.9]
    dots = {}
    for threshold in (0.5, 0.65):
        drawing = ElementTree.fromstring(roc_svg(good, anomalous, threshold, TEXT))
        (dot,) = drawing.iter("circle")
        dots[threshold] = float(dot.get("cx")), float(dot.get("cy"))
        x, y = dot.get("cx"), dot.get("cy")
        curve = next(path for path in drawing.iter("path") if path.get("class") == "curve")
        assert f"{x} {y}" in curve.get("d")
    assert dots[0.65][0] < dots[0.5][0]  # one good part less is rejected
    assert dots[0.65][1] == dots[0.5][1]


def test_many_photos_make_no_long_drawing():
    rng = np.random.default_rng(0)
    good, anomalous = rng.random(20_000).tolist(), rng.random(20_000).tolist()
    assert len(roc_svg(good, anomalous, 0.5, TEXT)) < 100_000
    assert len(histogram_svg(good, anomalous, good, 0.5, TEXT)) < 20_000
