"""Simple references on the same photos, so that a model's figures stand beside a floor.

- `mean_image`: how far a photo differs from the mean good photo, averaged over the colours.
- `gaussian_per_location`: Mahalanobis distance from a Gaussian with full covariance at each place
  of the features (PaDiM; Defard et al., ICPR 2021), on a random choice of at most 100 channels.
- `nearest_neighbours`: mean distance to the 3 nearest of up to 10,000 features of good photos
  from anywhere in the picture (as PatchCore, Roth et al., CVPR 2022, but with a random choice
  instead of its coreset, and without its pooling and its weights).

All learn from all the good training photos of the category and get the input of the model. Features
are the model's own target: the standardised channels of its frozen backbone, or the pixels within a
position of its map. Residuals become map and score as the model's own do: smoothed by the same
Gaussian, enlarged, the score is the largest value of the map. They have no threshold.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from datasets import Dataset
from sklearn.exceptions import UndefinedMetricWarning
from torch import Tensor

from data.rows import decode_picture
from evaluation.evaluate.prediction import (
    BATCH_SIZE,
    Detect,
    Prediction,
    maps_of_photo_size,
    masks_of,
    predict,
)
from evaluation.evaluate.summary import summarise
from modeling import InspectionImageProcessor, ReconstructionModel, ReconstructionOutput
from modeling.scoring import enlarge, raw_score, smooth_residual
from system.batches import batches_of, map_in_threads
from system.cores import single_threaded
from system.processes import everywhere, on_main

SEED = 0  # of every random choice
GAUSSIAN_CHANNELS = 100  # as PaDiM takes of a small network; the covariances grow with the square
REGULARISATION = 0.01  # added to the covariances' diagonal, as in PaDiM
BANK_SIZE = 10_000  # features that are kept to be compared with
NEIGHBOURS = 3
POSITIONS_AT_ONCE = 512  # that are compared with the whole bank, or have their covariance inverted
METRICS = (
    "image_auroc",
    "average_precision",
    "image_f1_max",
    "pixel_auroc",
    "pixel_average_precision",
    "aupro",
    "aupro_5",
)

# How far photos, described as (B, C, h, w), differ from the good ones: (B, h', w'), >= 0.
Residual = Callable[[Tensor], Tensor]


class Baseline(NamedTuple):
    """A reference that learns from good photos."""

    # What is compared, (B, C, h, w), of a model and pictures (B, 3, H, W) in 0..1.
    describe: Callable[[ReconstructionModel, Tensor], Tensor]
    # Batches of described good photos, and how many photos they are -> the residual.
    learn: Callable[[Iterable[Tensor], int], Residual]


def features(model: ReconstructionModel, pixel_values: Tensor) -> Tensor:
    """The model's target, (B, C, h, w), one vector a position of the map; all pixels within it."""
    tiling = model.config.tiling.coarser(model.config.body_stride)
    values = tiling.join(model.target.encode(model.tiles_of(pixel_values)))
    side = model.config.image_size // model.config.map_stride
    return F.pixel_unshuffle(values, values.shape[-1] // side)


def some_features(model: ReconstructionModel, pixel_values: Tensor) -> Tensor:
    """(B, C', h, w), `GAUSSIAN_CHANNELS` of the features, the same for every batch."""
    described = features(model, pixel_values)
    generator = torch.Generator().manual_seed(SEED)
    chosen = torch.randperm(described.shape[1], generator=generator)[:GAUSSIAN_CHANNELS]
    return described[:, chosen.sort().values.to(described.device)]


def mean_image(good: Iterable[Tensor], photos: int) -> Residual:
    """The absolute difference from the mean good photo, averaged over the colours."""
    total = sum(described.double().sum(dim=0) for described in good)
    mean = (total / photos).float()
    return lambda described: (described - mean).abs().mean(dim=1)


def gaussian_per_location(good: Iterable[Tensor], photos: int) -> Residual:
    """Mahalanobis distance from a Gaussian at each place, with full covariance over the channels.

    The sums that it is fitted from do not grow with the number of photos.
    """
    total, products = 0.0, None
    for described in good:
        vectors = described.float().flatten(2).permute(2, 0, 1)  # (h * w, B, C)
        total = total + vectors.double().sum(dim=1)
        if products is None:
            products = vectors.new_zeros(len(vectors), *[vectors.shape[-1]] * 2)
        products.baddbmm_(vectors.mT, vectors)
    mean = total / photos  # (h * w, C)
    for part in batches_of(len(mean), POSITIONS_AT_ONCE):
        some = slice(part.start, part.stop)
        outer = mean[some, :, None] * mean[some, None, :]
        covariance = (products[some].double() - photos * outer) / max(1, photos - 1)
        covariance.diagonal(dim1=1, dim2=2).add_(REGULARISATION)
        root = torch.linalg.cholesky(covariance)
        identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
        inverse = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)
        products[some] = inverse.float()  # in place: two of them would be large

    def distance(described: Tensor) -> Tensor:
        batch, _, *grid = described.shape
        vectors = described.flatten(2).permute(2, 1, 0) - mean.float()[..., None]  # (h * w, C, B)
        return (products @ vectors).norm(dim=1).T.reshape(batch, *grid)

    return distance


