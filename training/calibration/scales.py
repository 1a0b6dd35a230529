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
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from modeling import ReconstructionModel
from modeling.fitting import Unscaled, WholePartExamples
from modeling.scoring import enlarge, smooth_residual
from modeling.whole_part import WholePart, coarser
from training.calibration.held_out_damage import LEAST_JUDGED, DamageTrial, best_by_a_margin
from training.recipe import AUTO, COARSE, FINE, USUAL, Recipe
from training.whole_part import Streams, shares_of, weighed_streams

logger = logging.getLogger(__name__)

BATCH = 16  # photos that the whole part sees at once


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
    trials: Mapping[str, DamageTrial],
    examples: Mapping[str, WholePartExamples],
    recipe: Recipe,
) -> None:
    """Have the model look as coarsely as the recipe says, or as suits the products.

    Args:
        model: trained, in evaluation mode, its whole part solved; to be calibrated.
        trials: by category, what chooses. Where there is one of fewer than `LEAST_JUDGED` photos,
            nothing is chosen.
        examples: by category, what the whole part is solved from.
        recipe: its `scale` is one of `SCALES`, or auto.
    """
    few = min(len(trial.good) for trial in trials.values()) < LEAST_JUDGED
    if recipe.scale == USUAL or (recipe.scale == AUTO and few):
        return
    usual = _looks_of(model)
    looks = {USUAL: usual}
    for name in SCALES if recipe.scale == AUTO else [recipe.scale]:
        if name != USUAL:
            looks[name] = _looks_at(model, usual, SCALES[name], examples)
    _look(model, usual)
    chosen = _best(model, looks, trials, recipe) if recipe.scale == AUTO else recipe.scale
    _look(model, looks[chosen])


def _best(
    model: ReconstructionModel,
    looks: Mapping[str, _Looks],
    trials: Mapping[str, DamageTrial],
    recipe: Recipe,
) -> str:
    """The scale at which damage is told best, averaged over the categories."""
    found = [_aurocs(model, looks, trial, name, recipe) for name, trial in trials.items()]
    aurocs = {name: np.mean([one[name] for one in found], axis=0) for name in looks}
    logger.info("AUROC on synthetic damage by scale: %s", aurocs)
    return best_by_a_margin(aurocs)


def _aurocs(
    model: ReconstructionModel,
    looks: Mapping[str, _Looks],
    trial: DamageTrial,
    category: str,
    recipe: Recipe,
) -> dict[str, np.ndarray]:
    """By scale, how well each copy of a trial is told from its good photos.

    Both streams are joined as is best for the scale, and no place is measured for itself: that is
    chosen later.
    """
    model.fit_channels(DataLoader(trial.good, recipe.batch_size), category)
    good, *copies = (
        model.unscaled(DataLoader(photos, recipe.batch_size), category)
        for photos in (trial.good, *trial.copies)
    )
    number, shares = model.category_numbers(category, 1), shares_of(model, category, recipe)
    found = {}
    for name, one in looks.items():
        seen, *damaged = (
            _streams(one, photos, number, model.config.map_stride) for photos in (good, *copies)
        )
        weighed = weighed_streams(seen, damaged, shares)
        found[name] = weighed.by_share[weighed.best_share]
    return found


@torch.no_grad()
def _streams(looks: _Looks, photos: Unscaled, number: Tensor, stride: int) -> Streams:
    """What both streams see of N photos of a category, looking that way."""
    body = smooth_residual(photos.residual, looks.map_sigma / stride)
    whole = torch.zeros_like(body)
    if looks.whole_part is not None:
        grids = coarser(photos.coarse, looks.side)
        seen = [looks.whole_part(grid, number.expand(len(grid))) for grid in grids.split(BATCH)]
        whole = enlarge(torch.cat([view.anomaly for view in seen]), body.shape[-1])
    return (body * photos.judged).cpu(), (whole * photos.judged).cpu()


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
