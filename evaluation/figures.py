"""What an evaluation looks like: ROC curve, scores by class, pictures of the telling photos.

Blue is good and vermilion is anomalous everywhere (Okabe and Ito's palette, which colour-blind
people can tell apart); line style and hatching say the same in grey print.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from PIL import Image
from sklearn.metrics import roc_curve

from evaluation.metrics import false_alarm_curve
from modeling import Calibration

GOOD, ANOMALOUS, THRESHOLD = "#0072B2", "#D55E00", "#000000"
DOTS_PER_INCH = 120
PICTURE_INCHES = 1.9
CAPTION_INCHES = 2.0
CAPTION_CHARACTERS = 32  # that fit into CAPTION_INCHES at the font size of a caption
COLUMNS = ("input", "reconstruction", "heatmap", "truth")


@dataclass(frozen=True)
class PictureRow:
    """One photo of the picture grid.

    Attributes:
        caption: lines of text beside the pictures; the first one is printed bold.
        is_error: the verdict is wrong, so the first line is marked by colour.
        photo: RGB.
        reconstruction: RGB, how the part should look.
        heatmap: RGB, the photo with the deviation painted over it.
        truth: (H, W) bool, where the photo is anomalous; None when nobody drew a mask.
    """

    caption: Sequence[str]
    is_error: bool
    photo: Image.Image
    reconstruction: Image.Image
    heatmap: Image.Image
    truth: np.ndarray | None


def draw_roc(
    path: Path,
    labels: Sequence[int],
    raw_scores: Sequence[float],
    area: float,
    operating_point: tuple[float, float] | None,
    title: str,
) -> None:
    """Draw the ROC curve of whole photos as a PNG.

    Args:
        path: the file to write.
        labels: (N,) 0 for normal, 1 for anomalous; both must be present.
        raw_scores: (N,) higher is more anomalous.
        area: the image AUROC, printed in the legend.
        operating_point: (false-alarm rate, recall) of the verdicts; None while uncalibrated.
        title: printed above.
    """
    false_alarms, found, _ = roc_curve(labels, raw_scores, drop_intermediate=False)
    figure, axes = _axes(title, width=5.2, height=5.0)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="chance")
    axes.plot(false_alarms, found, color=GOOD, linewidth=2, label=f"AUROC {area:.3f}")
    if operating_point is not None:
        at = f"{operating_point[0]:.1%} false alarms, {operating_point[1]:.1%} found"
        axes.plot(
            *operating_point,
            marker="o",
            markersize=9,
            color=ANOMALOUS,
            markeredgecolor="white",
            linestyle="none",
            clip_on=False,
            label=f"calibrated threshold:\n{at}",
        )
    axes.set(
        xlabel="good photos that fail (false-alarm rate)",
        ylabel="anomalous photos that fail (recall)",
        xlim=(-0.01, 1),
        ylim=(0, 1.01),
        aspect="equal",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", frameon=True, framealpha=0.9)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_scores(
    path: Path,
    labels: Sequence[int],
    raw_scores: Sequence[float],
    raw_threshold: float | None,
    title: str,
) -> None:
    """Draw how raw scores are distributed in each class, with the threshold, as a PNG.

    Args:
        path: the file to write.
        labels: (N,) 0 for normal, 1 for anomalous.
        raw_scores: (N,) higher is more anomalous.
        raw_threshold: the calibrated threshold on the raw score; None while uncalibrated.
        title: printed above.
    """
    labels, raw_scores = np.asarray(labels), np.asarray(raw_scores, dtype=float)
    edges = _bins_around(raw_threshold or np.median(raw_scores) or 1.0, raw_scores)
    figure, axes = _axes(title, width=7.0, height=4.0)
    for label, name, colour, hatch in (
        (0, "good", GOOD, ""),
        (1, "anomalous", ANOMALOUS, "////"),
    ):
        chosen = raw_scores[labels == label]
        axes.hist(
            np.clip(chosen, edges[0], edges[-1]),
            bins=edges,
            histtype="stepfilled",
            facecolor=(colour, 0.35),
            edgecolor=colour,
            hatch=hatch,
            linewidth=1.5,
            label=f"{name} ({chosen.size} photos)",
        )
    if raw_threshold is not None:
        axes.axvline(
            raw_threshold,
            color=THRESHOLD,
            linestyle="--",
            label=f"threshold {raw_threshold:.3g}, FAIL to its right",
        )
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set(xscale="log", xlabel="raw score (largest value of the anomaly map)", ylabel="photos")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_calibration(
    path: Path, calibration: Calibration, good_scores: Sequence[float], title: str
) -> None:
    """Draw promised against realised false-alarm rate, over all rates, as a PNG.

    Args:
        path: the file to write.
        calibration: whose held-out good parts promise.
        good_scores: (N,) raw scores of good test photos, at least one.
        title: printed above.
    """
    promised, realised = false_alarm_curve(calibration.normal_scores, good_scores)
    figure, axes = _axes(title, width=5.2, height=5.0)
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="as promised")
    axes.fill_between(
        promised,
        [share.low for share in realised],
        [share.high for share in realised],
        color=GOOD,
        alpha=0.15,
        linewidth=0,
        label="95 % interval",
    )
    values = [share.value for share in realised]
    axes.plot(
        promised, values, color=GOOD, linewidth=2, label=f"{len(good_scores)} good test photos"
    )
    asked = calibration.promised_false_alarm_rate
    axes.axvline(asked, color=THRESHOLD, linestyle="--", label=f"calibrated threshold: {asked:.1%}")
    axes.set(
        xlabel="promised false-alarm rate",
        ylabel="realised false-alarm rate",
        xlim=(0, 1),
        ylim=(-0.01, 1.01),
        aspect="equal",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", frameon=True, framealpha=0.9)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_pictures(path: Path, rows: Sequence[PictureRow], title: str) -> None:
    """Draw a grid with one row a photo (input, reconstruction, heatmap, truth) as a picture.

    Args:
        path: the file to write, PNG or JPEG.
        rows: at least one.
        title: printed above.
    """
    height = PICTURE_INCHES * len(rows) + 0.7
    width = PICTURE_INCHES * len(COLUMNS) + CAPTION_INCHES
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(
        len(rows),
        len(COLUMNS) + 1,
        squeeze=False,
        width_ratios=[CAPTION_INCHES] + [PICTURE_INCHES] * len(COLUMNS),
    )
    for axes, name in zip(grid[0, 1:], COLUMNS, strict=True):
        axes.set_title(name, fontsize=10)
    for line, row in zip(grid, rows, strict=True):
        _write_caption(line[0], row)
        pictures = (row.photo, row.reconstruction, row.heatmap)
        for axes, picture in zip(line[1:-1], pictures, strict=True):
            axes.imshow(_thumbnail(picture))
        _show_truth(line[-1], row.truth)
        for axes in line[1:]:
            axes.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=DOTS_PER_INCH)


def _axes(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    # A Figure of its own, not pyplot's: no window system, no state shared with the caller.
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    return figure, axes


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


def _write_caption(axes: Axes, row: PictureRow) -> None:
    axes.axis("off")
    first, *others = row.caption
    colour = ANOMALOUS if row.is_error else "black"
    axes.text(0, 0.98, first, va="top", fontsize=10, fontweight="bold", color=colour)
    lines = [line for text in others for line in textwrap.wrap(text, CAPTION_CHARACTERS)]
    axes.text(0, 0.84, "\n".join(lines), va="top", fontsize=8, linespacing=1.5)


def _show_truth(axes: Axes, truth: np.ndarray | None) -> None:
    if truth is None:
        axes.text(0.5, 0.5, "no mask", ha="center", va="center", transform=axes.transAxes)
        return
    mask = Image.fromarray(truth.astype(np.uint8) * 255)
    axes.imshow(_thumbnail(mask), cmap="gray", vmin=0, vmax=255)


def _thumbnail(picture: Image.Image) -> np.ndarray:
    """No more pixels than the grid can show, so that large photos do not fill the memory."""
    side = int(2 * PICTURE_INCHES * DOTS_PER_INCH)
    picture = picture.copy()
    picture.thumbnail((side, side))
    return np.asarray(picture)
