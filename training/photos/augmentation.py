"""Good parts in every way in which a good part may lie: rotated, mirrored, shifted, lit, noisy.

Whatever changes the part is off unless the category allows it: a rotated screw is a good screw, but
a part that always lies the same way and is found rotated is a defect. What changes only the file is
on: a photo that was made smaller or sent as a JPEG shows the same part.
"""

from __future__ import annotations

import dataclasses
import io
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from modeling.checks import check_number

TURNING = 45  # degrees
STILL, AT_REST = 5, 0.03  # degrees and share of the side: a part that moves so little lies still
GAMMA = 2.2  # of the curve by which cameras store light
MIRROR, EDGE = "reflection", "border"  # what lies outside a picture, as torch calls it


@dataclass(frozen=True)
class Augmentation:
    """What a category allows; every draw is uniform within it. Out of range is a ValueError."""

    rotation: float = 0.0  # degrees to either side, 0 to 180; 180 is any rotation
    flip_horizontal: float = 0.0  # probability of mirroring left and right, 0 to 1
    flip_vertical: float = 0.0  # probability of mirroring top and bottom, 0 to 1
    shift: float = 0.0  # share of the side to either direction, 0 to 0.5
    brightness: float = 0.0  # added to the picture, to either side, 0 to 1 of full scale
    contrast: float = 0.0  # factor around the picture's mean, 1 minus to 1 plus this; 0 to 1
    zoom: float = 0.0  # share of the side by which the camera is nearer or farther, 0 to 0.5
    exposure: float = 0.0  # stops of light more or less, 0 to 4
    tint: float = 0.0  # share by which red rises and blue falls, or the other way, 0 to 0.5
    noise: float = 0.0  # largest standard deviation of the sensor noise, 0 to 1 of full scale
    # The largest share of the side that is lost when the photo is made smaller and enlarged again,
    # and the largest loss of a JPEG (0.25 is quality 75), 0 to 0.9 both. Each leaves half of the
    # photos as they are.
    resampling: float = 0.4
    compression: float = 0.25

    def __post_init__(self) -> None:
        most = {"rotation": 180, "shift": 0.5, "zoom": 0.5, "exposure": 4, "tint": 0.5}
        most |= {"resampling": 0.9, "compression": 0.9}
        for name, value in vars(self).items():
            check_number(f"augmentation.{name}", value, 0, most.get(name, 1))

    @property
    def turns(self) -> bool:
        """Whether the part may lie in such different ways that no place on it has a place here."""
        return self.rotation >= TURNING

    @property
    def moves(self) -> bool:
        """Whether the part may lie elsewhere than where the photos have it."""
        mirrored = self.flip_horizontal or self.flip_vertical
        return bool(mirrored or self.rotation > STILL or self.shift > AT_REST)


UNCHANGED = Augmentation(resampling=0, compression=0)
FIXED = Augmentation()  # the part always lies the same way
ANY_ROTATION = Augmentation(rotation=180)
MIRRORED = Augmentation(flip_horizontal=0.5, flip_vertical=0.5)

# What the good parts of MVTec AD and of this project's synthetic parts show. Mirroring is off where
# it makes another part: a mirrored screw has a left-hand thread, a mirrored nut lies upside down.
PRESETS = {
    **dict.fromkeys(("bottle", "cable", "capsule", "pill", "toothbrush", "transistor"), FIXED),
    **dict.fromkeys(("zipper", "flange_nut", "fabric"), FIXED),
    **dict.fromkeys(("hazelnut", "metal_nut", "screw", "key"), ANY_ROTATION),
    **dict.fromkeys(("carpet", "grid", "leather", "tile"), MIRRORED),
    "wood": Augmentation(flip_horizontal=0.5),
}


