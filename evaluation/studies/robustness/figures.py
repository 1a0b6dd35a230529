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
    """A change at one strength."""

    change: str  # name of a perturbation, or that of `CLEAN`
    strength: float  # in the perturbation's own unit; 0 is no change

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

    A photo fails by the calibrated threshold, whether or not the guard refuses to judge it (CHECK);
    it is located where the map is strongest in the defect, and None where nobody knows.
    """

    raw_scores: list[float] = field(default_factory=list)  # unbounded
    failed: list[bool] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)
    located: list[bool | None] = field(default_factory=list)


@dataclass
class Trial:
    """A model, by its name, and a test set of N photos under all conditions."""

    model: str
    category: str  # what it judges the photos as, and what they show
    defects: list[str]  # N kinds, "good" for a normal photo
    observed: dict[Condition, Observed]


@dataclass(frozen=True)
class Figures:
    """The figures of one condition, of good and anomalous photos; what is undefined is NaN."""

    condition: Condition
    image_auroc: float  # by raw score
    auroc_change: tuple[float, float]  # interval against `CLEAN`, see `significance.py`
    false_alarms: Rate  # good photos that fail at the calibrated threshold, refused or not
    misses: Rate  # anomalous photos that pass at it, refused or not
    checks: Rate  # photos that the guard refuses to judge
    unnoticed: Rate  # photos with a wrong verdict that the guard lets stand
    located: Rate  # anomalous photos with a mask whose map is strongest in the defect
    misses_by_defect: dict[str, Rate]
    worse: tuple[str, ...]  # figures that are worse than on clean photos beyond chance

    def share(self, name: str) -> Rate:
        """One of the shares in `NAMES`."""
        return {FALSE_ALARMS: self.false_alarms, MISSES: self.misses, CHECKS: self.checks}[name]

    def value(self, name: str) -> float:
        """One of the figures in `NAMES`, 0..1 or NaN."""
        return self.image_auroc if name == AUROC else self.share(name).value


NAMES = (AUROC, FALSE_ALARMS, MISSES, CHECKS)


@dataclass(frozen=True)
class ModelFigures:
    """The figures of one model, by its name, under all conditions, `CLEAN` first."""

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
    """All figures of a trial; the seed is that of the bootstrap."""
    figures = [_figures(trial, condition, seed) for condition in trial.observed]
    return ModelFigures(trial.model, trial.category, figures)


def spread(values: Iterable[float]) -> float:
    """Largest minus smallest; NaN with fewer than two that are defined."""
    defined = [value for value in values if not np.isnan(value)]
    return max(defined) - min(defined) if len(defined) > 1 else np.nan


def _figures(trial: Trial, condition: Condition, seed: int) -> Figures:
    clean, seen = trial.observed[CLEAN], trial.observed[condition]
    defects = np.array(trial.defects)
    good = defects == GOOD
    labels = (~good).astype(int)
    failed, refused, failed_clean = map(np.array, (seen.failed, seen.refused, clean.failed))
    verdicts = verdict_metrics(labels, failed)
    change = auroc_change(labels, clean.raw_scores, seen.raw_scores, seed)
    worse = {
        AUROC: change[1] < 0,
        FALSE_ALARMS: happens_more_often(failed_clean[good], failed[good]),
        MISSES: happens_more_often(~failed_clean[~good], ~failed[~good]),
        CHECKS: happens_more_often(clean.refused, seen.refused),
    }
    return Figures(
        condition=condition,
        image_auroc=image_auroc(labels, seen.raw_scores),
        auroc_change=change,
        false_alarms=verdicts.false_alarm_rate,
        misses=verdicts.miss_rate,
        checks=_share(refused),
        unnoticed=_share((failed != labels) & ~refused),
        located=_share([hit for hit in seen.located if hit is not None]),
        misses_by_defect={
            defect: _share(~failed[defects == defect])
            for defect in sorted({*trial.defects} - {GOOD})
        },
        worse=tuple(name for name, is_worse in worse.items() if is_worse),
    )


def _share(happened: Sequence[bool] | np.ndarray) -> Rate:
    return rate(int(np.sum(happened)), len(happened))
