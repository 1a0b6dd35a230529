"""Photos as training wants them: prepared, augmented, damaged, and encoded once where that pays."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from modeling import InspectionImageProcessor
from modeling.tiling import Tiling
from training.augmentation import Augmentation, augment
from training.damage import damage
from training.photo_cache import PIXELS, Item, SharedCache, prepare

Extract = Callable[[Tensor], Sequence[Tensor]]


class PreparedPhotos(TorchDataset):
    """Good photos as the model takes them; an item is (3, H, W) in 0..1.

    Args:
        photos: with the columns image and image_id, and those that `decoded_once` adds if it was
            called.
        processor: prepares them.
    """

    def __init__(self, photos: Dataset, processor: InspectionImageProcessor) -> None:
        self.photos = photos.select_columns(["image", "image_id"])
        self.decoded = photos.select_columns([PIXELS]) if PIXELS in photos.column_names else None
        self.processor = processor

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
    """Good photos as the model's body sees them, tile by tile; an item is (3, side, side) in 0..1.

    Args:
        photos: good photos.
        tiling: how they are cut; a single tile leaves them whole.
    """

    def __init__(self, photos: PreparedPhotos, tiling: Tiling) -> None:
        self.photos, self.tiling = photos, tiling

    def __len__(self) -> int:
        return len(self.photos) * self.tiling.tiles

    def __getitem__(self, index: int) -> Tensor:
        photo, tile = divmod(index, self.tiling.tiles)
        rows, columns = self.tiling.place(tile)
        return self.photos[photo][:, rows, columns]


class RestorationPhotos(TorchDataset):
    """Damaged photos and the clean ones to restore from them.

    An item depends on the seed, the photo and the epoch alone, so that a resumed run sees what it
    would have seen. `model_input` makes the keyword arguments of `ReconstructionModel.forward` of a
    batch of them.

    Args:
        photos: good photos, or their tiles.
        augmentations: what each photo's category allows.
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
    """Pictures as the model takes them, in 0..1, of a batch that holds them as bytes.

    Args:
        batch: items of `RestorationPhotos`, on any device: a quarter of what floats would be to
            send there.
    """
    return {
        name: value.float() / 255 if "pixel" in name else value for name, value in batch.items()
    }


def _bytes(picture: np.ndarray) -> Tensor:
    """(H, W, 3) in 0..1 to (3, H, W) bytes."""
    return torch.from_numpy((picture * 255).round().astype(np.uint8)).permute(2, 0, 1).contiguous()