def augmentation_for(category: str, overrides: dict[str, float] | None = None) -> Augmentation:
    """The category's preset (nothing for one that has none) with fields overridden.

    An unknown field or a value out of range is a ValueError.
    """
    known = [field.name for field in dataclasses.fields(Augmentation)]
    unknown = sorted({*(overrides or {})} - {*known})
    if unknown:
        raise ValueError(f"augmentation knows {', '.join(known)}, found {', '.join(unknown)}.")
    return dataclasses.replace(PRESETS.get(category, FIXED), **(overrides or {}))


def augment(
    picture: np.ndarray, augmentation: Augmentation, generator: np.random.Generator
) -> np.ndarray:
    """A good part, (H, W, 3) float32 in 0..1, as it might as well have been photographed.

    One augmentation always makes as many draws. Where the picture is moved away from, it is
    mirrored.
    """
    angle = generator.uniform(-augmentation.rotation, augmentation.rotation)
    across, down = generator.uniform(-augmentation.shift, augmentation.shift, size=2)
    mirror_across = generator.random() < augmentation.flip_horizontal
    mirror_down = generator.random() < augmentation.flip_vertical
    brightness = generator.uniform(-augmentation.brightness, augmentation.brightness)
    contrast = 1 + generator.uniform(-augmentation.contrast, augmentation.contrast)
    noise = generator.uniform(0, augmentation.noise)
    resampling = generator.uniform(-augmentation.resampling, augmentation.resampling)
    compression = generator.uniform(-augmentation.compression, augmentation.compression)
    zoom, exposure, tint = (
        generator.uniform(-most, most) if most else 0.0
        for most in (augmentation.zoom, augmentation.exposure, augmentation.tint)
    )

    if mirror_across:
        picture = picture[:, ::-1]
    if mirror_down:
        picture = picture[::-1]
    if angle or across or down or zoom:
        picture = moved_picture(picture, angle, across, down, zoom)
    if exposure or tint:
        colours = np.array([1 + tint, 1, 1 - tint]) * 2 ** (exposure / GAMMA)
        picture = picture * colours.astype(np.float32)
    if augmentation.contrast or augmentation.brightness:
        mean = picture.mean()
        picture = mean + contrast * (picture - mean) + brightness
    if noise:
        picture = picture + noise * generator.standard_normal(picture.shape, dtype=np.float32)
    picture = np.clip(picture, 0, 1).astype(np.float32)
    if resampling > 0:
        picture = _resample(picture, 1 - resampling)
    return _compress(picture, 1 - compression) if compression > 0 else picture


def _resample(picture: np.ndarray, scale: float) -> np.ndarray:
    """Make smaller by a factor under 1, and enlarge again."""
    height, width = picture.shape[:2]
    image = Image.fromarray(_to_bytes(picture))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = image.resize(small, Image.Resampling.BILINEAR)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 255


def _compress(picture: np.ndarray, quality: float) -> np.ndarray:
    """As a JPEG of this quality, in 0..1, shows it."""
    file = io.BytesIO()
    Image.fromarray(_to_bytes(picture)).save(file, "JPEG", quality=round(100 * quality))
    return np.asarray(Image.open(file), np.float32) / 255


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return (picture * 255).round().astype(np.uint8)


def moved_picture(
    picture: np.ndarray,
    angle: float = 0.0,
    across: float = 0.0,
    down: float = 0.0,
    zoom: float = 0.0,
    outside: str = MIRROR,
) -> np.ndarray:
    """A picture, (H, W, 3), turned by degrees about the centre, shifted and zoomed by shares of it.

    What comes in from outside is the picture's mirror image, or its edge.
    """
    radians = np.deg2rad(angle)
    cosine, sine = np.cos(radians) / (1 + zoom), np.sin(radians) / (1 + zoom)
    # Coordinates run from -1 to 1, so a shift by the whole side is 2.
    matrix = torch.tensor(
        [[[cosine, -sine, 2 * across], [sine, cosine, 2 * down]]], dtype=torch.float32
    )
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, padding_mode=outside, align_corners=False)
    return moved[0].permute(1, 2, 0).numpy()
