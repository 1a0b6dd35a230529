"""What may happen to a photo on its way from part to file, in controlled steps.

Each perturbation is a pure function of picture, strength and random numbers; strength 0 is the
picture itself. They act on the photo as the camera gave it, before the model's image processor
makes it smaller. Lengths are shares of the photo, so that photos of all resolutions are changed
alike; noise and JPEG act on the pixels that there are, as they do in a camera.

    >>> photo = Image.new("RGB", (4, 4), (100, 100, 100))
    >>> brighter, mask = PERTURBATIONS["brightness"].apply(photo, None, 1.0, seed=0)
    >>> brighter.getpixel((0, 0)), mask
    ((138, 138, 138), None)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

Mask = Image.Image | None
Change = Callable[[Image.Image, float, np.random.Generator], Image.Image]

DAYLIGHT = 6504.0  # kelvin, the white of sRGB
MIRED = 1e6  # mired = MIRED / kelvin; equal steps of it look equal (the scale of colour filters)
FULL_QUALITY = 100  # of JPEG


@dataclass(frozen=True)
class Perturbation:
    """One way in which a photo changes."""

    name: str
    strengths: tuple[float, ...]  # weakest first on each side; 0, no change, is left out
    wording: Callable[[float], str]  # a strength in words
    change: Change  # what it does to an RGB picture
    moves: bool = False  # whether the part moves, so that its mask has to move as well

    def apply(
        self, image: Image.Image, mask: Mask, strength: float, seed: int | tuple[int, ...]
    ) -> tuple[Image.Image, Mask]:
        """Change a photo and, where the part moves, its mask; both keep their size.

        Args:
            image: RGB; it is not changed itself.
            mask: mode L of the same size, or None.
            strength: in the unit that `wording` says; 0 changes nothing.
            seed: of what is random; the same seed gives the same pixels, and one seed the same
                direction and the same grain at every strength.
        """
        if strength == 0:
            return image, mask
        changed = self.change(image, strength, np.random.default_rng(seed))
        if self.moves and mask is not None:
            mask = self.change(mask, strength, np.random.default_rng(seed))
        return changed, mask


def brighten(image: Image.Image, stops: float, _: np.random.Generator) -> Image.Image:
    """Expose longer: twice the light a stop, clipped at white as a sensor does."""
    return _light(image, [2.0**stops] * 3)


def warm(image: Image.Image, mired: float, _: np.random.Generator) -> Image.Image:
    """Light a scene that was balanced for daylight by a lamp `mired` warmer (if < 0, colder).

    The lamp is a black body. Red, green and blue light are scaled by what it gives of each, and
    the brightness of grey stays (von Kries's rule, in linear sRGB).
    """
    red, green, blue = _black_body(MIRED / (MIRED / DAYLIGHT + mired)) / _black_body(DAYLIGHT)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return _light(image, [red / luminance, green / luminance, blue / luminance])


def stretch_contrast(image: Image.Image, share: float, _: np.random.Generator) -> Image.Image:
    """Spread grey values around the picture's mean by `1 + share`; less than 0 flattens them."""
    return ImageEnhance.Contrast(image).enhance(1 + share)


def blur(image: Image.Image, percent: float, _: np.random.Generator) -> Image.Image:
    """Defocus: a Gaussian whose deviation is a share of the photo's longer side."""
    return image.filter(ImageFilter.GaussianBlur(percent / 100 * max(image.size)))


def add_noise(image: Image.Image, levels: float, rng: np.random.Generator) -> Image.Image:
    """Sensor noise: independent Gaussian numbers a pixel and channel, deviation in grey levels."""
    pixels = np.asarray(image, dtype=np.float32)
    noisy = pixels + np.float32(levels) * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def compress(image: Image.Image, lost: float, _: np.random.Generator) -> Image.Image:
    """Save as JPEG of quality `100 - lost`, with Pillow's colour subsampling, and open again."""
    file = BytesIO()
    image.save(file, "JPEG", quality=round(FULL_QUALITY - lost))
    with Image.open(file) as opened:
        return opened.convert("RGB")


def rotate(image: Image.Image, degrees: float, rng: np.random.Generator) -> Image.Image:
    """Turn around the centre, one way or the other; what comes into view mirrors what was there.

    A black corner would be judged as a defect, and a smeared border as well.
    """
    angle = degrees * rng.choice((-1, 1))
    margin = math.ceil(max(image.size) * abs(math.sin(math.radians(angle))) / 2) + 2
    resample = Image.Resampling.NEAREST if image.mode == "L" else Image.Resampling.BICUBIC
    return _framed(image, margin, lambda framed: framed.rotate(angle, resample=resample))


def shift(image: Image.Image, percent: float, rng: np.random.Generator) -> Image.Image:
    """Move by a share of the longer side in any direction; the border mirrors as in `rotate`.

    By whole pixels, so that nothing is blurred.
    """
    angle = rng.uniform(0, 2 * math.pi)
    length = percent / 100 * max(image.size)
    across, down = round(length * math.cos(angle)), round(length * math.sin(angle))
    margin = max(abs(across), abs(down))
    return _framed(image, margin, lambda framed: framed, (across, down))


LADDERS = (
    Perturbation("brightness", (-0.25, -0.5, -1, 0.25, 0.5, 1), "{:+g} stops".format, brighten),
    Perturbation(
        "contrast", (-0.2, -0.4, 0.2, 0.4), lambda share: f"{100 * share:+.0f} %", stretch_contrast
    ),
    Perturbation("colour temperature", (-25, -50, 25, 50), "{:+g} mired".format, warm),
    Perturbation("blur", (0.1, 0.2, 0.4), "{:g} % of the side".format, blur),
    Perturbation("noise", (2, 5, 10), "{:g} grey levels".format, add_noise),
    Perturbation(
        "JPEG", (5, 10, 25, 50), lambda lost: f"quality {FULL_QUALITY - lost:g}", compress
    ),
    Perturbation("rotation", (2, 5), "{:g}°".format, rotate, moves=True),
    Perturbation("shift", (1, 2, 4), "{:g} % of the side".format, shift, moves=True),
)
PERTURBATIONS = {one.name: one for one in LADDERS}


def _framed(
    image: Image.Image,
    margin: int,
    change: Callable[[Image.Image], Image.Image],
    offset: tuple[int, int] = (0, 0),
) -> Image.Image:
    """Change a picture with its mirror images around it, move it by the offset and cut it out."""
    pixels = np.asarray(image)
    around = [(margin, margin), (margin, margin), (0, 0)][: pixels.ndim]
    framed = change(Image.fromarray(np.pad(pixels, around, mode="symmetric")))
    left, top = margin - offset[0], margin - offset[1]
    return framed.crop((left, top, left + image.width, top + image.height))


def _light(image: Image.Image, gains: list[float]) -> Image.Image:
    """Scale the light of red, green and blue; grey values of sRGB stand for light by a curve."""
    values = np.arange(256) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    scaled = np.clip(np.outer(gains, light), 0, 1)  # (3, 256)
    encoded = np.where(scaled <= 0.0031308, 12.92 * scaled, 1.055 * scaled ** (1 / 2.4) - 0.055)
    return image.point((255 * encoded).round().astype(int).ravel().tolist())


def _black_body(kelvin: float) -> np.ndarray:
    """(3,) linear sRGB of a black body's light, luminance 1, for 4,000 to 25,000 K.

    Kim et al.: Design of advanced color temperature control system for HDTV applications (2002),
    a cubic fit of the Planckian locus; then the matrix of IEC 61966-2-1.
    """
    thousands = 1e3 / kelvin
    x = -3.0258469 * thousands**3 + 2.1070379 * thousands**2 + 0.2226347 * thousands + 0.24039
    y = 3.081758 * x**3 - 5.8733867 * x**2 + 3.75112997 * x - 0.37001483
    to_rgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    return np.array(to_rgb) @ [x / y, 1.0, (1 - x - y) / y]
