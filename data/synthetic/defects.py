"""What can go wrong with a part: changes of height and material, never of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.spatial import KDTree

from .camera import bin_samples
from .marking import lettering
from .surface import RGB, Array, Surface, Window, colour, noise_over, rounded_edge, smoothstep

# Limits of a defect's share of the picture: small but visible, large but not the whole part.
SMALLEST, LARGEST = 0.003, 0.05

Point = tuple[float, float]
# One defect, ready to be laid into a surface: a window of it, the damaged copy of that window, and
# the samples of the window that the defect touched, bool.
Damage = tuple[Window, Surface, Array]
Kind = Callable[[Surface, np.random.Generator], Damage]


def inflict(kind: Kind, surface: Surface, rng: np.random.Generator) -> Array:
    """Lay one defect of a kind into a good part in place, drawn again until its size fits.

    The result is (size, size) bool, the pixels that it touched. 200 draws without a size within the
    limits are a RuntimeError.
    """
    for _ in range(200):
        window, patch, mask = kind(surface, rng)
        touched = np.zeros(surface.x.shape, bool)
        touched[window] = mask
        pixels = bin_samples(touched.astype(np.float32)[None])[0] > 0
        if SMALLEST <= pixels.mean() <= LARGEST:
            surface.paste(window, patch)
            return pixels
    raise RuntimeError("200 draws of a defect gave none whose size lies within the limits.")


def scratch(surface: Surface, rng: np.random.Generator) -> Damage:
    """A tool dragged over the part: one to three near-parallel bright grooves."""
    half = rng.uniform(0.22, 0.5)
    centre = _point_on_part(surface, rng)
    window, patch, along, across = _laid_out(surface, centre, half + 0.1, rng.uniform(0, np.pi))
    bend, wobble = rng.uniform(-0.25, 0.25), rng.uniform(0.002, 0.006)
    across = across - bend * (along**2 - half**2 / 3)
    across = across + wobble * np.sin(along * rng.uniform(12, 25) + rng.uniform(0, 6))
    groove = np.zeros(along.shape, np.float32)
    for lane in range(rng.integers(1, 4)):
        width = rng.uniform(0.011, 0.017)
        start, end = -half * rng.uniform(0.7, 1), half * rng.uniform(0.7, 1)
        reach = smoothstep(start - 0.04, start + 0.04, along)
        reach *= smoothstep(end + 0.04, end - 0.04, along)
        offset = (across - lane * rng.uniform(0.03, 0.06)) / width
        groove = np.maximum(groove, reach * np.maximum(1 - offset**2, 0))
    mask = (groove > 0.05) & (patch.coverage > 0.5)
    groove = groove * mask
    patch.height -= 0.011 * groove * (1 + 0.25 * noise_over(groove, rng, 40))
    patch.ink *= 1 - groove
    patch.blend(groove, rough_across=0.16, rough_along=0.16, albedo=patch.albedo * 0.5)
    return window, patch, mask


def dent(surface: Surface, rng: np.random.Generator) -> Damage:
    """A blow: a smooth hollow with a raised lip."""
    size, window, patch, along, across = _spot(surface, rng, 0.085, 0.21)
    distance = _blob(along, across * rng.uniform(1, 1.4), size, 0.10, rng)
    mask = (distance < 1) & (patch.coverage > 0.5)
    bowl = np.maximum(1 - (distance / 0.85) ** 2, 0) ** 1.5
    lip = np.maximum(1 - ((distance - 0.85) / 0.15) ** 2, 0)
    depth = rng.uniform(0.35, 0.5) * size
    patch.height += mask * (0.12 * depth * lip - depth * bowl)
    return window, patch, mask


def stain(tint: RGB, dulled: float, rough: float) -> Kind:
    """A kind: something that has soaked in or grown, with a ragged edge that is darker.

    Its tint is linear RGB, `dulled` the share of the part's shine that it takes, 0..1, and `rough`
    the height of its grain, in half picture widths.
    """

    def stained(surface: Surface, rng: np.random.Generator) -> Damage:
        size, window, patch, along, across = _spot(surface, rng, 0.085, 0.28)
        ragged = 0.07 * noise_over(along, rng, 12) + 0.025 * noise_over(along, rng, 30)
        distance = _blob(along, across * rng.uniform(1, 1.5), size, 0.16, rng) + ragged
        inside = smoothstep(1.0, 0.84, distance) * (patch.coverage > 0.5)
        # dried from the outside in: the rim holds the most
        strength = inside * (0.80 + 0.16 * smoothstep(0.55, 0.92, distance))
        strength *= np.clip(1 + 0.12 * noise_over(along, rng, 30), 0.5, 1.15)
        mask = inside > 0.05
        strength = np.clip(strength, 0, 1) * mask
        grit, cloud = noise_over(along, rng, 50), noise_over(along, rng, 12)
        tone = np.clip(1 + 0.12 * grit + 0.3 * cloud, 0.3, 2)
        patch.blend(strength, albedo=colour(tint) * tone)
        patch.specular *= 1 - dulled * strength
        patch.height += rough * grit * strength
        return window, patch, mask

    return stained


rust = stain((0.078, 0.031, 0.014), dulled=0.92, rough=0.0006)
oil = stain((0.060, 0.042, 0.022), dulled=0.0, rough=0.0)  # old, soaked into cloth


def chip(outline: Callable[[np.random.Generator], Point], shortest: float, longest: float) -> Kind:
    """A kind: a piece broken out of the part's edge, with a raw fracture.

    The outline draws a point on the edge where pieces break off, of a radius between the shortest
    and the longest, in half picture widths.
    """

    def broken(surface: Surface, rng: np.random.Generator) -> Damage:
        size, window, patch, along, across = _spot(surface, rng, shortest, longest, outline)
        jagged = 0.07 * noise_over(along, rng, 9) + 0.03 * noise_over(along, rng, 30)
        distance = _blob(along, across, size, 0.12, rng) + jagged
        gone = smoothstep(1.0, 1.0 - 2 * surface.pitch / size, distance)
        face = smoothstep(1.0 + 0.022 / size, 1.0, distance)  # the fracture slants inwards
        mask = (face > 0.05) & (patch.coverage > 0.5)
        face = face * mask
        patch.height *= 1 - face * (0.55 + 0.1 * noise_over(along, rng, 60))
        patch.blend(face, specular=patch.specular.mean(axis=0) * 0.6)
        patch.ink *= 1 - face
        patch.coverage *= 1 - gone
        return window, patch, mask

    return broken


def thread_end(surface: Surface, rng: np.random.Generator) -> Damage:
    """A stray end of red thread that lies in loops on top of everything."""
    steps = np.linspace(0, 1, 260)
    length = rng.uniform(0.7, 1.2)
    heading = rng.uniform(0, 2 * np.pi) + rng.uniform(-3, 3) * steps
    for order in (1, 2, 3):
        heading += rng.uniform(-1.3, 1.3) * np.sin(2 * np.pi * order * steps + rng.uniform(0, 6))
    stride = length / steps.size
    path = np.cumsum([np.cos(heading) * stride, np.sin(heading) * stride], axis=1)
    centre = np.reshape(_point_on_part(surface, rng), (2, 1))
    path = path - path.mean(axis=1, keepdims=True) + centre
    middle = path.mean(axis=1)
    window, patch = surface.cut(*middle, np.abs(path - middle[:, None]).max() * 1.5 + 0.05)
    width = rng.uniform(0.016, 0.022)
    distance, index = KDTree(path.T).query(
        np.stack([patch.u, patch.v], axis=-1), distance_upper_bound=2 * width
    )
    distance = np.minimum(distance, 2 * width).astype(np.float32)
    ply = np.sin(index * (stride / 0.03 * 2 * np.pi) + distance / width * 1.5)
    body = smoothstep(width + surface.pitch / 2, width - surface.pitch / 2, distance)
    tall = width * (0.4 + 1.2 * rounded_edge(width - distance, width) + 0.06 * ply)
    red = colour((0.28, 0.030, 0.028)) * (1 + 0.2 * ply.astype(np.float32))
    return _laid_on_top(window, patch, body, tall, red, specular=0.015)


def crumb(surface: Surface, rng: np.random.Generator) -> Damage:
    """A crumb of dark plastic left on the part."""
    size, window, patch, along, across = _spot(surface, rng, 0.075, 0.13)
    distance = _blob(along, across * rng.uniform(1.1, 1.6), size, 0.2, rng)
    body = smoothstep(1.0, 1.0 - 1.5 * surface.pitch / size, distance)
    facets = np.abs(noise_over(along, rng, 8))
    tall = 0.55 * size * rounded_edge(1 - distance, 0.9) * (0.75 + 0.25 * np.minimum(facets, 2))
    tall = tall + 0.0006 * noise_over(along, rng, 90)
    green = colour((0.030, 0.085, 0.060))
    return _laid_on_top(window, patch, body, tall, green, specular=0.055)


def misprint(text: str, centre: Point, height: float, angle: float = 0.0) -> Kind:
    """A kind: the mark of a part (see `lettering`) wrong, askew, twice, or with letters missing."""

    def wrong(surface: Surface, rng: np.random.Generator) -> Damage:
        window, patch = surface.cut(*centre, 0.5 * height * (len(text) + 2))
        right = lettering(patch, text, centre, height, angle)
        slip = tuple(np.asarray(centre) + rng.uniform(-0.35, 0.35, 2) * height)
        tilt = angle + rng.choice([-1, 1]) * rng.uniform(0.10, 0.22)
        fault = rng.integers(4)
        if fault == 0:
            written = lettering(patch, _other(text, rng), centre, height, angle)
        elif fault == 1:
            written = lettering(patch, text, slip, height, tilt)
        elif fault == 2:
            written = np.maximum(right, 0.8 * lettering(patch, text, slip, height, angle))
        else:
            # the laser stopped halfway
            du, dv = patch.u - centre[0], patch.v - centre[1]
            along = math.cos(angle) * du + math.sin(angle) * dv
            stop = rng.uniform(-1.2, 0.3) * height
            written = right * smoothstep(stop + 0.01, stop - 0.01, along)
        before = patch.ink.copy()
        patch.ink += 0.95 * (written - right)
        patch.ink[:] = np.clip(patch.ink, 0, 1) * patch.coverage
        return window, patch, np.abs(patch.ink - before) > 0.05

    return wrong


def _other(text: str, rng: np.random.Generator) -> str:
    """The text with every letter replaced by another letter and every digit by another digit."""

    def swap(sign: str) -> str:
        pool = "0123456789" if sign.isdigit() else "ABCDEHKLMNPRSTUVXZ"
        return str(rng.choice(list(pool.replace(sign, "")))) if sign.isalnum() else sign

    return "".join(swap(sign) for sign in text)


def _point_on_part(surface: Surface, rng: np.random.Generator) -> Point:
    """A point (u, v) on the part, not at the very border of the picture."""
    while True:
        row, column = (rng.uniform(0.08, 0.92, 2) * surface.samples).astype(int)
        if surface.coverage[row, column] > 0.9:
            return float(surface.u[row, column]), float(surface.v[row, column])


def _spot(
    surface: Surface,
    rng: np.random.Generator,
    smallest: float,
    largest: float,
    place: Callable[[np.random.Generator], Point] | None = None,
) -> tuple[float, Window, Surface, Array, Array]:
    """A radius, and what `_laid_out` gives around a point, anywhere on the part without `place`."""
    # small ones as frequent as large ones on a logarithmic scale
    size = float(np.exp(rng.uniform(np.log(smallest), np.log(largest))))
    centre = place(rng) if place else _point_on_part(surface, rng)
    return size, *_laid_out(surface, centre, 1.7 * size, rng.uniform(0, np.pi))


def _laid_out(
    surface: Surface, centre: Point, reach: float, angle: float
) -> tuple[Window, Surface, Array, Array]:
    """A copy around a point, with coordinates along and across a direction in the part's frame."""
    window, patch = surface.cut(*centre, reach)
    du, dv = patch.u - centre[0], patch.v - centre[1]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return window, patch, cos * du + sin * dv, cos * dv - sin * du


def _blob(
    along: Array, across: Array, size: float, ragged: float, rng: np.random.Generator
) -> Array:
    """Distance from the middle, 1 on the outline of an irregular round shape."""
    theta = np.arctan2(across, along)
    outline = np.ones_like(theta)
    for order in (2, 3, 5):
        bulge = ragged * rng.uniform(-1, 1) / order * 2
        outline += bulge * np.cos(order * theta + rng.uniform(0, 6))
    return np.sqrt(along**2 + across**2) / (size * outline)


def _laid_on_top(
    window: Window, patch: Surface, body: Array, tall: Array, albedo: Array, specular: float
) -> Damage:
    """A body of its own height and material on whatever lies there, part or ground."""
    base = patch.height * patch.coverage
    on = body > 0
    patch.height[on] = (base + tall * body)[on]
    patch.coverage[:] = np.maximum(patch.coverage, body)
    patch.ink *= 1 - body
    patch.blend(body, rough_across=0.3, rough_along=0.3, albedo=albedo, specular=specular)
    return window, patch, body > 0.05
