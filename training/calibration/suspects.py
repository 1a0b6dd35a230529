"""Good photos that look defective: they are named, and only a person leaves them out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from training.calibration.held_out_calibration import Scored
from training.recipe import Recipe

# Iglewicz and Hoaglin: How to Detect and Handle Outliers, 1993.
CONSISTENT = 0.6745  # of a normal distribution, the median distance from the median, in deviations
UNUSUAL = 3.5  # modified z-score beyond which they call a value an outlier
# Of so many photos whose logarithms are normally distributed, one in 14 sets has such an outlier
# above the others, of 32 to 64 one in 20, by 20 000 draws each; of 4 one in 12.
LEAST_SCORED = 8  # photos of a category, of fewer nothing is usual


def modified_z_scores(values: Sequence[float]) -> np.ndarray:
    """How far values lie above their median, in robust deviations (Iglewicz and Hoaglin 1993).

    Of n >= 1 finite values: (n,), 0 for all where more than half of the values are the same.

    Example:
        >>> modified_z_scores([1.0, 2.0, 3.0, 4.0, 14.0]).round(2).tolist()
        [-1.35, -0.67, 0.0, 0.67, 7.42]
    """
    above = np.asarray(values, dtype=float) - np.median(values)
    spread = np.median(np.abs(above))
    return CONSISTENT * above / spread if spread > 0 else np.zeros_like(above)


def looks_defective(raw: Sequence[float], raw_threshold: float) -> np.ndarray:
    """Which good photos have a score unlike the others': (n,) of True and False.

    The score's logarithm, since good photos differ by factors, is an outlier above the others, and
    the score reaches the threshold: one that sets it is asked about as well. Of n raw scores >= 0
    and the threshold that they promise a rate by, before it is raised. None of fewer than
    `LEAST_SCORED` looks defective.
    """
    scores = np.asarray(raw, dtype=float)
    if len(scores) < LEAST_SCORED:
        return np.zeros(len(scores), dtype=bool)
    logs = np.log(np.maximum(scores, np.finfo(float).tiny))
    return (modified_z_scores(logs) > UNUSUAL) & (scores >= raw_threshold)


def suspects_of(scored: Mapping[str, Scored], recipe: Recipe) -> list[str]:
    """Image ids of the good photos that look defective, in each category the least usual first."""
    found = []
    for one in scored.values():
        raw_threshold = one.conformal(recipe).raw_threshold
        rows = np.flatnonzero(looks_defective(one.good, raw_threshold))
        found += [one.image_ids[row] for row in sorted(rows, key=lambda row: -one.good[row])]
    return found


def in_words(suspects: Sequence[str], calibrating: int) -> str:
    """One sentence that names them and says what to do; `calibrating` good photos were scored."""
    return (
        f"{len(suspects)} of the {calibrating} good photos that set the threshold look defective: "
        f"{', '.join(suspects)}; look at them, and if they are no good parts, train again with "
        f"--leave_out {shlex.join(suspects)}"
    )
