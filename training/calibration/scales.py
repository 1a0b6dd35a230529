"""The product's scale: how coarse or fine a model looks, chosen by held-out good photos.

A missing piece is found best on a coarse grid and a smooth map, a scratch on neither. Which of them
a product's defects are like, nobody knows before there are any; how large what good parts show is,
and how much good parts differ in it, says something about it, and damage drawn on them measures it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modeling import ReconstructionModel
from modeling.fitting import WholePartExamples
from modeling.whole_part import WholePart
from training.calibration.held_out_damage import LEAST_JUDGED, best_by_a_margin
from training.calibration.trials import SeenTrial, streams_at
from training.recipe import AUTO, COARSE, FINE, USUAL, Recipe
from training.whole_part import shares_of, weighed_streams

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scale:
    """What is other than the recipe says, as factors."""

    smoothing: float = 1.0  # of `map_sigma`
    side: float = 1.0  # of `whole_part_side`
    directions: float = 1.0  # of `whole_part_directions`


# The first is taken unless another is better beyond chance.
SCALES = {
    USUAL: Scale(),
    COARSE: Scale(smoothing=2.0, side=1 / 2, directions=1 / 3),
    FINE: Scale(smoothing=1 / 2),
}


class _Looks(NamedTuple):
    """What a scale changes in a model."""

    map_sigma: float
    side: int
    directions: int
    whole_part: WholePart | None  # solved


def set_scale(
    model: ReconstructionModel,
    seen: Mapping[str, SeenTrial],
    examples: Mapping[str, WholePartExamples],
    recipe: Recipe,
) -> None:
    """Have the model look as coarsely as the recipe says, or as suits the products.

    Args:
        model: trained, in evaluation mode, its whole part solved; to be calibrated.
        seen: by category, what chooses. Where there is a trial of fewer than `LEAST_JUDGED` photos,
            nothing is chosen.
        examples: by category, what the whole part is solved from.
        recipe: its `scale` is one of `SCALES`, or auto.
    """
    few = min(len(trial.good.residual) for trial in seen.values()) < LEAST_JUDGED
    if recipe.scale == USUAL or (recipe.scale == AUTO and few):
        return
    usual = _looks_of(model)
    looks = {USUAL: usual}
    for name in SCALES if recipe.scale == AUTO else [recipe.scale]:
        if name != USUAL:
            looks[name] = _looks_at(model, usual, SCALES[name], examples)
    _look(model, usual)
    chosen = _best(model, looks, seen, recipe) if recipe.scale == AUTO else recipe.scale
    _look(model, looks[chosen])


def _best(
    model: ReconstructionModel,
    looks: Mapping[str, _Looks],
    seen: Mapping[str, SeenTrial],
    recipe: Recipe,
) -> str:
    """The scale at which damage is told best, averaged over the categories.

    Both streams are joined as is best for the scale, and no place is measured for itself: that is
    chosen later.
    """
    aurocs = {}
    for name, one in looks.items():
        sigma, found = one.map_sigma / model.config.map_stride, []
        for category, trial in seen.items():
            good, *damaged = streams_at(trial, sigma, one.side, one.whole_part)
            weighed = weighed_streams(good, damaged, shares_of(model, category, recipe))
            found.append(weighed.by_share[weighed.best_share])
        aurocs[name] = np.mean(found, axis=0)
    logger.info("AUROC on synthetic damage by scale: %s", aurocs)
    return best_by_a_margin(aurocs)


def _looks_of(model: ReconstructionModel) -> _Looks:
    config = model.config
    size = config.whole_part_side, config.whole_part_directions
    return _Looks(config.map_sigma, *size, model.whole_part)


def _looks_at(
    model: ReconstructionModel,
    usual: _Looks,
    scale: Scale,
    examples: Mapping[str, WholePartExamples],
) -> _Looks:
    """Solve what a scale needs, which leaves the model looking that way."""
    side = max(1, round(scale.side * usual.side))
    directions = max(1, round(scale.directions * usual.directions))
    whole_part = usual.whole_part
    if whole_part is not None and (side, directions) != (usual.side, usual.directions):
        model.set_whole_part_size(side, directions)
        for category, of_category in examples.items():
            model.solve_whole_part(of_category, category)
        whole_part = model.whole_part
    else:
        side, directions = usual.side, usual.directions
    return _Looks(scale.smoothing * usual.map_sigma, side, directions, whole_part)


def _look(model: ReconstructionModel, looks: _Looks) -> None:
    config = model.config
    config.map_sigma, config.calibrations = looks.map_sigma, {}
    config.whole_part_side, config.whole_part_directions = looks.side, looks.directions
    model.whole_part = looks.whole_part
