"""Part and ground: where a photo shows the part, and where what it lies on.

What differs on the ground is seen, and counts for nothing: a speck beside the part is no defect of
it. The ground is what the frame of good photos shows; what stands out of it and is large is part,
or something large beside the part, which is another matter than a speck, and is judged too. A part
that always lies the same way has its places besides, whatever a photo shows there.

A shadow is ground with less light: it alone makes nothing part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .normalisation import apply_whitening
from .scoring import enlarge

PART, ALL = JUDGED = ("part", "all")  # what is judged of a photo

SIDE = 56  # positions of the grid on which part and ground are told apart, each way
LOOK = 4  # numbers that say what a place looks like
MARGIN = 2  # positions around the part that are judged with it: its outline, and what hides there
TOUCHED = 0.1  # share of what is judged from which on a position of another grid is
LARGE = 3  # deep, in positions: a square of 5, nearly a hundredth of the picture, lies within it
GRAIN_WEIGHT = 0.1  # grain that is e times as strong counts as a tenth of full scale
LEAST_GRAIN = 0.01  # of full scale; less is no grain
DARKEST = 0.5  # share of the ground's light that a shadow leaves
# How what differs reaches into the map beside it, which sees surroundings: as it is over so many
# pixels of the input, and by such a factor less after as many more. With specks and hairs drawn
# beside 24 good flange nuts, 24 fail when their ground is masked alone, and no more than without
# dirt when this is taken away as well (2026-11-29).
STEP, FADING, STEPS = 8, 0.6, 8


class Ground(nn.Module):
    """What the part lies on and where it lies, one set a category, saved with the weights.

    Buffers for K categories:

    - `mean` (K, LOOK) and `whitening` (K, LOOK, LOOK) of the look of the ground, and `limit` (K,),
      how far from it, in deviations, a place still is ground;
    - `places` (K, SIDE, SIDE): 1 where the part of an aligned product lies, or may be missed;
    - `depth` (K,), from which on what stands out is large, and `least` (K,), the share of the
      picture that the part of a product that may lie anyhow takes at least;
    - `usual` (K,), what of a residual map the ground of a good photo reaches.

    It starts with everything being part.
    """

    def __init__(self, categories: int) -> None:
        super().__init__()
        sizes = {
            "mean": (LOOK,),
            "whitening": (LOOK, LOOK),
            "limit": (),
            "places": (SIDE, SIDE),
            "depth": (),
            "least": (),
            "usual": (),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.empty(categories, *size))
        self.reset()

    @torch.no_grad()
    def reset(self, category: int | None = None) -> None:
        """Back to everything being part, for all categories or for one."""
        of = slice(None) if category is None else category
        for name in ("mean", "whitening", "least", "usual"):
            getattr(self, name)[of] = 0
        self.limit[of], self.places[of], self.depth[of] = torch.inf, 1, LARGE

    def forward(self, pixel_values: Tensor, category: Tensor) -> Tensor:
        """What is judged of pictures, (B, 3, H, W), by their categories' numbers, (B,).

        (B, SIDE, SIDE), 1 on the part and on something large beside it, with a margin; 0 on the
        ground, and on what is small there. Where hardly anything is part, the part is gone or not
        told from the ground: all is judged.
        """
        with torch.autocast(pixel_values.device.type, enabled=False):
            part = self.things(look_of(pixel_values), category, _as_map(self.depth[category]))
            is_there = part.mean(dim=(1, 2)) >= self.least[category]
            part = torch.maximum(part, 1 - _as_map(is_there))
            return torch.maximum(widened(part), self.places[category].float())

    def on_part(self, residual: Tensor, judged: Tensor, category: Tensor, stride: int) -> Tensor:
        """What counts of residual maps, (B, h, w): what is judged, less what reaches there.

        `judged` is (B, h, w) of 0 and 1, and `stride` input pixels to one position.
        """
        unusual = (residual * (1 - judged) - _as_map(self.usual[category])).clamp_min(0)
        return judged * (residual - reach_of(unusual, stride)).clamp_min(0)

    def things(self, look: Tensor, category: Tensor, depth: Tensor) -> Tensor:
        """What large things looks, (B, LOOK, SIDE, SIDE), show on the ground: (B, SIDE, SIDE).

        They are 1 on what hangs together with a place of such a `depth`, (B, 1, 1), in something
        that is no mere shadow, and on what that encloses. What lies at the places of an aligned
        part is left out: a hair that touches the part is not as large as the part.
        """
        beside = 1 - self.places[category].float()
        stands_out, solid = (beside * mask for mask in self.standing_out(look, category))
        return without_holes(large_things(stands_out, solid, depth))

    def standing_out(self, look: Tensor, category: Tensor) -> tuple[Tensor, Tensor]:
        """Which places of looks stand out of the ground, (B, SIDE, SIDE) of 0 and 1.

        And which do where a shadow would not, or are enclosed by such: the inside of a smooth thing
        looks like a shadow, that of a curled hair like the ground.
        """
        mean, whitening = self.mean[category].float(), self.whitening[category].float()
        limit = _as_map(self.limit[category])
        as_they_are, lit = (
            (distance_from(mean, whitening, one) > limit).float()
            for one in (look, without_shadow(look, mean))
        )
        return as_they_are, torch.maximum(lit, as_they_are * without_holes(lit))


def look_of(pictures: Tensor) -> Tensor:
    """Colour and grain of pictures, (B, 3, H, W) in 0..1, place by place: (B, LOOK, SIDE, SIDE)."""
    pixels = pictures.float()
    grey = pixels.mean(dim=1, keepdim=True)
    both = F.adaptive_avg_pool2d(torch.cat([pixels, grey.square()], dim=1), SIDE)
    colour, squares = both[:, :3], both[:, 3:]
    variance = (squares - colour.mean(dim=1, keepdim=True).square()).clamp_min(0)
    return torch.cat([colour, GRAIN_WEIGHT / 2 * (variance + LEAST_GRAIN**2).log()], dim=1)


def distance_from(mean: Tensor, whitening: Tensor, look: Tensor) -> Tensor:
    """How far looks, (B, LOOK, g, g), are from a mean, in deviations: (B, g, g).

    `mean` is (LOOK,) or (B, LOOK), `whitening` has one dimension more.
    """
    whitened = apply_whitening(look - mean[..., None, None], whitening)
    return whitened.square().mean(dim=1).sqrt()


def without_shadow(look: Tensor, mean: Tensor) -> Tensor:
    """Looks, (B, LOOK, g, g), in the light of the ground, whose look is `mean`, (B, LOOK)."""
    ground = mean[:, :3, None, None]
    colour, grain = look[:, :3], look[:, 3:]
    least = torch.finfo(torch.float32).tiny  # a black ground has no shadow
    squares = ground.square().sum(dim=1, keepdim=True).clamp_min(least)
    light = ((colour * ground).sum(dim=1, keepdim=True) / squares).clamp(DARKEST, 1.0)
    return torch.cat([colour + (1 - light) * ground, grain], dim=1)


def depth_of(mask: Tensor, most: int) -> Tensor:
    """How deep each place lies within a mask, (B, g, g) of 0 and 1: 0 outside, up to `most`.

    A place is as deep as the square around it reaches that lies within the mask; what lies outside
    the picture goes on as the mask does.
    """
    depth = inner = mask
    for _ in range(most - 1):
        inner = -F.max_pool2d(-inner, 3, stride=1, padding=1)
        depth = depth + inner
    return depth


def large_things(mask: Tensor, solid: Tensor, depth: Tensor) -> Tensor:
    """What of masks hangs together with places so deep, (B, 1, 1), in the second of them.

    The masks are (B, g, g) of 0 and 1, as is what is returned. A gap of one place parts nothing.
    """
    deep = (depth_of(solid, LARGE) >= depth).float() * solid
    return grown(deep, torch.maximum(mask, deep), reach=2)


def without_holes(mask: Tensor) -> Tensor:
    """A mask, (B, g, g) of 0 and 1, and what it keeps from the border of the picture."""
    open_places = 1 - mask
    border = torch.ones_like(mask)
    border[:, 1:-1, 1:-1] = 0
    return 1 - grown(border * open_places, open_places, reach=1)


def grown(seed: Tensor, within: Tensor, reach: int) -> Tensor:
    """What of a mask can be reached from a seed, (B, g, g) of 0 and 1 each.

    By half as many steps as the picture is wide, each of `reach` places.
    """
    for _ in range(SIDE // 2):
        nearby = F.max_pool2d(seed, 2 * reach + 1, stride=1, padding=reach)
        seed = torch.minimum(nearby, within)
    return seed


def widened(mask: Tensor) -> Tensor:
    """A mask, (B, g, g) of 0 and 1, with a margin around it."""
    return F.max_pool2d(mask, 2 * MARGIN + 1, stride=1, padding=MARGIN)


def reach_of(source: Tensor, stride: int) -> Tensor:
    """How much of sources in residual maps shows beside them, at most; (B, h, w) each.

    A map sees surroundings: a hair beside the part shows on the part as well, but weaker than where
    it is. There are `stride` input pixels to one position.
    """
    per_step = max(1, round(STEP / stride))
    for step in range(per_step * (1 + STEPS)):
        fading = 1.0 if step < per_step else FADING ** (stride / STEP)
        source = torch.maximum(source, fading * F.max_pool2d(source, 3, stride=1, padding=1))
    return source


def on_grid(judged: Tensor, side: int) -> Tensor:
    """What is judged, (B, SIDE, SIDE) of 0 and 1, on another grid: (B, side, side)."""
    return (enlarge(judged, side) > TOUCHED).float()


def _as_map(numbers: Tensor) -> Tensor:
    return numbers.float()[:, None, None]
