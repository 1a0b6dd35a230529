"""Lamp and camera: from a surface to the picture that an inspection line would take of it."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from .surface import Array, Surface, colour, mix

# Samples of the surface per pixel and direction: enough for clean edges, four times the work.
SUPERSAMPLING = 2
SHADOW_SLOPE = 1.5  # height over length of a cast shadow: the lamp stands steep, as over a line
REACH = 0.075  # share of the picture width beyond which a change of the surface leaves no trace
_TALLEST = 0.18  # half picture widths; no part or defect stands higher over what surrounds it
_OCCLUSION_SIGMA = 0.014  # of the picture width
_INK_ALBEDO = colour((0.030, 0.028, 0.027))


class Exposure:
    """What drifts from photo to photo on a line with a fixed camera and a fixed lamp."""

    def __init__(self, rng: np.random.Generator) -> None:
        # Direction of the main lamp in radians, clockwise on the picture from the right, and slope
        # of a surface that mirrors it into the camera.
        self.azimuth = math.radians(-122 + rng.uniform(-6, 6))
        self.tilt = rng.uniform(0.36, 0.42)
        self.strength = rng.uniform(0.94, 1.06)  # brightness of the lamp
        self.warmth = rng.uniform(-0.015, 0.015)  # red against blue
        # Standard deviations of the optics' blur, in pixels of a 256 px picture, and of the
        # sensor's noise at white, on a scale of 0..1.
        self.blur = rng.uniform(0.35, 0.6)
        self.noise = rng.uniform(0.006, 0.010)


def photograph(surface: Surface, exposure: Exposure, rng: np.random.Generator) -> Array:
    """Light a surface of n samples a side and take its picture, with the sensor's noise.

    It is (size, size, 3) uint8, sRGB; n is the size times :data:`SUPERSAMPLING`.
    """
    light = bin_samples(_radiance(surface, exposure))  # (3, n, n) -> (3, size, size)
    size = light.shape[-1]
    sigma = exposure.blur * size / 256
    light = np.stack([gaussian_filter(plane, sigma, truncate=3) for plane in light])
    light *= _vignette(size)
    light *= exposure.strength * colour((1 + exposure.warmth, 1, 1 - exposure.warmth))
    return _develop(light, exposure.noise, rng)


def _radiance(surface: Surface, exposure: Exposure) -> Array:
    """(3, n, n) linear light towards the camera, part over ground."""
    sunlit, open_sky = _visibility(surface.height * surface.coverage, exposure)
    part = _shade(surface, exposure, sunlit, open_sky)
    # the ground is level: one cosine for all of it
    ground = surface.ground * (1.25 * sunlit * _falloff(surface, exposure) + 0.55 * open_sky)
    return mix(ground, part, surface.coverage)


def _falloff(surface: Surface, exposure: Exposure) -> Array:
    """(n, n) brightness of a lamp that stands near: less on the far side."""
    cos, sin = math.cos(exposure.azimuth), math.sin(exposure.azimuth)
    return 1 + (0.11 * cos) * surface.x + (0.11 * sin) * surface.y


def _shade(surface: Surface, exposure: Exposure, sunlit: Array, open_sky: Array) -> Array:
    """(3, n, n) light from the part: Lambert, and Ward's elliptical lobes in slope space."""
    tilt_y, tilt_x = np.gradient(-surface.height, surface.pitch)
    steepness = tilt_x**2 + tilt_y**2
    cos, sin = math.cos(exposure.azimuth), math.sin(exposure.azimuth)
    lambert = (1 + 0.9 * (tilt_x * cos + tilt_y * sin)) / np.sqrt(1 + steepness)
    falloff = _falloff(surface, exposure)
    diffuse = 1.05 * np.maximum(lambert, 0) * sunlit * falloff + 0.6 * open_sky

    # a lamp at a finite distance mirrors at another slope on each side of the picture
    near_x, near_y = tilt_x + 0.13 * surface.x, tilt_y + 0.13 * surface.y
    key = _lobe(surface, near_x - exposure.tilt * cos, near_y - exposure.tilt * sin, lamp=0.16)
    fill = _lobe(surface, near_x + 0.75 * cos, near_y + 0.75 * sin, lamp=0.35)
    # a dome above: dark camera hole in the middle, bright sky around, dark table at the horizon
    sky = 0.13 + 0.36 * steepness / (steepness + 0.12) - 0.42 * steepness / (steepness + 2.5)
    sky = sky - 0.38 * near_y - 0.12 * near_x
    mirrored = 1.7 * key * (0.25 + 0.75 * sunlit) * falloff
    mirrored += (0.22 * fill + np.maximum(sky, 0.03)) * open_sky * (0.45 + 0.55 * sunlit)

    matt = surface.ink * 0.85
    albedo = mix(surface.albedo, _INK_ALBEDO, matt)
    return albedo * diffuse + surface.specular * (mirrored * (1 - matt))


