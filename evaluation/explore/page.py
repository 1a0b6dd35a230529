"""The exploration as a page for a person: summary, problems, tables and charts, sample sheets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.documents.html_page import TEMPLATES, render_page
from evaluation.documents.wording import UNDEFINED, percent
from evaluation.explore.charts import area_chart, box_chart
from evaluation.explore.duplicates import NEAR_LIMIT
from evaluation.explore.exploration import Exploration, count_good
from evaluation.explore.photo import QUANTITIES, PhotoFacts
from evaluation.explore.problems import SEVERITIES
from evaluation.explore.sources import GOOD
from evaluation.explore.statistics import OUTLIER_LIMIT, by_group
from training.recipe import Recipe

MOST_PICTURES = 7  # of a group on its sample sheet: a row of the page
MOST_PAIRS = 12

Record = Mapping[str, Any]
Rows = list[Sequence[Any]]


def exploration_page(record: Record, exploration: Exploration) -> str:
    """The page as an HTML document, complete in itself.

    From the content of exploration.json and what it was made from, which alone has the pictures.
    """
    known = {
        "severities": SEVERITIES,
        "outlier_limit": OUTLIER_LIMIT,
        "near_limit": NEAR_LIMIT,
        "short": _short,
    }
    parts = TEMPLATES.get_template("explore/exploration.html", globals=known).module
    categories, matches = record["categories"], exploration.matches
    outliers = [one for some in exploration.outliers.values() for one in some]
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
    lead = parts.lead(exploration.photos, exploration.problems, outliers)
    return render_page(f"A first look at {record['data']}", sections, lead)


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
