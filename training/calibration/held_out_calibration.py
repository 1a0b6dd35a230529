"""Calibration on good photos that were not learned from: choices and scores, then thresholds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader

from modeling import Calibration, InspectionImageProcessor, ReconstructionModel
from modeling.fitting import WholePartExamples
from training.calibration.held_out_damage import LEAST_JUDGED, DamageTrial, best_by_a_margin
from training.calibration.scales import set_scale
from training.calibration.trials import SeenTrial, see_trials, streams_at
from training.judging import choose_judged
from training.photos.augmentation import augmentation_for
from training.photos.decoded import PreparedPhotos
from training.recipe import AUTO, ROC, Recipe
from training.whole_part import weigh_whole_part, weighed_streams

logger = logging.getLogger(__name__)

# What is worth a choice. Features are always whitened: without, screws lose 5 points of AUROC, and
# so few photos as are judged here take a lucky draw for better now and then.
CANDIDATES = {"pixels": ("none", "location"), "features": ("channel", "channel+location")}


@dataclass(frozen=True)
class Scored:
    """Raw scores of one category's photos, >= 0, by which its threshold is set.

    None of the good ones was learned from by the model that scored it.
    """

    image_ids: list[str]  # of the n good photos that calibrate
    good: list[float]  # their n scores, in the same order
    damaged: list[float] = field(default_factory=list)  # of damaged copies of held-out photos
    labelled: list[float] = field(default_factory=list)  # of the validation split, for rule "roc"
    labels: list[int] = field(default_factory=list)  # 0 good, 1 defective, of these
    # How well each stream tells the damaged copies, as `weigh_whole_part` gives it.
    on_damage: dict[str, float] = field(default_factory=dict)

    def conformal(self, recipe: Recipe) -> Calibration:
        """What the good photos alone promise; errors are those of `Calibration.fit`."""
        return Calibration.fit(self.good, recipe.false_alarm_rate)


def choose_and_score(
    model: ReconstructionModel,
    held_out: Dataset,
    processor: InspectionImageProcessor,
    recipe: Recipe,
    labelled: Dataset | None = None,
    examples: Mapping[str, WholePartExamples] = MappingProxyType({}),
) -> dict[str, Scored]:
    """Choose what the recipe leaves open, then score what sets the thresholds, by category.

    The model, in evaluation mode, gets its statistics from good photos that its weights were not
    trained on, and for the time being the threshold that they promise. For the rule "roc",
    `labelled` is the validation split, never the test split. The whole part was solved from the
    `examples`, by category, and is solved again where another scale asks for it. Fewer than 2
    photos of a category are a ValueError.
    """
    photos = by_category(held_out, model.config.categories)
    prepared = {name: PreparedPhotos(good, processor) for name, good in photos.items()}
    trials = {name: DamageTrial.of_category(good, name, recipe) for name, good in prepared.items()}
    seen = see_trials(model, trials, recipe.batch_size)
    set_scale(model, seen, examples, recipe)
    if recipe.residual_normalisation == AUTO:
        model.set_residual_normalisation(choose_normalisation(model, seen, recipe))
    scored = {}
    for category, good in prepared.items():
        trial, on_damage = trials[category], {}
        loader = DataLoader(good, recipe.batch_size)
        if model.whole_part is not None:
            on_damage = weigh_whole_part(model, seen[category], category, recipe)
        if model.ground is not None:
            choose_judged(model, good, category, recipe)
        found = Scored(list(photos[category]["image_id"]), model.fit_good_parts(loader, category))
        model.set_calibration(found.conformal(recipe), category)
        damaged = [photo for copy in trial.copies for photo in copy]
        raw = _raw_scores(model, damaged, category, recipe)
        found = replace(found, damaged=raw, on_damage=on_damage)
        if recipe.threshold_rule == ROC:
            chosen = by_category(labelled, [category])[category]
            raw = _raw_scores(model, PreparedPhotos(chosen, processor), category, recipe)
            found = replace(found, labelled=raw, labels=list(chosen["label"]))
        scored[category] = found
    return scored


def set_thresholds(
    model: ReconstructionModel, scored: Mapping[str, Scored], recipe: Recipe
) -> None:
    """Give the model its `config.calibrations`, by the recipe's rule.

    No score, or none of the labelled ones that are needed, is a ValueError.
    """
    for category, found in scored.items():
        calibration = found.conformal(recipe).raised_towards(found.damaged)
        if recipe.threshold_rule == ROC:
            calibration = calibration.with_labelled(found.labelled, found.labels)
        model.set_calibration(calibration, category)


def by_category(photos: Dataset, categories: Sequence[str]) -> dict[str, Dataset]:
    """The photos of each category, in their order."""
    names = np.array(photos["category"])
    return {category: photos.select(np.flatnonzero(names == category)) for category in categories}


def _raw_scores(
    model: ReconstructionModel, photos: Sequence[Tensor], category: str, recipe: Recipe
) -> list[float]:
    """Of N photos (3, H, W) each."""
    batches = DataLoader(photos, recipe.batch_size)
    raw = [model.detect(batch.to(model.device), category).raw_score.cpu() for batch in batches]
    return torch.cat(raw).tolist() if raw else []


def choose_normalisation(
    model: ReconstructionModel, seen: Mapping[str, SeenTrial], recipe: Recipe
) -> str:
    """The normalisation by which the body best tells synthetic damage from held-out good photos.

    It is one of `CANDIDATES` of the model's target: the one with the best AUROC, averaged over the
    categories, or the target's default where no other is better beyond chance. A product that may
    be turned has no statistics per location, nor has one of too few photos: two of them would find
    nothing unusual any more. The candidates differ in that alone; channels are whitened, or not, as
    they were when the trials were seen.
    """
    default, *others = candidates = _candidates(model, recipe)
    if not others:
        return default
    if min(len(trial.good.residual) for trial in seen.values()) < LEAST_JUDGED:
        return next(name for name in candidates if "location" not in name)
    aurocs, sigma = {}, model.config.map_sigma / model.config.map_stride
    for name in candidates:
        found = []
        for trial in seen.values():
            good, *damaged = streams_at(trial, sigma, per_location="location" in name)
            found.append(weighed_streams(good, damaged, [0.0]).by_share[0.0])
        aurocs[name] = np.mean(found, axis=0)
    logger.info("AUROC on synthetic damage: %s", aurocs)
    return best_by_a_margin(aurocs)


def least_calibrating(model: ReconstructionModel, held_out: Dataset, recipe: Recipe) -> int:
    """How many good photos of a category a calibration needs, whatever may yet be chosen.

    The model is as the recipe makes it, and the held-out photos are those that choose.
    """
    chosen = [model.config.residual_normalisation]
    counts = [len(photos) for photos in by_category(held_out, model.config.categories).values()]
    if recipe.residual_normalisation == AUTO:
        chosen = _candidates(model, recipe) if min(counts) >= LEAST_JUDGED else []
    return 3 if any("location" in name for name in chosen) else 2


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
