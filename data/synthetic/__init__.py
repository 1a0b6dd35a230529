"""Procedural parts for tests and for the demo: photos of good and defective parts with exact masks.

    >>> photo = render("flange_nut", seed=7, defect="scratch", size=128)
    >>> photo.image.size, photo.mask.getextrema()
    ((128, 128), (0, 255))

A part is a height map with materials (``surface``, ``flange_nut``, ``key``, ``fabric``); a defect
changes both (``defects``); only then lamp and camera make a picture of it (``camera``). A defect
therefore casts its own shadow and catches its own highlight, and its mask is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from PIL import Image

from . import fabric, flange_nut, key
from .camera import SUPERSAMPLING, Exposure, photograph
from .defects import inflict

_MODULES: dict[str, ModuleType] = {"flange_nut": flange_nut, "key": key, "fabric": fabric}
PARTS: tuple[str, ...] = tuple(_MODULES)  # names that are accepted behind `synthetic:`


@dataclass(frozen=True)
class SyntheticPhoto:
    """One photo of a procedural part."""

    image: Image.Image  # RGB, size x size
    # Mode L, 255 on the pixels that the defect touched and 0 elsewhere; None for a good part.
    mask: Image.Image | None
    defect: str  # its kind, or "good"


def defects_of(part: str) -> tuple[str, ...]:
    """Kinds of defect that a part offers, without ``"good"``."""
    return tuple(_module(part).DEFECTS)


def render(part: str, *, seed: int, defect: str = "good", size: int = 256) -> SyntheticPhoto:
    """Take a photo of a part, good or with one of its defects, 64 to 1024 pixels wide and high.

    The same arguments give the same bytes. One seed, 0 or more, gives one part, pose, lamp and
    sensor noise, whatever the defect: beyond the defect's shadow, the photos of a seed are equal.
    The geometry scales with the size. An unknown part or defect, a negative seed or a size out of
    range is a ValueError.
    """
    module = _module(part)
    if defect != "good" and defect not in module.DEFECTS:
        raise ValueError(
            f"{part} has no defect {defect!r}; choose good or one of {', '.join(module.DEFECTS)}."
        )
    if not 64 <= size <= 1024:
        raise ValueError(f"size must lie between 64 and 1024 pixels, but is {size}.")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, but is {seed}.")
    of_part, of_exposure, of_noise = (np.random.default_rng([seed, i]) for i in range(3))
    surface = module.build(size * SUPERSAMPLING, of_part)
    mask = None
    if defect != "good":
        # each kind its own place: otherwise all defects of a seed would sit on one spot
        of_defect = np.random.default_rng([seed, 3, *defect.encode()])
        touched = inflict(module.DEFECTS[defect], surface, of_defect)
        mask = Image.fromarray(touched.astype(np.uint8) * 255)
    pixels = photograph(surface, Exposure(of_exposure), of_noise)
    return SyntheticPhoto(image=Image.fromarray(pixels), mask=mask, defect=defect)


def _module(part: str) -> ModuleType:
    if part not in _MODULES:
        raise ValueError(f"There is no synthetic part {part!r}; choose one of {', '.join(PARTS)}.")
    return _MODULES[part]
