from __future__ import annotations

import numpy as np
import pytest

from evaluation.documents.charts import (
    ANOMALOUS,
    GOOD,
    calibration_chart,
    learning_curve_chart,
    precision_recall_chart,
    roc_chart,
    scores_chart,
    spread_chart,
)
from evaluation.documents.html_page import svg
from evaluation.metrics import average_precision

LABELS = [0, 0, 1, 1, 1]
SCORES = [1.0, 3.0, 2.0, 4.0, 5.0]


def line_of(figure, label):
    (line,) = [line for line in figure.axes[0].lines if label in str(line.get_label())]
    return line


def test_the_area_under_the_drawn_precision_steps_is_the_average_precision():
    area = average_precision(LABELS, SCORES)
    line = line_of(precision_recall_chart(LABELS, SCORES, area, None, "title"), "average precision")
    recall, precision = line.get_xdata(), line.get_ydata()
    assert line.get_drawstyle() == "steps-pre"
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(area)


def test_the_operating_point_lies_on_the_roc_curve():
    figure = roc_chart(LABELS, SCORES, 0.83, (0.5, 2 / 3), "title")
    curve, point = line_of(figure, "AUROC"), line_of(figure, "threshold")
    points = set(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
    assert (point.get_xdata()[0], point.get_ydata()[0]) in points


def test_anomalous_scores_are_hatched_in_a_layer_of_their_own():
    figure = scores_chart(LABELS, SCORES, 2.5, "title")
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 1
    assert hatched[0].get_facecolor()[3] == 0  # or an SVG would paint hatch and ground alike


def test_the_promise_is_drawn_with_its_interval():
    figure = calibration_chart([1.0, 2.0, 3.0], 0.25, [0.5, 2.5], "title")
    realised = line_of(figure, "good test photos")
    assert list(realised.get_xdata()) == [0.25, 0.5, 0.75]
    assert list(realised.get_ydata()) == [0.0, 0.5, 0.5]
    assert len(figure.axes[0].collections) == 1


def test_both_losses_are_drawn_and_differ_in_line_style():
    figure = learning_curve_chart([1, 2], [1.0, 0.5], [1.1, 0.6], "title")
    styles = {line.get_linestyle() for line in figure.axes[0].lines}
    assert styles == {"-", "--"} and figure.axes[0].get_yscale() == "log"


def test_a_loss_below_zero_is_drawn_on_a_plain_axis():
    figure = learning_curve_chart([1, 2], [1.0, -0.5], [1.1, 0.6], "title")
    assert figure.axes[0].get_yscale() == "linear"


def test_the_lowest_of_a_spread_has_a_shape_of_its_own():
    figure = spread_chart([("a", 0.9, (0.8, 1.0)), ("b", 0.7, None)], "image AUROC", "title")
    shapes = {line.get_marker(): line.get_color() for line in figure.axes[0].lines}
    assert shapes["D"] == ANOMALOUS and shapes["o"] == GOOD
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]


def test_no_shape_stands_out_of_a_spread_where_all_are_alike():
    figure = spread_chart([("a", 0.9, None), ("b", 0.9, None)], "image AUROC", "title")
    assert {line.get_marker() for line in figure.axes[0].lines} == {"o"}


def test_a_name_is_drawn_as_it_stands():
    drawn = svg(spread_chart([("$x_1$ <b>", 0.9, None)], "image AUROC", "<i>$y^2$"), "a & b")
    assert "$x_1$ &lt;b&gt;" in drawn and "&lt;i&gt;$y^2$" in drawn
    assert 'aria-label="a &amp; b"' in drawn
