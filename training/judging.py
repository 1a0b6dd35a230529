"""What is judged: the part alone, or all that a photo shows.

Where the part is, is learned from the good photos that the body learns from. Whether the ground
counts is asked of held-out good photos: damage on their structure is to be told from them as they
are, and from them with dirt beside the part.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.utils.data import DataLoader

from modeling import InspectionImageProcessor, ReconstructionModel
from modeling.ground import ALL, PART
from modeling.scoring import enlarge
from modeling.whole_part import FRAME, frame_of
from training.calibration.held_out_damage import best_by_a_margin
from training.photos.augmentation import augmentation_for
from training.photos.damage import damage, structure_of
from training.photos.decoded import PreparedPhotos
from training.photos.dirt import dirty
from training.recipe import AUTO, Recipe

logger = logging.getLogger(__name__)

MOST_PHOTOS = 400  # of a category; more add little and take time
JUDGED_PHOTOS = 32  # held-out photos of a category that choose; more cost time
JUDGED_COPIES = 3  # damaged copies of each, and as many with dirt
LEAST_JUDGED = 8  # from fewer photos nothing can be chosen
STRUCTURE_SIGMA = 0.01  # of the side: structure is seen so far around it


def learn_ground(
    model: ReconstructionModel, good: Dataset, processor: InspectionImageProcessor, recipe: Recipe
) -> None:
    """Learn where the part is, for every category of the model, if the model tells it apart."""
    if model.ground is None:
        return
    for category in model.config.categories:
        photos = PreparedPhotos.of_category(good, category, processor, MOST_PHOTOS)
        batches = DataLoader(photos, recipe.batch_size)
        moves = augmentation_for(category, recipe.augmentation).moves
        model.fit_ground(batches, moves, category)


def choose_judged(
    model: ReconstructionModel, photos: PreparedPhotos, category: str, recipe: Recipe
) -> None:
    """Judge all of a category's photos where that tells damage better, if the recipe asks.

    The part alone is judged unless judging all is better beyond chance. The model, in evaluation
    mode, is to be calibrated again.
    """
    if recipe.judge != AUTO:
        return
    number = model.category_numbers(category, 1)
    if model.ground.limit[number].isinf() or len(photos) < LEAST_JUDGED:
        return  # all is part, or nothing can be chosen
    model.calibrate(DataLoader(photos, recipe.batch_size), recipe.false_alarm_rate, category)
    good = [photos[index] for index in range(min(len(photos), JUDGED_PHOTOS))]
    as_it_is = _scores(model, good, category, recipe.batch_size)
    aurocs: dict[str, list[float]] = {PART: [], ALL: []}
    for copy in range(JUDGED_COPIES):
        seeds = [(recipe.seed, copy, index) for index in range(len(good))]
        pairs = [_copies(model, *one, number) for one in zip(good, seeds, strict=True)]
        soiled, damaged = (
            _scores(model, photos, category, recipe.batch_size)
            for photos in zip(*pairs, strict=True)
        )
        for judged, found in aurocs.items():
            scores = [kind[judged] for kind in (as_it_is, soiled, damaged)]
            labels = np.repeat([0, 0, 1], len(good))
            found.append(roc_auc_score(labels, np.concatenate(scores)))
    logger.info("AUROC on damage, with dirt on good photos, by what is judged: %s", aurocs)
    if best_by_a_margin({name: np.array(found) for name, found in aurocs.items()}) == ALL:
        model.ground.reset(number.item())


def _copies(
    model: ReconstructionModel, photo: Tensor, seed: Sequence[int], number: Tensor
) -> tuple[Tensor, Tensor]:
    """A photo, (3, H, W) in 0..1, with dirt on its ground, and with damage on its structure."""
    generator = np.random.default_rng(seed)
    picture = photo.permute(1, 2, 0).numpy()
    judged = model.judged_places(photo[None].to(model.device), number).cpu()
    size = photo.shape[-2:]
    ground = F.interpolate(judged[None], size=size)[0, 0].numpy() == 0
    structured = has_structure(picture)
    soiled = dirty(picture, ground & ~structured, generator)
    places = structure_of(picture) * structured
    damaged, _ = damage(picture, generator, structure=places if places.any() else None)
    return tuple(torch.from_numpy(one).permute(2, 0, 1) for one in (soiled, damaged))


def has_structure(picture: np.ndarray) -> np.ndarray:
    """Where a picture, (H, W, 3), has more structure than anywhere on its frame; (H, W) bool.

    It is asked apart from what was learned of the ground, which is on trial.
    """
    side = min(picture.shape[:2])
    slope = ndimage.gaussian_gradient_magnitude(picture.mean(axis=2), STRUCTURE_SIGMA * side)
    frame = frame_of(side, FRAME * side).numpy()
    return slope > slope[frame].max()


def _scores(
    model: ReconstructionModel, photos: Sequence[Tensor], category: str, batch_size: int
) -> dict[str, np.ndarray]:
    """Raw scores of N photos, (N,), by what is judged."""
    found = {PART: [], ALL: []}
    for batch in DataLoader(photos, batch_size):
        output = model.detect(batch.to(model.device), category)
        beside = enlarge(output.ground_map, model.config.image_size).flatten(1).amax(dim=1)
        found[PART].append(output.raw_score.cpu())
        found[ALL].append(torch.maximum(output.raw_score, beside).cpu())
    return {name: torch.cat(scores).numpy() for name, scores in found.items()}
