"""Photos that are there twice: the same file, the same pixels, or nearly the same picture.

A perceptual hash calls every bottle of an aligned camera a copy of every other. Here a pair is
compared by what remains when one small grey picture is explained by the other's brightness,
contrast, and a small shift and stretch of it (the tangent distance of Simard, LeCun and Denker,
NeurIPS 1992), and "near" is what lies far below the distances usual within the category.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.explore.photo import PhotoFacts
from modeling.dissimilarity import gaussian_blur

SAME_FILE, SAME_PIXELS, NEAR = "same file", "same pixels", "near"
# Of the distance that is usual within the category; docs/exploration.md says what is found.
NEAR_LIMIT = 0.27
NEIGHBOURS = 5  # pairs a photo that are compared in detail
STEPS = 3  # that align the two photos of a pair
# Of the smoothing, in pixels of 64: a tangent holds for shifts of about so many.
COARSE_SIGMA, FINE_SIGMA = 3.0, 2.0
COARSE_SIDE = 32  # pixels, of the pictures that neighbours are looked for with
# Pixels at each edge that are not compared: smoothing mirrors what a cut took away.
COARSE_BORDER, FINE_BORDER = 3, 8
FEWEST = NEIGHBOURS + 2  # photos of a category that say what is usual
AT_ONCE = 128  # pairs, or photos against all others; bounds the memory
LARGEST_STEP = 0.06  # of shift and stretch, in halves of the picture's side
LEAST_CONTRAST = 0.2  # of a target against its picture, that a step is computed with
RIDGE = 1e-6  # of the least squares, so that a picture without structure has a solution
FLAT = 1e-6  # variance of a picture in 0..1 that is no structure: a quarter of a grey level


class Match(NamedTuple):
    """Two photos that are one, or nearly; of several equal ones, the first is always the same.

    `how` is "same file", "same pixels" or "near". The distance is 0 for equal ones; for near ones
    the share of contrast that remains unexplained, divided by what is usual within the category,
    0 to `NEAR_LIMIT`.
    """

    first: PhotoFacts
    second: PhotoFacts
    how: str
    distance: float

    @property
    def is_leak(self) -> bool:
        """Whether training sees one, and test or validation of the same category the other."""
        if self.first.stored.category != self.second.stored.category:
            return False
        splits = {self.first.stored.split, self.second.stored.split}
        return "train" in splits and len(splits) == 2

    @property
    def is_contradiction(self) -> bool:
        """Whether equal photos are called good here and defective there."""
        kinds = {self.first.stored.kind, self.second.stored.kind}
        return self.how != NEAR and "good" in kinds and len(kinds) == 2


def find_matches(photos: Sequence[PhotoFacts]) -> list[Match]:
    """All pairs of equal photos, across categories too, and of nearly equal ones within one.

    Takes photos of any categories, training photos first. Equal pairs come in the order of the
    photos, then near ones, closest first.
    """
    groups: dict[str, list[PhotoFacts]] = defaultdict(list)
    for photo in photos:
        groups[photo.pixel_digest].append(photo)
    equal = []
    different: dict[str, list[PhotoFacts]] = defaultdict(list)
    for first, *others in groups.values():
        different[first.stored.category].append(first)
        for other in others:
            how = SAME_FILE if first.file_digest == other.file_digest else SAME_PIXELS
            equal.append(Match(first, other, how, 0.0))
    near = [match for some in different.values() for match in _near_matches(some)]
    return equal + sorted(near, key=lambda match: match.distance)


def _near_matches(photos: Sequence[PhotoFacts]) -> list[Match]:
    """Pairs of one category that are closer than `NEAR_LIMIT` times what is usual there."""
    if len(photos) < FEWEST:
        return []
    pictures = torch.from_numpy(np.stack([photo.grey for photo in photos])).float() / 255
    pairs = _neighbours(pictures)
    smooth = gaussian_blur(pictures[:, None], FINE_SIGMA)[:, 0]
    aligned = torch.cat(
        [aligned_distances(*smooth[some].unbind(1)) for some in pairs.split(AT_ONCE)]
    )
    usual = _usual(pairs, aligned, len(photos))
    return [
        Match(photos[a], photos[b], NEAR, distance / usual)
        for (a, b), distance in zip(pairs.tolist(), aligned.tolist(), strict=True)
        if distance < NEAR_LIMIT * usual
    ]


def _neighbours(pictures: Tensor) -> Tensor:
    """Each of the grey pictures, (N, 64, 64), with those that its tangents explain best, coarsely.

    Returns (P, 2) pairs of indices, the smaller first, each pair once.
    """
    smooth = gaussian_blur(pictures[:, None], COARSE_SIGMA)
    coarse = F.interpolate(smooth, size=COARSE_SIDE, mode="area")[:, 0]
    inner = slice(COARSE_BORDER, -COARSE_BORDER)
    coarse = coarse[:, inner, inner]  # (N, h, h)
    tangents = torch.linalg.qr(_tangents(coarse))[0]  # (N, h*h, 6), orthonormal
    targets = coarse.flatten(1)
    targets = targets - targets.mean(1, keepdim=True)
    targets = targets / targets.norm(dim=1, keepdim=True).clamp_min(FLAT)
    pairs = []
    for some in torch.arange(len(pictures)).split(AT_ONCE):
        explained = torch.einsum("nd,bdk->bnk", targets, tangents[some]).square().sum(2)
        explained[torch.arange(len(some)), some] = -1  # a photo is no neighbour of its own
        nearest = explained.topk(NEIGHBOURS).indices  # (b, NEIGHBOURS)
        pairs.append(torch.stack([some[:, None].expand_as(nearest), nearest], dim=-1))
    return torch.cat(pairs).view(-1, 2).sort(dim=1).values.unique(dim=0)


def _usual(pairs: Tensor, distances: Tensor, count: int) -> float:
    """Median over photos of the distance to the fifth nearest.

    Not to the nearest: where every photo has a copy, that would be the copies' own distance.
    """
    own: list[list[float]] = [[] for _ in range(count)]
    for (a, b), distance in zip(pairs.tolist(), distances.tolist(), strict=True):
        own[a].append(distance)
        own[b].append(distance)
    return float(np.median([sorted(some)[NEIGHBOURS - 1] for some in own]))


def aligned_distances(pictures: Tensor, targets: Tensor) -> Tensor:
    """How much of each target no brightness, contrast, shift or stretch of its picture explains.

    The tangent distance, repeated from where the last step led (Gauss-Newton, as Lucas and Kanade,
    IJCAI 1981), over the part of the frame that both pictures cover. From (P, S, S) grey pictures
    and targets: (P,) in 0..1, the unexplained share of the target's standard deviation, the
    smallest of the steps.
    """
    count, side, _ = pictures.shape
    scale, shift = torch.ones(count, 2), torch.zeros(count, 2)
    smallest = torch.full((count,), torch.inf)
    places = _places(side).abs()
    own = torch.maximum(places, places[:, None])  # (S, S), 1 at the edge of the target
    for _ in range(STEPS):
        frame = torch.cat([torch.diag_embed(scale), shift[..., None]], dim=2)  # (P, 2, 3)
        grid = F.affine_grid(frame, [count, 1, side, side], align_corners=False)
        moved = F.grid_sample(
            pictures[:, None], grid, padding_mode="border", align_corners=False
        ).squeeze(1)
        compared = torch.maximum(grid.abs().amax(-1), own) <= 1 - 2 * FINE_BORDER / side
        rest, parts = _explain(moved, targets, compared)
        smallest = torch.minimum(smallest, rest)
        contrast = parts[:, 1:2].clamp_min(LEAST_CONTRAST)
        step = (parts[:, 2:] / contrast).clamp(-LARGEST_STEP, LARGEST_STEP)  # (P, 4)
        shift, scale = shift + scale * step[:, :2], scale * (1 + step[:, 2:])
    return smallest


def _explain(pictures: Tensor, targets: Tensor, compared: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of each target on its picture's tangents, where `compared` (P, S, S) is true.

    Returns:
        (P,) unexplained share of the target's standard deviation, 0..1, and (P, 6) how much of each
        tangent explains the rest.
    """
    inside = compared.flatten(1).float()  # (P, S*S)
    tangents = _tangents(pictures) * inside[..., None]
    target = targets.flatten(1)
    mean = (target * inside).sum(1, keepdim=True) / inside.sum(1, keepdim=True)
    target = (target - mean) * inside
    normal = tangents.mT @ tangents
    normal = normal + RIDGE * torch.diag_embed(normal.diagonal(dim1=1, dim2=2) + 1)
    parts = torch.linalg.solve(normal, tangents.mT @ target[..., None])  # (P, 6, 1)
    rest = (target - (tangents @ parts).squeeze(2)).square().sum(1)
    variance = target.square().sum(1)
    # Anything explains a target without structure, which is no evidence: as far as can be.
    share = torch.where(variance > FLAT * inside.sum(1), rest / variance.clamp_min(FLAT), 1.0)
    return share.clamp(0, 1).sqrt(), parts.squeeze(2)


def _tangents(pictures: Tensor) -> Tensor:
    """What small changes do to pictures: offset, contrast, shift and stretch in x and in y.

    Returns:
        (B, S, S) to (B, S*S, 6); lengths in halves of the picture's side, as `affine_grid` has
        them.
    """
    side = pictures.shape[-1]
    down, across = (slope * side / 2 for slope in torch.gradient(pictures, dim=(1, 2)))
    places = _places(side)
    changes = [
        torch.ones_like(pictures),
        pictures,
        across,
        down,
        across * places,
        down * places[:, None],
    ]
    return torch.stack(changes, dim=-1).flatten(1, 2)


def _places(side: int) -> Tensor:
    """Centres of pixels from edge to edge, -1 to 1, (side,)."""
    return (torch.arange(side) + 0.5) / side * 2 - 1
