"""Good parts in every way in which a good part may lie: rotated, mirrored, shifted, lit, noisy.

Everything is off unless the category allows it: a rotated screw is a good screw, but a part that
always lies the same way and is found rotated is a defect.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from modeling.configuration import check_number


@dataclass(frozen=True)
class Augmentation:
    """What a category allows; every draw is uniform within it.

    Attributes:
        rotation: degrees to either side, 0 to 180; 180 is any rotation.
        flip_horizontal: probability of mirroring left and right, 0 to 1.
        flip_vertical: probability of mirroring top and bottom, 0 to 1.
        shift: share of the side to either direction, 0 to 0.5.
        brightness: added to the picture, to either side, 0 to 1 of full scale.
        contrast: factor around the picture's mean, 1 minus to 1 plus this; 0 to 1.
        noise: largest standard deviation of the sensor noise, 0 to 1 of full scale.

    Raises:
        ValueError: on a value out of range.
    """

    rotation: float = 0.0
    flip_horizontal: float = 0.0
    flip_vertical: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_number("augmentation.rotation", self.rotation, 0, 180)
        check_number("augmentation.shift", self.shift, 0, 0.5)
        for name in ("flip_horizontal", "flip_vertical", "brightness", "contrast", "noise"):
            check_number(f"augmentation.{name}", getattr(self, name), 0, 1)


FIXED = Augmentation()
ANY_ROTATION = Augmentation(rotation=180)
MIRRORED = Augmentation(flip_horizontal=0.5, flip_vertical=0.5)

# What the good parts of MVTec AD and of this project's synthetic parts show. Mirroring is off where
# it makes another part: a mirrored screw has a left-hand thread, a mirrored nut lies upside down.
PRESETS = {
    "bottle": FIXED,
    "cable": FIXED,
    "capsule": FIXED,
    "carpet": MIRRORED,
    "grid": MIRRORED,
    "hazelnut": ANY_ROTATION,
    "leather": MIRRORED,
    "metal_nut": ANY_ROTATION,
    "pill": FIXED,
    "screw": ANY_ROTATION,
    "tile": MIRRORED,
    "toothbrush": FIXED,
    "transistor": FIXED,
    "wood": Augmentation(flip_horizontal=0.5),
    "zipper": FIXED,
    "flange_nut": FIXED,
    "key": ANY_ROTATION,
    "fabric": FIXED,
}


def augmentation_for(category: str, overrides: dict[str, float] | None = None) -> Augmentation:
    """The category's preset (nothing for one that has none) with fields overridden.

    Args:
        category: the product.
        overrides: fields of `Augmentation` to values.

    Raises:
        ValueError: on an unknown field or a value out of range.
    """
    known = [field.name for field in dataclasses.fields(Augmentation)]
    unknown = sorted({*(overrides or {})} - {*known})
    if unknown:
        raise ValueError(f"augmentation knows {', '.join(known)}, found {', '.join(unknown)}.")
    return dataclasses.replace(PRESETS.get(category, FIXED), **(overrides or {}))


def augment(
    picture: np.ndarray, augmentation: Augmentation, generator: np.random.Generator
) -> np.ndarray:
    """A good part as it might as well have been photographed.

    Args:
        picture: (H, W, 3), float32 in 0..1.
        augmentation: what the category allows.
        generator: makes every draw, always the same number of them.

    Returns:
        A new (H, W, 3), float32 in 0..1; where the picture was moved away from, it is mirrored.
    """
    angle = generator.uniform(-augmentation.rotation, augmentation.rotation)
    across, down = generator.uniform(-augmentation.shift, augmentation.shift, size=2)
    mirror_across = generator.random() < augmentation.flip_horizontal
    mirror_down = generator.random() < augmentation.flip_vertical
    brightness = generator.uniform(-augmentation.brightness, augmentation.brightness)
    contrast = 1 + generator.uniform(-augmentation.contrast, augmentation.contrast)
    noise = generator.uniform(0, augmentation.noise)

    if mirror_across:
        picture = picture[:, ::-1]
    if mirror_down:
        picture = picture[::-1]
    if angle or across or down:
        picture = _move(picture, angle, across, down)
    if augmentation.contrast or augmentation.brightness:
        mean = picture.mean()
        picture = mean + contrast * (picture - mean) + brightness
    if noise:
        picture = picture + noise * generator.standard_normal(picture.shape, dtype=np.float32)
    return np.clip(picture, 0, 1).astype(np.float32)


def _move(picture: np.ndarray, angle: float, across: float, down: float) -> np.ndarray:
    """Rotate by degrees about the centre, shift by shares of the side; mirrored at the border."""
    radians = np.deg2rad(angle)
    cosine, sine = np.cos(radians), np.sin(radians)
    # Coordinates run from -1 to 1, so a shift by the whole side is 2.
    matrix = torch.tensor(
        [[[cosine, -sine, 2 * across], [sine, cosine, 2 * down]]], dtype=torch.float32
    )
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return moved[0].permute(1, 2, 0).numpy()
