"""Batches of photos, worked on by several threads at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def batches_of(count: int, batch_size: int) -> list[range]:
    """The positions of `count` things, in order, up to `batch_size` at a time."""
    return [range(first, min(first + batch_size, count)) for first in range(0, count, batch_size)]


def map_in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device, threads: int
) -> Iterator[Result]:
    """Work on items, several at once without gradients, and give the results in their order.

    No item's arithmetic is shared among threads. Few results are in memory at a time. So many
    threads are for a CPU; on another device two take turns: one reads photos while the other one
    waits for the device.
    """
    threads = threads if device.type == "cpu" else 2

    @torch.inference_mode()  # each thread has a mode of its own
    def undisturbed(item: Item) -> Result:
        return work(item)

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = iter(items)
        running = deque(pool.submit(undisturbed, item) for item in islice(waiting, threads + 1))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(undisturbed, item) for item in islice(waiting, 1))
                yield result
        finally:
            for future in running:
                future.cancel()
