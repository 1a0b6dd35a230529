"""A picture larger than the model's input, as overlapping tiles, and their maps as one again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_OVERLAP = 0.25  # of a tile's side; what a border hides lies well inside the next tile


@dataclass(frozen=True)
class Tiling:
    """Square tiles at equal distances that cover a square picture."""

    side: int  # of a tile, in positions of the grid that is cut
    count: int = 1  # tiles a side
    stride: int = 0  # from one tile's start to the next one's; 0 where there is one tile

    @classmethod
    def covering(cls, whole: int, side: int, unit: int = 1) -> Tiling:
        """The fewest tiles of a side that cover a whole picture and overlap by a quarter or more.

        Raises `ValueError` when the tiles, no larger than the picture, can't lie at equal distances
        of a multiple of `unit`; it names a size that does.
        """
        if side == whole:
            return cls(side)
        largest = math.floor((1 - LEAST_OVERLAP) * side) // unit * unit
        steps = max(1, math.ceil((whole - side) / max(1, largest)))
        if (whole - side) % (steps * unit):
            raise ValueError(
                f"image_size must be tile_size plus {steps} equal steps of a multiple of {unit} "
                f"pixels, found {whole} with tiles of {side}; take image_size "
                f"{side + steps * max(unit, (whole - side) // (steps * unit) * unit)}."
            )
        return cls(side, steps + 1, (whole - side) // steps)

    @property
    def whole(self) -> int:
        """Side of the picture."""
        return self.side + (self.count - 1) * self.stride

    @property
    def tiles(self) -> int:
        """Tiles of a picture."""
        return self.count**2

    def coarser(self, factor: int) -> Tiling:
        """The same tiles on a grid of `factor` times larger positions."""
        return Tiling(self.side // factor, self.count, self.stride // factor)

    def place(self, tile: int) -> tuple[slice, slice]:
        """Rows and columns of a tile, counted by rows from 0."""
        row, column = divmod(tile, self.count)
        top, left = row * self.stride, column * self.stride
        return slice(top, top + self.side), slice(left, left + self.side)

    def cut(self, pictures: Tensor) -> Tensor:
        """(B, C, whole, whole) -> (B tiles, C, side, side): of each picture all tiles, by rows."""
        if self.count == 1:
            return pictures
        rows = pictures.unfold(2, self.side, self.stride)  # (B, C, n, whole, side)
        tiles = rows.unfold(3, self.side, self.stride)  # (B, C, n, n, side, side)
        return tiles.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)

    def join(self, tiles: Tensor) -> Tensor:
        """(B tiles, C, side, side) -> (B, C, whole, whole): where tiles overlap, a blend of them.

        A tile counts less the nearer its border is, where it lacks surroundings, so that one tile
        fades into the next and no seam shows.
        """
        if self.count == 1:
            return tiles
        # (side, side): 1 where a tile is alone, falling towards its border where it is not.
        steps = torch.arange(self.side, dtype=torch.float32) + 0.5
        ramp = (torch.minimum(steps, steps.flip(0)) / (self.side - self.stride)).clamp_max(1)
        weight = (ramp[:, None] * ramp).to(tiles)
        weighted = tiles * weight
        channels, area = tiles.shape[1], self.side**2
        columns = weighted.reshape(-1, self.tiles, channels * area).transpose(1, 2)
        total = self._fold(columns)
        shares = weight.reshape(1, area, 1).expand(1, area, self.tiles)
        return total / self._fold(shares)

    def _fold(self, columns: Tensor) -> Tensor:
        """Add up what all tiles say of each position: (B, C side side, tiles) -> (B, C, w, w)."""
        size = (self.whole, self.whole)
        return F.fold(columns, size, (self.side, self.side), stride=self.stride)
