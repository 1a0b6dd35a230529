"""Score histogram and ROC curve as inline SVG, which the browser draws without a library.

Colours and type come from about.css; shapes tell the series apart where colours do not. The
threshold stands in the CSS variable --threshold, so that the browser moves its line at once.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from itertools import groupby

from page.languages import Translation
from page.markup import decimal, said

BINS = 20
WIDTH = 400  # user units of both drawings; on a phone one is about a pixel
LEFT, RIGHT = 34, 18  # margins: of the labels at the axis, and of the threshold's word at its end
TOP = 18  # margin: of the threshold's word
ROW, TITLE = 64, 20  # height of a row of bars, and of its title within it
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
ROC_SIDE = 250  # height and width of the ROC curve's square

HATCH = (
    '<pattern id="chart-hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path d="M0 0V5" class="hatch"/></pattern>'
)


def histogram_svg(
    good: Sequence[float],
    anomalous: Sequence[float],
    normals: Sequence[float],
    threshold: float,
    text: Translation,
) -> str:
    """How the scores of held-out good parts, good test photos and known defects are spread.

    One row of bars each over a common axis, each with a scale of its own; what lies in the shaded
    part, right of the threshold, fails.

    Args:
        good: scores, 0..1, of good test photos.
        anomalous: scores of the test photos with a defect.
        normals: scores of the good parts that the threshold was set with.
        threshold: 0..1.
        text: words.

    Returns:
        An <svg>, without a row for what is empty.
    """
    rows = [
        (scores, kind, text(f"about.{kind}_scores", n=len(scores)))
        for scores, kind in ((normals, "normal"), (good, "good"), (anomalous, "defect"))
        if scores
    ]
    bottom = TOP + len(rows) * ROW
    bars = "".join(
        _row(scores, kind, title, TOP + number * ROW)
        for number, (scores, kind, title) in enumerate(rows)
    )
    plot = WIDTH - LEFT - RIGHT
    ticks = "".join(
        f'<path class="axis" d="M{_x(tick)} {bottom}v4"/>'
        f'<text x="{_x(tick)}" y="{bottom + 16}" text-anchor="middle">'
        f"{decimal(f'{tick:g}', text)}</text>"
        for tick in TICKS
    )
    rejected = [sum(score > threshold for score in scores) for scores, *_ in rows]
    summary = " ".join(
        text("about.histogram_row", row=title, n=count)
        for (_, _, title), count in zip(rows, rejected, strict=True)
    )
    # Drawn from the left edge and moved by the browser; the shading is cut off at the right end.
    shift = f"transform: translateX(calc(var(--threshold) * {plot}px))"
    return _svg(
        WIDTH,
        bottom + 38,
        text("about.histogram"),
        summary,
        f'<defs>{HATCH}<clipPath id="chart-plot">'
        f'<path d="M{LEFT} 0H{LEFT + plot}V{bottom}H{LEFT}Z"/></clipPath></defs>'
        f'<g clip-path="url(#chart-plot)"><path class="shade" style="{shift}" '
        f'd="M{LEFT} {TOP}h{plot}V{bottom}h-{plot}Z"/></g>'
        f'<g class="limit" style="{shift}"><path d="M{LEFT} {TOP - 2}V{bottom}"/>'
        f'<text x="{LEFT}" y="{TOP - 6}" text-anchor="middle">'
        f"{said(text, 'about.threshold_line')}</text></g>{bars}{ticks}"
        f'<text x="{LEFT + plot / 2:g}" y="{bottom + 33}" text-anchor="middle">'
        f"{said(text, 'about.score_axis')}</text>",
        "histogram",
    )


def roc_svg(
    good: Sequence[float], anomalous: Sequence[float], threshold: float, text: Translation
) -> str:
    """What share of the defects is found at each share of good parts that is rejected for it.

    Args:
        good: scores, 0..1, of good test photos; at least one.
        anomalous: scores of the test photos with a defect; at least one.
        threshold: 0..1, whose point is a dot on the curve.
        text: words.

    Returns:
        An <svg>.
    """
    left, bottom = (WIDTH - ROC_SIDE) / 2, TOP + ROC_SIDE

    def at(rejected: float, found: float) -> str:
        return f"{left + rejected * ROC_SIDE:.1f} {bottom - found * ROC_SIDE:.1f}"

    curve = "L".join(key for key, _ in groupby(at(*point) for point in roc_points(good, anomalous)))
    rejected, found = operating_point(good, anomalous, threshold)
    x, y = at(rejected, found).split()
    ticks = "".join(
        f'<path class="grid" d="M{at(share, 0)}V{TOP}M{at(0, share)}h{ROC_SIDE}"/>'
        f'<text x="{left + share * ROC_SIDE:g}" y="{bottom + 16}" text-anchor="middle">'
        f"{100 * share:g} %</text>"
        f'<text x="{left - 6:g}" y="{bottom - share * ROC_SIDE + 4:g}" text-anchor="end">'
        f"{100 * share:g} %</text>"
        for share in (0.0, 0.5, 1.0)
    )
    middle = TOP + ROC_SIDE / 2
    return _svg(
        WIDTH,
        bottom + 38,
        text("about.roc"),
        text("about.roc_point", found=_percent(found), rejected=_percent(rejected)),
        f'{ticks}<path class="chance" d="M{at(0, 0)}L{at(1, 1)}"/>'
        f'<path class="curve" d="M{curve}"/><circle class="point" cx="{x}" cy="{y}" r="6"/>'
        f'<text x="{WIDTH / 2:g}" y="{bottom + 33}" text-anchor="middle">'
        f"{said(text, 'about.rejected_axis')}</text>"
        f'<text transform="translate({left - 46:g} {middle:g}) rotate(-90)" text-anchor="middle">'
        f"{said(text, 'about.found_axis')}</text>",
        "roc",
    )


def roc_points(good: Sequence[float], anomalous: Sequence[float]) -> list[tuple[float, float]]:
    """(Share of good parts rejected, share of defects found) from no photo failing to all.

    Scores that are equal fail together, which makes a slanted step.
    """
    labelled = sorted([*((score, 0) for score in good), *((score, 1) for score in anomalous)])
    counts, points = [0, 0], [(0.0, 0.0)]
    for _, tied in groupby(reversed(labelled), key=lambda pair: pair[0]):
        for _, label in tied:
            counts[label] += 1
        points.append((counts[0] / len(good), counts[1] / len(anomalous)))
    return points


def operating_point(
    good: Sequence[float], anomalous: Sequence[float], threshold: float
) -> tuple[float, float]:
    """(Share of good parts rejected, share of defects found) at a threshold."""
    rejected, found = (
        sum(score > threshold for score in scores) / len(scores) for scores in (good, anomalous)
    )
    return rejected, found


def count_by_bin(scores: Sequence[float]) -> list[int]:
    """How many scores, 0..1, lie in each of `BINS` bins; a score at an edge belongs left of it.

    So a part at the threshold, which passes, is not drawn on the side of those that fail.
    """
    counts = [0] * BINS
    for score in scores:
        counts[max(0, math.ceil(score * BINS) - 1)] += 1
    return counts


def _row(scores: Sequence[float], kind: str, title: str, top: float) -> str:
    """Bars over their part of the axis, with a title, and the largest count as a scale."""
    counts, base, height = count_by_bin(scores), top + ROW, ROW - TITLE - 4
    tallest, width = max(counts), (WIDTH - LEFT - RIGHT) / BINS
    bars = "".join(
        f'<rect x="{LEFT + number * width + 1:g}" y="{base - height * count / tallest:.1f}" '
        f'width="{width - 2:g}" height="{height * count / tallest:.1f}"/>'
        for number, count in enumerate(counts)
        if count
    )
    return (
        f'<g class="bars {kind}"><path class="axis" d="M{LEFT} {base}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT + 2}" y="{top + 15}">{html.escape(title)}</text>'
        f'<text x="{LEFT - 4}" y="{base - height + 4:g}" text-anchor="end">{tallest}</text>'
        f"{bars}</g>"
    )


def _svg(width: float, height: float, title: str, summary: str, content: str, kind: str) -> str:
    label = html.escape(title)
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{label}. {html.escape(summary)}"><desc>{html.escape(summary)}</desc>'
        f"{content}</svg>"
    )


def _x(score: float) -> str:
    return f"{LEFT + score * (WIDTH - LEFT - RIGHT):g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
