"""What a reconstruction model says of a batch of photos."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput

from .out_of_distribution import NO_DOUBT, doubt_of


@dataclass
class ReconstructionOutput(ModelOutput):
    """What a reconstruction model says of a batch of photos; the same fields in every mode.

    Attributes:
        loss: (), the training loss; None from `detect`.
        reconstruction: (B, 3, H, W), how the parts should look, in 0..1.
        anomaly_map: (B, H, W), >= 0, where they differ; 0 on the ground that is not judged.
        raw_score: (B,), >= 0, the maximum of the map; metrics rank by it.
        anomaly_score: (B,), 0..1, 0.5 at the calibrated threshold; NaN while uncalibrated.
        is_anomalous: (B,), bool, the verdict at the calibrated threshold; None while uncalibrated.
        doubt: (B,), why a photo does not seem to show the product, a position in
            `out_of_distribution.DOUBTS`; -1 where it does, and while uncalibrated.
        ground_map: (B, h, w), >= 0, where the ground differs, which counts for nothing; coarser.
        judged: (B, h, w), 1 where what differs counts, 0 on the ground.
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    anomaly_map: Tensor | None = None
    raw_score: Tensor | None = None
    anomaly_score: Tensor | None = None
    is_anomalous: Tensor | None = None
    doubt: Tensor | None = None
    ground_map: Tensor | None = None
    judged: Tensor | None = None

    def doubt_names(self) -> list[str | None]:
        """B of `out_of_distribution.DOUBTS`; None where a photo can be judged."""
        numbers = [NO_DOUBT] * len(self.raw_score) if self.doubt is None else self.doubt.tolist()
        return [doubt_of(number) for number in numbers]
