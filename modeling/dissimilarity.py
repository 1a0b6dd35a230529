"""How much two pictures differ, per location: the training loss averages it, the score reads it.

Loss and residual share these functions on purpose: a model is trained on what it is judged by.
All are pure, differentiable and zero exactly where target and reconstruction agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_WINDOW_SIGMA = 1.5  # pixels; window, K1 and K2 as in Wang et al. 2004, for pictures in 0..1
SSIM_K1, SSIM_K2 = 0.01, 0.03


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """Smooth pictures with a Gaussian, mirrored at the border so that no edge darkens.

    Args:
        pictures: (B, C, H, W).
        sigma: standard deviation in pixels, >= 0; 0 returns the input.

    Returns:
        (B, C, H, W).
    """
    if sigma == 0:
        return pictures
    channels, height, width = pictures.shape[1:]
    # Cut at 3.5 sigma (0.05 % of the mass is outside); a mirror can't reach past the picture.
    radius = min(int(3.5 * sigma + 0.5), height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=pictures.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(pictures.dtype)
    # Two one-dimensional passes: (2r + 1) * 2 instead of (2r + 1) ** 2 products a pixel.
    across = kernel.expand(channels, 1, 1, -1)
    down = kernel.view(-1, 1).expand(channels, 1, -1, 1)
    padded = F.pad(pictures, (radius, radius, radius, radius), mode="reflect")
    # Depthwise convolutions on a CPU run several times faster with the channels last.
    padded = padded.contiguous(memory_format=torch.channels_last)
    return F.conv2d(F.conv2d(padded, across, groups=channels), down, groups=channels)


def absolute_difference(target: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean absolute difference over the channels.

    Args:
        target: (B, C, H, W).
        reconstruction: (B, C, H, W).

    Returns:
        (B, H, W), >= 0.
    """
    return (target - reconstruction).abs().mean(dim=1)


def structural_dissimilarity(target: Tensor, reconstruction: Tensor) -> Tensor:
    """(1 - SSIM) / 2 per location, averaged over the channels.

    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural
    Similarity, 2004; Gaussian window of standard deviation 1.5 pixels.

    Args:
        target: (B, C, H, W), values in 0..1.
        reconstruction: (B, C, H, W), values in 0..1.

    Returns:
        (B, H, W), in 0..1; 0 where the neighbourhoods agree.
    """
    # SSIM needs only the sum of the two variances, so their squares share one blur.
    squares = target**2 + reconstruction**2
    stacked = torch.cat((target, reconstruction, squares, target * reconstruction), dim=1)
    blurred = gaussian_blur(stacked, SSIM_WINDOW_SIGMA)
    mean_t, mean_r, square, product = blurred.chunk(4, dim=1)  # each (B, C, H, W)
    variance = square - mean_t**2 - mean_r**2
    covariance = product - mean_t * mean_r
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    luminance = (2 * mean_t * mean_r + c1) / (mean_t**2 + mean_r**2 + c1)
    structure = (2 * covariance + c2) / (variance + c2)
    # Rounding can carry a perfect match a hair past 1, and a map must not be negative.
    return ((1 - luminance * structure) / 2).mean(dim=1).clamp_min(0)


DISSIMILARITIES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": absolute_difference,
    "ssim": structural_dissimilarity,
}


def weighted_sum(maps: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of the maps (or of their means) that `weights` names, each times its weight.

    Args:
        maps: name to tensor, all of one shape; names without a weight are left out.
        weights: names of `DISSIMILARITIES` to weights >= 0.

    Returns:
        The shape of one map.
    """
    return sum(weights[name] * values for name, values in maps.items() if name in weights)
