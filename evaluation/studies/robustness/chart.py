"""How a figure changes with the strength of every change, as small charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evaluation.studies.robustness.figures import AUROC, CLEAN, Condition, ModelFigures

# Okabe and Ito's palette without yellow, which is too pale for a line; marker and line style say
# the same in grey print.
STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#000000", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#E69F00", "X", "-."),
)


def strength_chart(models: Sequence[ModelFigures], name: str) -> Figure:
    """Small charts of a figure of `NAMES`, one a change, with a line a model.

    There is at least one model, and all have the same conditions.
    """
    changes = models[0].changes
    rows = math.ceil(len(changes) / 2)
    figure = Figure(figsize=(5.8, 1.6 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False, sharey=True).ravel()
    for axes, change in zip(grid, changes, strict=False):
        for model, (colour, marker, line) in zip(models, cycle(STYLES), strict=False):
            values = [one.value(name) for one in model.under(change, CLEAN.change)]
            style = {"color": colour, "marker": marker, "linestyle": line, "markersize": 4.5}
            axes.plot(range(len(values)), values, label=model.name, clip_on=False, **style)
        ticks = [_tick(one.condition) for one in models[0].under(change, CLEAN.change)]
        axes.set_xticks(range(len(ticks)), ticks, fontsize=7.5)
        axes.set_title(change, fontsize=10, loc="left")
        axes.grid(alpha=0.3)
        if name != AUROC:
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    for axes in grid[len(changes) :]:
        axes.axis("off")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.suptitle(capital(name), fontsize=11)
    return figure


def capital(text: str) -> str:
    """A text as it begins a sentence."""
    return text[0].upper() + text[1:]


def _tick(condition: Condition) -> str:
    """The number of a strength, in its words; a narrow axis has no room for the unit."""
    if not condition.strength:
        return "clean"
    words = condition.amount.split()
    return next(word for word in words if any(map(str.isdigit, word))).removesuffix("°")
