"""The exploration as a page for a person: summary, problems, tables and charts, sample sheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.documents.html_page import TEMPLATES, render_page
from evaluation.documents.wording import UNDEFINED, percent, plural
from evaluation.explore.charts import area_chart, box_chart
from evaluation.explore.duplicates import NEAR_LIMIT
from evaluation.explore.exploration import Exploration, count_good
from evaluation.explore.photo import QUANTITIES, PhotoFacts
from evaluation.explore.problems import NOTE, SEVERITIES, STOPS
from evaluation.explore.sources import GOOD
from evaluation.explore.statistics import OUTLIER_LIMIT, Outlier, by_group
from training.recipe import Recipe

MOST_PICTURES = 7  # of a group on its sample sheet: a row of the page
MOST_PAIRS = 12
OUTLIER_WORDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("less contrast", "more contrast"),
    "sharpness": ("less sharp", "sharper or noisier"),
    "unlikeness": ("looks different", "looks different"),
}

Record = Mapping[str, Any]
Rows = list[Sequence[Any]]


def exploration_page(record: Record, exploration: Exploration) -> str:
    """The page as an HTML document, complete in itself.

    From the content of exploration.json and what it was made from, which alone has the pictures.
    """
    words = {"severities": SEVERITIES, "outlier_limit": OUTLIER_LIMIT, "near_limit": NEAR_LIMIT}
    parts = TEMPLATES.get_template("explore/exploration.html", globals=words).module
    categories, matches = record["categories"], exploration.matches
    outliers = [
        (one.photo, _outlier_words(one)) for some in exploration.outliers.values() for one in some
    ]
    pairs = sorted(matches, key=lambda match: (not match.is_leak, match.distance))[:MOST_PAIRS]
    sections = [
        ("Problems", parts.problems(exploration.problems)),
        ("What is there", parts.counts(_counts(categories), _promises(categories, exploration))),
        ("Light and sharpness", parts.light(_light(categories, exploration), [*QUANTITIES])),
        ("Good photos unlike the others", parts.outliers(outliers)),
        ("Defects", parts.defects(*_defects(categories, exploration))),
        ("Photos that are there twice", parts.duplicates(matches, pairs)),
        ("Samples", parts.samples(_samples(exploration))),
        ("How this was made", parts.making(record)),
    ]
    lead = parts.lead(_lead(exploration))
    return render_page(f"A first look at {record['data']}", sections, lead)


def _lead(exploration: Exploration) -> list[str]:
    lines = [_category_sentence(name, some) for name, some in exploration.photos.items()]
    if len(lines) > 4:
        photos = [photo for some in exploration.photos.values() for photo in some]
        lines = [_category_sentence(plural(len(lines), "category"), photos)]
    severities = [group.severity for group in exploration.problems]
    stops, notes = severities.count(STOPS), severities.count(NOTE)
    serious = len(severities) - notes
    verdict = f"{plural(serious, 'problem')} to look at" if serious else "No problem found"
    if stops:
        verdict += f", {stops} of which {'stops' if stops == 1 else 'stop'} training or evaluation"
    if notes:
        verdict += f"; {plural(notes, 'thing')} good to know"
    hints = sum(map(len, exploration.outliers.values()))
    if hints:
        verdict += f"; {plural(hints, 'good photo')} unlike the others"
    return [*lines, f"{verdict}."]


def _category_sentence(name: str, photos: Sequence[PhotoFacts]) -> str:
    test = [photo for photo in photos if photo.stored.split == "test"]
    good = sum(photo.stored.is_good for photo in test)
    kinds = {photo.stored.kind for photo in test} - {GOOD}
    sentence = f"{name}: {plural(count_good(photos), 'good photo')} for training"
    if test:
        sentence += f"; for the test {good} good and {len(test) - good} defective ones"
    return sentence + (f" with {plural(len(kinds), 'kind')} of defect." if kinds else ".")


def _counts(categories: Record) -> Rows:
    rows = []
    for name, category in categories.items():
        for group, facts in category["groups"].items():
            kinds = [_counted(facts[key]) for key in ("sizes", "modes", "formats")]
            rows.append((f"{name}: {group}", facts["photos"], facts["masks"], *kinds))
    return rows


def _counted(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count})" for value, count in counts.items())


def _promises(categories: Record, exploration: Exploration) -> Rows:
    rates = {name: one["smallest_false_alarm_rate"] for name, one in categories.items()}
    return [
        (name, count_good(exploration.photos[name]), percent(rate)) for name, rate in rates.items()
    ]


def _light(categories: Record, exploration: Exploration) -> Iterator[tuple[str, Rows, list]]:
    """For each category with photos: its name, a row for each group, and a chart a quantity."""
    for name, photos in exploration.photos.items():
        groups, facts = by_group(photos), categories[name]["groups"]
        if groups:
            rows = [
                (group, *(_spread(facts[group][quantity], _short) for quantity in QUANTITIES))
                for group in groups
            ]
            charts = []
            for quantity, meaning in QUANTITIES.items():
                chart = box_chart(groups, quantity, f"{name}: {quantity}")
                charts.append((chart, f"{quantity.capitalize()}: {meaning}."))
            yield name, rows, charts


def _outlier_words(outlier: Outlier) -> str:
    word = OUTLIER_WORDS[outlier.quantity][outlier.z > 0]
    return (
        f"{outlier.photo.stored.name}: {word}; {outlier.quantity} {_short(outlier.value)}, usually "
        f"{_short(outlier.usual)} ({abs(outlier.z):.1f} deviations)"
    )


def _defects(categories: Record, exploration: Exploration) -> tuple[Rows, list, int, float | None]:
    """A row for each kind, a chart for each category, the model's input, the smallest defect."""
    rows, charts, extents = [], [], []
    for name, photos in exploration.photos.items():
        groups = categories[name]["groups"]
        areas = {
            group.partition("/")[2]: [photo.defect_area for photo in some if photo.defect_area]
            for group, some in by_group(photos).items()
            if not group.endswith(f"/{GOOD}")
        }
        for kind, marked in areas.items():
            extents += marked
            if facts := groups.get(f"test/{kind}"):
                extent = _spread(facts["defect_area"], _fine_percent)
                regions = _spread(facts["components"], "{:.3g}".format)
                rows.append((f"{name}: {kind}", facts["photos"], len(marked), extent, regions))
        if marked := {kind: some for kind, some in areas.items() if some}:
            sentence = f"{name}: share of the picture that a defect covers, one dot a photo."
            charts.append((area_chart(marked, f"{name}: extent of defects"), sentence))
    return rows, charts, Recipe().image_size, min(extents, default=None)


def _spread(spread: Mapping[str, float] | None, words: Callable[[float], str]) -> str:
    if spread is None:
        return UNDEFINED
    return f"{words(spread['median'])} ({words(spread['min'])} to {words(spread['max'])})"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _fine_percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _samples(exploration: Exploration) -> Iterator[tuple[str, list[tuple[PhotoFacts, str]]]]:
    """For each group its heading, and some photos evenly through it with their file names."""
    for name, photos in exploration.photos.items():
        for group, some in by_group(photos).items():
            places = np.unique(np.linspace(0, len(some) - 1, MOST_PICTURES).round().astype(int))
            shown = [(some[at], some[at].stored.name.rpartition("/")[2]) for at in places]
            yield f"{name}: {group} ({len(places)} of {len(some)})", shown
