"""Photo -> pixel_values, and back to the photo's geometry.

Only here photos are opened, turned, converted and resized, so that all see the same pixels. The
processor's settings are saved beside the weights.
"""

from __future__ import annotations

import http.client
import io
import os
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

DEFAULT_SIDE = 448  # pixels of the square model input; the default of configuration and processor

MAX_PHOTO_PIXELS = 100_000_000  # a decoded RGB photo of this size takes 300 MB
MAX_DOWNLOAD_BYTES = 64 * 2**20
DOWNLOAD_TIMEOUT = 30  # seconds
# What cameras, phones and browsers write. Pillow knows forty formats more, of which some start
# other programs (EPS runs Ghostscript) and some are decoded pixel by pixel in Python.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
MAX_HEADER_BYTES = 8 * 2**20  # before the pixels; a colour profile takes up to 3 MB
MAX_HEADER_READS = 20_000  # a photo's header takes a few dozen
MAX_READS = 300_000  # of a whole photo; 100 megapixels in chunks of 8 kB take 150,000
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


class PhotoError(ValueError):
    """A photo can't be read; the message is one sentence, in English, for the person who gave it.

    `reason` is "no_picture", "damaged", "too_large", "no_pixels" or "overfull", for a program that
    says it in other words; "" where the file was not even opened.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


def open_photo(source: Photo) -> Image.Image:
    """Open a path, an http(s) address or a PIL image: upright by EXIF, 8 bit, RGB, decoded.

    Raises `PhotoError` when there is no such file, it is no readable picture, or it is too large.
    """
    if isinstance(source, Image.Image):
        with _explained("The photo"):
            return to_upright_rgb(source)
    if not isinstance(source, str | os.PathLike):
        raise PhotoError(
            f"A photo is a path, an http(s) address or a PIL image, found {type(source).__name__}; "
            "turn an array into a picture with Image.fromarray."
        )
    name = Path(source).name or str(source)
    with (
        _open_file(source, name) as file,
        _explained(name),
        Image.open(file, formats=FORMATS) as image,
    ):
        file.begin_pixels()
        return to_upright_rgb(image, name)


def to_upright_rgb(image: Image.Image, name: str = "The photo") -> Image.Image:
    """Turn a picture of any mode upright and into 8-bit RGB; of an animation, its current frame.

    16-bit and float pictures are scaled from their own range (a plain conversion clips them to
    white); transparency is laid on white. More than `MAX_PHOTO_PIXELS` pixels, or none, raise
    `PhotoError`, which calls the photo by `name`.
    """
    width, height = image.size
    if width * height > MAX_PHOTO_PIXELS:
        raise _too_large(name)
    if width * height == 0:
        raise PhotoError(f"{name} has no pixels; take the photo again.", "no_pixels")
    image = ImageOps.exif_transpose(image)
    if image.mode in SIXTEEN_BIT_MODES:
        image = _scale_to_8_bit(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _scale_to_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)  # no light was measured
    # Scaling by the bit depth, not by the picture's own extremes, keeps a dark photo dark. How many
    # bits of the 16 a camera fills is not in the file; its brightest pixel says so.
    peak = values.max(initial=0)
    full = 1 if peak <= 1 else 255 if peak <= 255 else 4095 if peak <= 4095 else 65535
    values = np.clip(values, 0, full)
    if values.dtype.kind == "f":
        return Image.fromarray((values * (255 / full)).round().astype(np.uint8))
    levels = (np.arange(full + 1) / full * 255).round().astype(np.uint8)  # of every value there is
    return Image.fromarray(levels[values])


class _PhotoFile(io.BufferedReader):
    """A photo's bytes; refuses to be read in millions of small pieces.

    Pillow reads what lies beside the pixels piece by piece, in Python: a file of nothing but empty
    chunks, or with an endless comment, would hold everybody up for minutes.
    """

    def __init__(self, raw: io.RawIOBase | io.BytesIO, photo: str) -> None:
        super().__init__(raw)
        self._photo = photo  # what the message of an error calls it
        self._reads_left, self._bytes_left = MAX_HEADER_READS, MAX_HEADER_BYTES

    def begin_pixels(self) -> None:
        """What is read from now on is the pixels, which may be many bytes."""
        self._reads_left, self._bytes_left = MAX_READS, float("inf")

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does; raises `PhotoError` when it is too much."""
        self._reads_left -= 1
        if size is not None and size > 0:  # WebP is read as a whole, by its own library
            self._bytes_left -= size
        if self._reads_left < 0 or self._bytes_left < 0:
            raise PhotoError(
                f"{self._photo} holds more beside its pixels than a photo does; save it anew as "
                "PNG or JPEG.",
                "overfull",
            )
        return super().read(size)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Whatever a decoder raises, as one sentence about the photo `name`."""
    try:
        yield
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} is not a picture that can be read; give a PNG, JPEG, BMP, TIFF or WebP file.",
            "no_picture",
        ) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise _too_large(name) from error
    except Exception as error:  # each format's decoder has kinds of its own for damaged data
        raise PhotoError(
            f"{name} is damaged and could not be decoded; save or take the photo again.",
            "damaged",
        ) from error


def _open_file(source: str | os.PathLike, name: str) -> _PhotoFile:
    if str(source).startswith(("http://", "https://")):
        return _PhotoFile(io.BytesIO(_download(str(source))), name)
    try:
        return _PhotoFile(io.FileIO(source), name)
    except FileNotFoundError as error:
        raise PhotoError(f"{source} was not found; check the path of the photo.") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{source} is a folder; give the path of a photo.") from error
    except (OSError, ValueError) as error:  # no permission, too many open files, no path at all
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{name} can't be opened ({reason}); check the file.") from error


def _download(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=DOWNLOAD_TIMEOUT) as response:
            content = response.read(MAX_DOWNLOAD_BYTES + 1)
    # URLError, time-out, refused connection; an answer that breaks off; no address at all.
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PhotoError(f"{address} could not be downloaded ({error}); check it.") from error
    if len(content) > MAX_DOWNLOAD_BYTES:
        raise PhotoError(f"{address} is larger than {MAX_DOWNLOAD_BYTES // 2**20} MB.")
    return content


def _too_large(name: str) -> PhotoError:
    return PhotoError(
        f"{name} is too large: at most {MAX_PHOTO_PIXELS // 10**6} megapixels can be inspected; "
        "make it smaller first.",
        "too_large",
    )


class InspectionImageProcessor(PilBackend):
    """Photo to `pixel_values`, (B, 3, size, size) in 0..1.

    The whole photo is stretched to the model's square input, so nothing at its border is cut off.
    A model that needs its input normalised by mean and deviation does it inside.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012  (transformers' own convention)
    resample = PILImageResampling.BILINEAR
    size = {"height": DEFAULT_SIDE, "width": DEFAULT_SIDE}  # noqa: RUF012
    do_resize = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = False
    do_convert_rgb = True

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Open paths and addresses as `open_photo` does; transformers' way clips 16 bits to white.

        Raises `PhotoError` as it does.
        """
        named = image_url_or_urls
        if isinstance(named, os.PathLike):
            named = os.fspath(named)
        # Neither a file nor an address: it may be base64, which transformers knows.
        if isinstance(named, str) and (named.startswith("http") or os.path.exists(named)):
            return open_photo(named)
        return super().fetch_images(named)

    def process_image(self, image: Any, **kwargs: Any) -> np.ndarray:
        """Turn a PIL picture upright and into RGB first; arrays pass as they are."""
        if isinstance(image, Image.Image):
            image = to_upright_rgb(image)
        return super().process_image(image, **kwargs)

    def post_process_anomaly_map(
        self, anomaly_map: Tensor, target_sizes: Sequence[tuple[int, int]]
    ) -> list[np.ndarray]:
        """Resize anomaly maps, (B, h, w), bilinearly to B photos' (height, width): float32 arrays.

        Raises `ValueError` when the numbers of maps and sizes differ.
        """
        if len(anomaly_map) != len(target_sizes):
            raise ValueError(
                f"target_sizes must name one (height, width) a map, found {len(target_sizes)} "
                f"sizes for {len(anomaly_map)} maps."
            )
        resized = []
        for single, size in zip(anomaly_map.detach().float().cpu(), target_sizes, strict=True):
            enlarged = F.interpolate(
                single[None, None], size=tuple(size), mode="bilinear", antialias=True
            )
            resized.append(torch.clamp_min(enlarged, 0)[0, 0].numpy())
        return resized
