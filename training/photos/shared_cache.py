"""Photos that are augmented, damaged and encoded once, in memory that forked workers share.

What does not fit is made anew each time: it takes longer and changes nothing.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
from typing import Any

import torch
from torch import Tensor

GIGABYTE = 10**9

Item = dict[str, Any]  # names to tensors or lists of tensors


class SharedCache:
    """Items in memory that a process shares with the workers that it forks.

    Whoever first needs an item makes it, and all others find it. The system gives the memory only
    as it is filled, and takes it back when the processes end, however they end.

    Args:
        count: how many items there may be, numbered from 0.
        example: one of them; all have its shapes and types.
        room: bytes at most; items from the first that does not fit are not kept.
    """

    def __init__(self, count: int, example: Item, room: float) -> None:
        self.item_bytes = sum(t.nbytes for value in example.values() for t in _listed(value))
        self.length = min(count, int(room // self.item_bytes))
        self._is_list = {name: isinstance(value, list) for name, value in example.items()}
        self._memory = {
            name: [self._reserve(tensor) for tensor in _listed(value)]
            for name, value in example.items()
        }
        self._is_filled = mmap.mmap(-1, max(1, self.length))
        self._lock = multiprocessing.Lock()

    def get(self, number: int) -> Item | None:
        """The item of this number, or None while nobody has put it."""
        if number >= self.length:
            return None
        with self._lock:  # who sees the mark sees what was written before it
            if not self._is_filled[number]:
                return None
        return {
            name: [kept[number] for kept in tensors] if self._is_list[name] else tensors[0][number]
            for name, tensors in self._memory.items()
        }

    def put(self, number: int, item: Item) -> None:
        """Keep an item if there is room."""
        if number >= self.length:
            return
        for name, value in item.items():
            for kept, tensor in zip(self._memory[name], _listed(value), strict=True):
                kept[number].copy_(tensor)
        with self._lock:
            self._is_filled[number] = 1

    def _reserve(self, tensor: Tensor) -> Tensor:
        """Shared memory for all items' tensors of this shape and type, a row an item.

        They have its layout too, on which the last bits of what is computed from them depend.
        """
        rows = max(1, self.length)
        flat = torch.frombuffer(mmap.mmap(-1, rows * tensor.nbytes), dtype=tensor.dtype)
        return flat.as_strided((rows, *tensor.shape), (tensor.numel(), *tensor.stride()))


def memory_room(gigabytes: float, processes_here: int) -> float:
    """Bytes for one process: its share of so much, or of half the machine's memory if less."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(gigabytes * GIGABYTE, memory / 2) / processes_here


def _listed(value: Tensor | list[Tensor]) -> list[Tensor]:
    return value if isinstance(value, list) else [value]
