"""The threshold study in words, tables and charts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evaluation.thresholds.rules import CONFORMAL, EXTREME_VALUE, QUANTILE, ROC, RULES
from evaluation.thresholds.trials import (
    LEAST_TEST,
    RATES,
    SPREAD,
    VALIDATION,
    Outcome,
    Scored,
)
from evaluation.writing.charts import THRESHOLD, new_axes
from evaluation.writing.document import Charts, Code, Heading, Section, Table, Text, write_document

DEFAULT = CONFORMAL  # what `modeling.Calibration.fit` does
STANDARD_ERRORS = 3  # beyond which an average above the promise is no chance
TYPICAL_SIZE, TYPICAL_RATE = 40, 0.05  # a fifth of 200 photos, and the recipe's own rate

OFFSET = 0.16  # of rules beside each other, of the distance between two sizes
TICKS = (0, 1, 2, 5, 10, 20, 30, 50, 70, 100)  # percent

# Okabe and Ito's palette; marker and line say the same in grey print.
STYLES = {
    CONFORMAL: ("#0072B2", "o", "-"),
    QUANTILE: ("#E69F00", "s", "--"),
    EXTREME_VALUE: ("#009E73", "^", ":"),
}
EXPLANATIONS = {
    CONFORMAL: "the k-th smallest held-out score, with k the smallest whole number from "
    "(n + 1)(1 - rate) up. It holds the promise on average over calibrations, whatever the "
    "distribution of the scores is. From n parts it can't promise less than 1 / (n + 1); asked for "
    "less, it takes the largest score and says what that is worth.",
    QUANTILE: "the smallest score that all but the asked share of the held-out scores do not "
    "exceed. It promises what was asked, although a new part exceeds it more often, by "
    "(1 - rate) / (n + 1). Below 1 / n it takes the largest score.",
    EXTREME_VALUE: "a generalised Pareto tail, fitted by maximum likelihood to the highest fifth "
    "of the scores (at least 10), extrapolated to the asked rate. Alone of all rules it can go "
    "beyond the largest score. Peaks over a threshold rather than Gumbel's law on maxima of "
    "blocks, for a part has one score, and blocks would leave two maxima of 20 parts. From few "
    "parts the tail's shape is hardly known: too short a tail ends at the largest score and fails "
    "too many, too long a one lets defects pass.",
    ROC: f"the threshold that separates {VALIDATION} good and {VALIDATION} defective labelled "
    "parts best (Youden's J), as train.py sets it with --threshold_rule roc. It can't be asked for "
    "a rate; its promise is what the n held-out good parts show of it. It needs labelled defects, "
    "so it can't be the default.",
}

SUMMARY_HEAD = (
    "rule",
    "cases",
    "promises broken",
    "above promise",
    "at worst",
    "above asked",
    "F1",
    "defects missed",
)


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


def as_text(outcomes: Sequence[Outcome]) -> str:
    """The summary for a terminal."""
    rows = [_summary_row(record) for record in records(outcomes).values()]
    lines = [
        f"{rule:<14} {' '.join(f'{cell:>15}' for cell in cells)}"
        for rule, *cells in ([SUMMARY_HEAD, *rows] if rows else [])
    ]
    return "\n".join([*lines, *([""] if lines else []), *conclude(outcomes)])


def write_report(
    output_dir: Path,
    products: Sequence[Scored],
    outcomes: Sequence[Outcome],
    provenance: dict[str, Any],
) -> None:
    """Write threshold_study.json, .html and .md.

    Args:
        output_dir: an existing folder.
        products: whose scores were studied.
        outcomes: of all products.
        provenance: command, date, seeds and versions.
    """
    content = {
        **provenance,
        "chosen": choose(outcomes),
        "conclusion": conclude(outcomes),
        "rules": [asdict(record) for record in records(outcomes).values()],
        "outcomes": [_plain(outcome) for outcome in outcomes],
        "products": [asdict(product) for product in products],
    }
    path = output_dir / "threshold_study.json"
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    sections = [
        Section("What follows", [Text(sentence) for sentence in conclude(outcomes)]),
        Section(
            "The rules", [Text(f"{_name(rule)}: {words}") for rule, words in EXPLANATIONS.items()]
        ),
        Section("All synthetic parts together", [_summary_table(outcomes)]),
        *(_product_section(product, outcomes) for product in products),
        Section("How this was measured", _method(products, provenance)),
    ]
    lead = (
        "A threshold promises that at most a certain share of good parts will fail. This page "
        "compares how four rules keep that promise on parts that they have not seen."
    )
    write_document(output_dir / "threshold_study.html", "Threshold study", lead, sections)


def promise_chart(outcomes: Sequence[Outcome], asked: float) -> Figure:
    """Realised rate against the number of parts that calibrated, for one asked rate.

    Args:
        outcomes: of one product.
        asked: the rate.
    """
    cases = {(one.rule, one.size): one.realised for one in outcomes if one.asked == asked}
    sizes = sorted({size for _, size in cases})
    places = np.arange(len(sizes))
    figure, axes = new_axes(f"asked for {_percent(asked)}", width=5.2, height=3.9)
    axes.axhline(100 * asked, color=THRESHOLD, linewidth=1, label="asked")
    least = [100 / (size + 1) for size in sizes]
    axes.plot(places, least, color="0.45", linewidth=1, linestyle="-.", label="1 / (n + 1)")
    for offset, rule in zip((-OFFSET, 0, OFFSET), STYLES, strict=True):
        colour, marker, line = STYLES[rule]
        means = np.array([cases[rule, size].mean for size in sizes])
        ends = np.array([[cases[rule, size].low, cases[rule, size].high] for size in sizes]).T
        axes.errorbar(
            places + offset,
            100 * means,
            100 * np.maximum([means - ends[0], ends[1] - means], 0),
            color=colour,
            marker=marker,
            linestyle=line,
            capsize=3,
            elinewidth=1,
            label=rule,
        )
    # A square root, since small rates are what matters and a log axis has no 0.
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
    axes.set(
        xticks=places,
        xticklabels=sizes,
        xlabel="n, good parts that calibrated",
        ylabel="good test parts that fail, %",
        ylim=(0, None),
    )
    axes.set_yticks([tick for tick in TICKS if tick <= axes.get_ylim()[1]])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8, frameon=True, framealpha=0.9)
    return figure


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
        f"{_name(record.rule)} keeps its promise, chance aside, in {kept} of {record.cases} cases "
        "(a product, a number of parts, an asked rate). On average over all cases it fails "
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
            f"{rule} {_percent(_mean(one.realised.mean for one in chosen))} (nine of ten splits of "
            f"each product: {_percent(min(one.realised.low for one in chosen))} to "
            f"{_percent(max(one.realised.high for one in chosen))}), with "
            f"{_percent(_mean(one.miss_rate.mean for one in chosen))} of the defects missed"
        )
    return (
        f"With {size} parts and {_percent(TYPICAL_RATE)} asked, the rules fail this share of good "
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
        rule: _percent(_mean(one.realised.mean for one in found)) for rule, found in said.items()
    }
    extreme = said[EXTREME_VALUE]
    return [
        f"No rule can show a rate below 1 / (n + 1). Asked for {_percent(asked)} with {size} parts "
        f"({_percent(1 / (size + 1))}): conformal and quantile both take the largest held-out "
        f"score, and {realised[CONFORMAL]} of the good parts fail; conformal promises "
        f"{_percent(_mean(one.promised for one in said[CONFORMAL]))}, quantile still promises "
        f"{_percent(asked)}. Extreme value goes beyond the largest score in "
        f"{_percent(_mean(one.beyond for one in extreme))} of the splits, fails "
        f"{realised[EXTREME_VALUE]} (nine of ten splits of each product: "
        f"{_percent(min(one.realised.low for one in extreme))} to "
        f"{_percent(max(one.realised.high for one in extreme))}) and misses "
        f"{_percent(_mean(one.miss_rate.mean for one in extreme))} of the defects, where conformal "
        f"misses {_percent(_mean(one.miss_rate.mean for one in said[CONFORMAL]))}."
    ]


def _labelled_sentence(found: dict[str, Record]) -> str:
    record = found[ROC]
    return (
        f"ROC, with {VALIDATION} good and {VALIDATION} defective labelled parts, reaches an F1 of "
        f"{record.f1:.3f} and misses {_percent(record.miss_rate)} of the defects; it can't be "
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


def _summary_table(outcomes: Sequence[Outcome]) -> Table | Text:
    found = list(records(outcomes).values())
    if not found:
        return Text(conclude(outcomes)[0], "note")
    chosen = [number for number, one in enumerate(found) if one.rule == choose(outcomes)]
    return Table(
        SUMMARY_HEAD,
        [_summary_row(record) for record in found],
        "Averages over all cases. A promise is broken where the average realised rate lies more "
        f"than {STANDARD_ERRORS} standard errors above it; more than promised and more than asked "
        "are in percentage points.",
        chosen,
        "chosen",
    )


def _summary_row(record: Record) -> list[str]:
    above_asked = "-" if record.above_asked is None else f"{100 * record.above_asked:+.2f}"
    return [
        record.rule,
        str(record.cases),
        str(record.broken),
        f"{100 * record.above_promise:+.2f}",
        f"{100 * record.worst:+.2f}",
        above_asked,
        f"{record.f1:.3f}",
        _percent(record.miss_rate),
    ]


def _product_section(product: Scored, outcomes: Sequence[Outcome]) -> Section:
    """Charts and the whole table of one product."""
    own = [one for one in outcomes if one.product == product.product and one.model == product.model]
    blocks = []
    if not product.is_synthetic:
        blocks.append(Text("Shown beside the synthetic parts; it chose nothing.", "note"))
    charts = [
        (
            promise_chart(own, asked),
            f"{product.product}, {_percent(asked)} asked: average over the splits, and bars that "
            "hold nine of ten of them.",
        )
        for asked in RATES
    ]
    blocks += [Charts(charts), _product_table(own)]
    return Section(f"{product.product}, model {product.model}", blocks)


def _product_table(outcomes: Sequence[Outcome]) -> Table:
    rows = [
        [
            f"n = {one.size}, {one.rule}",
            "-" if one.asked is None else _percent(one.asked),
            _percent(one.promised),
            _with_spread(one.realised),
            _percent(one.exceeded),
            f"{one.f1.mean:.3f}",
            _with_spread(one.miss_rate),
        ]
        for one in outcomes
    ]
    broken = [number for number, one in enumerate(outcomes) if not keeps_promise(one)]
    return Table(
        (
            "rule",
            "asked",
            "promised",
            f"realised ({SPREAD[0]} to {SPREAD[1]} % of the splits)",
            "splits above promise",
            "F1",
            "defects missed",
        ),
        rows,
        f"{outcomes[0].splits} splits; n good parts calibrated. Marked: the promise is broken.",
        broken,
        "broken",
    )


def _method(products: Sequence[Scored], provenance: dict[str, Any]) -> list[Any]:
    counts = "; ".join(
        f"{one.product}: {one.labels.count(0)} good and {one.labels.count(1)} defective test "
        f"photos of {one.data}, scored by {one.model}"
        for one in products
    )
    versions = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    return [
        Text(
            f"{counts}. Each of the {provenance['seeds']} seeds shuffles the photos and divides "
            f"them: {VALIDATION} good and {VALIDATION} defective ones for the rule ROC, the good "
            "ones that calibrate, and all others for the test, disjoint. The smaller calibration "
            "sets of a seed lie within its largest one, so that all sizes are tested on the same "
            f"photos. A size is left out where fewer than {LEAST_TEST} good photos would be left "
            "for the test. F1 depends on how many of the test photos are defective, so compare it "
            "between rules, not between products."
        ),
        Text(
            "The rule is chosen on synthetic parts alone, by a criterion that was fixed "
            "beforehand: fewest broken promises, then the highest F1."
        ),
        Heading("Command"),
        Code(provenance["command"]),
        Text(
            f"Seed of the synthetic parts {provenance['seed']}; {provenance['date']}; {versions}."
        ),
    ]


def _cases(outcomes: Sequence[Outcome], rule: str, size: int, asked: float) -> list[Outcome]:
    return [one for one in outcomes if (one.rule, one.size, one.asked) == (rule, size, asked)]


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _name(rule: str) -> str:
    return rule[0].upper() + rule[1:]


def _percent(share: float) -> str:
    """One digit below ten percent, where it tells something."""
    percent = 100 * share
    digits = 0 if percent >= 9.95 or math.isclose(percent, round(percent)) else 1
    return f"{percent:.{digits}f} %"


def _points(difference: float) -> str:
    direction = "more" if difference >= 0 else "fewer"
    return f"{100 * abs(difference):.2f} percentage points {direction}"


def _with_spread(spread: Any) -> str:
    return f"{_percent(spread.mean)} ({_percent(spread.low)} to {_percent(spread.high)})"


def _plain(outcome: Outcome) -> dict[str, Any]:
    """For JSON: spreads with the names of their numbers."""
    return {
        name: value._asdict() if hasattr(value, "_asdict") else value
        for name, value in vars(outcome).items()
    }
