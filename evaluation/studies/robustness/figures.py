"""What a model said of one test set under many conditions, and the figures that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from evaluation.metrics import image_auroc, verdict_metrics
from evaluation.studies.judges import GOOD
from evaluation.studies.robustness.perturbations import PERTURBATIONS
from evaluation.studies.robustness.significance import auroc_change, happens_more_often
from modeling import Rate, rate

# What can be worse than on clean photos, in the words of the report.
AUROC, FALSE_ALARMS, MISSES, CHECKS = "image AUROC", "false alarms", "misses", "CHECK"


class Condition(NamedTuple):
    """A change at one strength.

    Attributes:
        change: name of a perturbation, or that of `CLEAN`.
        strength: in the perturbation's own unit; 0 is no change.
    """

    change: str
    strength: float

    @property
    def amount(self) -> str:
        """The strength in words."""
        return PERTURBATIONS[self.change].wording(self.strength) if self.strength else "unchanged"

    def __str__(self) -> str:
        return f"{self.change}, {self.amount}" if self.strength else self.change


CLEAN = Condition("clean", 0.0)


def conditions(changes: Iterable[str]) -> list[Condition]:
    """`CLEAN`, then every strength of the named perturbations, from the most negative up."""
    return [CLEAN] + [
        Condition(change, strength)
        for change in changes
        for strength in sorted(PERTURBATIONS[change].strengths)
    ]


@dataclass
class Observed:
    """What a model said of the N photos of a test set under one condition, in their order.

    Attributes:
        raw_scores: N unbounded numbers.
        failed: N verdicts at the calibrated threshold, whether or not the guard refuses.
        refused: N times whether the guard refuses to judge (CHECK).
        located: N times whether the map is strongest in the defect; None where nobody knows.
    """

    raw_scores: list[float] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)
    located: list[bool | None] = field(default_factory=list)


@dataclass
class Trial:
    """A model and a test set under all conditions.

    Attributes:
        model: its name.
        category: what it judges the photos as, and what they show.
        defects: N kinds of defect, "good" for a normal photo.
        observed: by condition.
    """

    model: str
    category: str
    defects: list[str]
    observed: dict[Condition, Observed]


@dataclass(frozen=True)
class Figures:
    """The figures of one condition; what is undefined is NaN.

    Attributes:
        condition: the condition.
        image_auroc: on all photos, by raw score.
        auroc_change: interval of the change against `CLEAN`, see `significance.py`.
        false_alarms: good photos that fail at the calibrated threshold, refused or not.
        misses: anomalous photos that pass at it, refused or not.
        checks: photos, good or anomalous, that the guard refuses to judge.
        unnoticed: photos, good or anomalous, with a wrong verdict that the guard lets stand.
        located: of the anomalous photos with a mask, those whose map is strongest in the defect.
        misses_by_defect: as `misses`, by kind of defect.
        worse: which of the figures are worse than on clean photos beyond what chance explains.
    """

    condition: Condition
    image_auroc: float
    auroc_change: tuple[float, float]
    false_alarms: Rate
    misses: Rate
    checks: Rate
    unnoticed: Rate
    located: Rate
    misses_by_defect: dict[str, Rate]
    worse: tuple[str, ...]

    def share(self, name: str) -> Rate:
        """One of the shares in `NAMES`."""
        return {FALSE_ALARMS: self.false_alarms, MISSES: self.misses, CHECKS: self.checks}[name]

    def value(self, name: str) -> float:
        """One of the figures in `NAMES`, 0..1 or NaN."""
        return self.image_auroc if name == AUROC else self.share(name).value


NAMES = (AUROC, FALSE_ALARMS, MISSES, CHECKS)


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one model under all conditions, `CLEAN` first.

    Attributes:
        model: its name.
        category: the product.
        figures: one a condition.
    """

    model: str
    category: str
    figures: list[Figures]

    @property
    def name(self) -> str:
        """Short name of model and product."""
        return self.model if self.model == self.category else f"{self.model} on {self.category}"

    @property
    def changes(self) -> list[str]:
        """Names of the changes, without `CLEAN`'s, in their order."""
        names = dict.fromkeys(one.condition.change for one in self.figures)
        return [name for name in names if name != CLEAN.change]

    def under(self, *changes: str) -> list[Figures]:
        """The figures under some changes, `CLEAN.change` among them, by ascending strength."""
        found = [one for one in self.figures if one.condition.change in changes]
        return sorted(found, key=lambda one: one.condition.strength)


def figures_of(trial: Trial, seed: int) -> ModelFigures:
    """All figures of a trial.

    Args:
        trial: with every photo seen under every condition.
        seed: of the bootstrap.
    """
    figures = [_figures(trial, condition, seed) for condition in trial.observed]
    return ModelFigures(trial.model, trial.category, figures)


def spread(values: Iterable[float]) -> float:
    """Largest minus smallest; NaN with fewer than two that are defined."""
    defined = [value for value in values if not np.isnan(value)]
    return max(defined) - min(defined) if len(defined) > 1 else np.nan


def _figures(trial: Trial, condition: Condition, seed: int) -> Figures:
    clean, seen = trial.observed[CLEAN], trial.observed[condition]
    defects = np.array(trial.defects)
    labels = (defects != GOOD).astype(int)
    failed, refused = np.array(seen.failed), np.array(seen.refused)
    verdicts = verdict_metrics(labels, failed)
    located = [hit for hit in seen.located if hit is not None]
    change = auroc_change(labels, clean.raw_scores, seen.raw_scores, seed)
    return Figures(
        condition=condition,
        image_auroc=image_auroc(labels, seen.raw_scores),
        auroc_change=change,
        false_alarms=verdicts.false_alarm_rate,
        misses=verdicts.miss_rate,
        checks=_share(refused),
        unnoticed=_share((failed != labels) & ~refused),
        located=_share(located),
        misses_by_defect={
            defect: _share(~failed[defects == defect])
            for defect in sorted({*trial.defects} - {GOOD})
        },
        worse=_worse(clean, seen, labels == 0, change),
    )


def _share(happened: Sequence[bool] | np.ndarray) -> Rate:
    return rate(int(np.sum(happened)), len(happened))


def _worse(
    clean: Observed, seen: Observed, good: np.ndarray, change: tuple[float, float]
) -> tuple[str, ...]:
    before, after = np.array(clean.failed), np.array(seen.failed)
    worse = {
        AUROC: change[1] < 0,
        FALSE_ALARMS: happens_more_often(before[good], after[good]),
        MISSES: happens_more_often(~before[~good], ~after[~good]),
        CHECKS: happens_more_often(clean.refused, seen.refused),
    }
    return tuple(name for name, is_worse in worse.items() if is_worse)
