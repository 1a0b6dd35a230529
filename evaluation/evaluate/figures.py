"""Grids of photos as pictures: what was shown, what it should look like, where it deviates."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from evaluation.documents.charts import ANOMALOUS

DOTS_PER_INCH = 120
PICTURE_INCHES = 1.9
CAPTION_INCHES = 2.0
CAPTION_CHARACTERS = 32  # that fit into CAPTION_INCHES at the font size of a caption
COLUMNS = ("input", "reconstruction", "heatmap", "truth")


@dataclass(frozen=True)
class PictureRow:
    """One photo of the picture grid; its pictures are RGB."""

    caption: Sequence[str]  # lines of text beside the pictures; the first one is printed bold
    is_error: bool  # the verdict is wrong, so the first line is marked by colour
    photo: Image.Image
    reconstruction: Image.Image  # how the part should look
    heatmap: Image.Image  # the photo with the deviation painted over it
    truth: np.ndarray | None  # (H, W) bool, where it is anomalous; None when nobody drew a mask


def draw_pictures(path: Path, rows: Sequence[PictureRow], title: str) -> None:
    """Write a grid of one row or more under a title, as PNG or JPEG: its columns are `COLUMNS`."""
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
    axes.imshow(_thumbnail(mask_picture(truth)), cmap="gray", vmin=0, vmax=255)


def mask_picture(truth: np.ndarray) -> Image.Image:
    """A mask, (H, W) bool, as a grey picture: anomalous is white."""
    return Image.fromarray(truth.astype(np.uint8) * 255)


def _thumbnail(picture: Image.Image) -> np.ndarray:
    """No more pixels than the grid can show, so that large photos do not fill the memory."""
    return np.asarray(no_larger(picture, int(2 * PICTURE_INCHES * DOTS_PER_INCH)))


def no_larger(picture: Image.Image, side: int) -> Image.Image:
    """A copy whose long side has at most so many pixels."""
    copy = picture.copy()
    copy.thumbnail((side, side))
    return copy
