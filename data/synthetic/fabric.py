"""A woven twill of two colours that fills the picture."""

from __future__ import annotations

import numpy as np

from .defects import Damage, Kind, oil, thread_end
from .surface import Array, Surface, Window, colour, noise, noise_over, smoothstep

YARN = 0.062  # half picture widths from one yarn to the next
_YARNS = 64  # more than ever fit into the picture
_INDIGO, _ECRU = colour((0.030, 0.042, 0.066)), colour((0.34, 0.315, 0.27))
_OTHER_DYE = colour((0.16, 0.035, 0.030))


def build(samples: int, rng: np.random.Generator) -> Surface:
    """One good piece of cloth, (samples, samples), with the variation that good cloth has."""
    angle = np.radians(rng.uniform(-0.8, 0.8))
    surface = Surface.blank(samples, angle, tuple(rng.uniform(-0.02, 0.02, 2)))
    n = samples
    # coordinates in yarns; a loom never holds them straight
    across = surface.u / YARN + 0.10 * noise(rng, 7, n) + 0.03 * noise(rng, 40, n) + _YARNS / 2
    along = surface.v / YARN + 0.10 * noise(rng, 7, n) + 0.03 * noise(rng, 40, n) + _YARNS / 2
    warp = _yarn(rng, across, along, sense=1.0)
    weft = _yarn(rng, along, across, sense=-1.0)
    over = warp[0] > weft[0]
    surface.height[:] = np.where(over, warp[0], weft[0]) * 0.021
    surface.coverage[:] = 1
    fibre = np.where(over, warp[1], weft[1])
    fuzz = noise(rng, 420, n)
    tone = 1 + 0.16 * fibre + 0.10 * fuzz + 0.03 * noise(rng, 8, n)
    surface.albedo[:] = np.where(over, _INDIGO, _ECRU) * tone
    surface.height += fuzz * 0.0010
    surface.specular[:] = 0.012
    surface.rough_across[:] = 0.6
    surface.rough_along[:] = 0.6
    surface.ground[:] = colour((0.012, 0.012, 0.013))  # the dark table, seen through a hole
    return surface


def _yarn(
    rng: np.random.Generator, across: Array, along: Array, sense: float
) -> tuple[Array, Array]:
    """(n, n) relief and (n, n) tone of one set of parallel yarns.

    The (n, n) coordinates across and along the set are in yarns of it and of the other set. The
    sense is 1 for the warp, -1 for the weft, which is under where the warp is over.
    """
    index = np.clip(across, 0, _YARNS - 1).astype(np.int32)
    thick = (1 + 0.06 * rng.standard_normal(_YARNS, dtype=np.float32))[index]
    shade = rng.standard_normal(_YARNS, dtype=np.float32)[index]
    middle = index.astype(np.float32) + 0.5
    offset = across - middle
    # 2/2 twill: each yarn passes over two and under two, one further on than its neighbour
    phase = sense * (along - middle)
    wave = sense * np.sin((np.pi / 2) * phase + np.pi / 4)
    width = 0.52 * thick
    profile = np.sqrt(np.maximum(1 - (offset / width) ** 2, 0)) - 1.0 * (np.abs(offset) > width)
    ply = np.sin(2 * np.pi * (along * 1.6 + offset * 1.3 * sense) + 2 * shade)
    return profile * 0.8 + 0.75 * wave + 0.06 * ply, 0.35 * shade + 0.7 * ply


def _yarn_window(
    surface: Surface, rng: np.random.Generator, reach: float
) -> tuple[Window, Surface, Array, Array]:
    """A copy around a crossing of two yarns, with coordinates in yarns from that crossing."""
    centre = (np.round(rng.uniform(-0.75, 0.75, 2) / YARN)) * YARN
    window, patch = surface.cut(*centre, reach * YARN * 1.5)
    return window, patch, (patch.u - centre[0]) / YARN, (patch.v - centre[1]) / YARN


