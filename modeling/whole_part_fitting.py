"""How the whole part is solved from good photos: sums, eigenvectors and a regression.

Each photo is judged by a subspace of others before its residual says what is usual, since a
subspace fits the photos that it was made of better than new ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .normalisation import ChannelMoments
from .whole_part import HALVES, WholePart, distances, frame_distance, is_bare, reduced

FOLDS = 5
LEAST_PHOTOS = 3  # two of which are a subspace for the third
REACH = 2.0  # deviations: how far the part that is shown goes from the mean of good parts
LEAST_DEVIATION = 1e-4  # of a channel that is the same on all good parts
FARTHER, LEAST = 1.5, 0.01  # than any good photo's frame; and what the eye does not see
BEYOND = 0.9  # share of good photos of which no place exceeds the limit
RIDGE = 1e-2  # of a direction's picture, as a share of the largest direction's variance


@torch.no_grad()
def fit_whole_part(stream: WholePart, category: int, features: Tensor, pictures: Tensor) -> None:
    """Learn a category from good photos, each in several versions that are as good.

    Args:
        stream: what learns; its weight stays as it is.
        category: its number.
        features: (n, V, C, g, g) as `coarse_grid` gives them, n >= `LEAST_PHOTOS`; the first
            version of each photo is that of its picture.
        pictures: (n, 3, p, p) in 0..1, of `PICTURE_SIDE`.

    Raises:
        ValueError: when there are fewer photos.
    """
    count, versions = features.shape[:2]
    if count < LEAST_PHOTOS:
        raise ValueError(
            f"The whole part needs at least {LEAST_PHOTOS} good photos, found {count}; add good "
            "photos."
        )
    mean, reduction = _channels(features.flatten(0, 1), stream.shape.channels)
    vectors = reduced(features.flatten(0, 1), mean, reduction).unflatten(0, (count, versions))
    residuals = _of_others(vectors, stream.shape.directions)
    grid = (stream.shape.channels, stream.shape.side, stream.shape.side)
    _, whitening = ChannelMoments.of(residuals.unflatten(1, grid)).whitening()
    usual = [distances(part.unflatten(1, grid), whitening) for part in residuals.split(64)]
    middle, directions, reach = subspace(vectors.flatten(0, 1), stream.shape.directions)
    first = directions[: stream.picture_directions.shape[1]]
    picture, changes = _pictures(pictures.flatten(1), (vectors[:, 0] - middle) @ first.T)
    usual = torch.cat(usual)
    spread = usual.mean(dim=0)
    found = {
        "channel_mean": mean,
        "reduction": reduction,
        "mean": middle,
        "directions": directions,
        "reach": reach,
        "whitening": whitening,
        "spread": spread,
        "limit": (usual / (spread + spread.mean())).flatten(1).amax(dim=1).quantile(BEYOND),
        "frame_limit": _frame_limit(pictures),
        "picture": picture,
        "picture_directions": changes,
    }
    for name, value in found.items():
        getattr(stream, name)[category] = value.half() if name in HALVES else value


def subspace(vectors: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (X,), orthonormal directions (most, X) and their reach (most,) of vectors, (n, X).

    The reach is `REACH` deviations. There are no more directions than n - 1; the others are 0.
    """
    mean = vectors.mean(dim=0)
    centred = vectors - mean
    # The vectors are longer than they are many, so their products with each other say it all.
    variance, mixing = torch.linalg.eigh((centred @ centred.T).double())
    kept = min(most, len(vectors) - 1)
    variance, mixing = variance[-kept:].flip(0), mixing[:, -kept:].flip(1)
    directions = vectors.new_zeros(most, vectors.shape[1])
    scale = variance.clamp_min(torch.finfo(torch.float32).tiny).rsqrt().float()
    directions[:kept] = (mixing.float() * scale).T @ centred
    reach = vectors.new_zeros(most)
    reach[:kept] = REACH * (centred @ directions[:kept].T).std(dim=0)
    return mean, directions, reach


def _channels(features: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (C,) and the matrix (count, C) to the directions in which standardised features vary."""
    moments = ChannelMoments.of(features)
    mean = moments.total / moments.count
    covariance = moments.squares / moments.count - torch.outer(mean, mean)
    deviation = covariance.diagonal().clamp_min(0).sqrt().clamp_min(LEAST_DEVIATION)
    _, vectors = torch.linalg.eigh(covariance / torch.outer(deviation, deviation))
    return mean.float(), (vectors[:, -count:] / deviation[:, None]).T.float()


def _of_others(vectors: Tensor, directions: int) -> Tensor:
    """Residuals, (n V, X), of each photo's versions, (n, V, X), by a subspace of other photos."""
    residuals = torch.empty_like(vectors)
    number = torch.arange(len(vectors)) % FOLDS
    for fold in range(min(FOLDS, len(vectors))):
        mean, basis, _ = subspace(vectors[number != fold].flatten(0, 1), directions)
        differences = vectors[number == fold] - mean
        residuals[number == fold] = differences - differences @ basis.T @ basis
    return residuals.flatten(0, 1)


def _frame_limit(pictures: Tensor) -> Tensor:
    """How far the frame of an empty place may be from the mean of good pictures, (n, 3, p, p); ().

    Of a surface that fills the picture no part can be gone: -1, which no distance is below.
    """
    if is_bare(pictures).any():
        return pictures.new_tensor(-1.0)
    return FARTHER * frame_distance(pictures, pictures.mean(dim=0)).max() + LEAST


def _pictures(pictures: Tensor, coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """The mean picture, (P,), and what each direction changes in it, (D, P), by least squares.

    Of pictures, (n, P), and what the subspace says of them, (n, D).
    """
    mean = pictures.mean(dim=0)
    squares = coordinates.T @ coordinates
    ridge = RIDGE * squares.diagonal().max() * torch.eye(len(squares), device=squares.device)
    changes = torch.linalg.solve(squares + ridge, coordinates.T @ (pictures - mean))
    return mean, changes
