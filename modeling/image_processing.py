"""Photo -> pixel_values, and back to the photo's geometry.

The only place that opens, turns, converts and resizes photos, so that training, evaluation,
pipeline and app see the same pixels. The processor's settings are saved beside the weights.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling

Photo = str | os.PathLike | Image.Image

MAX_PHOTO_PIXELS = 100_000_000  # a decoded RGB photo of this size takes 300 MB
MAX_DOWNLOAD_BYTES = 64 * 2**20
DOWNLOAD_TIMEOUT = 30  # seconds
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class PhotoError(ValueError):
    """A photo can't be read; the message is one sentence for the person who gave it."""


def open_photo(source: Photo) -> Image.Image:
    """Open a photo: upright, 8 bit, RGB, fully decoded.

    Args:
        source: a path, an http(s) address, or a PIL image.

    Returns:
        RGB picture, turned upright by its EXIF orientation.

    Raises:
        PhotoError: when there is no such file, it is no readable picture, or it is too large.
    """
    if isinstance(source, Image.Image):
        return to_upright_rgb(source, "The photo")
    name = Path(str(source)).name or str(source)
    try:
        with Image.open(_as_file(source)) as image:
            return to_upright_rgb(image, name)
    except FileNotFoundError as error:
        raise PhotoError(f"{source} was not found; check the path of the photo.") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{source} is a folder; give the path of a photo.") from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a picture that can be read; give a PNG, JPEG, BMP, TIFF or WebP file."
        ) from error
    except Image.DecompressionBombError as error:
        raise PhotoError(_too_large(name)) from error
    except PhotoError:
        raise
    except (OSError, ValueError, SyntaxError) as error:  # truncated files, by format
        raise PhotoError(
            f"{name} is damaged and could not be decoded; save or take the photo again."
        ) from error


def to_upright_rgb(image: Image.Image, name: str = "The photo") -> Image.Image:
    """Turn a picture of any mode upright and into 8-bit RGB.

    16-bit and float pictures are scaled from their own range (a plain conversion clips them to
    white); transparency is laid on white. Of an animation, the current frame is taken.

    Args:
        image: any PIL picture.
        name: what the message of an error calls it.

    Raises:
        PhotoError: when it has more than `MAX_PHOTO_PIXELS` pixels or none.
    """
    width, height = image.size
    if width * height > MAX_PHOTO_PIXELS:
        raise PhotoError(_too_large(name))
    if width * height == 0:
        raise PhotoError(f"{name} has no pixels; take the photo again.")
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT_MODES:
        image = _scale_to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _scale_to_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    # Scaling by the bit depth, not by the picture's own extremes, keeps a dark photo dark.
    peak = values.max(initial=0)
    full = 1.0 if peak <= 1 else 255.0 if peak <= 255 else 4095.0 if peak <= 4095 else 65535.0
    return Image.fromarray((np.clip(values / full, 0, 1) * 255).round().astype(np.uint8))


def _as_file(source: str | os.PathLike) -> str | os.PathLike | BytesIO:
    address = str(source)
    if not address.startswith(("http://", "https://")):
        return source
    try:
        with urllib.request.urlopen(address, timeout=DOWNLOAD_TIMEOUT) as response:
            content = response.read(MAX_DOWNLOAD_BYTES + 1)
    except OSError as error:  # URLError, time-out, refused connection
        raise PhotoError(f"{address} could not be downloaded ({error}); check it.") from error
    if len(content) > MAX_DOWNLOAD_BYTES:
        raise PhotoError(f"{address} is larger than {MAX_DOWNLOAD_BYTES // 2**20} MB.")
    return BytesIO(content)


def _too_large(name: str) -> str:
    return (
        f"{name} is too large: at most {MAX_PHOTO_PIXELS // 10**6} megapixels can be inspected; "
        "make it smaller first."
    )


class InspectionImageProcessor(PilBackend):
    """Photo to `pixel_values`, (B, 3, size, size) in 0..1.

    The whole photo is stretched to the model's square input, so nothing at its border is cut off.
    There is no mean and standard deviation here: models take 0..1, and one that needs its input
    normalised does it inside.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012  (transformers' own convention)
    resample = PILImageResampling.BILINEAR
    size = {"height": 256, "width": 256}  # noqa: RUF012
    do_resize = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = False
    do_convert_rgb = True

    def process_image(self, image: Any, **kwargs: Any) -> np.ndarray:
        """Turn a PIL picture upright and into RGB before anything else; arrays pass as they are."""
        if isinstance(image, Image.Image):
            image = to_upright_rgb(image)
        return super().process_image(image, **kwargs)

    def post_process_anomaly_map(
        self, anomaly_map: Tensor, target_sizes: Sequence[tuple[int, int]]
    ) -> list[np.ndarray]:
        """Bring anomaly maps to the geometry of their photos.

        Args:
            anomaly_map: (B, h, w), at the model's input size.
            target_sizes: (height, width) of each photo, B of them.

        Returns:
            B arrays (height, width), float32, bilinearly resized.

        Raises:
            ValueError: when the numbers of maps and sizes differ.
        """
        if len(anomaly_map) != len(target_sizes):
            raise ValueError(
                f"target_sizes must name one (height, width) a map, found {len(target_sizes)} "
                f"sizes for {len(anomaly_map)} maps."
            )
        maps = anomaly_map.detach().float().cpu()
        return [_resize_map(single, size) for single, size in zip(maps, target_sizes, strict=True)]


def _resize_map(anomaly_map: Tensor, size: tuple[int, int]) -> np.ndarray:
    resized = F.interpolate(
        anomaly_map[None, None], size=tuple(size), mode="bilinear", antialias=True
    )
    return torch.clamp_min(resized, 0)[0, 0].numpy()
