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
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from sklearn.exceptions import UndefinedMetricWarning
from torch import Tensor

from data.rows import decode_picture
from evaluation.evaluate.prediction import (
    BATCH_SIZE,
    Prediction,
    maps_of_photo_size,
    masks_of,
    predict,
)
from evaluation.evaluate.summary import summarise
from modeling import InspectionImageProcessor, ReconstructionModel
from modeling.outputs import ReconstructionOutput
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


class Baseline(ABC):
    """A reference that learns from good photos and gives a residual map.

    Args:
        model: gives the features, and the way from residual to score.
        photos: how many good photos there are to learn from.
    """

    def __init__(self, model: ReconstructionModel, photos: int) -> None:
        self.model, self.photos = model, photos

    def describe(self, pixel_values: Tensor) -> Tensor:
        """What is compared, of pictures (B, 3, H, W) in 0..1: here the model's target.

        One vector a position of the model's map, (B, C, h, w); of pixels, all those within it.
        """
        target = self.model.target
        tiling = self.model.config.tiling.coarser(target.stride)
        values = tiling.join(target.encode(self.model.tiles_of(pixel_values)))
        side = self.model.config.image_size // self.model.config.map_stride
        return F.pixel_unshuffle(values, values.shape[-1] // side)

    @abstractmethod
    def learn(self, described: Tensor) -> None:
        """Take in one batch of good photos, (B, C, h, w)."""

    @abstractmethod
    def finish(self) -> None:
        """Sum up, when all good photos were taken in."""

    @abstractmethod
    def residual(self, described: Tensor) -> Tensor:
        """How far photos, (B, C, h, w), differ from the good ones: (B, h', w'), >= 0."""

    @torch.no_grad()
    def detect(
        self, pixel_values: Tensor, category: Sequence[str] | None = None
    ) -> ReconstructionOutput:
        """Map and raw score of pictures, (B, 3, H, W), as `ReconstructionModel.detect` makes them.

        Neither reconstruction nor verdict: a baseline is not calibrated.
        """
        del category  # a baseline learned one only
        config = self.model.config
        residual = self.residual(self.describe(pixel_values).float())
        residual = F.avg_pool2d(
            residual.unsqueeze(1), residual.shape[-1] * config.map_stride // config.image_size
        ).squeeze(1)
        residual = smooth_residual(residual, config.map_sigma / config.map_stride)
        anomaly_map = enlarge(residual, config.image_size)
        raw = raw_score(anomaly_map)
        return ReconstructionOutput(
            anomaly_map=anomaly_map, raw_score=raw, anomaly_score=torch.full_like(raw, torch.nan)
        )


class MeanImage(Baseline):
    """The absolute difference from the mean good photo."""

    total: Tensor | float = 0.0

    def describe(self, pixel_values: Tensor) -> Tensor:
        """The picture itself."""
        return pixel_values

    def learn(self, described: Tensor) -> None:
        """Add the pictures up."""
        self.total = self.total + described.double().sum(dim=0)

    def finish(self) -> None:
        """Take the mean."""
        self.mean = (self.total / self.photos).float()

    def residual(self, described: Tensor) -> Tensor:
        """Averaged over the colours: (B, H, W)."""
        return (described - self.mean).abs().mean(dim=1)


class GaussianPerLocation(Baseline):
    """A Gaussian at each place, with a full covariance over the channels.

    The sums that it is fitted from do not grow with the number of photos.
    """

    total: Tensor | float = 0.0
    products: Tensor | None = None

    def describe(self, pixel_values: Tensor) -> Tensor:
        """(B, C', h, w), the chosen channels."""
        described = super().describe(pixel_values)
        generator = torch.Generator().manual_seed(SEED)
        chosen = torch.randperm(described.shape[1], generator=generator)[:GAUSSIAN_CHANNELS]
        return described[:, chosen.sort().values.to(described.device)]

    def learn(self, described: Tensor) -> None:
        """Add up the vectors and their products."""
        vectors = described.float().flatten(2).permute(2, 0, 1)  # (h * w, B, C)
        self.total = self.total + vectors.double().sum(dim=1)
        if self.products is None:
            self.products = vectors.new_zeros(len(vectors), *[vectors.shape[-1]] * 2)
        self.products.baddbmm_(vectors.mT, vectors)

    def finish(self) -> None:
        """Invert the covariances, some at a time."""
        self.mean = (self.total / self.photos).float()  # (h * w, C)
        freedom = max(1, self.photos - 1)
        for part in batches_of(len(self.mean), POSITIONS_AT_ONCE):
            some = slice(part.start, part.stop)
            mean = self.total[some] / self.photos
            outer = mean[:, :, None] * mean[:, None, :]
            covariance = (self.products[some].double() - self.photos * outer) / freedom
            covariance.diagonal(dim1=1, dim2=2).add_(REGULARISATION)
            root = torch.linalg.cholesky(covariance)
            identity = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
            inverse = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)
            self.products[some] = inverse.float()  # in place: two of them would be large

    def residual(self, described: Tensor) -> Tensor:
        """Mahalanobis distance: (B, h, w)."""
        batch, _, *grid = described.shape
        vectors = described.flatten(2).permute(2, 1, 0) - self.mean[..., None]  # (h * w, C, B)
        distance = (self.products @ vectors).norm(dim=1)  # (h * w, B)
        return distance.T.reshape(batch, *grid)


