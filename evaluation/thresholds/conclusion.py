"""What all outcomes together say: which promises were kept, and which rule follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.thresholds.rules import CONFORMAL, EXTREME_VALUE, ROC, RULES
from evaluation.thresholds.trials import RATES, VALIDATION, Outcome

DEFAULT = CONFORMAL  # what `modeling.Calibration.fit` does
STANDARD_ERRORS = 3  # beyond which an average above the promise is no chance
TYPICAL_SIZE, TYPICAL_RATE = 40, 0.05  # a fifth of 200 photos, and the recipe's own rate


@dataclass(frozen=True)
class Record:
    """How one rule did over all cases (product, size, asked rate) that count.

    Attributes:
        rule: its name.
        cases: how many.
        broken: in how many its average realised rate lies above its promise beyond chance.
        above_promise: realised minus promised rate, averaged over the cases.
        worst: the largest of these differences.
        above_asked: realised minus asked rate, averaged; None for the rule that can't be asked.
        f1: averaged over the cases.
        miss_rate: averaged over the cases.
    """

    rule: str
    cases: int
    broken: int
    above_promise: float
    worst: float
    above_asked: float | None
    f1: float
    miss_rate: float


def records(outcomes: Sequence[Outcome]) -> dict[str, Record]:
    """By rule; of synthetic parts alone where there are any, so that no other data chooses."""
    counted = [outcome for outcome in outcomes if outcome.is_synthetic]
    by_rule: dict[str, list[Outcome]] = {}
    for outcome in counted:
        by_rule.setdefault(outcome.rule, []).append(outcome)
    return {rule: _record(rule, found) for rule, found in by_rule.items()}


def keeps_promise(outcome: Outcome) -> bool:
    """Whether the average realised rate is at most the promised one, chance aside."""
    reach = STANDARD_ERRORS * outcome.realised.error
    return outcome.realised.mean - outcome.promised <= reach + 1e-12


def choose(outcomes: Sequence[Outcome]) -> str | None:
    """The rule to use by default: it breaks the fewest promises, then has the highest F1.

    Only a rule that needs good parts alone can be it. None without synthetic parts.
    """
    found = [record for rule, record in records(outcomes).items() if rule in RULES]
    return min(found, key=lambda one: (one.broken, -one.f1)).rule if found else None


def conclude(outcomes: Sequence[Outcome]) -> list[str]:
    """What the numbers say, in plain sentences."""
    counted = [outcome for outcome in outcomes if outcome.is_synthetic]
    if not counted:
        return ["No synthetic parts were given, so nothing is chosen: no other data may choose."]
    found = records(counted)
    return [
        *(_promise_sentence(found[rule]) for rule in RULES),
        _typical_sentence(counted),
        *_below_sentences(counted),
        _labelled_sentence(found),
        _choice_sentence(choose(counted), found),
    ]


def in_prose(rule: str) -> str:
    """A rule's name at the start of a sentence."""
    return rule[0].upper() + rule[1:]


def percent(share: float) -> str:
    """A share in percent; one digit below ten, where it tells something."""
    percent = 100 * share
    digits = 0 if percent >= 9.95 or math.isclose(percent, round(percent)) else 1
    return f"{percent:.{digits}f} %"


def _record(rule: str, outcomes: Sequence[Outcome]) -> Record:
    excesses = [one.realised.mean - one.promised for one in outcomes]
    asked = [one.realised.mean - one.asked for one in outcomes if one.asked is not None]
    return Record(
        rule=rule,
        cases=len(outcomes),
        broken=sum(not keeps_promise(one) for one in outcomes),
        above_promise=float(np.mean(excesses)),
        worst=max(excesses),
        above_asked=float(np.mean(asked)) if asked else None,
        f1=float(np.mean([one.f1.mean for one in outcomes])),
        miss_rate=float(np.mean([one.miss_rate.mean for one in outcomes])),
    )


