"""A trial's photos as a model sees them, once for every choice that they make.

How coarsely a model looks, how its residual is measured and what its whole part counts for are
chosen by the same good photos and damaged copies. What takes time, the way through backbone and
body, depends on none of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from modeling import ReconstructionModel
from modeling.fitting import Unscaled
from modeling.normalisation import LocationMoments
from modeling.scoring import enlarge, normalise_residual, smooth_residual
from modeling.whole_part import WholePart, coarser
from training.calibration.held_out_damage import DamageTrial

BATCH = 16  # photos that the whole part sees at once

Streams = tuple[Tensor, Tensor]  # what body and whole part see of N photos, (N, h, w) each


class SeenTrial(NamedTuple):
    """What a model sees of a category's good photos, N of them, and of every copy of these."""

    number: Tensor  # the category's, (1,)
    good: Unscaled
    copies: list[Unscaled]


def see_trials(
    model: ReconstructionModel, trials: Mapping[str, DamageTrial], batch_size: int
) -> dict[str, SeenTrial]:
    """See the trial of each category, residuals whitened by its good photos if the model does so.

    The model is in evaluation mode; its statistics are overwritten.
    """
    seen = {}
    for category, trial in trials.items():
        model.fit_channels(DataLoader(trial.good, batch_size), category)
        good, *copies = (
            model.unscaled(DataLoader(photos, batch_size), category)
            for photos in (trial.good, *trial.copies)
        )
        seen[category] = SeenTrial(model.category_numbers(category, 1), good, copies)
    return seen


@torch.no_grad()
def streams_at(
    seen: SeenTrial,
    sigma: float,
    side: int = 1,
    whole_part: WholePart | None = None,
    per_location: bool = False,
) -> list[Streams]:
    """What both streams see of the good photos, then of each copy.

    Args:
        seen: N photos, and as many in each copy.
        sigma: smoothing of the body's residual, in positions of the map.
        side: positions of the whole part's grid, each way.
        whole_part: the stream; where it is None it sees 0.
        per_location: whether each place is measured by what it shows on the *other* good photos.
    """
    good, *copies = (smooth_residual(one.residual, sigma) for one in (seen.good, *seen.copies))
    bodies = [_measured(good, body) if per_location else body for body in (good, *copies)]
    streams = []
    for body, one in zip(bodies, (seen.good, *seen.copies), strict=True):
        whole = torch.zeros_like(body)
        if whole_part is not None:
            whole = enlarge(_anomaly(whole_part, one.coarse, side, seen.number), body.shape[-1])
        streams.append(((body * one.judged).cpu(), (whole * one.judged).cpu()))
    return streams


def _measured(good: Tensor, residuals: Tensor) -> Tensor:
    """Residuals of good photos or of copies of them, (N, h, w), by those of the other photos."""
    everyone = LocationMoments.of(good)
    usual = [(everyone - LocationMoments.of(one[None])).mean_and_deviation() for one in good]
    measured = [normalise_residual(one, *of) for one, of in zip(residuals, usual, strict=True)]
    return torch.stack(measured)


def _anomaly(whole_part: WholePart, coarse: Tensor, side: int, number: Tensor) -> Tensor:
    """(N, side, side) of what is seen on a grid that is as fine or finer."""
    grids = coarser(coarse, side).split(BATCH)
    return torch.cat([whole_part(grid, number.expand(len(grid))).anomaly for grid in grids])