class NearestNeighbours(Baseline):
    """The distance to the nearest features that good photos have anywhere."""

    def __init__(self, model: ReconstructionModel, photos: int) -> None:
        super().__init__(model, photos)
        self.generator = torch.Generator().manual_seed(SEED)
        self.kept: list[Tensor] = []

    def learn(self, described: Tensor) -> None:
        """Keep as many random positions of each photo."""
        for vectors in described.float().flatten(2).mT:  # (h * w, C)
            most = max(1, BANK_SIZE // self.photos)
            chosen = torch.randperm(len(vectors), generator=self.generator)[:most]
            self.kept.append(vectors[chosen.to(vectors.device)].clone())

    def finish(self) -> None:
        """Make one bank of all that was kept: (n, C)."""
        self.bank = torch.cat(self.kept)
        self.kept = []

    def residual(self, described: Tensor) -> Tensor:
        """Mean distance to the `NEIGHBOURS` nearest: (B, h, w)."""
        batch, channels, *grid = described.shape
        vectors = described.permute(0, 2, 3, 1).reshape(-1, channels)
        nearest = [
            torch.cdist(some, self.bank)
            .topk(min(NEIGHBOURS, len(self.bank)), largest=False)
            .values.mean(dim=1)
            for some in vectors.split(POSITIONS_AT_ONCE)
        ]
        return torch.cat(nearest).reshape(batch, *grid)


BASELINES: dict[str, type[Baseline]] = {
    "mean_image": MeanImage,
    "gaussian_per_location": GaussianPerLocation,
    "nearest_neighbours": NearestNeighbours,
}


def baseline_metrics(
    model: ReconstructionModel,
    image_processor: InspectionImageProcessor,
    good: Dataset,
    test: Dataset,
    *,
    batch_size: int = BATCH_SIZE,
    **how: Any,
) -> dict[str, dict[str, float]]:
    """Metrics of every baseline on a test set, by its name.

    Args:
        model: gives features, input size and smoothing.
        image_processor: the model's own.
        good: good training photos of the category.
        test: the labelled photos.
        batch_size: photos at a time.
        how: further arguments of `predict`.

    Returns:
        `METRICS`, and the "seconds" that it took to learn and to judge; what is undefined is NaN.
        Empty in all processes but the main one.

    Raises:
        DatasetError: a photo can't be decoded.
        MetricError: a map is not finite, or a mask has not the size of its photo.
    """
    found: dict[str, dict[str, float]] = {}
    for name, kind in BASELINES.items():
        start = time.perf_counter()
        baseline = kind(model, len(good))
        everywhere(lambda baseline=baseline: fit(baseline, image_processor, good, batch_size))
        how |= {"batch_size": batch_size, "title": name, "detect": baseline.detect}
        predictions = predict(model, image_processor, test, **how)
        seconds = time.perf_counter() - start
        metrics = on_main(lambda found=predictions: _metrics_of(found, image_processor, test))
        if metrics is not None:
            found[name] = {**metrics, "seconds": round(seconds, 2)}
    return found


def fit(
    baseline: Baseline, image_processor: InspectionImageProcessor, good: Dataset, batch_size: int
) -> None:
    """Show a baseline all the good photos.

    Raises:
        DatasetError: a photo can't be decoded.
    """
    model = baseline.model
    photos = good.select_columns(["image", "image_id"])

    def describe(batch: range) -> Tensor:
        pictures = [decode_picture(photos, index, "image") for index in batch]
        pixel_values = image_processor(pictures, return_tensors="pt")["pixel_values"]
        return baseline.describe(pixel_values.to(model.device, model.dtype))

    with torch.no_grad(), single_threaded() as threads:
        batches = batches_of(len(good), batch_size)
        for described in map_in_threads(describe, batches, model.device, threads):
            baseline.learn(described)
        baseline.finish()


def _metrics_of(
    predictions: Sequence[Prediction], image_processor: InspectionImageProcessor, test: Dataset
) -> dict[str, float]:
    maps = maps_of_photo_size(predictions, image_processor)
    with warnings.catch_warnings():  # a baseline has no verdicts, and no metrics of them are taken
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        metrics = summarise(predictions, maps, masks_of(test), None)
    return {name: metrics[name] for name in METRICS}
