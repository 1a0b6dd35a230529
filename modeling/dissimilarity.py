"""How much target and reconstruction differ, per location.

The training loss averages these maps, the residual sums them: a model is trained on what it is
judged by. Each takes target and reconstruction, (B, C, H, W), and gives (B, H, W), >= 0; all are
pure, differentiable and zero exactly where the two agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Dissimilarity = Callable[[Tensor, Tensor], Tensor]

SSIM_WINDOW_SIGMA = 1.5  # pixels; window, K1 and K2 as in Wang et al. 2004, for pictures in 0..1
SSIM_K1, SSIM_K2 = 0.01, 0.03
GMS_C = 0.0026  # Xue et al. 2014: 170 for pictures in 0..255, so 170 / 255^2 for 0..1
SCALES = 3  # each half the size of the one before


def gaussian_blur(pictures: Tensor, sigma: float) -> Tensor:
    """Smooth pictures, (B, C, H, W), mirrored at the border so that no edge darkens.

    The Gaussian's standard deviation is `sigma` pixels, >= 0; 0 returns the input.
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
    """Mean absolute difference over the channels."""
    return (target - reconstruction).abs().mean(dim=1)


def structural_dissimilarity(target: Tensor, reconstruction: Tensor) -> Tensor:
    """(1 - SSIM) / 2, in 0..1, of pictures in 0..1, averaged over the channels.

    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural
    Similarity, 2004; Gaussian window of standard deviation 1.5 pixels.
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


def squared_difference(target: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean squared difference over the channels."""
    return (target - reconstruction).square().mean(dim=1)


def cosine_distance(target: Tensor, reconstruction: Tensor) -> Tensor:
    """1 - cosine, in 0..2, of the angle between standardised features, C > 1.

    Where a vector is all zeros the angle is undefined and 1 is returned.
    """
    # Rounding can carry a perfect match a hair past 1, and a map must not be negative.
    return (1 - F.cosine_similarity(target, reconstruction, dim=1)).clamp_min(0)


def gradient_dissimilarity(target: Tensor, reconstruction: Tensor) -> Tensor:
    """Edges that moved, came or went in grey: 1 - gradient magnitude similarity, in 0..1.

    Xue, Zhang, Mou, Bovik: Gradient Magnitude Similarity Deviation, 2014; Prewitt gradients, of
    pictures in 0..1.
    """
    ours, theirs = _gradient_magnitude(target), _gradient_magnitude(reconstruction)
    similarity = (2 * ours * theirs + GMS_C) / (ours**2 + theirs**2 + GMS_C)
    return (1 - similarity).clamp_min(0)


def _gradient_magnitude(pictures: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W)."""
    grey = F.pad(pictures.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="reflect")
    slope = torch.tensor([-1.0, 0.0, 1.0], device=grey.device, dtype=grey.dtype) / 3
    across = slope.expand(1, 1, 3, 3)
    gradient = F.conv2d(grey, torch.cat((across, across.transpose(2, 3))))  # (B, 2, H, W)
    # The root of 0 has no finite slope: without 1e-8, training on flat pictures would give NaN.
    return (gradient.square().sum(dim=1) + 1e-8).sqrt()


def multi_scale(dissimilarity: Dissimilarity) -> Dissimilarity:
    """Average a dissimilarity over `SCALES` sizes of the pictures, at the full size's locations."""

    def averaged(target: Tensor, reconstruction: Tensor) -> Tensor:
        size = target.shape[-2:]
        total = dissimilarity(target, reconstruction)
        for _ in range(SCALES - 1):
            target, reconstruction = F.avg_pool2d(target, 2), F.avg_pool2d(reconstruction, 2)
            coarse = dissimilarity(target, reconstruction).unsqueeze(1)
            total = total + F.interpolate(coarse, size=size, mode="bilinear").squeeze(1)
        return total / SCALES

    return averaged


# What pictures in 0..1 can be compared by, and what standardised features can.
PIXEL_DISSIMILARITIES: Mapping[str, Dissimilarity] = {
    "l1": absolute_difference,
    "mse": squared_difference,
    "ssim": structural_dissimilarity,
    "ms_ssim": multi_scale(structural_dissimilarity),
    "gms": gradient_dissimilarity,
    "msgms": multi_scale(gradient_dissimilarity),
}
FEATURE_DISSIMILARITIES: Mapping[str, Dissimilarity] = {
    "l1": absolute_difference,
    "mse": squared_difference,
    "cosine": cosine_distance,
}
DISSIMILARITIES: Mapping[str, Mapping[str, Dissimilarity]] = {
    "pixels": PIXEL_DISSIMILARITIES,
    "features": FEATURE_DISSIMILARITIES,
}


def weighted_sum(maps: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of maps (or of their means), all of one shape, each times the weight of its name.

    A map without a weight is left out.
    """
    return sum(weights[name] * values for name, values in maps.items() if name in weights)
