"""What a reconstruction model returns, in training and inference alike."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput

from .out_of_distribution import DOUBTS, NO_DOUBT


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
        doubt: (B,), why a photo does not seem to show the product, a position in
            `out_of_distribution.DOUBTS`; -1 where it does, and while uncalibrated.
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    anomaly_map: Tensor | None = None
    raw_score: Tensor | None = None
    anomaly_score: Tensor | None = None
    is_anomalous: Tensor | None = None
    doubt: Tensor | None = None

    def doubt_names(self) -> list[str | None]:
        """B of `out_of_distribution.DOUBTS`; None where a photo can be judged."""
        if self.doubt is None:
            return [None] * len(self.raw_score)
        return [None if number == NO_DOUBT else DOUBTS[number] for number in self.doubt.tolist()]
