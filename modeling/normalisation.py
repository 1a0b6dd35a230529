"""The residual measured by what good parts show: per channel, per location, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

# Added to every variance, as a share of their mean: directions that good parts never showed would
# otherwise count without limit.
SHRINKAGE = 1e-2

Whitening = tuple[Tensor, Tensor]  # mean (B, C) or (C,), matrix (B, C, C) or (C, C)


@dataclass
class Moments:
    """Sums, in float64, of values and of their squares or outer products; to add and take away."""

    count: int
    total: Tensor
    squares: Tensor

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    def __sub__(self, other: Self) -> Self:
        return type(self)(
            self.count - other.count, self.total - other.total, self.squares - other.squares
        )


class ChannelMoments(Moments):
    """Of residual vectors of C channels: `total` (C,), `squares` (C, C)."""

    @classmethod
    def of(cls, differences: Tensor) -> ChannelMoments:
        """Moments of the vectors in (B, C, h, w) or (C, h, w)."""
        vectors = differences.double().movedim(-3, 0).flatten(1)  # (C, B h w)
        return cls(vectors.shape[1], vectors.sum(dim=1), vectors @ vectors.T)

    def whitening(self) -> tuple[Tensor, Tensor]:
        """Mean (C,) and the matrix (C, C) that gives the vectors unit covariance, both float32."""
        mean = self.total / self.count
        covariance = self.squares / self.count - torch.outer(mean, mean)
        ridge = SHRINKAGE * covariance.diagonal().mean().clamp_min(torch.finfo(torch.float32).tiny)
        identity = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
        factor = torch.linalg.cholesky(covariance + ridge * identity)
        matrix = torch.linalg.solve_triangular(factor, identity, upper=False)
        return mean.float(), matrix.float()


class LocationMoments(Moments):
    """Of residual maps: `total` and `squares`, (h, w) each."""

    @classmethod
    def of(cls, maps: Tensor) -> LocationMoments:
        """Moments of maps, (B, h, w)."""
        maps = maps.double()
        return cls(len(maps), maps.sum(dim=0), maps.square().sum(dim=0))

    def mean_and_deviation(self) -> tuple[Tensor, Tensor]:
        """(h, w) each, float32."""
        mean = self.total / self.count
        variance = (self.squares / self.count - mean**2).clamp_min(0)
        return mean.float(), variance.sqrt().float()


class ResidualStatistics(nn.Module):
    """What good parts' residuals look like, one set a category, saved with the weights.

    Buffers, as far as the normalisation needs them: `channel_mean` (K, C) and `whitening`
    (K, C, C), as `ChannelMoments.whitening` gives them, `location_mean` and `location_deviation`
    (K, h, w), of `LocationMoments.mean_and_deviation`. They start as "change nothing".
    """

    def __init__(self, normalisation: str, categories: int, channels: int, side: int) -> None:
        super().__init__()
        self.per_channel = "channel" in normalisation
        self.per_location = "location" in normalisation
        if self.per_channel:
            self.register_buffer("channel_mean", torch.zeros(categories, channels))
            self.register_buffer("whitening", torch.eye(channels).repeat(categories, 1, 1))
        if self.per_location:
            self.register_buffer("location_mean", torch.zeros(categories, side, side))
            self.register_buffer("location_deviation", torch.ones(categories, side, side))

    @torch.no_grad()
    def reset(self) -> None:
        """Back to "change nothing"."""
        if self.per_channel:
            self.channel_mean.zero_()
            self.whitening.copy_(torch.eye(self.whitening.shape[-1]))
        if self.per_location:
            self.location_mean.zero_()
            self.location_deviation.fill_(1)

    def whitening_of(self, category: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, C) and matrix (B, C, C), float32, for category numbers (B,)."""
        return self.channel_mean[category].float(), self.whitening[category].float()

    def locations_of(self, category: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation, (B, h, w) each, float32, for category numbers (B,)."""
        return self.location_mean[category].float(), self.location_deviation[category].float()


def apply_whitening(values: Tensor, whitening: Tensor) -> Tensor:
    """Multiply every vector of channels: (B, C, h, w) with (B, R, C) or (R, C)."""
    mixed = torch.matmul(whitening, values.flatten(2))
    return mixed.unflatten(2, values.shape[2:])
