"""The convolutional autoencoder: a part squeezed through a bottleneck that only good parts fit."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from .configuration import AutoencoderConfig
from .layers import ConvLayer
from .reconstruction import ReconstructionModel
from .restoration import Restoration


class Encoder(nn.Module):
    """Target values to bottleneck: (B, C, h, w) -> (B, outputs, h/s, w/s); s: the body's stride.

    `channels` is C; the variational autoencoder needs two outputs a latent channel.
    """

    def __init__(self, config: AutoencoderConfig, channels: int, outputs: int) -> None:
        super().__init__()
        sizes = config.hidden_sizes
        self.patch_size = config.patch_size
        self.from_patches = nn.Sequential(
            nn.Conv2d(channels * config.patch_size**2, sizes[0], 1), nn.SiLU()
        )
        self.stages = nn.Sequential(
            *(
                nn.Sequential(ConvLayer(narrow, wide, stride=2), ConvLayer(wide, wide))
                for narrow, wide in itertools.pairwise(sizes)
            )
        )
        self.to_latent = nn.Conv2d(sizes[-1], outputs, 1)

    def forward(self, values: Tensor) -> Tensor:
        """Squeeze target values, (B, C, h, w), into the bottleneck."""
        patches = F.pixel_unshuffle(values, self.patch_size)  # (B, C p^2, h/p, w/p)
        return self.to_latent(self.stages(self.from_patches(patches)))


class Decoder(nn.Module):
    """Bottleneck to target values: (B, latent_channels, h/s, w/s) -> (B, C, h, w)."""

    def __init__(self, config: AutoencoderConfig, channels: int) -> None:
        super().__init__()
        sizes = config.hidden_sizes[::-1]
        self.patch_size = config.patch_size
        self.from_latent = ConvLayer(config.latent_channels, sizes[0])
        # Nearest-neighbour upsampling and a convolution leave no checkerboard, as transposed
        # convolutions do (Odena et al. 2016).
        self.stages = nn.Sequential(
            *(
                nn.Sequential(nn.Upsample(scale_factor=2), ConvLayer(wide, narrow))
                for wide, narrow in itertools.pairwise(sizes)
            )
        )
        self.to_patches = nn.Conv2d(sizes[-1], channels * config.patch_size**2, 1)

    def forward(self, latent: Tensor) -> Tensor:
        """Restore the values that the bottleneck describes."""
        patches = self.to_patches(self.stages(self.from_latent(latent)))  # (B, C p^2, h/p, w/p)
        return F.pixel_shuffle(patches, self.patch_size)


class Autoencoder(ReconstructionModel):
    """Convolutional autoencoder (see `modeling.configuration.AutoencoderConfig`)."""

    config_class = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config, self.target.channels, config.latent_channels)
        self.decoder = Decoder(config, self.target.channels)
        self.post_init()

    def restore(self, values: Tensor) -> Restoration:
        """Target values, (B, C, h, w), as they should be."""
        return Restoration(self.decoder(self.encoder(values)))
