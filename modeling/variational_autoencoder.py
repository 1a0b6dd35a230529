"""The variational autoencoder: a bottleneck that says how sure it is of every value.

Kingma and Welling: Auto-Encoding Variational Bayes, 2014. Only the body stands here.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch
from torch import Tensor

from .autoencoder import Decoder, Encoder
from .configuration import VariationalAutoencoderConfig
from .reconstruction import ReconstructionModel
from .restoration import Restoration

LOG_VARIANCE_RANGE = (-10.0, 4.0)  # beyond it the exponential is noise or nothing
SAMPLING_SEED = 0  # fixed, so that a photo always gets the same score


class VariationalAutoencoder(ReconstructionModel):
    """Variational autoencoder (see `modeling.configuration.VariationalAutoencoderConfig`).

    The buffer `warmup_step`, (), counts training steps until the KL weight is warm.
    """

    config_class = VariationalAutoencoderConfig

    def __init__(self, config: VariationalAutoencoderConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(config, self.target.channels, 2 * config.latent_channels)
        self.decoder = Decoder(config, self.target.channels)
        self.register_buffer("warmup_step", torch.zeros((), dtype=torch.long))
        self.post_init()

    def restore(self, values: Tensor) -> Restoration:
        """Target values, (B, C, h, w), as they should be: a sample in training, else the mode."""
        mean, log_variance = self._latent(values)
        if not self.training:
            return Restoration(self.decoder(mean))
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return Restoration(
            self.decoder(latent),
            regulariser=self._kl_weight() * kl_divergence(mean, log_variance),
        )

    def scored_restorations(self, values: Tensor, restored: Tensor) -> Iterable[Tensor]:
        """The mode, or the samples of the reconstruction probability (An and Cho 2015).

        With residuals whitened per channel, the mean squared residual over samples of the latent is
        the negative logarithm of that probability, but for a constant: a Gaussian around each
        sample's restoration with the covariance that good parts show.
        """
        samples = self.config.probability_samples
        if samples == 0:
            yield restored
            return
        mean, log_variance = self._latent(values)
        for noise in fixed_noise(samples, tuple(mean.shape[1:])):
            yield self.decoder(mean + noise.to(mean) * (0.5 * log_variance).exp())

    def _latent(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance, (B, latent_channels, h/s, w/s) each."""
        mean, log_variance = self.encoder(values).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE_RANGE)

    def _kl_weight(self) -> float:
        """The weight at this training step; rises linearly from 0."""
        self.warmup_step += 1
        warmth = min(1.0, self.warmup_step.item() / max(1, self.config.kl_warmup_steps))
        return self.config.kl_weight * warmth


@lru_cache(maxsize=4)
def fixed_noise(samples: int, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """The noise of each sample, of a latent's shape, always the same.

    One noise for all pictures of a batch: a batch then scores as its pictures one by one. Cached:
    an exported graph holds it as numbers and can't draw it.
    """
    generator = torch.Generator().manual_seed(SAMPLING_SEED)
    with torch.inference_mode(False):  # training can't use tensors made in it
        return tuple(torch.randn(shape, generator=generator) for _ in range(samples))


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence, (), >= 0, of N(mean, exp(log_variance)) from N(0, 1), mean of all values."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
