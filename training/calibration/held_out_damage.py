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
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.utils.data import DataLoader

from modeling import ReconstructionModel
from training.photos.augmentation import UNCHANGED, augmentation_for
from training.photos.decoded import PreparedPhotos
from training.photos.restoration import RestorationPhotos, model_input
from training.photos.structural_damage import Kind, damage_structure, kinds_for
from training.recipe import Recipe

Name = TypeVar("Name", bound=Hashable)

PIXEL_STEP = 2  # every second pixel, each way, says as much about a map as all of them
# The default has to be beaten by this much AUROC, and by twice its standard error over halves and
# copies. With 24 photos, one copy and no such bar, screws of seed 1 (of 0 and 1) were measured by
# place, which cost them 10 points of AUROC.
LEAST_GAIN = 0.01
JUDGED_PHOTOS = 32  # held-out photos of a category that make its choices; more cost time
JUDGED_COPIES = 3  # of each, with local damage, and as many with structural damage
LEAST_JUDGED = 8  # from fewer photos nothing can be chosen: each half is to have a spread
RATE = 0.05  # a calibration needs a false-alarm rate; no raw score depends on it


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


@dataclass(frozen=True)
class Separation:
    """How well scores tell damaged photos from good ones, and maps damaged pixels from the rest."""

    image_auroc: float  # 0..1, of raw scores over good photos and damaged copies
    pixel_auroc: float  # 0..1, of anomaly maps over the pixels of the damaged copies


def separations(
    model: ReconstructionModel, trial: DamageTrial, category: str, batch_size: int
) -> list[Separation]:
    """Judge a model's residual and its normalisation, as they are set.

    Half of the photos give the statistics, the other half and its damaged copies are scored; then
    the halves change places. Every copy is compared for itself, so that the spread of the result
    says how much of it is chance.

    The model is in evaluation mode; its statistics and calibration are overwritten. The trial has
    at least 4 photos. There is one result a half and copy, always in the same order.
    """
    found = []
    for first in (0, 1):
        model.calibrate(DataLoader(trial.good[first::2], batch_size), RATE, category)
        good = trial.good[1 - first :: 2]
        scores_of_good, _ = _judged(model, good, category, batch_size)
        for damaged in DamageTrial(good, trial.damaged[1 - first :: 2]).copies:
            scores, maps = _judged(model, damaged, category, batch_size)
            labels = np.repeat([0, 1], len(good))
            is_damaged = (torch.stack(damaged) != torch.stack(good)).any(dim=1)
            found.append(
                Separation(
                    roc_auc_score(labels, np.concatenate([scores_of_good, scores])),
                    roc_auc_score(_every_few_pixels(is_damaged), _every_few_pixels(maps)),
                )
            )
    return found


def _judged(
    model: ReconstructionModel, photos: Sequence[Tensor], category: str, batch_size: int
) -> tuple[np.ndarray, Tensor]:
    """Raw scores, (N,), and anomaly maps, (N, H, W)."""
    outputs = [
        model.detect(batch.to(model.device), category) for batch in DataLoader(photos, batch_size)
    ]
    raw = torch.cat([output.raw_score.cpu() for output in outputs])
    return raw.numpy(), torch.cat([output.anomaly_map.cpu() for output in outputs])


def _every_few_pixels(maps: Tensor) -> np.ndarray:
    """(N, H, W) to a flat array of every `PIXEL_STEP`-th pixel each way."""
    return maps[:, ::PIXEL_STEP, ::PIXEL_STEP].flatten().numpy()


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
