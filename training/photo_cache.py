"""Photos that are prepared once: decoded ones on the disk, what is made of them in memory.

Both are bounded, and what does not fit is made anew each time: it takes longer and changes nothing.
"""

from __future__ import annotations

import math
import mmap
import multiprocessing
import os
import platform
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Features, Value, concatenate_datasets
from datasets.arrow_writer import ArrowWriter
from torch import Tensor

from data.rows import decode_picture
from modeling import InspectionImageProcessor, PhotoError
from system.cores import available_cores
from system.disk_errors import disk_errors_told
from system.processes import everywhere, state

PIXELS = "pixels"  # column of a dataset: a prepared photo's bytes, or None
FEATURES = Features({PIXELS: Value("binary")})
FILE = ".photos-{}.arrow"
AT_ONCE = 64  # photos that are decoded between two writes
ALIGNMENT = 64  # bytes; a cache line
GIGABYTE = 10**9

Item = dict[str, Any]


def decoded_once(
    photos: Dataset, processor: InspectionImageProcessor, folder: Path, gigabytes: float
) -> Dataset:
    """The photos with a column of what the processor makes of them, in a memory-mapped Arrow file.

    One process of a machine decodes for all of them. The file has no name any more once they have
    opened it, so it is gone when they end, however they end; its pages stay in memory as long as
    there is room.

    Args:
        photos: with the columns image and image_id.
        processor: prepares them.
        folder: on the disk that holds the file.
        gigabytes: the file's size at most; half of the room on the disk if that is less.

    Returns:
        The dataset with the column pixels: (3, H, W) bytes, or None for what did not fit.

    Raises:
        DatasetError: when a photo is damaged.
        DiskError: when the file can't be written.
        ElsewhereError: when that happened in another process.
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


def remove_leftovers(folder: Path) -> None:
    """Remove the file that a process was killed in the middle of writing."""
    for path in folder.glob(FILE.format("*")):
        path.unlink()


def prepare(photos: Dataset, index: int, processor: InspectionImageProcessor) -> Tensor:
    """A photo as the model takes it, (3, H, W) bytes.

    Raises:
        DatasetError: when it is damaged.
        PhotoError: when it is none that can be inspected; the message names it.
    """
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
        for first in range(0, fitting, AT_ONCE):  # bit by bit: results wait in memory
            some = range(first, min(first + AT_ONCE, fitting))
            for pixels in pool.map(lambda index: prepare(photos, index, processor), some):
                writer.write({PIXELS: pixels.numpy().tobytes()})
        for _ in range(fitting, len(photos)):
            writer.write({PIXELS: None})
        writer.finalize()


class SharedCache:
    """Items in memory that a process shares with the workers that it forks.

    Whoever first needs an item makes it, and all others find it. The system gives the memory only
    as it is filled, and takes it back when the processes end, however they end.

    Args:
        count: how many items there may be, numbered from 0.
        example: one of them: names to tensors or lists of tensors; all have its shapes and types.
        room: bytes at most; items from the first that does not fit are not kept.
    """

    def __init__(self, count: int, example: Item, room: float) -> None:
        self.example = example
        self.stride = sum(_padded(tensor) for _, tensor in _tensors(example))
        self.length = min(count, int(room // self.stride))
        self._memory = mmap.mmap(-1, max(1, self.length * self.stride))
        self._is_filled = mmap.mmap(-1, max(1, self.length))
        self._lock = multiprocessing.Lock()

    def get(self, number: int) -> Item | None:
        """The item of this number, or None while nobody has put it."""
        if number >= self.length:
            return None
        with self._lock:  # who sees the mark sees what was written before it
            if not self._is_filled[number]:
                return None
        item: Item = {}
        for name, kept in self._places(number):
            if isinstance(self.example[name], list):
                item.setdefault(name, []).append(kept)
            else:
                item[name] = kept
        return item

    def put(self, number: int, item: Item) -> None:
        """Keep an item if there is room."""
        if number >= self.length:
            return
        for (_, place), (_, tensor) in zip(self._places(number), _tensors(item), strict=True):
            place.copy_(tensor)
        with self._lock:
            self._is_filled[number] = 1

    def _places(self, number: int) -> Iterator[tuple[str, Tensor]]:
        """The memory of an item: the names and tensors of the example, holding its values."""
        offset = number * self.stride
        for name, tensor in _tensors(self.example):
            count = tensor.numel()
            place = torch.frombuffer(self._memory, dtype=tensor.dtype, count=count, offset=offset)
            # Its layout too, on which the last bits of what is computed from it depend.
            yield name, place.as_strided(tensor.shape, tensor.stride())
            offset += _padded(tensor)


def memory_room(gigabytes: float, processes_here: int) -> float:
    """Bytes for one process: its share of so much, or of half the machine's memory if less."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(gigabytes * GIGABYTE, memory / 2) / processes_here


def _tensors(item: Item) -> Iterator[tuple[str, Tensor]]:
    for name, value in item.items():
        for tensor in value if isinstance(value, list) else [value]:
            yield name, tensor


def _padded(tensor: Tensor) -> int:
    """Bytes of a tensor up to where the next one may begin."""
    return math.ceil(tensor.nbytes / ALIGNMENT) * ALIGNMENT
