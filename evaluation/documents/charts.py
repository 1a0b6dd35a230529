"""The curves of an evaluation as matplotlib figures, for a PNG or inline in a page.

Blue is good and vermilion is anomalous everywhere (Okabe and Ito's palette, which colour-blind
people can tell apart); line style and hatching say the same in grey print. `labels` are (N,), 0 for
normal and 1 for anomalous; `raw_scores` are (N,), higher is more anomalous.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from evaluation.metrics import false_alarm_curve

DOTS_PER_INCH = 120  # of a figure in a file of its own
GOOD, ANOMALOUS, THRESHOLD = "#0072B2", "#D55E00", "#000000"
CLASSES = ((0, "good", GOOD, ""), (1, "anomalous", ANOMALOUS, "////"))  # with their hatching
MOST_NAME = 28  # characters of a name beside an axis
SQUARE = {"width": 5.2, "height": 5.0}  # inches, of a chart whose axes are both shares
CURVE = {"color": GOOD, "linewidth": 2}
EXPECTED = {"color": "0.6", "linestyle": ":"}  # what a curve is compared with


def roc_chart(
    labels: Sequence[int],
    raw_scores: Sequence[float],
    area: float,
    operating_point: tuple[float, float] | None,
    title: str,
) -> Figure:
    """The ROC curve of whole photos, both classes among them.

    `area` is the image AUROC, printed in the legend; `operating_point` (false-alarm rate, recall)
    of the verdicts, None while uncalibrated.
    """
    false_alarms, found, _ = roc_curve(labels, raw_scores, drop_intermediate=False)
    figure, axes = new_axes(title, **SQUARE)
    axes.plot([0, 1], [0, 1], label="chance", **EXPECTED)
    axes.plot(false_alarms, found, label=f"AUROC {area:.3f}", **CURVE)
    _mark_threshold(axes, operating_point, "{:.1%} false alarms, {:.1%} found")
    axes.set(xlabel="good photos that fail (false-alarm rate)", xlim=(-0.01, 1), aspect="equal")
    axes.set(ylabel="anomalous photos that fail (recall)", ylim=(0, 1.01))
    axes.legend(loc="lower right", frameon=True, framealpha=0.9)
    return figure


def precision_recall_chart(
    labels: Sequence[int],
    raw_scores: Sequence[float],
    area: float,
    operating_point: tuple[float, float] | None,
    title: str,
) -> Figure:
    """The precision-recall curve of whole photos, as the steps that average precision sums.

    As in `roc_chart`, but `area` is the average precision, `operating_point` (recall, precision).
    """
    precision, recall, _ = precision_recall_curve(labels, raw_scores)
    share = float(np.mean(labels))
    figure, axes = new_axes(title, **SQUARE)
    axes.axhline(share, label=f"chance ({share:.0%} are anomalous)", **EXPECTED)
    # From no photo failing to all: the steps are drawn in the direction of falling thresholds.
    label = f"average precision {area:.3f}"
    axes.step(recall[::-1], precision[::-1], where="pre", label=label, **CURVE)
    _mark_threshold(axes, operating_point, "{:.1%} found, {:.1%} of FAILs are right")
    axes.set(xlabel="anomalous photos that fail (recall)", xlim=(0, 1.01), aspect="equal")
    axes.set(ylabel="failing photos that are anomalous (precision)", ylim=(0, 1.01))
    axes.legend(loc="lower left", frameon=True, framealpha=0.9)
    return figure


def scores_chart(
    labels: Sequence[int],
    raw_scores: Sequence[float],
    raw_threshold: float | None,
    title: str,
    width: float = 7.0,
) -> Figure:
    """How raw scores are distributed in each class, with the calibrated threshold if there is one.

    In a chart of 6 inches or less, the legend has a line for each entry.
    """
    labels, raw_scores = np.asarray(labels), np.asarray(raw_scores, dtype=float)
    edges = _bins_around(raw_threshold or np.median(raw_scores) or 1.0, raw_scores)
    figure, axes = new_axes(title, width=width, height=4.0)
    legend = {}
    for label, name, colour, hatch in CLASSES:
        chosen = raw_scores[labels == label]
        shape = {"bins": edges, "histtype": "stepfilled", "edgecolor": colour, "linewidth": 1.5}
        clipped = np.clip(chosen, edges[0], edges[-1])
        # Filling and hatching apart: an SVG paints a hatch on a see-through ground in its colour.
        layers = [
            axes.hist(clipped, facecolor=ground, hatch=lines, **shape)[-1][0]
            for ground, lines in (((colour, 0.35), ""), ("none", hatch))
        ]
        legend[f"{name} ({chosen.size} photos)"] = tuple(layers)
    if raw_threshold is not None:
        line = axes.axvline(raw_threshold, color=THRESHOLD, linestyle="--")
        legend[f"threshold {raw_threshold:.3g}, FAIL to its right"] = line
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set(xscale="log", xlabel="raw score (largest value of the anomaly map)", ylabel="photos")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=False, axis="x")
    figure.legend(
        legend.values(),
        legend.keys(),
        loc="outside lower center",
        ncols=3 if width > 6 else 1,
        frameon=False,
    )
    return figure


def calibration_chart(
    held_out_scores: Sequence[float],
    asked: float | None,
    good_scores: Sequence[float],
    title: str,
) -> Figure:
    """Promised against realised false-alarm rate, over all rates, with 95 % Wilson intervals.

    `held_out_scores` (n,) are raw scores of the good parts that calibrated the model, `good_scores`
    (N,) of good test photos, at least one; `asked` is the rate promised at the calibrated
    threshold, 0..1, None where it is unknown.
    """
    promised, realised = false_alarm_curve(held_out_scores, good_scores)
    figure, axes = new_axes(title, **SQUARE)
    axes.plot([0, 1], [0, 1], label="as promised", **EXPECTED)
    values, lows, highs = zip(*(share[:3] for share in realised), strict=True)
    axes.fill_between(
        promised, lows, highs, color=GOOD, alpha=0.15, linewidth=0, label="95 % interval"
    )
    axes.plot(promised, values, label=f"{len(good_scores)} good test photos", **CURVE)
    if asked is not None:
        label = f"calibrated threshold: {asked:.1%}"
        axes.axvline(asked, color=THRESHOLD, linestyle="--", label=label)
    axes.set(xlabel="promised false-alarm rate", xlim=(0, 1), aspect="equal")
    axes.set(ylabel="realised false-alarm rate", ylim=(-0.01, 1.01))
    axes.legend(loc="upper left", frameon=True, framealpha=0.9)
    return figure


def learning_curve_chart(
    epochs: Sequence[float], loss: Sequence[float], held_out_loss: Sequence[float], title: str
) -> Figure:
    """Losses on training photos and on held-out good ones over ascending epochs, (E,) each."""
    figure, axes = new_axes(title, width=5.2, height=4.0)
    axes.plot(epochs, loss, label="training photos", **CURVE)
    axes.plot(
        epochs, held_out_loss, "--", label="held-out good photos", color=ANOMALOUS, linewidth=2
    )
    positive = min(*loss, *held_out_loss) > 0
    axes.set(xlabel="epoch", ylabel="loss", yscale="log" if positive else "linear")
    axes.legend(frameon=False)
    return figure


def spread_chart(
    rows: Sequence[tuple[str, float, tuple[float, float] | None]], quantity: str, title: str
) -> Figure:
    """One dot a row on a common axis of a quantity in 0..1, the lowest marked by shape and colour.

    At least one row, (name, value, interval or None), from top to bottom.
    """
    names, values, intervals = zip(*rows, strict=True)
    places = np.arange(len(rows))
    figure, axes = new_axes(title, width=5.2, height=1.3 + 0.3 * len(rows))
    plain = {"marker": "o", "markersize": 7, "color": GOOD}
    worst = {"marker": "D", "markersize": 8, "color": ANOMALOUS}
    for place, value, ends in zip(places, values, intervals, strict=True):
        if ends is not None:
            axes.plot(ends, [place, place], color="0.55", linewidth=1.5, zorder=1)
        style = worst if value == min(values) < max(values) else plain
        axes.plot(value, place, clip_on=False, **style)
    axes.set_yticks(places, [shortened(name) for name in names])
    lowest = min([*values, *(ends[0] for ends in intervals if ends is not None)])
    axes.set(xlabel=quantity, ylim=(len(rows) - 0.5, -0.5), xlim=(min(lowest, 0.98) - 0.01, 1.0))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%.3g"))
    return figure


def new_axes(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of its own with a light grid; sizes in inches."""
    # Not pyplot's: no window system, no state shared with the caller.
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title.replace("$", r"\$"), fontsize=11)  # a name is no formula
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _mark_threshold(axes: Axes, point: tuple[float, float] | None, words: str) -> None:
    """A dot where the verdicts stand; `words` has a place for both coordinates."""
    if point is not None:
        dot = {"marker": "o", "markersize": 9, "color": ANOMALOUS, "markeredgecolor": "white"}
        label = f"calibrated threshold:\n{words.format(*point)}"
        axes.plot(*point, linestyle="none", clip_on=False, label=label, **dot)


def _bins_around(centre: float, raw_scores: np.ndarray) -> np.ndarray:
    """Edges of bins of one width on a log axis, one of them at the threshold.

    A bin across the threshold would show false alarms and misses that there are not. A log axis,
    since a few gross defects score ten times as high as the photos that decisions are about.
    """
    shown = np.log(np.maximum(raw_scores, centre / 100) / centre)  # a log axis has no 0
    width = max((shown.max() - shown.min()) / 30, 0.02)
    steps = np.arange(np.floor(shown.min() / width) - 1, np.ceil(shown.max() / width) + 2)
    edges = centre * np.exp(steps * width)
    edges[steps == 0] = np.nextafter(centre, np.inf)  # at the threshold is still PASS: to its left
    return edges


def shortened(name: str) -> str:
    """A name as it fits beside an axis, where a dollar sign begins no formula."""
    name = name if len(name) <= MOST_NAME else name[: MOST_NAME - 1] + "…"
    return name.replace("$", r"\$")
