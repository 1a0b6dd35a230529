"""Calibration on held-out good photos: the residual's normalisation, then every threshold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader

from modeling import InspectionImageProcessor, ReconstructionModel
from modeling.fitting import WholePartExamples
from training.held_out_damage import LEAST_JUDGED, DamageTrial, best_by_a_margin, separations
from training.judging import choose_judged
from training.photos.augmentation import augmentation_for
from training.photos.decoded import PreparedPhotos
from training.recipe import AUTO, ROC, Recipe
from training.scales import set_scale
from training.whole_part import weigh_whole_part

logger = logging.getLogger(__name__)

# What is worth a choice. Features are always whitened: without, screws lose 5 points of AUROC, and
# so few photos as are judged here take a lucky draw for better now and then.
CANDIDATES = {"pixels": ("none", "location"), "features": ("channel", "channel+location")}


def calibrate(
    model: ReconstructionModel,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    labelled: Dataset | None = None,
    examples: Mapping[str, WholePartExamples] = MappingProxyType({}),
) -> None:
    """Choose what the recipe leaves open, then set every threshold.

    The model, in evaluation mode, gets its statistics and `config.calibrations` from good photos
    that its weights were not trained on. For the rule "roc", `labelled` is the validation split,
    never the test split. The whole part was solved from the `examples`, by category, and is solved
    again where another scale asks for it. Fewer than 2 photos of a category, or none of the
    labelled ones that are needed, are a ValueError.
    """
    photos = _by_category(held_out, model.config.categories)
    prepared = {name: PreparedPhotos(good, processor) for name, good in photos.items()}
    trials = {name: DamageTrial.of_category(good, name, recipe) for name, good in prepared.items()}
    set_scale(model, trials, examples, recipe)
    if recipe.residual_normalisation == AUTO:
        model.set_residual_normalisation(choose_normalisation(model, trials, recipe))
    for category, good in prepared.items():
        trial = trials[category]
        loader = DataLoader(good, recipe.batch_size)
        calibration = model.calibrate(loader, recipe.false_alarm_rate, category)
        if model.whole_part is not None:
            weigh_whole_part(model, trial, category, recipe)
        if model.ground is not None:
            choose_judged(model, good, category, recipe)
        if model.whole_part is not None or model.ground is not None:
            calibration = model.calibrate(loader, recipe.false_alarm_rate, category)
        damaged = [photo for copy in trial.copies for photo in copy]
        raw = _raw_scores(model, damaged, category, recipe)
        calibration = calibration.raised_towards(raw)
        model.set_calibration(calibration, category)
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
    model: ReconstructionModel, trials: dict[str, DamageTrial], recipe: Recipe
) -> str:
    """The normalisation by which scores best tell synthetic damage from held-out good photos.

    It is one of `CANDIDATES` of the model's target: the one with the best AUROC, averaged over the
    categories, or the target's default where no other is better beyond chance. A product that may
    be turned has no statistics per location, nor has one of too few photos: two of them would find
    nothing unusual any more. The model is in evaluation mode; its statistics are overwritten.
    """
    default, *others = candidates = _candidates(model, recipe)
    if not others:
        return default
    if min(len(trial.good) for trial in trials.values()) < LEAST_JUDGED:
        return next(name for name in candidates if "location" not in name)
    aurocs = {}
    for normalisation in candidates:
        model.set_residual_normalisation(normalisation)
        found = [
            separations(model, trial, category, recipe.batch_size)
            for category, trial in trials.items()
        ]
        aurocs[normalisation] = np.mean([[one.image_auroc for one in of] for of in found], axis=0)
    logger.info("AUROC on synthetic damage: %s", aurocs)
    return best_by_a_margin(aurocs)


def _candidates(model: ReconstructionModel, recipe: Recipe) -> list[str]:
    """The normalisations that suit the products, the default first."""
    turns = any(
        augmentation_for(category, recipe.augmentation).turns
        for category in model.config.categories
    )
    target = model.config.target
    default = model.config.defaults_for_target(target)["residual_normalisation"]
    suitable = [name for name in CANDIDATES[target] if not (turns and "location" in name)]
    return sorted(suitable, key=lambda name: name != default)
