"""The one way from a picture to a score, for every architecture and target.

    pixel_values -> target -> restore -> residual -> anomaly map -> raw score -> score -> verdict

`forward` adds the training loss; `detect` is the same way without gradients, which evaluation,
pipeline and app all call. The methods stand in the order in which a picture passes them. An
architecture brings only `restore`; what good parts say is fitted in `fitting.py`.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import logging

from .calibration import THRESHOLD
from .categories import CategoriesMixin, Category
from .configuration import ReconstructionConfig
from .dissimilarity import DISSIMILARITIES, weighted_sum
from .fitting import CalibrationMixin
from .ground import PART, Ground, on_grid
from .normalisation import ResidualStatistics, Whitening, apply_whitening
from .out_of_distribution import NO_DOUBT, OutOfDistribution, light_and_sharpness
from .output import ReconstructionOutput
from .restoration import Painted, Restoration, restoration_loss
from .scoring import (
    calibrated_score,
    enlarge,
    exceeds,
    normalise_residual,
    raw_score,
    smooth_residual,
)
from .targets import FeatureTarget, PixelTarget
from .weights import WHERE, check_weights_file
from .whole_part import WholePart

logger = logging.get_logger(__name__)

UNCALIBRATED = (
    "This model is not calibrated, so its anomaly score is NaN and it has no verdict: train it "
    "with training/train.py, or call model.calibrate(batches, false_alarm_rate) with good photos "
    "that it was not trained on."
)
WHITENED = ("l1", "mse")  # what depends on the difference alone; an angle does not


class ReconstructionModel(CategoriesMixin, CalibrationMixin, PreTrainedModel, ABC):
    """Base of all architectures: owns target, residual, map, score and calibration."""

    config_class = ReconstructionConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: ReconstructionConfig) -> None:
        super().__init__(config)
        on_features = config.target == "features"
        self.target = FeatureTarget(config) if on_features else PixelTarget(config)
        self.residual_statistics = self._new_statistics()
        self.whole_part = self._new_whole_part()
        count = max(1, len(config.categories))
        self.ground = Ground(count) if config.judged == PART else None
        # Under this name it lies in the weights of every saved model.
        self.familiarity = OutOfDistribution(config.target, count, self.target.channels)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *args: Any, **kwargs: Any
    ) -> ReconstructionModel:
        """Load a model folder or Hub repository, as every transformers model does.

        Only safetensors is read, and only when it is whole and what the Hub announced: it raises
        as `weights.check_weights_file` does.
        """
        if pretrained_model_name_or_path is not None:
            where = {name: kwargs[name] for name in WHERE if name in kwargs}
            variant = kwargs.get("variant")
            check_weights_file(pretrained_model_name_or_path, variant=variant, **where)
        kwargs["use_safetensors"] = True
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # with `output_loading_info`
        if isinstance(model.target, FeatureTarget):
            model.target.freeze()  # loading has put new parameters in the place of the frozen ones
        return loaded

    def _new_statistics(self) -> ResidualStatistics:
        return ResidualStatistics(
            self.config.residual_normalisation,
            max(1, len(self.config.categories)),
            self.target.channels,
            self.config.image_size // self.config.map_stride,
        )

    def _new_whole_part(self) -> WholePart | None:
        """The stream that knows what belongs where, if the config has one."""
        if self.config.whole_part_layers is None:
            return None
        return WholePart(
            self.config.whole_part_shape,
            max(1, len(self.config.categories)),
            self.target.coarse_channels,
        )

    def _init_weights(self, module: nn.Module) -> None:
        # transformers draws convolutions from N(0, 0.02), which starves a deep decoder. Torch's own
        # smaller start learns faster than He's: where a normalisation follows, only a weight's
        # direction counts, and a short vector turns further in a step (held-out loss on screws
        # 0.373 against 0.405 after 1,216 steps, 2026-11-24).
        if isinstance(module, nn.Conv2d):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, ResidualStatistics | OutOfDistribution | WholePart | Ground):
            module.reset()
        elif isinstance(module, FeatureTarget):
            init.zeros_(module.mean)
            init.ones_(module.deviation)
        else:
            super()._init_weights(module)

    def forward(
        self,
        pixel_values: Tensor,
        clean_pixel_values: Tensor | None = None,
        category: Category = None,
        extracted: Sequence[Tensor] | None = None,
        clean_extracted: Sequence[Tensor] | None = None,
        loss_only: bool = False,
        painted: Painted | None = None,
        return_dict: bool | None = None,
    ) -> ReconstructionOutput | tuple[Tensor, ...]:
        """Reconstruct, judge, and give the training loss, which alone carries gradients.

        Raises `ValueError` when pictures have another shape, or the category is unknown or missing.

        Args:
            pixel_values: (B, 3, H, W) in 0..1, H = W = config.image_size; with `loss_only` tiles,
                H = W = config.tile_size, are taken too.
            clean_pixel_values: (B, 3, H, W), what `pixel_values` looked like before they were
                damaged on purpose: what is to be restored. Default: `pixel_values` themselves.
            category: whose statistics and threshold judge; needed if the model knows several.
            extracted: the target's `extract` of `pixel_values`, if it is at hand.
            clean_extracted: the same of `clean_pixel_values`.
            loss_only: leave all but the loss None, which saves training the time.
            painted: what teaches the painter, where the pictures are one process's part of a batch:
                how many of the first, and how much their mean loss counts.
            return_dict: False returns the fields that are not None as a tuple.
        """
        tiles = self.tiles_of(pixel_values, loss_only)
        extracted = extracted or self.target.extract(tiles)
        values = self.target.combine(extracted)
        clean_values, clean_pixels = values, tiles
        if clean_pixel_values is not None:
            clean_pixels = self.tiles_of(clean_pixel_values, loss_only)
            clean_values = self.target.combine(clean_extracted or self.target.extract(clean_pixels))
        restoration = self.restore(values)
        weights = self.config.loss_weights
        loss = restoration_loss(
            self.target, restoration, clean_values, clean_pixels, weights, painted
        )
        if loss_only:
            output = ReconstructionOutput(loss=loss)
        else:
            with torch.no_grad():
                restored, coarse = (
                    restoration.values.detach(),
                    self.coarse_of(pixel_values, extracted),
                )
                output = self._judge(pixel_values, values, restored, coarse, category)
            output = ReconstructionOutput(**{**output, "loss": loss})
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    @torch.no_grad()
    def detect(self, pixel_values: Tensor, category: Category = None) -> ReconstructionOutput:
        """Reconstruct and judge, without gradients and without a loss; arguments as in `forward`.

        Raises `ValueError` as that does, and when pictures hold what is no finite number.
        """
        # NaN exceeds no threshold and would pass. A graph that is being exported has no values yet.
        if not torch.compiler.is_compiling() and not pixel_values.isfinite().all():
            raise ValueError(
                "pixel_values must be finite numbers in 0..1, found NaN or infinity; prepare "
                "photos with the model's image processor."
            )
        extracted = self.target.extract(self.tiles_of(pixel_values))
        values, coarse = self.target.combine(extracted), self.coarse_of(pixel_values, extracted)
        return self._judge(pixel_values, values, self.restore(values).values, coarse, category)

    def tiles_of(self, pixel_values: Tensor, or_tiles: bool = False) -> Tensor:
        """What the body sees of pictures, (B tiles, 3, h, w), or of what already are tiles."""
        side = self.config.body_size
        if or_tiles and pixel_values.shape[-2:] == (side, side):
            return pixel_values
        self.check_shape(pixel_values)
        return self.config.tiling.cut(pixel_values)

    def coarse_of(self, pixel_values: Tensor, extracted: Sequence[Tensor]) -> Tensor | None:
        """By what the whole part is seen, (B, C, side, side); None where there is no such stream.

        Of pictures (B, 3, H, W) and what was extracted of their tiles. A picture that is cut into
        tiles is seen once more as a whole, as large as one of them.
        """
        if self.whole_part is None:
            return None
        if self.config.tiling.tiles > 1:
            size = (self.config.body_size, self.config.body_size)
            small = F.interpolate(pixel_values, size=size, mode="bilinear", align_corners=False)
            extracted = self.target.extract(small)
        return self.target.coarse(extracted, self.config.whole_part_side)

    def check_shape(self, pixel_values: Tensor) -> None:
        """Raise `ValueError` unless pictures are (B, 3, H, W) with H = W = config.image_size."""
        side = self.config.image_size
        expected = (self.config.num_channels, side, side)
        if pixel_values.ndim != 4 or tuple(pixel_values.shape[1:]) != expected:
            raise ValueError(
                f"pixel_values must have the shape (B, {', '.join(map(str, expected))}), found "
                f"{tuple(pixel_values.shape)}; prepare photos with the model's image processor."
            )

    @abstractmethod
    def restore(self, values: Tensor) -> Restoration:
        """The body: the target's values, (B, C, h, w), as they should be.

        Deterministic outside training.
        """

    def scored_restorations(self, values: Tensor, restored: Tensor) -> Iterable[Tensor]:
        """The restorations whose residuals are averaged into the map: the one that is shown.

        Both arguments are (B, C, h, w): the target values, and what `restore` made of them.
        """
        del values
        return (restored,)

    def _judge(
        self,
        pixel_values: Tensor,
        values: Tensor,
        restored: Tensor,
        coarse: Tensor | None,
        category: Category,
    ) -> ReconstructionOutput:
        # `len` would fix the batch size of an exported graph.
        numbers = self.category_numbers(category, pixel_values.shape[0])
        residual = self._body_residual(values, restored, numbers)
        picture = self.config.tiling.join(self.target.paint(restored))
        if self.whole_part is not None:
            view = self.whole_part(coarse, numbers)
            residual = self.whole_part.join(residual, view, numbers)
            picture = self.whole_part.show(picture, view, numbers)
        judged = self.judged_places(pixel_values, numbers)
        anomaly_map = self.map_of(residual, judged, numbers)
        raw = raw_score(anomaly_map)
        score, is_anomalous = self._score(raw, numbers)
        summaries = self.familiarity.summarise(pixel_values, values)
        doubt = self.familiarity.doubts(summaries, light_and_sharpness(pixel_values), numbers)
        if self.whole_part is not None:  # a part that is gone is no other product
            doubt = doubt.masked_fill(self.whole_part.empty(pixel_values, numbers), NO_DOUBT)
        return ReconstructionOutput(
            reconstruction=picture.clamp(0, 1),
            anomaly_map=anomaly_map,
            raw_score=raw,
            anomaly_score=score,
            is_anomalous=is_anomalous,
            doubt=doubt,
            ground_map=residual * (1 - judged),
            judged=judged,
        )

    def map_of(self, residual: Tensor, judged: Tensor, numbers: Tensor) -> Tensor:
        """The anomaly map, (B, H, W), of residuals and where they are judged, (B, h, w) each."""
        if self.ground is not None:
            residual = self.ground.on_part(residual, judged, numbers, self.config.map_stride)
        return enlarge(residual, self.config.image_size)

    def judged_places(self, pixel_values: Tensor, category: Tensor) -> Tensor:
        """Where on pictures, (B, 3, H, W), what differs counts: (B, h, w) of 0 and 1, as the map.

        Categories are given by their numbers, (B,) or (1,).
        """
        side = self.config.image_size // self.config.map_stride
        if self.ground is None:
            return pixel_values.new_ones(pixel_values.shape[0], side, side, dtype=torch.float32)
        return on_grid(self.ground(pixel_values, category), side)

    @torch.no_grad()
    def streams(self, pixel_values: Tensor, category: Category = None) -> tuple[Tensor, Tensor]:
        """What of the body's and the whole part's map is judged, (B, h, w) each, before they join.

        Of pictures as `detect` takes them. A model without the second stream sees 0 by it.
        """
        numbers = self.category_numbers(category, len(pixel_values))
        extracted = self.target.extract(self.tiles_of(pixel_values))
        values = self.target.combine(extracted)
        residual = self._body_residual(values, self.restore(values).values, numbers)
        judged = self.judged_places(pixel_values, numbers)
        if self.whole_part is None:
            return residual * judged, torch.zeros_like(residual)
        view = self.whole_part(self.coarse_of(pixel_values, extracted), numbers)
        return residual * judged, enlarge(view.anomaly, residual.shape[-1]) * judged

    def _body_residual(self, values: Tensor, restored: Tensor, numbers: Tensor) -> Tensor:
        """The body's residual as it is judged, (B, h, w)."""
        residual = self.residual_map(values, self.scored_restorations(values, restored), numbers)
        if self.residual_statistics.per_location:
            usual = self.residual_statistics.locations_of(numbers)
            residual = normalise_residual(residual, *usual)
        return residual

    def residual_map(
        self,
        values: Tensor,
        restorations: Iterable[Tensor],
        category: Tensor,
        whitening: Whitening | None = None,
        sigma: float | None = None,
    ) -> Tensor:
        """Smoothed residual, (B, h, w) on the map's grid, not yet measured per location.

        Target values and what they should be are (B tiles, C, h, w); several restorations are
        averaged. `category` holds numbers, (B,) or (1,); `whitening` takes the place of the stored,
        and `sigma`, in input pixels, that of the config's.
        """
        sigma = self.config.map_sigma if sigma is None else sigma
        tiling = self.config.tiling.coarser(self.config.map_stride)
        category = category.repeat_interleave(tiling.tiles)
        known, weights = DISSIMILARITIES[self.config.target], self.config.residual_weights
        names = [name for name, weight in weights.items() if weight > 0]
        with torch.autocast(values.device.type, enabled=False):
            target = self.target.comparable(values.float())
            maps, count = 0.0, 0
            for restored in restorations:
                restored = self.target.comparable(restored.float())
                whitened = self._whitened(target, restored, category, whitening)
                parts = {
                    name: known[name](*(whitened if name in WHITENED else (target, restored)))
                    for name in names
                }
                maps, count = maps + weighted_sum(parts, weights), count + 1
            cell = maps.shape[-1] // tiling.side
            residual = tiling.join(F.avg_pool2d((maps / count).unsqueeze(1), cell)).squeeze(1)
            # Smoothed as a whole: at a tile's border there is nothing to mirror.
            return smooth_residual(residual, sigma / self.config.map_stride)

    def _whitened(
        self, target: Tensor, restored: Tensor, category: Tensor, whitening: Whitening | None
    ) -> tuple[Tensor, Tensor]:
        """Both (B, C, h, w) in the space where good parts' residuals have unit covariance."""
        statistics = self.residual_statistics
        if not statistics.per_channel:
            return target, restored
        mean, matrix = whitening or statistics.whitening_of(category)
        # A linear map: whitening the difference is the difference of the whitened.
        whitened = apply_whitening(target - restored - mean[..., None, None], matrix)
        return whitened, torch.zeros_like(whitened)

    def _score(self, raw: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor | None]:
        """Calibrated scores and verdicts, (B,) each, every picture by its own category."""
        calibrations = self.calibrations
        points = [calibrations.get(name) for name in self.config.categories] or [None]
        # The numbers are read only where they matter: a graph that reads them can't be traced.
        if None in points and any(points[number] is None for number in numbers.tolist()):
            if not self.training:
                logger.warning_once(UNCALIBRATED)
            return torch.full_like(raw, torch.nan), None
        thresholds, scales = (
            raw.new_tensor([getattr(point, name, torch.nan) for point in points])[numbers]
            for name in ("raw_threshold", "scale")
        )
        score = calibrated_score(raw, thresholds, scales)
        return score, exceeds(score, THRESHOLD)
