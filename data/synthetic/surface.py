"""What lies under the camera: a height map with materials, before any light falls on it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from PIL import Image

Array = np.ndarray
Window = tuple[slice, slice]
RGB = tuple[float, float, float]


@dataclass
class Surface:
    """A part on its ground, sampled on an (n, n) grid of float32.

    Lengths are in half picture widths: the picture spans -1..1 in both directions, x to the
    right and y down. The part's own frame (u, v) is turned and shifted against it by the pose.
    """

    x: Array  # (n, n) picture coordinate to the right
    y: Array  # (n, n) picture coordinate downwards
    u: Array  # (n, n) first coordinate in the part's frame
    v: Array  # (n, n) second coordinate in the part's frame
    height: Array  # (n, n) of the part over the ground; free where nothing covers the ground
    coverage: Array  # (n, n) 0..1, how much of the sample the part covers
    albedo: Array  # (3, n, n) diffuse reflectance of the part, linear RGB
    specular: Array  # (3, n, n) specular reflectance of the part, linear RGB
    rough_across: Array  # (n, n) spread of reflected light across the finish's grooves, in slope
    rough_along: Array  # (n, n) the same along the grooves; equal to it where there are none
    grain: Array  # (2, n, n) unit vector across the grooves, in picture coordinates
    ink: Array  # (n, n) 0..1, how strongly the surface is marked; a mark is dark and matt
    ground: Array  # (3, n, n) diffuse reflectance of what the part lies on, linear RGB

    @classmethod
    def blank(cls, samples: int, angle: float, shift: tuple[float, float]) -> Surface:
        """An empty ground of n >= 2 samples a side with a part's frame laid over it.

        The frame is turned by an angle in radians, clockwise on the picture, and its origin shifted
        by (x, y) half picture widths.
        """
        line = ((np.arange(samples) + 0.5) * (2 / samples) - 1).astype(np.float32)
        x, y = np.broadcast_to(line, (samples,) * 2).copy(), np.repeat(line[:, None], samples, 1)
        cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        dx, dy = x - np.float32(shift[0]), y - np.float32(shift[1])
        plane = (samples, samples)
        return cls(
            x=x,
            y=y,
            u=cos * dx + sin * dy,
            v=cos * dy - sin * dx,
            height=np.zeros(plane, np.float32),
            coverage=np.zeros(plane, np.float32),
            albedo=np.zeros((3, *plane), np.float32),
            specular=np.zeros((3, *plane), np.float32),
            rough_across=np.full(plane, 0.3, np.float32),
            rough_along=np.full(plane, 0.3, np.float32),
            grain=np.stack([np.full(plane, cos), np.full(plane, sin)]),
            ink=np.zeros(plane, np.float32),
            ground=np.zeros((3, *plane), np.float32),
        )

    @property
    def samples(self) -> int:
        """Samples along each side of the whole picture."""
        return self.x.shape[0]

    @property
    def pitch(self) -> float:
        """Distance between neighbouring samples, in half picture widths."""
        return float(self.x[0, 1] - self.x[0, 0])

    def cut(self, u: float, v: float, radius: float) -> tuple[Window, Surface]:
        """The smallest window that holds a disc given in the part's frame, and a copy of it."""
        nearest = np.argmin((self.u - u) ** 2 + (self.v - v) ** 2)
        reach = int(np.ceil(radius / self.pitch)) + 2
        rows, columns = (
            slice(max(position - reach, 0), position + reach + 1)
            for position in np.unravel_index(nearest, self.u.shape)
        )
        planes = {f.name: getattr(self, f.name)[..., rows, columns].copy() for f in fields(self)}
        return (rows, columns), Surface(**planes)

    def paste(self, window: Window, patch: Surface) -> None:
        """Put a changed copy back where it was cut."""
        for field in fields(self):
            getattr(self, field.name)[..., *window] = getattr(patch, field.name)

    def blend(self, share: Array, **values: Array | float) -> None:
        """Turn planes into new values where `share` is 1; 0 leaves them as they are."""
        for name, value in values.items():
            plane = getattr(self, name)
            plane[:] = mix(plane, value, share)

    def lay_ground(
        self, rng: np.random.Generator, rgb: RGB, cells: int, contrast: tuple[float, float, float]
    ) -> None:
        """What the part lies on: a linear RGB with fine, coarser and broad variation.

        The coarser one has so many cells a side; `contrast` is the deviation of each of the three.
        """
        fine, coarse, broad = (noise(rng, count, self.samples) for count in (512, cells, 4))
        tone = 1 + contrast[0] * fine + contrast[1] * coarse + contrast[2] * broad
        self.ground[:] = colour(rgb) * tone


def colour(rgb: RGB) -> Array:
    """A colour as (3, 1, 1) float32, to be broadcast over an (n, n) plane."""
    return np.asarray(rgb, np.float32)[:, None, None]


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below ``low``, 1 above ``high``, a smooth S between; ``low`` may be the larger one."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(first: Array | float, second: Array | float, share: Array | float) -> Array:
    """``first`` where ``share`` is 0, ``second`` where it is 1."""
    return first + (second - first) * share


def rounded_edge(distance: Array, radius: float) -> Array:
    """0 at the edge, 1 from ``radius`` inwards: a quarter circle over the distance to the edge."""
    t = np.clip(1 - distance / radius, 0, 1)
    return np.sqrt(np.maximum(1 - t * t, 0))


def noise(rng: np.random.Generator, cells: int, samples: int) -> Array:
    """Smooth Gaussian noise, (samples, samples), unit variance on a grid of ``cells`` a side.

    The grid does not depend on ``samples``: one seed gives one texture at every picture size.
    """
    grid = rng.standard_normal((cells, cells), dtype=np.float32)
    if cells == samples:
        return grid
    return np.array(Image.fromarray(grid).resize((samples, samples), Image.Resampling.BICUBIC))


def noise_over(plane: Array, rng: np.random.Generator, cells: int) -> Array:
    """`noise` with the shape of a plane; its longer side has so many cells."""
    return noise(rng, cells, max(plane.shape))[: plane.shape[0], : plane.shape[1]]


def look_up(tile: Array, u: Array, v: Array) -> Array:
    """Values of a (rows, columns) tile that is spread over u, v in -1.5..1.5 (nearest cell)."""
    rows, columns = tile.shape
    row = np.clip((v + 1.5) * (rows / 3), 0, rows - 1).astype(np.int32)
    column = np.clip((u + 1.5) * (columns / 3), 0, columns - 1).astype(np.int32)
    return tile[row, column]
