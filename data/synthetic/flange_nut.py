"""A hexagonal flange nut of zinc-plated steel, seen from above, always laid the same way."""

from __future__ import annotations

import numpy as np

from .defects import Kind, chip, crumb, dent, misprint, rust, scratch
from .marking import lettering
from .surface import Array, Surface, colour, mix, noise, rounded_edge, smoothstep

FLANGE_RADIUS = 0.80
APOTHEM = 0.53  # half the width across flats
BORE = 0.335  # radius where the thread begins
THREAD_DEPTH = 0.055
TOP = 0.18
RIM = 0.06  # thickness of the flange at its edge
MARK = "A2-70"
MARK_CENTRE = (0.0, 0.665)
MARK_HEIGHT = 0.13


def build(samples: int, rng: np.random.Generator) -> Surface:
    """One good nut on its mat, (samples, samples), with the variation that good parts have."""
    angle = np.radians(rng.uniform(-1, 1))
    surface = Surface.blank(samples, angle, tuple(rng.uniform(-0.018, 0.018, 2)))
    radius = np.sqrt(surface.u**2 + surface.v**2)
    theta = np.arctan2(surface.v, surface.u)
    _shape(surface, radius, theta, rng)
    _finish(surface, radius, theta, rng)
    surface.lay_ground(rng, (0.038, 0.041, 0.046), 200, (0.16, 0.05, 0.02))
    surface.ground *= 1 - 0.9 * smoothstep(BORE, BORE - 0.1, radius)  # the bore is dark below
    surface.ink += 0.95 * lettering(surface, MARK, MARK_CENTRE, MARK_HEIGHT)
    return surface


def _hexagon(surface: Surface) -> Array:
    """(n, n) largest distance to the three pairs of flats: the apothem on the outline."""
    u, v = surface.u, surface.v
    half, root = np.float32(0.5), np.float32(np.sqrt(3) / 2)
    sloping = np.maximum(np.abs(half * v + root * u), np.abs(half * v - root * u))
    return np.maximum(np.abs(v), sloping)


def _shape(surface: Surface, radius: Array, theta: Array, rng: np.random.Generator) -> None:
    flats = _hexagon(surface)
    cone = RIM + 0.045 * smoothstep(FLANGE_RADIUS, 0.5, radius)
    flange = cone * rounded_edge(FLANGE_RADIUS - radius, 0.035)
    # the 30 degree chamfer cuts the six corners in arcs
    top = TOP - 0.36 * np.maximum(radius - (APOTHEM + 0.005), 0)
    body = mix(flange, top, smoothstep(APOTHEM + 0.030, APOTHEM - 0.004, flats))
    body -= 0.010 * smoothstep(APOTHEM - 0.03, APOTHEM, flats)

    sunk = np.clip(BORE + 0.065 - radius, 0, 0.065)  # countersink in front of the thread
    body -= 0.75 * sunk
    turns = (BORE - radius) / (THREAD_DEPTH / 3) + theta / (2 * np.pi)
    thread = 0.010 * np.abs(turns - np.floor(turns) - 0.5) * 2
    inside = smoothstep(BORE + 0.004, BORE - 0.004, radius)
    body += inside * (thread - 1.1 * np.maximum(BORE - radius, 0))
    surface.height[:] = body
    outer = smoothstep(FLANGE_RADIUS + surface.pitch, FLANGE_RADIUS - surface.pitch, radius)
    core = BORE - THREAD_DEPTH
    surface.coverage[:] = outer * smoothstep(core - surface.pitch, core + surface.pitch, radius)
    forged = noise(rng, 9, surface.samples) * 0.004 + noise(rng, 44, surface.samples) * 0.0004
    surface.height += forged


def _finish(surface: Surface, radius: Array, theta: Array, rng: np.random.Generator) -> None:
    n = surface.samples
    flats = _hexagon(surface)
    face = smoothstep(APOTHEM - 0.002, APOTHEM - 0.02, flats) * smoothstep(0.395, 0.405, radius)
    face *= smoothstep(APOTHEM + 0.012, APOTHEM + 0.002, radius)
    # turned on a lathe: fine rings that scatter the light across them
    rings = rng.standard_normal(700).astype(np.float32)
    ring = rings[np.clip(radius * 600 + noise(rng, 6, n) * 1.5, 0, 699).astype(np.int32)]
    pose = np.arctan2(surface.grain[1, 0, 0], surface.grain[0, 0, 0])
    surface.grain[0] = np.cos(theta + pose)
    surface.grain[1] = np.sin(theta + pose)
    surface.rough_along[:] = mix(0.22, 0.10, face)
    surface.rough_across[:] = mix(0.22, 0.34, face)
    surface.height += face * ring * 0.00035
    grit = noise(rng, 300, n)
    surface.height += (1 - face) * grit * 0.0006
    cloud = noise(rng, 9, n)
    tone = 0.80 + 0.20 * face + 0.035 * cloud + 0.02 * grit + face * 0.04 * ring
    surface.specular[:] = colour((0.50, 0.51, 0.525)) * tone
    surface.albedo[:] = colour((0.06, 0.062, 0.066)) * (1 + 0.1 * cloud)
    depth = smoothstep(BORE + 0.01, BORE - THREAD_DEPTH, radius)
    surface.specular *= 1 - 0.75 * depth
    surface.albedo *= 1 - 0.7 * depth


def _on_the_rim(rng: np.random.Generator) -> tuple[float, float]:
    theta = rng.uniform(0, 2 * np.pi)
    radius = FLANGE_RADIUS - rng.uniform(-0.03, 0.03)
    return radius * np.cos(theta), radius * np.sin(theta)


DEFECTS: dict[str, Kind] = {
    "scratch": scratch,
    "dent": dent,
    "stain": rust,
    "missing_part": chip(_on_the_rim, 0.10, 0.24),
    "foreign_body": crumb,
    "misprint": misprint(MARK, MARK_CENTRE, MARK_HEIGHT),
}
