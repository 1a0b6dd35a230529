"""The whole part: what belongs where, known from good photos and solved in closed form.

A photo's frozen features on a coarse grid are one long vector. Good photos lie near a subspace of
few directions, the ways in which good parts differ; what a photo has besides does not belong where
it is. Unlike the body, which restores what it is given from what lies nearby, this knows a place by
what good parts show there: a piece that is missing is missed, and painted.

Whitened residuals of a subspace of features, after PaDiM (Defard et al. 2020) and SubspaceAD; the
picture is regressed on the same directions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .normalisation import apply_whitening
from .scoring import enlarge

# On the way to coordinates that a defect does not pull along: how often places are weighed anew,
# and how often the number of steps towards what they say then is doubled.
ROBUST_ROUNDS, ROBUST_DOUBLINGS = 2, 4
# The picture is drawn small and enlarged, and by the first directions only, which hold most of it.
PICTURE_SIDE, PICTURE_DIRECTIONS = 160, 16

# The large buffers, whose numbers are what half precision can hold, as they are saved.
HALVES = ("mean", "directions", "picture", "picture_directions")


FRAME = 0.05  # of the side, around the picture, where hardly any part lies
FIELDS = 16  # each way, in which structure is measured
MORE_STRUCTURE = 1.5  # times as much as on the frame, where nothing lies


@dataclass(frozen=True)
class WholePartShape:
    """How large the stream is: what a config says of it."""

    side: int  # positions of the coarse grid, each way
    channels: int  # to which the features are reduced, if they have more
    directions: int  # in which good parts may differ


@dataclass(frozen=True)
class WholePartView:
    """What the stream makes of a batch of photos."""

    anomaly: Tensor  # (B, side, side), about 1 on good parts: how far each place is from belonging
    coordinates: Tensor  # (B, directions), of the good part that should be there
    out_of_place: Tensor  # (B, side, side), the same as `anomaly` beside that good part


class WholePart(nn.Module):
    """What good parts are as a whole, one set a category, saved with the weights.

    Buffers for K categories, C channels of features, R reduced ones, a grid of g, D directions and
    a picture of p pixels:

    - `channel_mean` (K, C) and `reduction` (K, R, C) to the channels in which features vary;
    - `mean` (K, R g g), `directions` (K, D, R g g), orthonormal rows, or 0 where there are fewer,
      and `reach` (K, D), how far good parts go in each;
    - `whitening` (K, R, R) and `spread` (K, g, g) of what is left, and `limit` (K,), which hardly
      any place of a good part exceeds;
    - `picture` (K, 3 p p) and `picture_directions` (K, d, 3 p p), what the first directions change
      in it, and `frame_limit` (K,), how far its frame may be from that of good photos;
    - `weight` (K,) of the stream's map beside the body's.

    It starts with the weight 0: nothing is known.
    """

    def __init__(self, shape: WholePartShape, categories: int, channels: int) -> None:
        super().__init__()
        self.shape = shape = replace(shape, channels=min(shape.channels, channels))
        grid = shape.channels * shape.side**2
        pixels = 3 * PICTURE_SIDE**2
        sizes = {
            "channel_mean": (channels,),
            "reduction": (shape.channels, channels),
            "mean": (grid,),
            "directions": (shape.directions, grid),
            "reach": (shape.directions,),
            "whitening": (shape.channels, shape.channels),
            "spread": (shape.side, shape.side),
            "picture": (pixels,),
            "picture_directions": (min(shape.directions, PICTURE_DIRECTIONS), pixels),
            "frame_limit": (),
            "limit": (),
            "weight": (),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.empty(categories, *size))
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Back to knowing nothing."""
        for buffer in self.buffers():
            buffer.zero_()
        self.spread.fill_(1)
        self.limit.fill_(1)

    def knows(self, category: int) -> bool:
        """Whether it has learned anything of a category, given by its number."""
        return bool(self.directions[category].any())

    def forward(self, features: Tensor, category: Tensor) -> WholePartView:
        """See photos by their features, (B, C, g, g), each by its category's number, (B,)."""
        # In full precision: small differences of large numbers.
        with torch.autocast(features.device.type, enabled=False):
            mean, reduction = self._of("channel_mean", category), self._of("reduction", category)
            differences = reduced(features, mean, reduction) - self._of("mean", category)
            directions = self._of("directions", category)
            coordinates = torch.einsum("bx,bdx->bd", differences, directions)
            residual = differences - torch.einsum("bd,bdx->bx", coordinates, directions)
            anomaly = self.anomaly_of(residual, category)
            return WholePartView(anomaly, *self._robust(differences, coordinates, category))

    def anomaly_of(self, residual: Tensor, category: Tensor) -> Tensor:
        """(B, g, g), how unusual residuals, (B, R g g), are at each place."""
        found = distances(self._grid(residual), self._of("whitening", category))
        return found / self._usual(category)

    def join(self, residual: Tensor, view: WholePartView, category: Tensor) -> Tensor:
        """The body's residual, (B, h, w), and what does not belong, by its weight: (B, h, w)."""
        anomaly = enlarge(view.anomaly, residual.shape[-1])
        return residual + self._of("weight", category)[:, None, None] * anomaly

    def show(self, picture: Tensor, view: WholePartView, category: Tensor) -> Tensor:
        """How the parts should look, (B, 3, H, W).

        The body's `picture`, (B, 3, H, W), which is sharp, and where something does not belong the
        good part that is there: the body would restore what it sees.
        """
        side = picture.shape[-1]
        excess = (view.out_of_place / self._of("limit", category)[:, None, None] - 1).clamp(0, 1)
        trusted = self._of("weight", category)[:, None, None] > 0
        # A place is seen by its neighbours too.
        share = F.max_pool2d(trusted * excess, 3, stride=1, padding=1)
        share = enlarge(share, side)[:, None]
        return picture + share * (self.paint(view.coordinates, category, side) - picture)

    def empty(self, pixel_values: Tensor, category: Tensor) -> Tensor:
        """Whether pictures, (B, 3, H, W), show the place of the part and nothing on it; (B,) bool.

        The frame is as on good photos, and inside it is no more structure than on the frame: of
        another product there would be.
        """
        pictures = F.adaptive_avg_pool2d(pixel_values.float(), PICTURE_SIDE)
        good = self._of("picture", category).view_as(pictures)
        is_usual = frame_distance(pictures, good) <= self._of("frame_limit", category)
        return is_usual & is_bare(pictures)

    def paint(self, coordinates: Tensor, category: Tensor, side: int) -> Tensor:
        """(B, 3, side, side): the good part that has these coordinates, (B, D)."""
        directions = self._of("picture_directions", category)
        first = coordinates[:, : directions.shape[1]]
        change = torch.einsum("bd,bdx->bx", first, directions)
        size = (3, PICTURE_SIDE, PICTURE_SIDE)
        picture = (self._of("picture", category) + change).unflatten(1, size)
        return F.interpolate(picture, size=(side, side), mode="bilinear", align_corners=False)

    def _robust(
        self, differences: Tensor, coordinates: Tensor, category: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Coordinates by the places that look good, (B, D), and each place's anomaly beside them.

        They lie within the reach of good parts.

        By least squares a defect would pull the picture along: a photo without the part would be
        explained by the good part that comes nearest to nothing. So each place counts by how good
        it looks, anew in each round.
        """
        directions, reach = self._of("directions", category), self._of("reach", category)
        grid = (self.shape.channels, self.shape.side, self.shape.side)
        for rounds_left in range(ROBUST_ROUNDS, -1, -1):
            coordinates = coordinates.clamp(-reach, reach)
            residual = differences - torch.einsum("bd,bdx->bx", coordinates, directions)
            anomaly = self.anomaly_of(residual, category)
            if rounds_left:
                trust = (1 / anomaly.clamp_min(1)).square()
                trust = trust / trust.amax(dim=(1, 2), keepdim=True)
                trusted = directions * trust[:, None].expand(-1, *grid).flatten(1)[:, None]
                products = trusted @ directions.transpose(1, 2)
                wanted = torch.einsum("bdx,bx->bd", trusted, differences)
                coordinates = coordinates + stepped_towards(wanted, products, coordinates)
        return coordinates, anomaly

    def _of(self, name: str, category: Tensor) -> Tensor:
        """A buffer's part of each picture's category, in full precision."""
        buffer = getattr(self, name)
        if len(buffer) == 1:  # the same for all: no copies of what is large
            return buffer.float().expand(category.shape[0], *buffer.shape[1:])
        return buffer[category].float()

    def _grid(self, vectors: Tensor) -> Tensor:
        """(B, R g g) -> (B, R, g, g)."""
        return vectors.unflatten(1, (self.shape.channels, self.shape.side, self.shape.side))

    def _usual(self, category: Tensor) -> Tensor:
        """What is usual at each place, (B, g, g): its own spread and that of the whole grid."""
        spread = self._of("spread", category)
        return spread + spread.mean(dim=(-2, -1), keepdim=True)


def coarse_grid(layers: list[Tensor], side: int) -> Tensor:
    """A backbone's layers, (B, C, h, w) each, stacked on one coarse grid: (B, C, side, side)."""
    return torch.cat([F.adaptive_avg_pool2d(layer.float(), side) for layer in layers], dim=1)


def coarser(grids: Tensor, side: int) -> Tensor:
    """Grids, (..., C, g, g), on one that is as fine or coarser: (..., C, side, side)."""
    pooled = F.adaptive_avg_pool2d(grids.flatten(0, -4), side)
    return pooled.unflatten(0, grids.shape[:-3])


def frame_of(side: int, width: float) -> Tensor:
    """(side, side), bool: what lies within so many positions of the border, one at least."""
    place = torch.arange(side)
    nearest = torch.minimum(place, side - 1 - place)
    return torch.minimum(nearest[:, None], nearest[None]) < max(1, round(width))


def frame_distance(pictures: Tensor, good: Tensor) -> Tensor:
    """How far the frames of pictures are from those of others, (B, 3, p, p) in 0..1 each; (B,)."""
    frame = frame_of(PICTURE_SIDE, FRAME * PICTURE_SIDE).to(pictures)
    return ((pictures - good).abs().mean(dim=1) * frame).sum(dim=(1, 2)) / frame.sum()


def is_bare(pictures: Tensor) -> Tensor:
    """Whether pictures, (B, 3, p, p), have no more structure inside than on their frame; (B,)."""
    slope = structure(pictures)
    frame = slope * frame_of(FIELDS, FRAME * FIELDS).to(slope)
    return slope.amax(dim=(1, 2)) <= MORE_STRUCTURE * frame.amax(dim=(1, 2))


def structure(pictures: Tensor) -> Tensor:
    """Mean slope of the grey values of pictures, (B, 3, p, p), by fields: (B, FIELDS, FIELDS)."""
    grey = pictures.mean(dim=1)
    across = (grey[:, :-1, 1:] - grey[:, :-1, :-1]).abs()
    down = (grey[:, 1:, :-1] - grey[:, :-1, :-1]).abs()
    slope = F.pad(across + down, (0, 1, 0, 1))
    return F.avg_pool2d(slope[:, None], PICTURE_SIDE // FIELDS)[:, 0]


def reduced(features: Tensor, mean: Tensor, reduction: Tensor) -> Tensor:
    """Features, (B, C, g, g), less their mean (B, C), in few channels: (B, R g g)."""
    return apply_whitening(features - mean[..., None, None], reduction).flatten(1)


def stepped_towards(wanted: Tensor, products: Tensor, start: Tensor) -> Tensor:
    """How far 2 ** `ROBUST_DOUBLINGS` steps lead from `start` to where products @ x is `wanted`.

    Each step x + wanted - products @ x, of (B, D) and (B, D, D) whose eigenvalues lie in 0..1, so
    that none goes too far. The powers of what a step leaves over are squared, not walked through.
    """
    left = torch.eye(products.shape[-1], device=products.device) - products
    way = (wanted - torch.einsum("bde,be->bd", products, start))[..., None]
    for doubling in range(ROBUST_DOUBLINGS):
        way = way + left @ way
        if doubling < ROBUST_DOUBLINGS - 1:
            left = left @ left
    return way[..., 0]


def distances(residual: Tensor, whitening: Tensor) -> Tensor:
    """(B, g, g), mean squares of residuals, (B, R, g, g), in which those of good parts are 1."""
    return torch.matmul(whitening, residual.flatten(2)).square().mean(dim=1).view_as(residual[:, 0])
