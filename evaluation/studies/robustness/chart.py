"""How a figure changes with the strength of every change, as small charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from evaluation.studies.robustness.measures import (
    AUROC,
    CLEAN,
    Condition,
    Measured,
    changes_of,
    value_of,
)

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


def strength_chart(measured: Sequence[Measured], name: str) -> Figure:
    """Small charts of one figure, one a change, with a line a model.

    Args:
        measured: at least one, all with the same conditions.
        name: one of `NAMES`.
    """
    changes = changes_of(measured)
    figure = Figure(figsize=(5.8, 1.6 * math.ceil(len(changes) / 2) + 0.9), layout="constrained")
    grid = figure.subplots(math.ceil(len(changes) / 2), 2, squeeze=False, sharey=True).ravel()
    for axes, change in zip(grid, changes, strict=False):
        for each, (colour, marker, line) in zip(measured, cycle(STYLES), strict=False):
            chosen = [one for one in each.figures if one.condition.change in (change, CLEAN.change)]
            chosen.sort(key=lambda one: one.condition.strength)
            values = [value_of(one, name) for one in chosen]
            places = [one.condition.strength for one in chosen]
            axes.plot(
                range(len(places)),
                values,
                color=colour,
                marker=marker,
                linestyle=line,
                markersize=4.5,
                label=each.name,
                clip_on=False,
            )
        axes.set_xticks(range(len(places)), [_tick(one.condition) for one in chosen], fontsize=7.5)
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


def _tick(condition: Condition) -> str:
    """The number of a strength, in its words; a narrow axis has no room for the unit."""
    if not condition.strength:
        return "clean"
    return next(
        word for word in condition.amount.split() if any(sign.isdigit() for sign in word)
    ).removesuffix("°")


def capital(text: str) -> str:
    """A text as it begins a sentence."""
    return text[0].upper() + text[1:]
