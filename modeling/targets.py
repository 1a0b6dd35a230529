"""What is reconstructed: the pixels themselves, or the features of a frozen backbone.

Both turn pictures into values of mean 0 and deviation about 1 on a square grid, which is what an
architecture restores, and paint such values as a picture again, which is what a person looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbones import build_backbone
from .layers import ConvLayer
from .whole_part import coarse_grid

if TYPE_CHECKING:
    from .configuration import ReconstructionConfig

PIXEL_MEAN, PIXEL_DEVIATION = 0.5, 0.25  # of a picture in 0..1, near enough for every product
SMALLEST_DEVIATION = 1e-4  # a channel that is constant on good parts must not divide by nothing


class Target(nn.Module):
    """What both targets share."""

    def encode(self, pixel_values: Tensor) -> Tensor:
        """Pictures, (B, 3, H, W) in 0..1, to values (B, C, h, w)."""
        return self.combine(self.extract(pixel_values))


class PixelTarget(Target):
    """The picture itself: (B, 3, H, W) in 0..1 to values of the same shape and back."""

    kind = "pixels"

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.channels = config.num_channels

    def extract(self, pixel_values: Tensor) -> list[Tensor]:
        """The part of `encode` that never changes in training: here, the picture."""
        return [pixel_values]

    def combine(self, extracted: Sequence[Tensor]) -> Tensor:
        """Values, (B, 3, H, W), of what `extract` returned."""
        return (extracted[0] - PIXEL_MEAN) / PIXEL_DEVIATION

    def comparable(self, values: Tensor) -> Tensor:
        """What dissimilarities compare: pictures in 0..1, (B, 3, H, W)."""
        return self.paint(values)

    def paint(self, values: Tensor) -> Tensor:
        """Values to pictures, (B, 3, H, W); a hair outside 0..1 where the values are."""
        return values * PIXEL_DEVIATION + PIXEL_MEAN


class FeatureTarget(Target):
    """Features of a frozen backbone, its layers stacked on one grid, each channel standardised.

    The buffers `mean` and `deviation`, (C,), are the channels' statistics on good parts (`fit`).
    """

    kind = "features"

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__()
        self.grid = config.body_size // config.feature_stride
        self.backbone = build_backbone(config.backbone, config.trunk_layers, config.backbone_config)
        self.freeze()
        self.body_layers = _places(config.backbone_layers, config.trunk_layers)
        self.whole_part_layers = _places(config.whole_part_layers or [], config.trunk_layers)
        self.channels = sum(self.backbone.channels[place] for place in self.body_layers)
        self.coarse_channels = sum(
            self.backbone.channels[place] for place in self.whole_part_layers
        )
        self.register_buffer("mean", torch.zeros(self.channels))
        self.register_buffer("deviation", torch.ones(self.channels))
        self.painter = Painter(self.channels, config.painter_channels, config.feature_stride)

    def freeze(self) -> None:
        """Let training move nothing of the backbone, neither weights nor running statistics."""
        self.backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> FeatureTarget:
        """As every module, but the backbone sees a photo in training as it does afterwards."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def extract(self, pixel_values: Tensor) -> list[Tensor]:
        """The part of `encode` that never changes in training, and so can be kept.

        Of pictures, (B, 3, H, W) in 0..1, one (B, C, h, w) a layer of the backbone.
        """
        # With the channels last, depthwise convolutions take half the time on a CPU.
        return self.backbone(pixel_values.contiguous(memory_format=torch.channels_last))

    def combine(self, extracted: Sequence[Tensor]) -> Tensor:
        """Values, (B, C, grid, grid), of what `extract` returned."""
        mean, deviation = self.mean[:, None, None], self.deviation[:, None, None]
        return ((self._stack(extracted) - mean) / deviation).to(self.mean.dtype)

    def comparable(self, values: Tensor) -> Tensor:
        """What dissimilarities compare: the values as they are."""
        return values

    def paint(self, values: Tensor) -> Tensor:
        """Values, (B, C, h, w), to pictures (B, 3, h * stride, w * stride)."""
        return self.painter(values)

    @torch.no_grad()
    def fit(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Take the channels' mean and deviation from what `extract` returned for good parts."""
        total = torch.zeros(self.channels, dtype=torch.float64, device=self.mean.device)
        squares, count = torch.zeros_like(total), 0
        for extracted in batches:
            stacked = self._stack(extracted).double()
            total += stacked.sum(dim=(0, 2, 3))
            squares += (stacked**2).sum(dim=(0, 2, 3))
            count += stacked[:, 0].numel()
        mean = total / count
        deviation = (squares / count - mean**2).clamp_min(0).sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp_min(SMALLEST_DEVIATION))

    def coarse(self, extracted: Sequence[Tensor], side: int) -> Tensor:
        """The whole part's layers of what `extract` returned, (B, C, side, side)."""
        return coarse_grid([extracted[place] for place in self.whole_part_layers], side)

    def _stack(self, extracted: Sequence[Tensor]) -> Tensor:
        layers = [extracted[place].float() for place in self.body_layers]
        return torch.cat([_resize(features, self.grid) for features in layers], dim=1)


class Painter(nn.Sequential):
    """Values to a picture: (B, C, h, w) -> (B, 3, h * stride, w * stride).

    Small on purpose: it draws for a person and takes no part in the score.
    """

    def __init__(self, channels: int, hidden_channels: int, stride: int) -> None:
        # Half of the way is drawn at twice the grid's resolution, or the picture would be blocky.
        cell = max(stride // 2, 1)
        super().__init__(
            nn.Conv2d(channels, hidden_channels, 1),
            ConvLayer(hidden_channels, hidden_channels),
            nn.Upsample(scale_factor=stride // cell),
            ConvLayer(hidden_channels, hidden_channels // 2),
            nn.Conv2d(hidden_channels // 2, 3 * cell**2, 3, padding=1),
            nn.PixelShuffle(cell),
        )


def _places(layers: Sequence[int], among: Sequence[int]) -> list[int]:
    """Where some layers stand among others."""
    return [among.index(layer) for layer in layers]


def _resize(features: Tensor, side: int) -> Tensor:
    """Bring a layer's features, (B, C, h, w), to the common grid."""
    if features.shape[-1] > side:
        return F.adaptive_avg_pool2d(features, side)
    if features.shape[-1] < side:
        return F.interpolate(features, size=(side, side), mode="bilinear", align_corners=False)
    return features
