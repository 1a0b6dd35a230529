"""Whether a photo shows the product at all: its global statistics against those of good parts.

A verdict about another product or a blank or blurred photo would be confident and worthless. A
defect changes a small part of a photo, and hardly the statistics of the whole.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

# Why a photo can't be judged; its position is its number. Where several apply, the last is the
# reason: a black frame is dark, not a part of another category.
DOUBTS = ("other_product", "blurred", "bright", "dark", "blank")
OTHER_PRODUCT, BLURRED, BRIGHT, DARK, BLANK = DOUBTS
NO_DOUBT = -1  # the number of a photo that can be judged
_APPEARANCE = {
    OTHER_PRODUCT: "",
    BLURRED: ", for the photo is far from sharp",
    BRIGHT: ", for the photo is far too bright",
    DARK: ", for the photo is far too dark",
    BLANK: ", for the photo is blank",
}
DOUBT_NOTES = {
    doubt: f"This does not look like the product{appearance}: check the camera or the category."
    for doubt, appearance in _APPEARANCE.items()
}


def doubt_of(number: int) -> str | None:
    """The doubt that a number stands for; None of `NO_DOUBT`."""
    return None if number == NO_DOUBT else DOUBTS[number]


class Tolerance(NamedTuple):
    """How far a photo may lie from the good ones, in the units of its summary.

    Chosen on synthetic parts and their defects (2026-11-24, evaluation.studies.cross_category).
    """

    spread: float  # added to every deviation of the good parts, which few photos underestimate
    distance: float  # so far every photo may lie, even if the good ones are all alike


TOLERANCES = {"features": Tolerance(0.2, 1.1), "pixels": Tolerance(0.1, 0.45)}
BEYOND_FARTHEST = 1.5  # times as far as the farthest good part a photo may lie

# Saved as JPEG or enlarged from a smaller file, a photo looks the same to a person; unless it is
# counted as usual, it lies as far from the good photos as another product does.
JPEG_QUALITY = 75
SMALLER = 0.6  # of the side

PYRAMID = 6  # halvings at which the pixel summary looks at differences of neighbours
LEAST_DIFFERENCE = 1e-3  # of neighbouring pixels in 0..1; less is no structure
LOG_WEIGHT = 0.25  # a difference e times as large counts as a quarter of full scale

WHITE = 0.98  # from which value on a pixel is over-exposed
LESS = 4.0  # times less contrast, light or sharpness than any good part: nothing to judge
MORE_WHITE = 0.25  # share of the picture over-exposed beyond that of any good part


def resaved(pixel_values: Tensor) -> list[Tensor]:
    """Pictures (B, 3, H, W) in 0..1 as other files would hold them, each of the same shape."""
    size = pixel_values.shape[-2:]
    smaller = F.interpolate(pixel_values, scale_factor=SMALLER, mode="bilinear", antialias=True)
    enlarged = F.interpolate(smaller, size=size, mode="bilinear", align_corners=False)
    compressed = torch.stack([_compress(picture) for picture in pixel_values.float().cpu()])
    return [compressed.to(pixel_values), enlarged]


def _compress(picture: Tensor) -> Tensor:
    """(3, H, W) in 0..1, through JPEG."""
    pixels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    with Image.open(file) as opened:
        return torch.from_numpy(np.array(opened)).permute(2, 0, 1).float() / 255


def summarise_pixels(pixel_values: Tensor) -> Tensor:
    """Colour, contrast and, over a pyramid, structure: (B, 3, H, W) in 0..1 to (B, 42)."""
    pixels = pixel_values.float()
    parts = [pixels.mean(dim=(2, 3)), pixels.std(dim=(2, 3))]
    for _ in range(PYRAMID):
        for axis in (2, 3):
            difference = pixels.diff(dim=axis).abs().mean(dim=(2, 3))
            parts.append(LOG_WEIGHT * (difference + LEAST_DIFFERENCE).log())
        pixels = F.avg_pool2d(pixels, 2)
    return torch.cat(parts, dim=1)


def light_and_sharpness(pixel_values: Tensor) -> Tensor:
    """What light and lens did to pictures: (B, 3, H, W) in 0..1 to (B, 4).

    Contrast (standard deviation of the grey values), brightness (their mean), sharpness (mean
    absolute Laplacian) and the over-exposed share.
    """
    grey = pixel_values.float().mean(dim=1, keepdim=True)
    inner, across, down = grey[..., 1:-1, 1:-1], grey[..., 1:-1, :], grey[..., :, 1:-1]
    laplacian = (
        4 * inner - across[..., 2:] - across[..., :-2] - down[..., 2:, :] - down[..., :-2, :]
    )
    contrast, brightness = grey.flatten(1).std(dim=1), grey.flatten(1).mean(dim=1)
    sharpness = laplacian.abs().flatten(1).mean(dim=1)
    white = (grey > WHITE).float().flatten(1).mean(dim=1)
    return torch.stack([contrast, brightness, sharpness, white], dim=1)


class OutOfDistribution(nn.Module):
    """What photos of good parts look like as a whole, one set a category, saved with the weights.

    Buffers for K categories: `mean` and `deviation` (K, D) of the summaries, `limit` (K,) of the
    distance from them, `lowest` (K, 3) contrast, brightness and sharpness, `whitest` (K,)
    over-exposed share. They start as "no photo is doubted".
    """

    def __init__(self, target: str, categories: int, channels: int) -> None:
        super().__init__()
        self.target = target
        self.tolerance = TOLERANCES[target]
        size = channels if target == "features" else channels * (2 + 2 * PYRAMID)
        shapes = {"mean": (size,), "deviation": (size,), "limit": (), "lowest": (3,), "whitest": ()}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.empty(categories, *shape))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Back to "no photo is doubted"."""
        self.mean.zero_()
        self.deviation.fill_(1)
        self.limit.fill_(torch.inf)
        self.lowest.zero_()
        self.whitest.fill_(1)

    def summarise(self, pixel_values: Tensor, values: Tensor) -> Tensor:
        """(B, D) of whole pictures (B, 3, H, W), or of their tiles' features (B tiles, D, h, w)."""
        on_features = self.target == "features"
        summary = values.float().mean(dim=(2, 3)) if on_features else summarise_pixels(pixel_values)
        return summary.unflatten(0, (pixel_values.shape[0], -1)).mean(dim=1)

    @torch.no_grad()
    def fit(self, category: int, summaries: Tensor, measured: Tensor) -> None:
        """Learn what good parts look like, each compared with the others as a new one with all.

        `summaries` are (n, V, D), of n >= 2 held-out good parts: first as they are, then `resaved`;
        `measured`, (n, 4), is what `light_and_sharpness` gave for them.
        """
        distances = []
        for index, summary in enumerate(summaries):
            others = torch.cat([summaries[:index], summaries[index + 1 :]])
            distances.append(self._distance(summary[0], *self._moments(others)))
        self.mean[category], self.deviation[category] = self._moments(summaries)
        farthest = torch.stack(distances).max().item()
        self.limit[category] = max(BEYOND_FARTHEST * farthest, self.tolerance.distance)
        self.lowest[category] = measured[:, :3].amin(dim=0)
        self.whitest[category] = measured[:, 3].max()

    def doubts(self, summaries: Tensor, measured: Tensor, category: Tensor) -> Tensor:
        """(B,) numbers of doubts, from what `fit` takes, (B, D) and (B, 4), and (B,) categories."""
        distance = self._distance(summaries, self.mean[category], self.deviation[category])
        lower = measured[:, :3] * LESS < self.lowest[category]
        contrast, brightness, sharpness = lower.unbind(dim=1)
        applies = {
            OTHER_PRODUCT: distance > self.limit[category],
            BLURRED: sharpness,
            BRIGHT: measured[:, 3] > self.whitest[category] + MORE_WHITE,
            DARK: brightness,
            BLANK: contrast & ~brightness,
        }
        numbers = torch.full_like(distance, NO_DOUBT, dtype=torch.long)
        for number, doubt in enumerate(DOUBTS):
            numbers = torch.where(applies[doubt], number, numbers)
        return numbers

    def _moments(self, summaries: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the photos as they are, and deviation of all that they may be, (D,) each."""
        mean = summaries[:, 0].mean(dim=0)
        squares = (summaries - mean).square()
        variance = squares[:, 0].mean(dim=0) + squares[:, 1:].mean(dim=(0, 1))
        return mean, (variance + self.tolerance.spread**2).sqrt()

    @staticmethod
    def _distance(summary: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Root mean square of the standardised differences, over the last axis."""
        return ((summary - mean) / deviation).square().mean(dim=-1).sqrt()
