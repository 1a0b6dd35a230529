"""How part and ground are told apart, learned from good photos alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .ground import (
    LARGE,
    SIDE,
    Ground,
    depth_of,
    distance_from,
    widened,
    without_holes,
)
from .shapes import otsu
from .whole_part import FRAME, frame_of

ROUNDS, KEPT = 6, 0.8  # how often the frame's look is learned anew, from what is nearest to it
LEAST_DEVIATION = 0.01  # of full scale: what hardly differs is no other look
LEAST_LIMIT = 2.0  # deviations; a surface that fills the picture is divided nearer to its own look
MOST_ON_FRAME = 0.1  # share of the frame that may stand out of the ground
SHARES = (0.01, 0.9)  # of the picture that a part takes, in the middle of good photos
OFTEN = 0.05  # share of good photos; where fewer show the part, it was a speck
THINNEST = 0.5  # of how deep the part is on any good photo: what is as deep is no speck
SMALLEST = 0.5  # of the part on any good photo: less is no part, but what is left of one


@torch.no_grad()
def fit_ground(ground: Ground, category: int, looks: Tensor, moves: bool) -> None:
    """Learn a category's ground and part from looks of good photos, (n, LOOK, SIDE, SIDE).

    `moves` says that the part may lie elsewhere on each photo; else its places are learned. Where
    no ground shows around a part, as of a surface that fills the picture, all is part.
    """
    ground.reset(category)
    mean, whitening = look_of_ground(looks)
    distance = distance_from(mean, whitening, looks)
    # What is nearer than usual is not told apart; the far ones differ by factors.
    factors = distance.clamp_min(1).log()
    limit = middle_of_gap(factors, otsu(factors.cpu().numpy()))
    stands_out = (factors > limit).float()
    if limit < math.log(LEAST_LIMIT) or not shows_ground(stands_out):
        return
    ground.mean[category], ground.whitening[category] = mean, whitening
    ground.limit[category] = math.exp(limit)
    if not moves:
        often = (stands_out.mean(dim=0, keepdim=True) > OFTEN).float()
        ground.places[category] = widened(without_holes(often))[0]
        return
    ground.places[category] = 0
    number = torch.full((len(looks),), category, device=looks.device)
    _, solid = ground.standing_out(looks, number)
    deepest = depth_of(solid, SIDE // 2).flatten(1).amax(dim=1)
    depth = (THINNEST * deepest.min()).ceil().clamp(1, LARGE)
    least = SMALLEST * ground.things(looks, number, depth).mean(dim=(1, 2)).min()
    if least == 0:  # no more than a shadow on the ground
        ground.reset(category)
        return
    ground.depth[category], ground.least[category] = depth, least


def look_of_ground(looks: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (LOOK,) and whitening (LOOK, LOOK) of what most of the frame of photos looks like."""
    frame = frame_of(looks.shape[-1], FRAME * looks.shape[-1]).to(looks.device)
    seen = kept = looks[..., frame].double().transpose(1, 2).flatten(0, 1)  # (places, LOOK)
    for _ in range(ROUNDS):
        mean, whitening = _moments(kept)
        distance = ((seen - mean) @ whitening.T).square().sum(dim=1)
        kept = seen[distance.argsort()[: max(1, round(KEPT * len(seen)))]]
    mean, whitening = _moments(kept)
    return mean.float(), whitening.float()


def middle_of_gap(values: Tensor, limit: float) -> float:
    """A limit between values, moved halfway between the nearest below and above."""
    is_above = values > limit
    if is_above.all() or not is_above.any():
        return limit
    return ((values[~is_above].max() + values[is_above].min()) / 2).item()


def shows_ground(stands_out: Tensor) -> bool:
    """Whether what stands out, (n, g, g) of 0 and 1, leaves frame and ground as a part does."""
    frame = frame_of(stands_out.shape[-1], FRAME * stands_out.shape[-1]).to(stands_out)
    on_frame = (stands_out * frame).sum() / (len(stands_out) * frame.sum())
    share = stands_out.mean(dim=(1, 2)).median()
    return bool(on_frame <= MOST_ON_FRAME and SHARES[0] <= share <= SHARES[1])


def _moments(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (C,) and the matrix (C, C) that gives vectors, (n, C), unit covariance."""
    mean = vectors.mean(dim=0)
    centred = vectors - mean
    identity = torch.eye(vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    covariance = centred.T @ centred / len(vectors) + LEAST_DEVIATION**2 * identity
    factor = torch.linalg.cholesky(covariance)
    return mean, torch.linalg.solve_triangular(factor, identity, upper=False)
