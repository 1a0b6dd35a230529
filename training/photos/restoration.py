"""Photos to learn from: augmented, damaged, and encoded once where that saves time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from modeling import InspectionImageProcessor, ReconstructionModel
from system.processes import processes_here
from training.photos.augmentation import UNCHANGED, Augmentation, augment, augmentation_for
from training.photos.damage import damage
from training.photos.decoded import PreparedPhotos, PreparedTiles
from training.photos.shared_cache import Item, SharedCache, memory_room
from training.recipe import Recipe

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
        extract=model.target.extract if keeps_features else None,
        cache_bytes=memory_room(recipe.cache_memory_gb, processes_here()),
    )


class RestorationPhotos(TorchDataset):
    """Damaged photos, or tiles of them, and the clean ones to restore from them.

    An item depends on the seed, the photo and the epoch alone, so that a resumed run sees what it
    would have seen. `model_input` makes the keyword arguments of `ReconstructionModel.forward` of a
    batch of them.

    Args:
        photos: good ones.
        augmentations: what each of them allows.
        damage_probability: share of the photos that are damaged, 0..1.
        variants: how many different versions of a photo the epochs go through in turn; 0 draws a
            new one in every epoch.
        seed: of every draw.
        extract: the target's `extract`. Given, each variant is encoded once and kept in half
            precision, which is most of the work of an epoch.
        cache_bytes: memory for variants that are made once; further ones are made anew each time.
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
    ) -> None:
        self.photos, self.augmentations = photos, list(augmentations)
        self.damage_probability, self.seed = damage_probability, seed
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
        is_damaged = generator.random() < self.damage_probability
        damaged = damage(clean, generator)[0] if is_damaged else clean
        item = {"pixel_values": _bytes(damaged), "clean_pixel_values": _bytes(clean)}
        if self.extract is not None:
            item["clean_extracted"] = self._encode(item["clean_pixel_values"])
            item["extracted"] = (
                self._encode(item["pixel_values"]) if is_damaged else item["clean_extracted"]
            )
        return item

    def _encode(self, pixels: Tensor) -> list[Tensor]:
        # Halves even where the cache is full: what a photo looks like must not depend on its size.
        return [layer[0].half() for layer in self.extract(pixels[None].float() / 255)]


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