def torn(surface: Surface, rng: np.random.Generator) -> Damage:
    """Some weft yarns are missing over a length; loose or broken warp yarns are left, and gaps."""
    rows, columns = int(rng.integers(2, 6)), 12
    window, patch, across, along = _yarn_window(surface, rng, 8)
    row = np.clip(np.floor(along + rows / 2).astype(int) + 1, 0, rows + 1)
    ends = rng.uniform(2.0, 5.0, (2, rows + 2))
    inside = np.minimum(across + ends[0][row], ends[1][row] - across)
    inside = np.minimum(inside, rows / 2 - np.abs(along)).astype(np.float32)
    inside += 0.12 * noise_over(inside, rng, 40)  # cut ends fray
    bare = smoothstep(-0.08, 0.08, inside)
    mask = bare > 0.05

    sway = across + 0.22 * noise_over(inside, rng, 5) + 0.5
    column = np.clip(np.floor(sway).astype(int) + columns // 2, 0, columns - 1)
    offset = (sway - np.floor(sway) - 0.5) / 0.33
    broken = rng.random(columns) < 0.3
    left = np.where(broken, rng.uniform(-0.4, 0.5, columns), 9.0)[column]
    left = smoothstep(0.12, -0.12, along - left * rows / 2 + 0.15 * noise_over(inside, rng, 60))
    warp = np.sqrt(np.maximum(1 - offset**2, 0)) * left
    ply = np.sin(2 * np.pi * (along * 1.6 + offset * 0.5))
    sunk = 0.010 * (warp + 0.08 * ply) - 0.012
    patch.blend(bare, height=sunk, albedo=_INDIGO * (1 + 0.15 * ply))
    patch.coverage *= 1 - bare * (1 - smoothstep(0.0, 0.45, warp))
    return window, patch, mask


def pulled_yarn(surface: Surface, rng: np.random.Generator) -> Damage:
    """A weft yarn that something caught: it lies on top of the warp instead of under it."""
    half = rng.uniform(4, 9)
    window, patch, across, along = _yarn_window(surface, rng, half + 2)
    drift = rng.uniform(0.3, 1.2) * np.sin(across * rng.uniform(0.2, 0.45) + rng.uniform(0, 6))
    offset = (along - 0.5 - drift) / 0.55
    ends = smoothstep(half, half - 0.8, np.abs(across))
    profile = np.sqrt(np.maximum(1 - (offset / np.maximum(ends, 0.02)) ** 2, 0)) * (ends > 0)
    body = smoothstep(0.0, 0.25, profile)
    ply = np.sin(2 * np.pi * (across * 1.3 - offset * 0.5))
    fuzz = noise_over(body, rng, 90)
    lifted = 0.024 + 0.018 * profile + 0.0022 * ply + 0.0014 * fuzz
    patch.blend(body, height=lifted, albedo=_ECRU * (1 + 0.12 * ply + 0.10 * fuzz))
    return window, patch, body > 0.05


def misdyed(surface: Surface, rng: np.random.Generator) -> Damage:
    """Dye of another lot along one to three neighbouring warp yarns."""
    half, yarns = rng.uniform(5, 10), int(rng.integers(1, 4))
    window, patch, across, along = _yarn_window(surface, rng, half + 2)
    band = smoothstep(yarns / 2 + 0.15, yarns / 2 - 0.05, np.abs(across))
    band = band * smoothstep(half, half - 0.6, np.abs(along))
    band = band * (patch.albedo[2] > patch.albedo[0])  # the warp is the blue yarn
    tone = patch.albedo[2] / _INDIGO[2]
    patch.blend(band, albedo=_OTHER_DYE * tone)
    return window, patch, band > 0.05


DEFECTS: dict[str, Kind] = {
    "scratch": pulled_yarn,
    "stain": oil,
    "missing_part": torn,
    "foreign_body": thread_end,
    "colour": misdyed,
}
