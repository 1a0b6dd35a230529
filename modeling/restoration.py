"""What an architecture's body makes of target values, and the loss that teaches it to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .dissimilarity import DISSIMILARITIES, PIXEL_DISSIMILARITIES, weighted_sum
from .targets import FeatureTarget, PixelTarget

PAINTED_SHARE = 4  # one picture in so many teaches the painter, which needs fewer than the body
PAINTING_WEIGHTS = {"l1": 1.0, "ssim": 0.5}

# How many of a batch's first pictures teach the painter, and how much their mean loss counts.
Painted = tuple[int, float]


def painted_of(count: int) -> Painted:
    """The share of a whole batch of `count` pictures that teaches the painter."""
    return max(1, count // PAINTED_SHARE), 1.0


@dataclass
class Restoration:
    """What an architecture makes of a batch of target values."""

    values: Tensor  # (B, C, h, w), the values as they should be
    # (B, 1, h, w), 1 where the model did not see the values it restored and 0 elsewhere; the loss
    # counts only there. None: everywhere.
    hidden: Tensor | None = None
    regulariser: Tensor | None = None  # (), added to the loss


def restoration_loss(
    target: PixelTarget | FeatureTarget,
    restoration: Restoration,
    clean_values: Tensor,
    clean_pixels: Tensor,
    weights: Mapping[str, float],
    painted: Painted | None = None,
) -> Tensor:
    """How far the restored values are from the clean ones, and the picture painted of them, ().

    The sum of dissimilarities, weighted (>= 0) by their names in `DISSIMILARITIES` of the target,
    of the architecture's regulariser, and of the painter's loss for features. `clean_values`,
    (B, C, h, w), encode `clean_pixels`, (B, 3, H, W) in 0..1. Where this is a part of a batch,
    `painted` says what teaches the painter; else `painted_of` does.
    """
    # In full precision: under autocast or in half, small differences would vanish.
    with torch.autocast(clean_values.device.type, enabled=False):
        clean = target.comparable(clean_values.float())
        restored = target.comparable(restoration.values.float())
        means = {
            name: _mean_where(DISSIMILARITIES[target.kind][name](clean, restored), restoration)
            for name, weight in weights.items()
            if weight > 0
        }
        loss = weighted_sum(means, weights)
        if restoration.regulariser is not None:
            loss = loss + restoration.regulariser
        if isinstance(target, FeatureTarget):
            count, share = painted or painted_of(len(clean_pixels))
            first = slice(None, count)
            painting = painting_loss(target, restoration, clean_values, clean_pixels, first)
            loss = loss + share * painting
    return loss


def painting_loss(
    target: FeatureTarget,
    restoration: Restoration,
    clean_values: Tensor,
    clean_pixels: Tensor,
    some: slice,
) -> Tensor:
    """How badly the painter draws some of the values, (); its gradient stops at the painter."""
    values = restoration.values[some].detach().float()
    if restoration.hidden is not None:  # what was seen was not restored, and need not be right
        values = torch.where(restoration.hidden[some] > 0, values, clean_values[some])
    painted = target.paint(values)
    means = {
        name: PIXEL_DISSIMILARITIES[name](clean_pixels[some].float(), painted).mean()
        for name in PAINTING_WEIGHTS
    }
    return weighted_sum(means, PAINTING_WEIGHTS)


def _mean_where(values: Tensor, restoration: Restoration) -> Tensor:
    """Mean of (B, h, w), only where the model had to restore what it did not see."""
    if restoration.hidden is None:
        return values.mean()
    hidden = restoration.hidden[:, 0]
    return (values * hidden).sum() / hidden.sum().clamp_min(1)
