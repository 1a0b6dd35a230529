"""Held-out good photos to threshold: which normalisation is fairest, and where PASS ends."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader

from modeling import InspectionImageProcessor, ReconstructionModel
from training.held_out_damage import DamageTrial, separation
from training.photos import PreparedPhotos
from training.recipe import AUTO, ROC, Recipe

logger = logging.getLogger(__name__)

# What is worth a choice. Features are always whitened: without, screws lose 5 points of AUROC, and
# so few photos as are judged here take a lucky draw for better now and then.
CANDIDATES = {"pixels": ("none", "location"), "features": ("channel", "channel+location")}
JUDGED_PHOTOS = 24  # held-out photos of a category that choose the normalisation; more cost time
LEAST_JUDGED = 8  # from fewer photos nothing can be chosen: each half is to have a spread
# The default has to be beaten by this much AUROC: on so few photos, less is chance.
LEAST_GAIN = 0.01


def calibrate(
    model: ReconstructionModel,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    labelled: Dataset | None = None,
) -> None:
    """Choose the residual's normalisation if the recipe leaves it open, then set every threshold.

    Args:
        model: trained, in evaluation mode; gets its statistics and `config.calibrations`.
        held_out: good photos that the weights were not trained on.
        processor: prepares them.
        recipe: normalisation, false-alarm rate and the rule for the threshold.
        labelled: the validation split, for the rule "roc"; never the test split.

    Raises:
        ValueError: when a category has fewer than 2 photos, or lacks labelled ones that are needed.
    """
    photos = _by_category(held_out, model.config.categories)
    prepared = {name: PreparedPhotos(good, processor) for name, good in photos.items()}
    if recipe.residual_normalisation == AUTO:
        model.set_residual_normalisation(choose_normalisation(model, prepared, recipe))
    for category, good in prepared.items():
        loader = DataLoader(good, recipe.batch_size)
        calibration = model.calibrate(loader, recipe.false_alarm_rate, category)
        if recipe.threshold_rule == ROC:
            chosen = _by_category(labelled, [category])[category]
            raw = _raw_scores(model, PreparedPhotos(chosen, processor), category, recipe)
            model.set_calibration(calibration.with_labelled(raw, chosen["label"]), category)


def _by_category(photos: Dataset, categories: Sequence[str]) -> dict[str, Dataset]:
    names = np.array(photos["category"])
    return {category: photos.select(np.flatnonzero(names == category)) for category in categories}


def _raw_scores(
    model: ReconstructionModel, photos: Sequence[Tensor], category: str, recipe: Recipe
) -> np.ndarray:
    """(N,) of photos (3, H, W) each."""
    batches = DataLoader(photos, recipe.batch_size)
    raw = [model.detect(batch.to(model.device), category).raw_score.cpu() for batch in batches]
    return torch.cat(raw).numpy() if raw else np.empty(0)


def choose_normalisation(
    model: ReconstructionModel, photos: dict[str, PreparedPhotos], recipe: Recipe
) -> str:
    """The normalisation by which scores best tell synthetic damage from held-out good photos.

    Args:
        model: trained, in evaluation mode; its statistics are overwritten.
        photos: held-out good photos by category.
        recipe: seed and batch size.

    Returns:
        One of `CANDIDATES` of the model's target: the one with the best AUROC, averaged over
        the categories, or the target's default where none is better by `LEAST_GAIN`.
    """
    trials = {
        category: DamageTrial.of(good, JUDGED_PHOTOS, copies=1, seed=recipe.seed)
        for category, good in photos.items()
        if len(good) >= LEAST_JUDGED
    }
    aurocs = {}
    for normalisation in CANDIDATES[model.config.target]:
        model.set_residual_normalisation(normalisation)
        found = [
            separation(model, trial, category, recipe.batch_size).image_auroc
            for category, trial in trials.items()
        ]
        aurocs[normalisation] = np.mean(found) if found else math.nan
    logger.info("AUROC on synthetic damage: %s", aurocs)
    default = model.config.defaults_for_target(model.config.target)["residual_normalisation"]
    best = max(aurocs, key=aurocs.__getitem__)
    return best if aurocs[best] >= aurocs[default] + LEAST_GAIN else default
