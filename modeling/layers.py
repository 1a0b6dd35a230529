"""Building blocks that several architectures share."""

from __future__ import annotations

from torch import nn


class ConvLayer(nn.Sequential):
    """3 x 3 convolution, group normalisation, SiLU: (B, in, h, w) -> (B, out, h/s, w/s).

    Group and not batch normalisation: it treats each photo alone, so a batch scores exactly as its
    photos one by one, in training as in inference.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.GroupNorm(8, out_channels),
            nn.SiLU(),
        )
