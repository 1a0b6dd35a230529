"""Photos as the model takes them, decoded and resized once: in a file that is gone afterwards.

What does not fit into the file is decoded anew each time: it takes longer and changes nothing.
"""

from __future__ import annotations

import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, Features, Value, concatenate_datasets
from datasets.arrow_writer import ArrowWriter
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from data.rows import decode_picture
from modeling import InspectionImageProcessor, PhotoError
from modeling.tiling import Tiling
from system.batches import batches_of
from system.cores import available_cores
from system.errors import disk_errors_told
from system.memory import GIGABYTE
from system.processes import everywhere, state

PIXELS = "pixels"  # column of a dataset: a prepared photo's bytes, or None
FEATURES = Features({PIXELS: Value("binary")})
FILE = ".photos-{}.arrow"
AT_ONCE = 64  # photos that are decoded between two writes


def decoded_once(
    photos: Dataset, processor: InspectionImageProcessor, folder: Path, gigabytes: float
) -> Dataset:
    """The photos with a column of what the processor makes of them, in a memory-mapped Arrow file.

    One process of a machine decodes for all of them. The file has no name any more once they have
    opened it, so it is gone when they end, however they end; its pages stay in memory as long as
    there is room. It takes so many gigabytes at most, or half of the room on the folder's disk if
    that is less. A damaged photo is a `DatasetError`, a file that can't be written a `DiskError`,
    and either an `ElsewhereError` in the other processes.

    Returns:
        The dataset with the column pixels: (3, H, W) bytes, or None for what did not fit.
    """
    path = folder / FILE.format(platform.node())  # each machine has one of its own
    is_first = state().is_local_main_process
    remedy = "make room, or set --cache_disk_gb 0"
    try:
        with disk_errors_told("The decoded photos", path, remedy):
            room = min(gigabytes * GIGABYTE, shutil.disk_usage(folder).free / 2)
            everywhere(lambda: _write(photos, processor, path, room) if is_first else None)
            kept = everywhere(lambda: Dataset.from_file(str(path)))
    finally:
        if is_first:
            path.unlink(missing_ok=True)
    return concatenate_datasets([photos, kept], axis=1)


def remove_decoded(folder: Path) -> None:
    """Remove the file that a process left when it was killed."""
    for path in folder.glob(FILE.format("*")):
        path.unlink()


class PreparedPhotos(TorchDataset):
    """Good photos, decoded once or not, as the model takes them; an item is (3, H, W) in 0..1."""

    def __init__(self, photos: Dataset, processor: InspectionImageProcessor) -> None:
        self.photos = photos.select_columns(["image", "image_id"])
        self.decoded = photos.select_columns([PIXELS]) if PIXELS in photos.column_names else None
        self.processor = processor

    @classmethod
    def of_category(
        cls, photos: Dataset, category: str, processor: InspectionImageProcessor, most: int
    ) -> PreparedPhotos:
        """Those of one category, `most` at most, spread evenly over all of them."""
        numbers = np.flatnonzero(np.array(photos["category"]) == category)
        chosen = np.linspace(0, len(numbers) - 1, min(len(numbers), most)).astype(int)
        return cls(photos.select(numbers[chosen]), processor)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Tensor:
        pixels = None if self.decoded is None else self.decoded[index][PIXELS]
        if pixels is None:
            return prepare(self.photos, index, self.processor).float() / 255
        side = self.processor.size
        flat = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
        return flat.view(3, side["height"], side["width"]).float() / 255


class PreparedTiles(TorchDataset):
    """Good photos cut into the tiles that the model's body sees; an item is (3, side, side)."""

    def __init__(self, photos: PreparedPhotos, tiling: Tiling) -> None:
        self.photos, self.tiling = photos, tiling

    def __len__(self) -> int:
        return len(self.photos) * self.tiling.tiles

    def __getitem__(self, index: int) -> Tensor:
        photo, tile = divmod(index, self.tiling.tiles)
        rows, columns = self.tiling.place(tile)
        return self.photos[photo][:, rows, columns]


def prepare(photos: Dataset, index: int, processor: InspectionImageProcessor) -> Tensor:
    """A photo as the model takes it, (3, H, W) bytes; an error names it."""
    picture = decode_picture(photos, index, "image")
    try:
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
    except PhotoError as error:
        name = photos.select_columns(["image_id"])[index]["image_id"]
        raise PhotoError(f"{name}: {error}", error.reason) from error
    # Resized pixels are whole numbers of 255ths, so bytes hold them without loss.
    return (pixels[0] * 255).round().byte()


def _write(photos: Dataset, processor: InspectionImageProcessor, path: Path, room: float) -> None:
    side = processor.size
    fitting = min(len(photos), int(room // (3 * side["height"] * side["width"])))
    with (
        ThreadPoolExecutor(available_cores()) as pool,
        ArrowWriter(path=str(path), features=FEATURES, writer_batch_size=AT_ONCE) as writer,
    ):
        for some in batches_of(fitting, AT_ONCE):  # bit by bit: results wait in memory
            for pixels in pool.map(lambda index: prepare(photos, index, processor), some):
                writer.write({PIXELS: pixels.numpy().tobytes()})
        for _ in range(fitting, len(photos)):
            writer.write({PIXELS: None})
        writer.finalize()
