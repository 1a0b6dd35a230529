"""The charts of the exploration: light and sharpness by group, extent of the defects by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from evaluation.documents.charts import ANOMALOUS, GOOD, new_axes, shortened
from evaluation.explore.photo import PhotoFacts
from evaluation.explore.sources import GOOD as GOOD_KIND


def box_chart(groups: Mapping[str, Sequence[PhotoFacts]], quantity: str, title: str) -> Figure:
    """One box a group, from top to bottom; good ones blue, defective ones vermilion and hatched."""
    figure, axes = new_axes(title, width=5.2, height=1.2 + 0.33 * len(groups))
    values = [[getattr(photo, quantity) for photo in some] for some in groups.values()]
    boxes = axes.boxplot(
        values,
        orientation="horizontal",
        patch_artist=True,
        widths=0.6,
        medianprops={"color": "black", "linewidth": 1.5},
        flierprops={"marker": ".", "markersize": 4, "markerfacecolor": "0.3", "markeredgewidth": 0},
    )
    for box, group in zip(boxes["boxes"], groups, strict=True):
        is_good = group.endswith(f"/{GOOD_KIND}")
        colour = GOOD if is_good else ANOMALOUS
        # Opaque: an SVG draws the hatching in the same opacity as the ground, and so unseen.
        ground = 0.35 * np.array(to_rgb(colour)) + 0.65
        box.set(facecolor=ground, edgecolor=colour, hatch="" if is_good else "////")
    axes.set_yticks(range(1, len(groups) + 1), [*map(shortened, groups)])
    axes.invert_yaxis()
    axes.set(xlabel=quantity)
    return figure


def area_chart(areas: Mapping[str, Sequence[float]], title: str) -> Figure:
    """One dot a photo, a row a kind of defect: the share of the picture that is marked."""
    figure, axes = new_axes(title, width=5.2, height=1.2 + 0.33 * len(areas))
    for place, some in enumerate(areas.values()):
        # Spread evenly across the row, in their order: dots of equal extent stay apart.
        heights = place + 0.5 * (np.arange(len(some)) % 5 / 4 - 0.5)
        axes.plot(some, heights, ".", color=ANOMALOUS, alpha=0.6, markersize=7, markeredgewidth=0)
        axes.plot(np.median(some), place, "|", color="black", markersize=16, markeredgewidth=2)
    axes.set_yticks(range(len(areas)), [*map(shortened, areas)])
    axes.set(
        xscale="log", ylim=(len(areas) - 0.5, -0.5), xlabel="share of the picture; bar: median"
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    return figure
