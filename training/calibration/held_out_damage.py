"""How well a model tells held-out good photos from damaged copies of them.

Choices are made by it, so that no defective photo and no test label takes part in one.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from training.photos.augmentation import UNCHANGED, augmentation_for
from training.photos.decoded import PreparedPhotos
from training.photos.restoration import RestorationPhotos, model_input
from training.photos.structural_damage import Kind, damage_structure, kinds_for
from training.recipe import Recipe

Name = TypeVar("Name", bound=Hashable)

# The default has to be beaten by this much AUROC, and by twice its standard error over copies.
# With 24 photos, one copy and no such bar, screws of seed 1 (of 0 and 1) were measured by place,
# which cost them 10 points of AUROC.
LEAST_GAIN = 0.01
JUDGED_PHOTOS = 32  # held-out photos of a category that make its choices; more cost time
JUDGED_COPIES = 3  # of each, with local damage, and as many with structural damage
LEAST_JUDGED = 8  # from fewer photos nothing can be chosen: they are to have a spread


@dataclass(frozen=True)
class DamageTrial:
    """Good photos of one category, (3, H, W) in 0..1 each, and damaged copies of every one."""

    good: list[Tensor]  # N that the weights were not trained on
    damaged: list[list[Tensor]]  # N lists of copies

    @classmethod
    def of(
        cls,
        photos: PreparedPhotos,
        most: int,
        copies: int,
        seed: int,
        structural: Sequence[Kind] = (),
    ) -> DamageTrial:
        """The first `most` photos, each damaged in `copies` ways that the seed decides.

        These are local; with kinds of structural damage there are as many copies of that besides.
        """
        damaging = RestorationPhotos(photos, [UNCHANGED] * len(photos), 1.0, copies, seed)
        good = [photos[index] for index in range(min(len(photos), most))]
        damaged: list[list[Tensor]] = [[] for _ in good]
        for copy in range(copies):
            damaging.set_epoch(copy)
            for index, of_photo in enumerate(damaged):
                of_photo.append(model_input(damaging[index])["pixel_values"])
        if structural:
            for index, of_photo in enumerate(damaged):
                seeds = [(seed, copy, index) for copy in range(copies)]
                of_photo += [_misplaced(good[index], structural, one) for one in seeds]
        return cls(good, damaged)

    @classmethod
    def of_category(cls, photos: PreparedPhotos, category: str, recipe: Recipe) -> DamageTrial:
        """What every choice for a category is made by: local and structural damage alike."""
        turns = augmentation_for(category, recipe.augmentation).turns
        return cls.of(photos, JUDGED_PHOTOS, JUDGED_COPIES, recipe.seed, kinds_for(turns))

    @property
    def copies(self) -> list[list[Tensor]]:
        """A list of N photos a copy, each photo's in turn."""
        return [list(copies) for copies in zip(*self.damaged, strict=True)]


def _misplaced(photo: Tensor, kinds: Sequence[Kind], seed: Sequence[int]) -> Tensor:
    """A photo, (3, H, W) in 0..1, with something in the wrong place."""
    picture = photo.permute(1, 2, 0).numpy()
    damaged = damage_structure(picture, np.random.default_rng(seed), kinds)
    return torch.from_numpy(damaged).permute(2, 0, 1)


def best_by_a_margin(aurocs: Mapping[Name, np.ndarray]) -> Name:
    """The name with the best mean, or the first one where the gain over it may be chance.

    The results of the names, (n,) with n > 1, are of the same trials in the same order.
    """
    default, *others = aurocs
    if not others:
        return default
    best = max(others, key=lambda name: aurocs[name].mean())
    gains = aurocs[best] - aurocs[default]
    chance = 2 * gains.std(ddof=1) / math.sqrt(len(gains))
    return best if gains.mean() >= max(LEAST_GAIN, chance) else default