def nearest_neighbours(good: Iterable[Tensor], photos: int) -> Residual:
    """Mean distance to the `NEIGHBOURS` nearest features that good photos have anywhere."""
    bank = bank_of(good, photos)

    def distance(described: Tensor) -> Tensor:
        batch, channels, *grid = described.shape
        vectors = described.permute(0, 2, 3, 1).reshape(-1, channels)
        nearest = [
            torch.cdist(some, bank)
            .topk(min(NEIGHBOURS, len(bank)), largest=False)
            .values.mean(dim=1)
            for some in vectors.split(POSITIONS_AT_ONCE)
        ]
        return torch.cat(nearest).reshape(batch, *grid)

    return distance


def bank_of(good: Iterable[Tensor], photos: int) -> Tensor:
    """Up to `BANK_SIZE` vectors, (n, C): as many random positions of each photo."""
    generator = torch.Generator().manual_seed(SEED)
    most = max(1, BANK_SIZE // photos)
    kept = []
    for described in good:
        for vectors in described.float().flatten(2).mT:  # (h * w, C)
            chosen = torch.randperm(len(vectors), generator=generator)[:most]
            kept.append(vectors[chosen.to(vectors.device)].clone())
    return torch.cat(kept)


BASELINES = {
    "mean_image": Baseline(lambda _, pictures: pictures, mean_image),
    "gaussian_per_location": Baseline(some_features, gaussian_per_location),
    "nearest_neighbours": Baseline(features, nearest_neighbours),
}


def detector(model: ReconstructionModel, baseline: Baseline, residual: Residual) -> Detect:
    """Map and raw score of pictures, (B, 3, H, W), made as `ReconstructionModel.detect` makes them.

    Neither reconstruction nor verdict: a baseline is not calibrated.
    """
    config = model.config

    @torch.no_grad()
    def detect(pixel_values: Tensor, category: Sequence[str] | None = None) -> ReconstructionOutput:
        del category  # a baseline learned one only
        found = residual(baseline.describe(model, pixel_values).float())
        cell = found.shape[-1] * config.map_stride // config.image_size
        found = F.avg_pool2d(found.unsqueeze(1), cell).squeeze(1)
        smoothed = smooth_residual(found, config.map_sigma / config.map_stride)
        anomaly_map = enlarge(smoothed, config.image_size)
        raw = raw_score(anomaly_map)
        return ReconstructionOutput(
            anomaly_map=anomaly_map, raw_score=raw, anomaly_score=torch.full_like(raw, torch.nan)
        )

    return detect


def baseline_metrics(
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    good: Dataset,
    test: Dataset,
    *,
    batch_size: int = BATCH_SIZE,
    **how: Any,
) -> dict[str, dict[str, float]]:
    """What every baseline, having learned the good photos of a category, measures on a test set.

    The model gives features, input size and smoothing; `how` goes to `predict`. Raises as
    `evaluate` does.

    Returns:
        By the baseline's name its `METRICS`, and the "seconds" that it took to learn and to judge;
        what is undefined is NaN. Empty in all processes but the main one.
    """
    found: dict[str, dict[str, float]] = {}
    for name, baseline in BASELINES.items():
        start = time.perf_counter()
        learn = partial(_learn, baseline, model, image_processor, good, batch_size)
        how |= {"title": name, "detect": detector(model, baseline, everywhere(learn))}
        predictions = predict(model, image_processor, test, batch_size=batch_size, **how)
        seconds = time.perf_counter() - start
        metrics = on_main(partial(_metrics_of, predictions, image_processor, test))
        if metrics is not None:
            found[name] = {**metrics, "seconds": round(seconds, 2)}
    return found


def _learn(
    baseline: Baseline,
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    good: Dataset,
    batch_size: int,
) -> Residual:
    photos = good.select_columns(["image", "image_id"])

    def describe(batch: range) -> Tensor:
        pictures = [decode_picture(photos, index, "image") for index in batch]
        pixel_values = image_processor(pictures, return_tensors="pt")["pixel_values"]
        return baseline.describe(model, pixel_values.to(model.device, model.dtype))

    with torch.no_grad(), single_threaded() as threads:
        batches = batches_of(len(good), batch_size)
        described = map_in_threads(describe, batches, model.device, threads)
        return baseline.learn(described, len(good))


def _metrics_of(
    predictions: Sequence[Prediction], image_processor: InspectionImageProcessor, test: Dataset
) -> dict[str, float]:
    maps = maps_of_photo_size(predictions, image_processor)
    with warnings.catch_warnings():  # a baseline has no verdicts, and no metrics of them are taken
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        metrics = summarise(predictions, maps, masks_of(test), None)
    return {name: metrics[name] for name in METRICS}
