"""Photos to learn from: augmented, damaged and encoded, once where there is memory to keep them.

What does not fit is made anew each time: it takes longer and changes nothing.
"""

from __future__ import annotations

import mmap
import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from modeling import InspectionImageProcessor, ReconstructionModel
from system.memory import memory_room
from system.processes import processes_here
from training.photos.augmentation import UNCHANGED, Augmentation, augment, augmentation_for
from training.photos.damage import damage
from training.photos.decoded import PreparedPhotos, PreparedTiles
from training.photos.structural_damage import damage_structure, kinds_for
from training.recipe import Recipe

Item = dict[str, Any]  # names to tensors or lists of tensors
Extract = Callable[[Tensor], Sequence[Tensor]]


def restoration_photos(
    photos: Dataset,
    model: ReconstructionModel,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    damaging: bool = True,
) -> RestorationPhotos:
    """Photos to train on, or (`damaging` False) to watch the loss on as they are."""
    allowed = {
        category: augmentation_for(category, recipe.augmentation) if damaging else UNCHANGED
        for category in {*photos["category"]}
    }
    # A GPU encodes a batch faster than the memory of encoded photos could be filled and read.
    keeps_features = recipe.target == "features" and model.device.type == "cpu"
    tiles = PreparedTiles(PreparedPhotos(photos, processor), model.config.tiling)
    return RestorationPhotos(
        tiles,
        [allowed[category] for category in photos["category"] for _ in range(tiles.tiling.tiles)],
        damage_probability=recipe.damage_probability if damaging else 0.0,
        variants=recipe.variants if damaging else 1,
        seed=recipe.seed,
        structural_probability=recipe.structural_probability if damaging else 0.0,
        extract=model.target.extract if keeps_features else None,
        cache_bytes=memory_room(recipe.cache_memory_gb, processes_here()),
    )


class RestorationPhotos(TorchDataset):
    """Damaged photos, or tiles of them, and the clean ones to restore from them.

    An item depends on the seed, the photo and the epoch alone, so that a resumed run sees what it
    would have seen. `model_input` makes the keyword arguments of `ReconstructionModel.forward` of a
    batch of them.

    Each photo is augmented as its own augmentation allows. A share of them, 0..1, gets local
    damage, and another one structural damage: of pieces alone where a part may lie anyhow.
    The epochs go through so many variants of a photo in turn; 0 draws a new one in every epoch.
    Given the target's `extract`, each variant is encoded once and kept in half precision, which is
    most of the work of an epoch. `cache_bytes` is the memory for variants that are made once.
    """

    def __init__(
        self,
        photos: PreparedPhotos | PreparedTiles,
        augmentations: Sequence[Augmentation],
        damage_probability: float,
        variants: int,
        seed: int,
        extract: Extract | None = None,
        cache_bytes: float = 0,
        structural_probability: float = 0.0,
    ) -> None:
        self.photos, self.augmentations = photos, list(augmentations)
        self.damage_probability, self.seed = damage_probability, seed
        self.structural_probability = structural_probability
        self.variants, self.extract = variants, extract
        # Workers that were forked before it is set see it too.
        self._epoch = multiprocessing.Value("q", 0, lock=False)
        self.cache = None
        if variants and cache_bytes:
            example = self._make(0, 0)
            self.cache = SharedCache(len(photos) * variants, example, cache_bytes)
            self.cache.put(0, example)

    def __len__(self) -> int:
        return len(self.photos)

    def set_epoch(self, epoch: int) -> None:
        """Choose the variant; called before each epoch."""
        self._epoch.value = epoch

    def __getitem__(self, index: int) -> Item:
        epoch = self._epoch.value
        if self.cache is None:
            return self._make(index, epoch % self.variants if self.variants else epoch)
        variant = epoch % self.variants
        number = variant * len(self) + index
        item = self.cache.get(number)
        if item is None:
            item = self._make(index, variant)
            self.cache.put(number, item)
        return item

    def _make(self, index: int, variant: int) -> Item:
        generator = np.random.default_rng((self.seed, variant, index))
        clean = self.photos[index].permute(1, 2, 0).numpy()
        clean = augment(clean, self.augmentations[index], generator)
        damaged = self._damaged(clean, index, generator)
        item = {"pixel_values": _bytes(damaged), "clean_pixel_values": _bytes(clean)}
        if self.extract is not None:
            item["clean_extracted"] = self._encode(item["clean_pixel_values"])
            item["extracted"] = (
                item["clean_extracted"] if damaged is clean else self._encode(item["pixel_values"])
            )
        return item

    def _damaged(self, clean: np.ndarray, index: int, generator: np.random.Generator) -> np.ndarray:
        """The picture as it is, or with damage of either kind."""
        drawn = generator.random()
        if drawn < self.damage_probability:
            return damage(clean, generator)[0]
        if drawn < self.damage_probability + self.structural_probability:
            return damage_structure(clean, generator, kinds_for(self.augmentations[index].turns))
        return clean

    def _encode(self, pixels: Tensor) -> list[Tensor]:
        # Halves even where the cache is full: what a photo looks like must not depend on its size.
        return [layer[0].half() for layer in self.extract(pixels[None].float() / 255)]


class SharedCache:
    """So many items, numbered from 0, in memory that a process shares with workers that it forks.

    Whoever first needs an item makes it, and all others find it. The system gives the memory only
    as it is filled, and takes it back when the processes end, however they end. All items have the
    example's shapes and types; from the first that has no room, in bytes, they are not kept.
    """

    def __init__(self, count: int, example: Item, room: float) -> None:
        self.item_bytes = sum(t.nbytes for value in example.values() for t in _listed(value))
        self.length = min(count, int(room // self.item_bytes))
        self._memory = {name: _apply(self._reserve, value) for name, value in example.items()}
        self._is_filled = mmap.mmap(-1, max(1, self.length))
        self._lock = multiprocessing.Lock()

    def get(self, number: int) -> Item | None:
        """The item of this number, or None while nobody has put it."""
        if number >= self.length:
            return None
        with self._lock:  # who sees the mark sees what was written before it
            if not self._is_filled[number]:
                return None
        return {name: _apply(lambda t: t[number], kept) for name, kept in self._memory.items()}

    def put(self, number: int, item: Item) -> None:
        """Keep an item if there is room."""
        if number >= self.length:
            return
        for name, value in item.items():
            for kept, tensor in zip(_listed(self._memory[name]), _listed(value), strict=True):
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


def model_input(batch: Item) -> Item:
    """Pictures as the model takes them, in 0..1, of items of `RestorationPhotos` on any device.

    These hold bytes: a quarter of what floats would be to send there.
    """
    return {
        name: value.float() / 255 if "pixel" in name else value for name, value in batch.items()
    }


def _bytes(picture: np.ndarray) -> Tensor:
    """(H, W, 3) in 0..1 to (3, H, W) bytes."""
    return torch.from_numpy((picture * 255).round().astype(np.uint8)).permute(2, 0, 1).contiguous()


def _apply(
    change: Callable[[Tensor], Tensor], value: Tensor | list[Tensor]
) -> Tensor | list[Tensor]:
    return [change(one) for one in value] if isinstance(value, list) else change(value)


def _listed(value: Tensor | list[Tensor]) -> list[Tensor]:
    return value if isinstance(value, list) else [value]
