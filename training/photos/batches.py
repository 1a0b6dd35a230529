"""Batches for any number of processes, which together take the steps that one would take alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Dataset, Sampler

from modeling.restoration import Painted, painted_of
from training.photos.restoration import Item, model_input


class SharedBatches(Sampler[list[int]]):
    """One process's share of every batch; the batches are the same for any number of processes.

    A batch is dealt out photo by photo. Where it does not come out even, `weights` says how much a
    share counts; a process for which none is left gets a photo that counts nothing, since it has to
    take the step with the others. `batch_size` counts the photos of all processes, of which there
    are no more. The seed decides the photos' order together with the `epoch`, which is set before
    each; None keeps their own.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int | None = None,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.process, self.processes = process, processes
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(self.length / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        for first in range(0, self.length, self.batch_size):
            batch = order[first : first + self.batch_size]
            yield batch[self.process :: self.processes] or batch[:1]

    def weights(self) -> Iterator[float]:
        """By what this process's mean loss is multiplied in each step.

        The mean over the processes then is the mean over the batch, and so is its gradient.
        """
        for count in self._counts():
            yield self._share(count) * self.processes / count

    def painted(self) -> Iterator[Painted]:
        """What of this process's share teaches the painter, in each step.

        The photos are those that would teach it in one process: a batch is dealt out from its
        first photo on, so they come first in every share.
        """
        for weight, count in zip(self.weights(), self._counts(), strict=True):
            whole, _ = painted_of(count)
            own = self._share(whole)
            # The share's loss will be multiplied by its weight, for this mean as for the others.
            yield max(1, own), own * self.processes / (whole * weight) if own else 0.0

    def _counts(self) -> Iterator[int]:
        """Photos of each batch."""
        for first in range(0, self.length, self.batch_size):
            yield min(self.batch_size, self.length - first)

    def _share(self, count: int) -> int:
        """How many of the first photos of a batch are this process's."""
        return len(range(self.process, count, self.processes))

    def _order(self) -> list[int]:
        if self.seed is None:
            return list(range(self.length))
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return torch.randperm(self.length, generator=generator).tolist()


class SharedLoader:
    """This process's share of every batch on its device, and how much it counts.

    The photos are `RestorationPhotos`; batch size and seed are as `SharedBatches` takes them. The
    workers are processes that prepare photos while a GPU computes; a CPU has none to spare.
    """

    def __init__(
        self,
        photos: Dataset,
        batch_size: int,
        accelerator: Accelerator,
        seed: int | None = None,
        workers: int = 0,
    ) -> None:
        self.device = accelerator.device
        self.batches = SharedBatches(
            len(photos), batch_size, seed, accelerator.process_index, accelerator.num_processes
        )
        self.loader = DataLoader(
            photos,
            batch_sampler=self.batches,
            num_workers=workers,
            pin_memory=self.device.type == "cuda",
            persistent_workers=workers > 0,
            # What the photos keep is shared with forked workers alone.
            multiprocessing_context="fork" if workers else None,
        )

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the photos' variants; called before each epoch."""
        self.batches.epoch = epoch
        self.loader.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[float, Item]]:
        steps = zip(self.batches.weights(), self.batches.painted(), self.loader, strict=True)
        for weight, painted, batch in steps:
            photos = model_input(send_to_device(batch, self.device, non_blocking=True))
            yield weight, {**photos, "painted": painted}
