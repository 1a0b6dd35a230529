"""What held-out good parts say: the score's threshold and scale, fitted, serialised, applied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .rates import Rate, rate
from .scoring import (
    calibrated_score,
    conformal_threshold,
    exceeds,
    raised_threshold,
    roc_threshold,
    score_scale,
)

THRESHOLD = 0.5  # the calibrated threshold on the 0..1 score, by construction of the score
RANGES = {
    "false_alarm_rate": (0, 1),
    "promised_false_alarm_rate": (0, 1),
    "raw_threshold": (-1e30, 1e30),  # within what 32 bits hold
    "scale": (1e-30, 1e30),
}


@dataclass(frozen=True)
class Calibration:
    """The operating point of a model, from held-out good parts alone."""

    normal_scores: tuple[float, ...]  # raw scores of the n held-out good parts, ascending
    false_alarm_rate: float  # the share of good parts that was asked to fail at most, in (0, 1)
    promised_false_alarm_rate: float  # what n parts can promise for it, at least 1 / (n + 1)
    raw_threshold: float  # the raw score above which a part fails
    scale: float  # width of the logistic score, in raw units, > 0
    # "conformal", or "roc" where a labelled validation set fixed the threshold; the false-alarm
    # rate is then what the held-out good parts show of it, and was not asked for.
    rule: str = "conformal"

    @classmethod
    def fit(cls, normal_scores: Sequence[float], false_alarm_rate: float) -> Calibration:
        """Fit to raw scores of held-out good parts, so that the rate, in (0, 1), holds.

        Split conformal, with the arguments and errors of `scoring.conformal_threshold`; no score
        may be of a part that the model was trained on.
        """
        ordered = tuple(sorted(float(score) for score in normal_scores))
        raw_threshold, promised = conformal_threshold(ordered, false_alarm_rate)
        scale = score_scale(ordered, raw_threshold)
        return cls(ordered, false_alarm_rate, promised, raw_threshold, scale)

    def raised_towards(self, damaged_scores: Sequence[float]) -> Calibration:
        """The same held-out good parts with the threshold where damage leaves room above it.

        Of raw scores of synthetic damage; errors are those of `scoring.raised_threshold`. What was
        promised holds all the more, since no more good parts fail.
        """
        raw_threshold = raised_threshold(self.raw_threshold, damaged_scores)
        scale = score_scale(self.normal_scores, raw_threshold)
        return replace(self, raw_threshold=raw_threshold, scale=scale)

    def with_labelled(self, scores: Sequence[float], labels: Sequence[int]) -> Calibration:
        """The same held-out good parts with the threshold that labelled parts ask for.

        Raw scores and labels (0 good, 1 defective, both present), never of the test set; errors are
        those of `scoring.roc_threshold`.
        """
        raw_threshold = roc_threshold(scores, labels)
        n = len(self.normal_scores)
        above = sum(exceeds(score, raw_threshold) for score in self.normal_scores)
        rate = (above + 1) / (n + 1)
        scale = score_scale(self.normal_scores, raw_threshold)
        return Calibration(self.normal_scores, rate, rate, raw_threshold, scale, rule="roc")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Read what `to_dict` wrote; `ValueError` on a number that is missing or out of range."""
        try:
            calibration = cls(**{**values, "normal_scores": tuple(values["normal_scores"])})
            numbers = [getattr(calibration, name) for name in RANGES]
            sound = all(map(math.isfinite, (*calibration.normal_scores, *numbers)))
            sound = sound and calibration.scale > 0
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"The calibration in config.json must have {', '.join(cls.__annotations__)}, "
                f"found {values!r}; calibrate the model again."
            ) from error
        if not sound:
            raise ValueError(
                "The calibration in config.json must hold finite numbers and a scale above 0; "
                "calibrate the model again."
            )
        return calibration

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for config.json."""
        return {**asdict(self), "normal_scores": list(self.normal_scores)}

    def score(self, raw: Tensor) -> Tensor:
        """Raw scores or maps, any shape, to 0..1; 0.5 at the threshold."""
        return calibrated_score(raw, self.raw_threshold, self.scale)

    def rejected_at(self, threshold: float) -> Rate:
        """How many of the held-out good parts a threshold on the score, 0..1, rejects.

        At the calibrated threshold this is what `promised_false_alarm_rate` is made from.
        """
        return rate(int(exceeds(self._normal_scores(), threshold).sum()), len(self.normal_scores))

    def at_least(self, score: float) -> Rate:
        """How many of the held-out good parts have this score, 0..1, or a higher one."""
        return rate(int((self._normal_scores() >= score).sum()), len(self.normal_scores))

    def _normal_scores(self) -> Tensor:
        """(n,) the held-out good parts' scores, 0..1, in the precision that judges photos."""
        return self.score(torch.tensor(self.normal_scores))
