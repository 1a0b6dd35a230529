"""The convolutional autoencoder: a picture squeezed through a bottleneck that only good parts fit.

Only the body stands here; target, residual, map, score and calibration are the base class's.
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from .configuration import AutoencoderConfig
from .reconstruction import ReconstructionModel


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


class Encoder(nn.Module):
    """Pictures to bottleneck: (B, 3, H, W) -> (B, latent_channels, H/s, W/s); s: total stride."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        sizes = config.hidden_sizes
        patch_values = config.num_channels * config.patch_size**2
        self.patch_size = config.patch_size
        stages = [nn.Sequential(ConvLayer(patch_values, sizes[0]), ConvLayer(sizes[0], sizes[0]))]
        for narrow, wide in itertools.pairwise(sizes):
            stages.append(nn.Sequential(ConvLayer(narrow, wide, stride=2), ConvLayer(wide, wide)))
        self.stages = nn.Sequential(*stages)
        self.to_latent = nn.Conv2d(sizes[-1], config.latent_channels, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Squeeze pictures, (B, 3, H, W) in 0..1, into the bottleneck."""
        patches = F.pixel_unshuffle(pixel_values - 0.5, self.patch_size)  # (B, 3 p^2, H/p, W/p)
        return self.to_latent(self.stages(patches))


class Decoder(nn.Module):
    """Bottleneck to pictures: (B, latent_channels, H/s, W/s) -> (B, 3, H, W) in 0..1."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        sizes = config.hidden_sizes[::-1]
        patch_values = config.num_channels * config.patch_size**2
        self.patch_size = config.patch_size
        self.from_latent = ConvLayer(config.latent_channels, sizes[0])
        stages = []
        for wide, narrow in itertools.pairwise(sizes):
            # Nearest-neighbour upsampling and a convolution leave no checkerboard, as transposed
            # convolutions do (Odena et al. 2016).
            stages.append(nn.Sequential(nn.Upsample(scale_factor=2), ConvLayer(wide, narrow)))
            stages.append(ConvLayer(narrow, narrow))
        self.stages = nn.Sequential(*stages)
        self.to_patches = nn.Conv2d(sizes[-1], patch_values, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        """Paint the pictures that the bottleneck describes."""
        patches = self.to_patches(self.stages(self.from_latent(latent)))  # (B, 3 p^2, H/p, W/p)
        return F.pixel_shuffle(patches, self.patch_size).sigmoid()


class Autoencoder(ReconstructionModel):
    """Convolutional autoencoder on pixels (see `modeling.configuration.AutoencoderConfig`)."""

    config_class = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.post_init()

    def reconstruct(self, pixel_values: Tensor) -> Tensor:
        """Paint how the parts should look: (B, 3, H, W) in 0..1 -> (B, 3, H, W) in 0..1."""
        return self.decoder(self.encoder(pixel_values))
