"""Which residual tells damage from good parts best, judged by held-out good photos alone.

    python -m evaluation.studies.compare_residuals --model runs/bottle --data DIR --category bottle
    python -m evaluation.studies.compare_residuals --model runs/bottle --data DIR \
        --category bottle --residual_weights l1=1,ssim=1 ms_ssim=1

Prints a row for every residual and normalisation: AUROC over photos and over pixels, where damage
is what training draws on the photos that it held out. The model is not changed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from datasets import disable_progress_bars
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.utils.data import DataLoader

from data.dataset import load_inspection_dataset, split_calibration
from data.rows import DatasetError
from model_files import RECIPE
from modeling import (
    InspectionPipeline,
    ModelLoadError,
    PhotoError,
    ReconstructionModel,
    load_pipeline,
)
from modeling.checks import check_weighting
from modeling.configuration import NORMALISATIONS
from modeling.dissimilarity import DISSIMILARITIES
from system.command_line import run_command
from system.memory import keep_freed_memory
from training.calibration.held_out_damage import DamageTrial
from training.photos.decoded import PreparedPhotos
from training.recipe import Recipe, parse_recipe, read_weights

Weights = Mapping[str, float]

COMPARED: Mapping[str, Sequence[Weights]] = {
    "pixels": (
        *({name: 1} for name in ("l1", "ssim", "ms_ssim", "gms", "msgms")),
        *({"l1": 1, name: 1} for name in ("ssim", "ms_ssim", "msgms")),
    ),
    "features": (
        *({name: 1} for name in ("l1", "mse", "cosine")),
        *({"mse": 1, "cosine": weight} for weight in (2, 5, 10)),
    ),
}
NAME = "compare_residuals.py"
BATCH_SIZE = 8
PIXEL_STEP = 2  # every second pixel, each way, says as much about a map as all of them
RATE = 0.05  # a calibration needs a false-alarm rate; no raw score depends on it


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Compare residuals on held-out good photos and damaged copies of them.",
    )
    add = parser.add_argument
    add("--model", required=True, type=Path, help="model folder that training wrote")
    add("--data", required=True, help="what it was trained on, as training/train.py takes it")
    add("--category", help="product; not needed if data holds only one")
    add(
        "--residual_weights",
        nargs="+",
        type=read_weights,
        help="residuals such as l1=1,ssim=1; default: the usual ones of the model's target",
    )
    add(
        "--residual_normalisation",
        nargs="+",
        help="such as channel location; default: all of the model's target",
    )
    add("--photos", type=int, default=48, help="held-out photos at most (default: 48)")
    add("--copies", type=int, default=3, help="damaged copies of each (default: 3)")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    disable_progress_bars()
    bad_input = (DatasetError, ModelLoadError, PhotoError, ValueError)
    return run_command(NAME, lambda: _study(options), bad_input=bad_input)


def _study(options: argparse.Namespace) -> None:
    """Print a row as soon as it is known."""
    pipe = load_pipeline(str(options.model))
    recipe = parse_recipe([str(options.model / RECIPE)])
    category, trial = _held_out_trial(options, pipe, recipe)
    _keep_the_body_alone(pipe.model)
    target = pipe.model.config.target
    residuals = options.residual_weights or COMPARED[target]
    normalisations = options.residual_normalisation or NORMALISATIONS[target]
    print(f"{len(trial.good)} held-out photos of {category}, {options.copies} copies of each")
    print(f"{'residual':24} {'normalisation':18} image AUROC  pixel AUROC")
    for weights in residuals:
        check_weighting("residual_weights", weights, tuple(DISSIMILARITIES[target]))
    for weights, normalisation in product(residuals, normalisations):
        pipe.model.config.residual_weights = dict(weights)
        pipe.model.set_residual_normalisation(normalisation)
        found = separations(pipe.model, trial, category, BATCH_SIZE)
        name = ",".join(f"{part}={weight:g}" for part, weight in weights.items())
        image = np.mean([one.image_auroc for one in found])
        pixel = np.mean([one.pixel_auroc for one in found])
        print(f"{name:24} {normalisation:18} {image:11.3f}  {pixel:11.4f}", flush=True)


def _keep_the_body_alone(model: ReconstructionModel) -> None:
    """Judge by the body, and all that it shows: what joins it was weighed for one residual."""
    if model.whole_part is not None:
        model.whole_part.weight.zero_()
    if model.ground is not None:
        model.ground.reset()


def _held_out_trial(
    options: argparse.Namespace, pipe: InspectionPipeline, recipe: Recipe
) -> tuple[str, DamageTrial]:
    """The photos that this model's training held out, and copies damaged by its seed."""
    data = load_inspection_dataset(options.data, options.category, seed=recipe.seed)
    _, held_out = split_calibration(data["train"], recipe.calibration_fraction, recipe.seed)
    category = held_out["category"][0]
    pipe.model.category_numbers(category, 1)  # refuses a product that the model does not know
    prepared = PreparedPhotos(held_out, pipe.image_processor)
    trial = DamageTrial.of(prepared, options.photos, options.copies, recipe.seed)
    if len(trial.good) < 4 or options.copies < 1:
        raise ValueError(
            f"Comparing needs at least 4 held-out photos and 1 copy of each, found "
            f"{len(trial.good)} and {options.copies}."
        )
    return category, trial


if __name__ == "__main__":
    sys.exit(main())
