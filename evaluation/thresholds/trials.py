"""What each rule's threshold does to parts that it has not seen, over many random splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluation.metrics import VerdictMetrics, verdict_metrics
from evaluation.thresholds.rules import ROC, RULES, Threshold, roc
from modeling.scoring import exceeds
from training.dataset import DatasetError

SIZES = (20, 40, 60, 100, 200)  # good parts that calibrate
RATES = (0.01, 0.02, 0.05, 0.1)  # false-alarm rates that are asked for
VALIDATION = 10  # good ones, and as many defective ones, with labels
LEAST_TEST = 10  # good parts; from fewer no rate can be realised
SPREAD = (5, 95)  # percent of the splits


class Split(NamedTuple):
    """Indices of photos, disjoint.

    Attributes:
        calibration: good ones, in random order.
        validation: as many good as defective ones.
        test: all others.
    """

    calibration: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Scored:
    """The photos of one product, as its model scores them.

    Attributes:
        product: what they show.
        model: which model scored them.
        data: where they are from.
        is_synthetic: whether they are drawn by our own code, and so may choose the rule.
        labels: (N,) 0 for good, 1 for defective.
        scores: (N,) raw scores.
    """

    product: str
    model: str
    data: str
    is_synthetic: bool
    labels: Sequence[int]
    scores: Sequence[float]


class Spread(NamedTuple):
    """A number over all splits.

    Attributes:
        mean: its average.
        low: 5 % of the splits have less.
        high: 5 % of the splits have more.
        error: standard error of the average.
    """

    mean: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Outcome:
    """What one rule does on one product, over all splits.

    Attributes:
        product: what the photos show.
        model: which model scored them.
        is_synthetic: whether it counts for the choice.
        size: good parts that calibrated.
        rule: one of `threshold_rules.RULES`, or `threshold_rules.ROC`.
        asked: the false-alarm rate that was asked for; None for the rule that can't be asked.
        promised: the rate that the rule promises, averaged.
        realised: share of the good test parts that fail.
        exceeded: share of the splits in which more fail than promised, 0..1.
        f1: of the verdicts on the test.
        miss_rate: share of the defective test parts that pass.
        beyond: share of the splits whose threshold lies above every score that calibrated it.
        splits: how many.
    """

    product: str
    model: str
    is_synthetic: bool
    size: int
    rule: str
    asked: float | None
    promised: float
    realised: Spread
    exceeded: float
    f1: Spread
    miss_rate: Spread
    beyond: float
    splits: int


def split(labels: Sequence[int], size: int, seed: int, validation: int = VALIDATION) -> Split:
    """Divide photos by chance.

    Args:
        labels: (N,) 0 for good, 1 for defective.
        size: good ones that calibrate.
        seed: decides which, >= 0.
        validation: good ones, and defective ones, for validation.

    Raises:
        DatasetError: when no good or no defective photo would be left to test.
    """
    labels, rng = np.asarray(labels), np.random.default_rng(seed)
    good, defective = (rng.permutation(np.flatnonzero(labels == kind)) for kind in (0, 1))
    if len(good) <= validation + size or len(defective) <= validation:
        raise DatasetError(
            f"A split needs more than {validation + size} good and {validation} defective photos, "
            f"found {len(good)} and {len(defective)}; give --data more of them."
        )
    first = validation + size
    return Split(
        calibration=good[validation:first],
        validation=np.concatenate([good[:validation], defective[:validation]]),
        test=np.concatenate([good[first:], defective[validation:]]),
    )


def usable_sizes(labels: Sequence[int]) -> list[int]:
    """Those of `SIZES` that leave enough good photos to test.

    Raises:
        DatasetError: when there is none, or too few defective photos.
    """
    n_good, n_defective = (int(np.sum(np.asarray(labels) == kind)) for kind in (0, 1))
    spare = n_good - VALIDATION - LEAST_TEST
    if spare < min(SIZES) or n_defective <= VALIDATION:
        raise DatasetError(
            f"The study needs at least {min(SIZES) + VALIDATION + LEAST_TEST} good and "
            f"{VALIDATION + 1} defective test photos, found {n_good} and {n_defective}."
        )
    return [size for size in SIZES if size <= spare]


def study(scored: Scored, seeds: int) -> list[Outcome]:
    """Try every rule on one product.

    The calibration sets of one seed lie within each other, and the largest of them is kept from the
    test of all, so that sizes are compared on the same test photos.

    Args:
        scored: its photos.
        seeds: number of random splits, at least 2.

    Returns:
        By size, then rate, then rule; the rule "ROC" once a size.

    Raises:
        DatasetError: when there are too few photos.
    """
    sizes = usable_sizes(scored.labels)
    trials: dict[tuple[int, float | None, str], list[tuple[Threshold, float, VerdictMetrics]]] = {}
    for seed in range(seeds):
        for case, trial in _trials_of_split(scored, sizes, seed):
            trials.setdefault(case, []).append(trial)
    return [_outcome(scored, *case, found) for case, found in trials.items()]


def _trials_of_split(scored: Scored, sizes: Sequence[int], seed: int) -> Iterator[tuple]:
    """((size, asked, rule), (threshold, largest score that calibrated, what it does)) in turn."""
    labels, scores = np.asarray(scored.labels), np.asarray(scored.scores, dtype=float)
    parts = split(labels, max(sizes), seed)
    measured: dict[float, VerdictMetrics] = {}  # rules often agree

    def trial(threshold: Threshold, held_out: np.ndarray) -> tuple:
        if threshold.raw not in measured:
            failed = exceeds(scores[parts.test], threshold.raw)
            measured[threshold.raw] = verdict_metrics(labels[parts.test], failed)
        return threshold, float(held_out.max()), measured[threshold.raw]

    for size in sizes:
        held_out = scores[parts.calibration[:size]]
        for rate in RATES:
            for name, rule in RULES.items():
                yield (size, rate, name), trial(rule(held_out, rate), held_out)
        by_labels = roc(held_out, scores[parts.validation], labels[parts.validation])
        yield (size, None, ROC), trial(by_labels, held_out)


def _outcome(
    scored: Scored, size: int, asked: float | None, rule: str, trials: Sequence[tuple]
) -> Outcome:
    promised = np.array([threshold.promised for threshold, _, _ in trials])
    realised = np.array([metrics.false_alarm_rate.value for _, _, metrics in trials])
    return Outcome(
        product=scored.product,
        model=scored.model,
        is_synthetic=scored.is_synthetic,
        size=size,
        rule=rule,
        asked=asked,
        promised=float(promised.mean()),
        realised=_spread(realised),
        exceeded=float((realised > promised).mean()),
        f1=_spread([metrics.f1 for _, _, metrics in trials]),
        miss_rate=_spread([metrics.miss_rate.value for _, _, metrics in trials]),
        beyond=float(np.mean([threshold.raw > largest for threshold, largest, _ in trials])),
        splits=len(trials),
    )


def _spread(values: Sequence[float] | np.ndarray) -> Spread:
    values = np.asarray(values, dtype=float)
    low, high = np.percentile(values, SPREAD)
    error = values.std(ddof=1) / np.sqrt(len(values))
    return Spread(float(values.mean()), float(low), float(high), float(error))
