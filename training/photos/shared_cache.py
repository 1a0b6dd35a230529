"""Photos that are augmented, damaged and encoded once, in memory that forked workers share.

What does not fit is made anew each time: it takes longer and changes nothing.
"""

from __future__ import annotations

import math
import mmap
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

GIGABYTE = 10**9
ALIGNMENT = 64  # bytes; a cache line

Item = dict[str, Any]  # names to tensors or lists of tensors


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
