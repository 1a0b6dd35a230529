"""What one photo says of itself: size, light, sharpness, digests, and its defect's extent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from evaluation.explore.sources import TEST, Problem, StoredPhoto
from evaluation.pixel_metrics import EIGHT_CONNECTED
from modeling import open_photo

GREY_SIDE = 64  # of the small grey picture that near copies are found by
COLOUR_SIDE = 16  # of the small colour picture that says how a photo looks as a whole
THUMBNAIL_SIDE = 192  # longer side, pixels
THUMBNAIL_QUALITY = 80
OUTLINE = (213, 94, 0)  # vermilion, as `evaluation.documents.charts.ANOMALOUS`
HALF_GREY = 127  # a mask is anomalous above it, as in `evaluation.evaluate.prediction.masks_of`
MOST_OF_A_PICTURE = 0.5
QUANTITIES = {  # attributes of `PhotoFacts`, and what they are
    "brightness": "mean of the picture, 0 black to 1 white",
    "contrast": "standard deviation of the picture's brightness",
    "sharpness": "variance of the Laplacian, grey levels squared",
}


@dataclass(frozen=True)
class PhotoFacts:
    """What was measured on one photo, upright and in 8-bit RGB, as the model gets it.

    Attributes:
        stored: which photo.
        size: (width, height) in pixels, upright.
        mode, file_format: as stored, by Pillow's names, such as RGB, L or I;16, and PNG.
        brightness: mean luminance (ITU-R BT.601), 0 black to 1 white.
        contrast: standard deviation of the luminance, 0 to 0.5 (RMS contrast; Peli, Journal of the
            Optical Society of America A 1990).
        sharpness: variance of the Laplacian of the luminance in grey levels of 0..255 (Pech-Pacheco
            et al., ICPR 2000), at the photo's own size. Noise raises it as detail does: compare
            only photos of one part and one size.
        defect_area: share of the picture that its mask marks, 0..1; None without a usable mask.
        components: number of 8-connected regions of the mask; None without.
        file_digest: BLAKE2 of the file.
        pixel_digest: BLAKE2 of size and upright RGB pixels: equal for a PNG and the BMP of it.
        grey, colour: (64, 64) and (16, 16, 3) uint8.
        thumbnail: JPEG, the mask outlined.
    """

    stored: StoredPhoto
    size: tuple[int, int]
    mode: str
    file_format: str
    brightness: float
    contrast: float
    sharpness: float
    defect_area: float | None
    components: int | None
    file_digest: str
    pixel_digest: str
    grey: np.ndarray
    colour: np.ndarray
    thumbnail: bytes


def examine(stored: StoredPhoto) -> tuple[PhotoFacts | None, list[Problem]]:
    """Measure a photo and its mask, each read once; and tell what is wrong with them.

    There are no facts where the photo can't be read.
    """
    try:
        content = _content(stored.photo)
        with _verified(content) as image:
            mode, file_format = image.mode, image.format or ""
            image.load()
            photo = open_photo(image)
    except Exception as error:  # each format's decoder raises its own kinds
        return None, [_problem("unreadable_photo", stored, _reason(error))]
    mask, problems = _read_mask(stored, photo.size)
    area = components = None
    if mask is not None:
        area, components = float(mask.mean()), ndimage.label(mask, EIGHT_CONNECTED)[1]
        problems += _odd_mask(stored, area)
    luminance = photo.convert("L")
    brightness, contrast = _brightness_and_contrast(luminance)
    small = photo.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BILINEAR, reducing_gap=3)
    facts = PhotoFacts(
        stored=stored,
        size=photo.size,
        mode=mode,
        file_format=file_format,
        brightness=brightness,
        contrast=contrast,
        sharpness=variance_of_laplacian(np.asarray(luminance)),
        defect_area=area,
        components=components,
        file_digest=_hash(content),
        pixel_digest=_hash(repr(photo.size).encode(), np.asarray(photo)),
        grey=np.asarray(luminance.resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BILINEAR)),
        colour=np.asarray(small),
        thumbnail=_thumbnail(photo, mask),
    )
    return facts, problems


def variance_of_laplacian(luminance: np.ndarray) -> float:
    """Sharpness of a grey picture, (H, W) uint8; 0 where it is too small to have any."""
    grey = luminance.astype(np.int16)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian -= 4 * grey[1:-1, 1:-1]
    return float(laplacian.var(dtype=np.float64)) if laplacian.size else 0.0


def _verified(content: bytes) -> Image.Image:
    """A picture whose checksums are right, which the decoder reads over and training refuses."""
    with Image.open(BytesIO(content)) as image:
        image.verify()
    return Image.open(BytesIO(content))


def _read_mask(
    stored: StoredPhoto, size: tuple[int, int]
) -> tuple[np.ndarray | None, list[Problem]]:
    """The mask, (H, W) bool, where it is there and fits its photo."""
    if stored.mask is None:
        missing = stored.split == TEST and not stored.is_good
        return None, [_problem("photo_without_mask", stored)] if missing else []
    try:
        with _verified(_content(stored.mask)) as image:
            mask = np.asarray(image.convert("L")) > HALF_GREY
    except Exception as error:  # each format's decoder raises its own kinds
        return None, [_problem("unreadable_mask", stored, _reason(error))]
    height, width = mask.shape
    if (width, height) != size:
        found = f"the mask is {width} x {height}, the photo {size[0]} x {size[1]}"
        return None, [_problem("mask_size", stored, found)]
    return mask, []


def _odd_mask(stored: StoredPhoto, area: float) -> list[Problem]:
    if stored.is_good:
        return [_problem("good_with_defect", stored)] if area else []
    if area == 0:
        return [_problem("empty_mask", stored)]
    if area > MOST_OF_A_PICTURE:
        return [_problem("large_mask", stored, f"{area:.0%} of the picture")]
    return []


def _brightness_and_contrast(luminance: Image.Image) -> tuple[float, float]:
    counts = np.asarray(luminance.histogram(), dtype=np.float64)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    return float(mean), float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _thumbnail(photo: Image.Image, mask: np.ndarray | None) -> bytes:
    small = photo.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    if mask is not None and mask.any():
        # By area, and anything above nothing: a defect of a few pixels stays on the sheet.
        grey = Image.fromarray(mask.astype(np.uint8) * 255).convert("F")
        marked = np.asarray(grey.resize(small.size, Image.Resampling.BOX)) > 0
        outline = ndimage.binary_dilation(marked, EIGHT_CONNECTED, iterations=2) & ~marked
        pixels = np.array(small)
        pixels[outline] = OUTLINE
        small = Image.fromarray(pixels)
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _content(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _hash(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _problem(kind: str, stored: StoredPhoto, detail: str = "") -> Problem:
    return Problem(kind, stored.category, stored.name, detail)


def _reason(error: Exception) -> str:
    """One line, without the address of the buffer that Pillow names."""
    text = " ".join(str(error).split())
    if not text or "BytesIO" in text:
        return "not a picture" if text else type(error).__name__
    return text if not isinstance(error, OSError) or not error.strerror else error.strerror
