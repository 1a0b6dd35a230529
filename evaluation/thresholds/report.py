"""The threshold study in words, tables and charts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from evaluation.thresholds.conclusion import (
    STANDARD_ERRORS,
    Record,
    choose,
    conclude,
    in_prose,
    keeps_promise,
    percent,
    records,
)
from evaluation.thresholds.rules import CONFORMAL, EXTREME_VALUE, QUANTILE, ROC
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
            "The rules",
            [Text(f"{in_prose(rule)}: {words}") for rule, words in EXPLANATIONS.items()],
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
    figure, axes = new_axes(f"asked for {percent(asked)}", width=5.2, height=3.9)
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
        percent(record.miss_rate),
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
            f"{product.product}, {percent(asked)} asked: average over the splits, and bars that "
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
            "-" if one.asked is None else percent(one.asked),
            percent(one.promised),
            _with_spread(one.realised),
            percent(one.exceeded),
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


def _with_spread(spread: Any) -> str:
    return f"{percent(spread.mean)} ({percent(spread.low)} to {percent(spread.high)})"


def _plain(outcome: Outcome) -> dict[str, Any]:
    """For JSON: spreads with the names of their numbers."""
    return {
        name: value._asdict() if hasattr(value, "_asdict") else value
        for name, value in vars(outcome).items()
    }
