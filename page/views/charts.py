"""Score histogram and ROC curve as inline SVG, which the browser draws without a library.

Colours and type come from about.css; shapes tell the series apart where colours do not. The
threshold stands in the CSS variable --threshold, so that the browser moves its line at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from page.languages import Translation
from page.markup import render
from page.models.facts import ModelFacts, defect_scores, good_test_scores, normal_scores

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration

BINS = 20
WIDTH = 400  # user units of both drawings; on a phone one is about a pixel
LEFT, RIGHT = 34, 18  # margins: of the labels at the axis, and of the threshold's word at its end
TOP = 18  # margin: of the threshold's word
PLOT = WIDTH - LEFT - RIGHT  # width of the histogram's axis
ROW, TITLE = 64, 20  # height of a row of bars, and of its title within it
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
ROC_SIDE = 250  # height and width of the ROC curve's square


def charts_html(
    facts: ModelFacts, calibration: Calibration, threshold: float, text: Translation
) -> str:
    """How the threshold was set, and histogram and ROC curve with the current one drawn in.

    The threshold, 0..1, is the operating one. The ROC curve is left out where no test scores are
    known.
    """
    good = good_test_scores(facts, calibration) or ()
    anomalous = defect_scores(facts, calibration) or ()
    histogram = histogram_svg(good, anomalous, normal_scores(calibration), threshold, text)
    roc = roc_svg(good, anomalous, threshold, text) if good and anomalous else ""
    return render(
        "about/charts.html",
        text=text,
        threshold=threshold,
        calibration=calibration,
        histogram=Markup(histogram),
        roc=Markup(roc),
        roc_point=_roc_point(good, anomalous, threshold, text) if roc else "",
    )


def histogram_svg(
    good: Sequence[float],
    anomalous: Sequence[float],
    normals: Sequence[float],
    threshold: float,
    text: Translation,
) -> str:
    """How the scores of held-out good parts, good test photos and known defects are spread.

    One row of bars each over a common axis, each with a scale of its own, none for what is empty;
    what lies in the shaded part, right of the threshold, fails. Scores and threshold are 0..1,
    `normals` those of the good parts that it was set with.
    """
    groups = [
        (kind, scores, text(f"about.{kind}_scores", n=len(scores)))
        for kind, scores in (("normal", normals), ("good", good), ("defect", anomalous))
        if scores
    ]
    return render(
        "about/histogram.html",
        text=text,
        rows=[
            {"kind": kind, "title": title, **_bars(scores, TOP + number * ROW)}
            for number, (kind, scores, title) in enumerate(groups)
        ],
        summary=" ".join(
            text("about.histogram_row", row=title, n=_count_above(scores, threshold))
            for _, scores, title in groups
        ),
        ticks=[(f"{LEFT + tick * PLOT:g}", text.number(tick, "g")) for tick in TICKS],
        width=WIDTH,
        left=LEFT,
        plot=PLOT,
        top=TOP,
        bottom=TOP + len(groups) * ROW,
        bar_width=PLOT / BINS - 2,
    )


def roc_svg(
    good: Sequence[float], anomalous: Sequence[float], threshold: float, text: Translation
) -> str:
    """What share of the defects is found at each share of good parts that is rejected for it.

    Scores and threshold are 0..1, and there is at least one of each kind; the threshold's point is
    a dot on the curve.
    """
    left, bottom = (WIDTH - ROC_SIDE) / 2, TOP + ROC_SIDE

    def at(rejected: float, found: float) -> str:
        return f"{left + rejected * ROC_SIDE:.1f} {bottom - found * ROC_SIDE:.1f}"

    curve = (at(*point) for point in roc_points(good, anomalous))
    return render(
        "about/roc.html",
        text=text,
        summary=_roc_point(good, anomalous, threshold, text),
        curve="L".join(point for point, _ in groupby(curve)),
        point=at(*operating_point(good, anomalous, threshold)).split(),
        width=WIDTH,
        side=ROC_SIDE,
        top=TOP,
    )


def roc_points(good: Sequence[float], anomalous: Sequence[float]) -> list[tuple[float, float]]:
    """(Share of good parts rejected, share of defects found) from no photo failing to all.

    Scores that are equal fail together, which makes a slanted step.
    """
    steps = np.unique([*good, *anomalous])[::-1]
    rejected, found = (
        (len(scores) - np.searchsorted(np.sort(scores), steps)) / len(scores)
        for scores in (good, anomalous)
    )
    return [(0.0, 0.0), *zip(rejected.tolist(), found.tolist(), strict=True)]


def operating_point(
    good: Sequence[float], anomalous: Sequence[float], threshold: float
) -> tuple[float, float]:
    """(Share of good parts rejected, share of defects found) at a threshold."""
    rejected = _count_above(good, threshold) / len(good)
    return rejected, _count_above(anomalous, threshold) / len(anomalous)


def count_by_bin(scores: Sequence[float]) -> list[int]:
    """How many scores, 0..1, lie in each of `BINS` bins; a score at an edge belongs left of it.

    So a part at the threshold, which passes, is not drawn on the side of those that fail.
    """
    bins = np.ceil(np.array(scores) * BINS).astype(int) - 1
    return np.bincount(bins.clip(min=0), minlength=BINS).tolist()


def _bars(scores: Sequence[float], top: float) -> dict[str, Any]:
    """A row's bars as (x, height), and the largest count as a scale."""
    counts, base, height = count_by_bin(scores), top + ROW, ROW - TITLE - 4
    tallest = max(counts)
    bars = [
        (LEFT + number * PLOT / BINS + 1, height * count / tallest)
        for number, count in enumerate(counts)
        if count
    ]
    return {"top": top, "base": base, "highest": base - height, "tallest": tallest, "bars": bars}


def _count_above(scores: Sequence[float], threshold: float) -> int:
    """How many of these parts fail."""
    from modeling.scoring import exceeds

    return int(np.count_nonzero(exceeds(np.array(scores), threshold)))


def _roc_point(
    good: Sequence[float], anomalous: Sequence[float], threshold: float, text: Translation
) -> str:
    """The operating point as a sentence."""
    rejected, found = operating_point(good, anomalous, threshold)
    return text("about.roc_point", found=f"{100 * found:.0f}", rejected=f"{100 * rejected:.0f}")