def _promise_sentence(record: Record) -> str:
    kept = record.cases - record.broken
    return (
        f"{in_prose(record.rule)} keeps its promise, chance aside, in {kept} of {record.cases} "
        "cases (a product, a number of parts, an asked rate). On average over all cases it fails "
        f"{_points(record.above_promise)} of the good parts than it promises, in the worst case "
        f"{_points(record.worst)}."
    )


def _typical_sentence(outcomes: Sequence[Outcome]) -> str:
    """What one may expect at the size and rate of a usual training run."""
    sizes = {one.size for one in outcomes}
    size = TYPICAL_SIZE if TYPICAL_SIZE in sizes else min(sizes)
    words = []
    for rule in RULES:
        chosen = _cases(outcomes, rule, size, TYPICAL_RATE)
        words.append(
            f"{rule} {percent(_mean(one.realised.mean for one in chosen))} (nine of ten splits of "
            f"each product: {percent(min(one.realised.low for one in chosen))} to "
            f"{percent(max(one.realised.high for one in chosen))}), with "
            f"{percent(_mean(one.miss_rate.mean for one in chosen))} of the defects missed"
        )
    return (
        f"With {size} parts and {percent(TYPICAL_RATE)} asked, the rules fail this share of good "
        f"parts: {'; '.join(words)}. A promise holds on average over calibrations: a single one "
        "may do much better or worse, whatever the rule, and only more parts narrow that."
    )


def _below_sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """What each rule does where fewer parts were held out than the rate would need."""
    size, asked = min(one.size for one in outcomes), min(RATES)
    if asked >= 1 / (size + 1):
        return []
    said = {rule: _cases(outcomes, rule, size, asked) for rule in RULES}
    realised = {
        rule: percent(_mean(one.realised.mean for one in found)) for rule, found in said.items()
    }
    extreme = said[EXTREME_VALUE]
    return [
        f"No rule can show a rate below 1 / (n + 1). Asked for {percent(asked)} with {size} parts "
        f"({percent(1 / (size + 1))}): conformal and quantile both take the largest held-out "
        f"score, and {realised[CONFORMAL]} of the good parts fail; conformal promises "
        f"{percent(_mean(one.promised for one in said[CONFORMAL]))}, quantile still promises "
        f"{percent(asked)}. Extreme value goes beyond the largest score in "
        f"{percent(_mean(one.beyond for one in extreme))} of the splits, fails "
        f"{realised[EXTREME_VALUE]} (nine of ten splits of each product: "
        f"{percent(min(one.realised.low for one in extreme))} to "
        f"{percent(max(one.realised.high for one in extreme))}) and misses "
        f"{percent(_mean(one.miss_rate.mean for one in extreme))} of the defects, where conformal "
        f"misses {percent(_mean(one.miss_rate.mean for one in said[CONFORMAL]))}."
    ]


def _labelled_sentence(found: dict[str, Record]) -> str:
    record = found[ROC]
    return (
        f"ROC, with {VALIDATION} good and {VALIDATION} defective labelled parts, reaches an F1 of "
        f"{record.f1:.3f} and misses {percent(record.miss_rate)} of the defects; it can't be "
        f"asked for a rate, and keeps what the held-out parts show of it in "
        f"{record.cases - record.broken} of {record.cases} cases."
    )


def _choice_sentence(chosen: str, found: dict[str, Record]) -> str:
    stays = "it is" if chosen == DEFAULT else f"it is not, for the default is {DEFAULT}"
    f1 = ", ".join(f"{rule} {found[rule].f1:.3f}" for rule in RULES)
    return (
        f"The rule to use by default is {chosen}, and {stays} the one in use: of the rules that "
        f"need good parts alone it breaks the fewest promises, and where that decides nothing the "
        f"higher F1 does ({f1})."
    )


def _cases(outcomes: Sequence[Outcome], rule: str, size: int, asked: float) -> list[Outcome]:
    return [one for one in outcomes if (one.rule, one.size, one.asked) == (rule, size, asked)]


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _points(difference: float) -> str:
    direction = "more" if difference >= 0 else "fewer"
    return f"{100 * abs(difference):.2f} percentage points {direction}"
