"""The whole part, learned from the good photos that the body learns from, and what it counts for.

Each photo is learned together with random changes of it that make no other part, by light, camera
and file: a subspace of the photos as they are would know the photographs rather than the part.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from sklearn.metrics import roc_auc_score
from torch import Tensor

from modeling import InspectionImageProcessor, ReconstructionModel
from modeling.fitting import WholePartExamples
from modeling.whole_part_fitting import LEAST_PHOTOS
from training.calibration.held_out_damage import best_by_a_margin
from training.calibration.trials import SeenTrial, Streams, streams_at
from training.photos.augmentation import Augmentation, augment, augmentation_for
from training.photos.decoded import PreparedPhotos
from training.recipe import Recipe

logger = logging.getLogger(__name__)

MOST_PHOTOS = 400  # of a category; more add little and take memory
CHANGED_COPIES = 2  # of each photo
CHANGES = Augmentation(
    rotation=2, shift=0.02, zoom=0.05, exposure=0.5, tint=0.02, noise=5 / 255, resampling=0.5
)

# What the whole part may count for beside the body, where either counts 1 if the median good photo
# has the same score by both. The usual share stays unless another is better beyond chance: the one
# that told held-out damage best on bottles, screws and flange nuts alike (2026-11-29), and less for
# a part that turns, of which no place is known: there it cost local damage.
SHARES = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
USUAL_SHARE, USUAL_SHARE_OF_TURNING = 0.5, 0.1


def learn_whole_part(
    model: ReconstructionModel, good: Dataset, processor: InspectionImageProcessor, recipe: Recipe
) -> dict[str, WholePartExamples]:
    """Solve the stream for every category of the model, if the model has one.

    What it was solved from is returned by category, for whoever solves it again.
    """
    found: dict[str, WholePartExamples] = {}
    if model.whole_part is None:
        return found
    for category in model.config.categories:
        photos = PreparedPhotos.of_category(good, category, processor, MOST_PHOTOS)
        if len(photos) >= LEAST_PHOTOS:  # the body judges parts of fewer alone
            versions = versions_of(photos, recipe.seed)
            found[category] = model.whole_part_examples(versions)
            model.solve_whole_part(found[category], category)
    return found


def versions_of(photos: PreparedPhotos, seed: int) -> Iterator[Tensor]:
    """Each photo as it is and changed, (1 + CHANGED_COPIES, 3, H, W) in 0..1."""
    for index in range(len(photos)):
        photo = photos[index]
        picture = photo.permute(1, 2, 0).numpy()
        changed = [
            augment(picture, CHANGES, np.random.default_rng((seed, copy, index)))
            for copy in range(CHANGED_COPIES)
        ]
        yield torch.stack([photo, *(torch.from_numpy(one).permute(2, 0, 1) for one in changed)])


class Weighed(NamedTuple):
    """How well each of n copies of a trial is told from its good photos, AUROC in 0..1."""

    by_share: dict[float, np.ndarray]  # (n,) where the stream counts so much, the usual share first
    whole_part: np.ndarray  # (n,), by the stream alone; 0.5 where it knows nothing
    unit: float  # the weight that a share of 1 is

    @property
    def best_share(self) -> float:
        """The usual one, or one that is better beyond chance."""
        return best_by_a_margin(self.by_share)


def weigh_whole_part(
    model: ReconstructionModel, seen: SeenTrial, category: str, recipe: Recipe
) -> dict[str, float]:
    """Set what the stream counts for in a category: what tells damage best from held-out photos.

    The model looks and measures residuals as it will, and is to be calibrated. A stream that has
    learned nothing counts nothing.

    Returns:
        How well damage was told, AUROC in 0..1: by the `body` alone, by the `whole_part` alone, and
        by both `joined` as they are now.
    """
    config, per_location = model.config, model.residual_statistics.per_location
    sigma = config.map_sigma / config.map_stride
    looks = (sigma, config.whole_part_side, model.whole_part, per_location)
    good, *damaged = streams_at(seen, *looks)
    weighed = weighed_streams(good, damaged, shares_of(model, category, recipe))
    logger.info("AUROC on damage by the whole part's share: %s", weighed.by_share)
    number, share = model.category_numbers(category, 1), weighed.best_share
    model.whole_part.weight[number] = share * weighed.unit
    found = {
        "body": weighed.by_share[0.0],
        "whole_part": weighed.whole_part,
        "joined": weighed.by_share[share],
    }
    return {name: float(aurocs.mean()) for name, aurocs in found.items()}


def weighed_streams(good: Streams, damaged: Sequence[Streams], shares: Sequence[float]) -> Weighed:
    """How well copies of good photos are told by both streams, the whole part counting so much.

    Of what both see of N good photos, and of as many in each copy.
    """
    body, whole = (stream.flatten(1).amax(dim=1).median() for stream in good)
    unit = (body / whole).item() if len(shares) > 1 else 0.0
    by_share = {
        share: np.array([_auroc(good, copies, 1.0, share * unit) for copies in damaged])
        for share in shares
    }
    whole_part = np.array([_auroc(good, copies, 0.0, 1.0) for copies in damaged])
    return Weighed(by_share, whole_part, unit)


def shares_of(model: ReconstructionModel, category: str, recipe: Recipe) -> list[float]:
    """What the stream may count for, the usual share first; 0 alone where it knows nothing."""
    number = model.category_numbers(category, 1).item()
    if model.whole_part is None or not model.whole_part.knows(number):
        return [0.0]
    turns = augmentation_for(category, recipe.augmentation).turns
    usual = USUAL_SHARE_OF_TURNING if turns else USUAL_SHARE
    return sorted(SHARES, key=lambda share: share != usual)


def _auroc(good: Streams, damaged: Streams, body: float, whole_part: float) -> float:
    """How well the streams, counting so much, tell the damaged photos from the good ones, 0..1."""
    joined = [body * of_body + whole_part * of_whole for of_body, of_whole in (good, damaged)]
    scores = [maps.flatten(1).amax(dim=1) for maps in joined]
    labels = np.repeat([0, 1], [len(part) for part in scores])
    return roc_auc_score(labels, torch.cat(scores).numpy())
