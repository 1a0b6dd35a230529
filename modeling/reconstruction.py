"""The one way from a picture to a score, for every architecture.

    pixel_values -> reconstruct -> residual -> anomaly map -> raw score -> score -> is_anomalous

`forward` adds the training loss; `detect` is the same way without gradients. Calibration,
evaluation, pipeline and app all call `detect`; an architecture brings only `reconstruct`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, logging

from .calibration import THRESHOLD, Calibration
from .configuration import ReconstructionConfig
from .dissimilarity import DISSIMILARITIES, weighted_sum
from .scoring import exceeds, normalise_residual, raw_score, smooth_residual

logger = logging.get_logger(__name__)


@dataclass
class ReconstructionOutput(ModelOutput):
    """What a reconstruction model says of a batch of photos; the same fields in every mode.

    Attributes:
        loss: (), the training loss; None from `detect`.
        reconstruction: (B, 3, H, W), how the parts should look, in 0..1.
        anomaly_map: (B, H, W), >= 0, where they differ.
        raw_score: (B,), >= 0, the maximum of the map; metrics rank by it.
        anomaly_score: (B,), 0..1, 0.5 at the calibrated threshold; NaN while uncalibrated.
        is_anomalous: (B,), bool, the verdict at the calibrated threshold; None while uncalibrated.
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    anomaly_map: Tensor | None = None
    raw_score: Tensor | None = None
    anomaly_score: Tensor | None = None
    is_anomalous: Tensor | None = None


