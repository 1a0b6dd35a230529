"""A flat door key of nickel silver with a stamped number, lying at any angle."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .defects import Kind, chip, dent, misprint, rust, scratch, thread_end
from .marking import lettering
from .surface import Array, Surface, colour, look_up, mix, noise, rounded_edge, smoothstep

THICKNESS = 0.07
BOW_CENTRE = -0.50
BOW_RADIUS = 0.35
HOLE_CENTRE = -0.695
HOLE_RADIUS = 0.085
TIP = 0.85
MARK = "K 417"
MARK_CENTRE = (-0.415, 0.0)
MARK_HEIGHT = 0.135
MARK_ANGLE = np.pi / 2

# the cut edge of the blade: (u, v) corners of the code 3-1-4-2-3
_CUTS = np.array(
    [
        *[(-0.12, -0.13), (0.02, -0.13), (0.07, -0.05), (0.11, -0.05), (0.19, -0.115)],
        *[(0.23, -0.115), (0.33, -0.015), (0.37, -0.015), (0.44, -0.08), (0.48, -0.08)],
        *[(0.53, -0.035), (0.57, -0.035), (0.65, -0.10), (0.69, -0.10), (TIP, 0.03)],
    ],
    np.float32,
)
_BACK = 0.13  # v of the blade's straight back


def build(samples: int, rng: np.random.Generator) -> Surface:
    """One good key on its tray, (samples, samples), with the variation that good parts have."""
    shift = tuple(rng.uniform(-0.07, 0.07, 2))
    surface = Surface.blank(samples, rng.uniform(0, 2 * np.pi), shift)
    edge = _distance_inwards(surface)
    _shape(surface, edge, rng)
    _finish(surface, edge, rng)
    surface.lay_ground(rng, (0.16, 0.175, 0.185), 90, (0.045, 0.02, 0.015))
    surface.ink += 0.9 * lettering(surface, MARK, MARK_CENTRE, MARK_HEIGHT, MARK_ANGLE)
    return surface


def _distance_inwards(surface: Surface) -> Array:
    """(n, n) distance to the outline, positive on the key, negative beside it."""
    u, v = surface.u, surface.v
    # the bow: a disc flattened on both sides
    bow = BOW_RADIUS - np.sqrt((u - BOW_CENTRE) ** 2 + (0.92 * v) ** 2)
    steps = np.linspace(-0.12, TIP, 1024)
    cut_edge = np.interp(steps, _CUTS[:, 0], _CUTS[:, 1]).astype(np.float32)
    index = np.clip((u + 0.12) * (1023 / (TIP + 0.12)), 0, 1023).astype(np.int32)
    along = np.minimum(u + 0.35, TIP - u)
    nose = 0.72 * (TIP + 0.03 - u) - (v - 0.03)  # the back is bevelled towards the tip
    blade = np.minimum(np.minimum((v - cut_edge[index]) * 0.8, _BACK - v), np.minimum(along, nose))
    shoulder = np.minimum(np.minimum(-0.09 - u, u + 0.4), 0.185 - np.abs(v))
    outline = _join(_join(bow, shoulder, 0.06), blade, 0.015)
    hole = np.sqrt((u - HOLE_CENTRE) ** 2 + v**2) - HOLE_RADIUS
    return np.minimum(outline, hole)


def _join(first: Array, second: Array, radius: float) -> Array:
    """Union of two shapes with a fillet of the given radius between them."""
    share = np.clip(0.5 + 0.5 * (first - second) / radius, 0, 1)
    return mix(second, first, share) + radius * share * (1 - share)


def _shape(surface: Surface, edge: Array, rng: np.random.Generator) -> None:
    u, v = surface.u, surface.v
    height = THICKNESS * (0.55 + 0.45 * rounded_edge(edge, 0.028))
    blade = smoothstep(-0.10, -0.07, u)
    # milled along the blade, running out towards the bow
    upper = smoothstep(0.030, 0.022, np.abs(v - 0.075))
    lower = smoothstep(0.024, 0.016, np.abs(v - 0.005))
    height -= blade * (0.018 * upper + 0.014 * lower) * smoothstep(0, 0.02, edge)
    # the bow's face is pressed in, with a raised rim
    face = np.sqrt((u - BOW_CENTRE - 0.02) ** 2 + (0.92 * v) ** 2)
    height -= 0.012 * smoothstep(0.285, 0.265, face) * (1 - blade)
    collar = np.sqrt((u - HOLE_CENTRE) ** 2 + v**2) - HOLE_RADIUS
    height += 0.011 * smoothstep(0.055, 0.035, collar) * smoothstep(0.285, 0.265, face)
    height += noise(rng, 8, surface.samples) * 0.004
    height -= 0.05 * ((u - BOW_CENTRE) ** 2 + v**2) * (1 - blade)  # faces are never quite level
    surface.height[:] = height
    surface.coverage[:] = smoothstep(-surface.pitch, surface.pitch, edge)


def _finish(surface: Surface, edge: Array, rng: np.random.Generator) -> None:
    n = surface.samples
    # brushed along the key: streaks of one sample across, of a tenth of the key along
    fine = look_up(_streaks(rng, 900, 48), surface.u, surface.v)
    broad = look_up(_streaks(rng, 160, 10), surface.u, surface.v)
    streaks = 0.75 * fine + 0.35 * broad
    surface.height += streaks * 0.00028 * smoothstep(0.0, 0.02, edge)
    cos, sin = surface.grain[0].copy(), surface.grain[1].copy()
    surface.grain[0], surface.grain[1] = -sin, cos
    surface.rough_across[:] = 0.27
    surface.rough_along[:] = 0.10
    cloud = noise(rng, 9, n)
    tone = 1 + 0.03 * cloud + 0.05 * streaks
    surface.specular[:] = colour((0.56, 0.475, 0.325)) * tone
    surface.albedo[:] = colour((0.034, 0.028, 0.019)) * (1 + 0.1 * cloud)


def _streaks(rng: np.random.Generator, across: int, along: int) -> Array:
    """(across, 768) noise drawn out along the columns, unit variance."""
    grid = rng.standard_normal((across, along), dtype=np.float32)
    smooth = Image.fromarray(grid).resize((768, across), Image.Resampling.BICUBIC)
    return np.asarray(smooth)


def _on_the_edge(rng: np.random.Generator) -> tuple[float, float]:
    """On the bow's outline, or at the blade's tip or one of its teeth."""
    if rng.random() < 0.4:
        theta = rng.uniform(0.25 * np.pi, 1.75 * np.pi)
        return BOW_CENTRE + BOW_RADIUS * np.cos(theta), BOW_RADIUS * np.sin(theta)
    return [(0.20, -0.09), (0.46, -0.06), (0.66, -0.07), (0.80, 0.06)][rng.integers(4)]


DEFECTS: dict[str, Kind] = {
    "scratch": scratch,
    "dent": dent,
    "stain": rust,
    "missing_part": chip(_on_the_edge, 0.09, 0.17),
    "foreign_body": thread_end,
    "misprint": misprint(MARK, MARK_CENTRE, MARK_HEIGHT, MARK_ANGLE),
}
