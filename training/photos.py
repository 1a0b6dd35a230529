"""Photos as training wants them: prepared, augmented, damaged, and encoded once where that pays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from modeling import InspectionImageProcessor
from training.augmentation import Augmentation, augment
from training.damage import damage
from training.dataset import decode_picture

CACHE_BYTES = 4 * 2**30  # what does not fit is prepared anew in every epoch

Extract = Callable[[Tensor], Sequence[Tensor]]


class PreparedPhotos(TorchDataset):
    """Good photos as the model takes them; an item is (3, H, W) in 0..1.

    Args:
        photos: with the columns image and image_id.
        processor: prepares them.
    """

    def __init__(self, photos: Dataset, processor: InspectionImageProcessor) -> None:
        self.photos = photos.select_columns(["image", "image_id"])
        self.processor = processor
        self.cache = Cache()

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Tensor:
        pixels = self.cache.get(index)
        if pixels is None:
            photo = decode_picture(self.photos, index, "image")
            pixels = self.processor(photo, return_tensors="pt")["pixel_values"][0]
            # Resized pixels are whole numbers of 255ths, so bytes hold them without loss.
            pixels = (pixels * 255).round().byte()
            self.cache.put(index, pixels)
        return pixels.float() / 255


class RestorationPhotos(TorchDataset):
    """Damaged photos and the clean ones to restore from them.

    An item holds the keyword arguments of `ReconstructionModel.forward` for one photo, and depends
    on the seed, the photo and the epoch alone, so that a resumed run sees what it would have seen.

    Args:
        photos: good photos.
        augmentations: what each photo's category allows.
        damage_probability: share of the photos that are damaged, 0..1.
        variants: how many different versions of a photo the epochs go through in turn; 0 draws a
            new one in every epoch.
        seed: of every draw.
        extract: the target's `extract`. Given, each variant is encoded once and kept in half
            precision, which is most of the work of an epoch.
    """

    def __init__(
        self,
        photos: PreparedPhotos,
        augmentations: Sequence[Augmentation],
        damage_probability: float,
        variants: int,
        seed: int,
        extract: Extract | None = None,
    ) -> None:
        self.photos, self.augmentations = photos, list(augmentations)
        self.damage_probability, self.seed = damage_probability, seed
        self.variants, self.extract = variants, extract
        self.epoch = 0
        self.cache = Cache()

    def __len__(self) -> int:
        return len(self.photos)

    def set_epoch(self, epoch: int) -> None:
        """Choose the variant; called before each epoch."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        variant = self.epoch % self.variants if self.variants else self.epoch
        item = self.cache.get((index, variant))
        if item is None:
            item = self._make(index, variant)
            if self.variants:
                self.cache.put((index, variant), item)
        pictures = {name: item[name].float() / 255 for name in item if "pixel" in name}
        return {**item, **pictures}

    def _make(self, index: int, variant: int) -> dict[str, Any]:
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


class Cache:
    """Tensors kept in memory up to `CACHE_BYTES`."""

    def __init__(self) -> None:
        self.entries: dict[Any, Any] = {}
        self.room = CACHE_BYTES

    def get(self, key: Any) -> Any | None:
        """What was kept under the key, or None."""
        return self.entries.get(key)

    def put(self, key: Any, value: Any) -> None:
        """Keep a tensor, or a nest of them, if there is room."""
        size = _bytes_of(value)
        if size <= self.room:
            self.room -= size
            self.entries[key] = value


def _bytes_of(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, dict) else value
    return sum(_bytes_of(part) for part in parts)


def _bytes(picture: np.ndarray) -> Tensor:
    """(H, W, 3) in 0..1 to (3, H, W) bytes."""
    return torch.from_numpy((picture * 255).round().astype(np.uint8)).permute(2, 0, 1).contiguous()