class ReconstructionModel(PreTrainedModel, ABC):
    """Base of all architectures: owns residual, map, score and calibration.

    Buffers `residual_mean` and `residual_deviation`, (H, W), hold the smoothed residual's
    statistics on good parts and are saved with the weights.
    """

    config_class = ReconstructionConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__(config)
        shape = (config.image_size, config.image_size)
        self.register_buffer("residual_mean", torch.zeros(shape))
        self.register_buffer("residual_deviation", torch.ones(shape))

    def _init_weights(self, module: nn.Module) -> None:
        # transformers draws convolutions from N(0, 0.02), which starves a deep decoder.
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, ReconstructionModel):
            init.zeros_(module.residual_mean)
            init.ones_(module.residual_deviation)
        else:
            super()._init_weights(module)

    @abstractmethod
    def reconstruct(self, pixel_values: Tensor) -> Tensor:
        """Paint how the parts should look; deterministic outside training.

        Args:
            pixel_values: (B, 3, H, W) in 0..1.

        Returns:
            (B, 3, H, W) in 0..1.
        """

    @property
    def calibration(self) -> Calibration | None:
        """What held-out good parts say, or None while uncalibrated."""
        stored = self.config.calibration
        return None if stored is None else Calibration.from_dict(stored)

    def forward(
        self, pixel_values: Tensor, return_dict: bool | None = None
    ) -> ReconstructionOutput | tuple[Tensor, ...]:
        """Reconstruct, judge, and give the training loss.

        Args:
            pixel_values: (B, 3, H, W) in 0..1, H = W = config.image_size.
            return_dict: False returns the fields that are not None as a tuple.

        Returns:
            `ReconstructionOutput` with `loss`, which alone carries gradients beside
            `reconstruction`.

        Raises:
            ValueError: when `pixel_values` has another shape.
        """
        self._check_shape(pixel_values)
        reconstruction = self.reconstruct(pixel_values)
        maps = self._dissimilarity_maps(pixel_values, reconstruction)
        means = {name: values.mean() for name, values in maps.items()}
        loss = weighted_sum(means, self.config.loss_weights)
        output = self._judge(reconstruction, maps, loss)
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    @torch.no_grad()
    def detect(self, pixel_values: Tensor) -> ReconstructionOutput:
        """Reconstruct and judge, without gradients and without a loss.

        Args:
            pixel_values: (B, 3, H, W) in 0..1, H = W = config.image_size.

        Returns:
            `ReconstructionOutput` with `loss` None.

        Raises:
            ValueError: when `pixel_values` has another shape.
        """
        self._check_shape(pixel_values)
        reconstruction = self.reconstruct(pixel_values)
        return self._judge(reconstruction, self._dissimilarity_maps(pixel_values, reconstruction))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor], false_alarm_rate: float) -> Calibration:
        """Learn the residual's statistics and the threshold from held-out good parts.

        Each part's score is normalised by the statistics of all the *others*: a part that helped
        to say what is usual would look more usual than a new one, and the threshold would promise
        too much. The batches are walked twice, so memory does not grow with their number.

        Args:
            batches: (B, 3, H, W) tensors in 0..1; an iterable that can be walked twice. Good parts
                that the weights were not trained on.
            false_alarm_rate: share of good parts that may fail, in (0, 1).

        Returns:
            The calibration, which is also stored in `config.calibration`.

        Raises:
            ValueError: with fewer than 2 parts, or a rate outside (0, 1).
        """
        total, total_squared, count = self._sum_residuals(batches)
        if count < 2:
            raise ValueError(
                f"Calibration needs at least 2 held-out good photos, found {count}; add good "
                "photos or hold out a larger share."
            )
        scores: list[float] = []
        for pixel_values in batches:
            for residual in self._residual_of(pixel_values):
                mean, deviation = _statistics(
                    total - residual.double(), total_squared - residual.double() ** 2, count - 1
                )
                scores.append(self._score_residual(residual[None], mean, deviation).item())
        mean, deviation = _statistics(total, total_squared, count)
        self.residual_mean.copy_(mean)
        self.residual_deviation.copy_(deviation)
        calibration = Calibration.fit(scores, false_alarm_rate)
        self.config.calibration = calibration.to_dict()
        return calibration

    def _check_shape(self, pixel_values: Tensor) -> None:
        side = self.config.image_size
        expected = (self.config.num_channels, side, side)
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != expected:
            raise ValueError(
                f"pixel_values must have the shape (B, {', '.join(map(str, expected))}), found "
                f"{tuple(pixel_values.shape)}; prepare photos with the model's image processor."
            )

    def _dissimilarity_maps(self, target: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
        """Each dissimilarity that loss or residual needs, once: name -> (B, H, W)."""
        weights = (self.config.loss_weights, self.config.residual_weights)
        names = {name for table in weights for name, weight in table.items() if weight > 0}
        # In full precision: under autocast or in half, SSIM's small differences would vanish.
        with torch.autocast(target.device.type, enabled=False):
            target, reconstruction = target.float(), reconstruction.float()
            return {name: DISSIMILARITIES[name](target, reconstruction) for name in sorted(names)}

    def _smoothed_residual(self, maps: dict[str, Tensor]) -> Tensor:
        detached = {name: values.detach() for name, values in maps.items()}
        residual = weighted_sum(detached, self.config.residual_weights)
        with torch.autocast(residual.device.type, enabled=False):
            return smooth_residual(residual, self.config.map_sigma)  # (B, H, W)

    def _anomaly_map(self, residual: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        if self.config.residual_normalisation == "none":
            return residual
        return normalise_residual(residual, mean.float(), deviation.float())

    def _judge(
        self, reconstruction: Tensor, maps: dict[str, Tensor], loss: Tensor | None = None
    ) -> ReconstructionOutput:
        anomaly_map = self._anomaly_map(
            self._smoothed_residual(maps), self.residual_mean, self.residual_deviation
        )
        raw = raw_score(anomaly_map)
        calibration = self.calibration
        if calibration is None:
            self._warn_uncalibrated()
            score, is_anomalous = torch.full_like(raw, torch.nan), None
        else:
            score = calibration.score(raw)
            is_anomalous = exceeds(score, THRESHOLD)
        return ReconstructionOutput(
            loss=loss,
            reconstruction=reconstruction,
            anomaly_map=anomaly_map,
            raw_score=raw,
            anomaly_score=score,
            is_anomalous=is_anomalous,
        )

    def _warn_uncalibrated(self) -> None:
        if not self.training:
            logger.warning_once(
                "This model is not calibrated, so its anomaly score is NaN and it has no verdict: "
                "train it with training/train.py, or call model.calibrate(batches, "
                "false_alarm_rate) with good photos that it was not trained on."
            )

    def _residual_of(self, pixel_values: Tensor) -> Tensor:
        pixel_values = pixel_values.to(self.device)
        self._check_shape(pixel_values)
        maps = self._dissimilarity_maps(pixel_values, self.reconstruct(pixel_values))
        return self._smoothed_residual(maps)

    def _sum_residuals(self, batches: Iterable[Tensor]) -> tuple[Tensor, Tensor, int]:
        """Sum and sum of squares, (H, W) float64, and number of the batches' residuals."""
        total = torch.zeros_like(self.residual_mean, dtype=torch.float64)
        total_squared, count = torch.zeros_like(total), 0
        for pixel_values in batches:
            residual = self._residual_of(pixel_values).double()
            total += residual.sum(dim=0)
            total_squared += (residual**2).sum(dim=0)
            count += len(residual)
        return total, total_squared, count

    def _score_residual(self, residual: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        return raw_score(self._anomaly_map(residual, mean, deviation))


def _statistics(total: Tensor, total_squared: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, float32, from sums in float64; any shape."""
    mean = total / count
    variance = (total_squared / count - mean**2).clamp_min(0)
    return mean.float(), variance.sqrt().float()