def _lobe(surface: Surface, off_x: Array, off_y: Array, lamp: float) -> Array:
    """(n, n) 0..1 mirror image of a round lamp, for a surface that is off its slope."""
    across = off_x * surface.grain[0] + off_y * surface.grain[1]
    along_squared = np.maximum(off_x**2 + off_y**2 - across**2, 0)
    spread_across = surface.rough_across**2 + lamp**2
    spread_along = surface.rough_along**2 + lamp**2
    lobe = np.exp(-(across**2) / spread_across - along_squared / spread_along)
    # energy is kept: what spreads further is dimmer, measured against a finish of 0.3
    return lobe * ((0.09 + lamp**2) / np.sqrt(spread_across * spread_along))


def _visibility(relief: Array, exposure: Exposure) -> tuple[Array, Array]:
    """Two (n, n) shares 0..1: of the main lamp, and of the sky, that each sample sees."""
    coarse = bin_samples(relief[None])[0]
    size = coarse.shape[0]
    blocked = np.zeros_like(coarse)
    longest = _TALLEST / SHADOW_SLOPE * size / 2  # pixels
    padding = int(np.ceil(longest)) + 1
    padded = np.pad(coarse, padding, mode="edge")
    for step in np.linspace(0, longest, 13).tolist()[1:]:
        row = padding + round(math.sin(exposure.azimuth) * step)
        column = padding + round(math.cos(exposure.azimuth) * step)
        towards_lamp = padded[row : row + size, column : column + size]
        over = towards_lamp - coarse - step * 2 / size * SHADOW_SLOPE
        # a wide lamp: the further the blocker, the softer the shadow
        np.maximum(blocked, over / (0.006 + 0.2 * step * 2 / size), out=blocked)
    sunlit = 1 - 0.8 * np.clip(gaussian_filter(blocked, 0.004 * size, truncate=3), 0, 1)
    pit = gaussian_filter(coarse, _OCCLUSION_SIGMA * size, truncate=2.5) - coarse
    crack = gaussian_filter(coarse, 0.004 * size, truncate=3) - coarse
    open_sky = 1 / (1 + 9 * np.maximum(pit, 0) + 24 * np.maximum(crack, 0))
    return _unbin(sunlit), _unbin(open_sky)


def bin_samples(planes: Array) -> Array:
    """(c, n, n) samples -> (c, size, size) pixels, averaged as a pixel does."""
    step = SUPERSAMPLING
    corners = (planes[:, i::step, j::step] for i in range(step) for j in range(step))
    return sum(corners) / np.float32(step * step)


def _unbin(plane: Array) -> Array:
    """(size, size) -> (n, n), each value repeated."""
    return plane.repeat(SUPERSAMPLING, axis=0).repeat(SUPERSAMPLING, axis=1)


def _vignette(size: int) -> Array:
    """(size, size) brightness over the picture: full in the middle, 12 % less in the corners."""
    line = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    return 1 - 0.06 * (line[:, None] ** 2 + line[None, :] ** 2)


def _develop(light: Array, noise: float, rng: np.random.Generator) -> Array:
    """(3, size, size) linear light -> (size, size, 3) uint8 sRGB with shot and read-out noise."""
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    grain += 0.6 * rng.standard_normal(light.shape[1:], dtype=np.float32)  # common to all channels
    light = light + noise * np.sqrt(np.maximum(light, 0) + 0.02) * grain
    # a camera's tone curve, with toe and shoulder (fit by K. Narkowicz, 2015)
    light = np.maximum(light, 0)
    light = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    light = np.clip(light, 0, 1)
    srgb = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    return np.moveaxis(srgb * 255 + 0.5, 0, -1).clip(0, 255).astype(np.uint8)
