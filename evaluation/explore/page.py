"""The exploration as a page for a person: summary, problems, tables and charts, sample sheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from evaluation.documents.html_page import (
    chart,
    paragraph,
    picture,
    preformatted,
    render_page,
    table,
)
from evaluation.documents.wording import UNDEFINED, duration, percent, plural
from evaluation.explore.charts import area_chart, box_chart
from evaluation.explore.duplicates import NEAR, NEAR_LIMIT, Match
from evaluation.explore.exploration import Exploration, count_good
from evaluation.explore.photo import QUANTITIES, PhotoFacts
from evaluation.explore.problems import LOOK, NOTE, SEVERITIES, STOPS, ProblemGroup
from evaluation.explore.sources import GOOD as GOOD_KIND
from evaluation.explore.statistics import OUTLIER_LIMIT, Outlier, by_group
from training.recipe import Recipe

MOST_PLACES = 8  # of a problem that the page names; exploration.json names all
MOST_PICTURES = 7  # of a group on its sample sheet: a row of the page
MOST_PAIRS = 12
MOST_OUTLIERS = 16
MEANINGS = {
    "brightness": "mean of the picture, 0 black to 1 white",
    "contrast": "standard deviation of the picture's brightness",
    "sharpness": "variance of the Laplacian, grey levels squared",
}
OUTLIER_WORDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("less contrast", "more contrast"),
    "sharpness": ("less sharp", "sharper or noisier"),
    "unlikeness": ("looks different", "looks different"),
}

Record = Mapping[str, Any]


def exploration_page(record: Record, exploration: Exploration) -> str:
    """The whole page.

    Args:
        record: the content of exploration.json.
        exploration: what it was made from; the pictures are here alone.

    Returns:
        The HTML document, complete in itself.
    """
    sections = [
        ("Problems", _problems(exploration.problems)),
        ("What is there", _counts(record, exploration)),
        ("Light and sharpness", _light(record, exploration)),
        ("Good photos unlike the others", _outliers(exploration.outliers)),
        ("Defects", _defects(record, exploration)),
        ("Photos that are there twice", _duplicates(exploration.matches)),
        ("Samples", _samples(exploration)),
        ("How this was made", _making(record)),
    ]
    return render_page(f"A first look at {record['data']}", sections, _lead(exploration))


def _lead(exploration: Exploration) -> Markup:
    lines = [_category_sentence(name, some) for name, some in exploration.photos.items()]
    if len(lines) > 4:
        photos = [photo for some in exploration.photos.values() for photo in some]
        lines = [_category_sentence(plural(len(lines), "category"), photos)]
    stops, look, notes = (
        sum(problem.severity == severity for problem in exploration.problems)
        for severity in (STOPS, LOOK, NOTE)
    )
    verdict = (
        f"{plural(stops + look, 'problem')} to look at" if stops + look else "No problem found"
    )
    if stops:
        verdict += f", {stops} of which {'stops' if stops == 1 else 'stop'} training or evaluation"
    if notes:
        verdict += f"; {plural(notes, 'thing')} good to know"
    hints = sum(map(len, exploration.outliers.values()))
    if hints:
        verdict += f"; {plural(hints, 'good photo')} unlike the others"
    return Markup().join(paragraph(line, "lead") for line in [*lines, f"{verdict}."])


def _category_sentence(name: str, photos: Sequence[PhotoFacts]) -> str:
    test = [photo for photo in photos if photo.stored.split == "test"]
    good = sum(photo.stored.kind == GOOD_KIND for photo in test)
    kinds = {photo.stored.kind for photo in test} - {GOOD_KIND}
    sentence = f"{name}: {plural(count_good(photos), 'good photo')} for training"
    if test:
        sentence += f"; for the test {good} good and {len(test) - good} defective ones"
    return sentence + (f" with {plural(len(kinds), 'kind')} of defect." if kinds else ".")


def _problems(problems: Sequence[ProblemGroup]) -> Markup:
    serious = [problem for problem in problems if problem.severity != NOTE]
    notes = [problem for problem in problems if problem.severity == NOTE]
    parts = [_problem(problem) for problem in serious] or [
        paragraph("No problem was found: every photo and mask can be read, and they fit together.")
    ]
    if notes:
        parts += [Markup("<h3>Good to know</h3>\n"), *map(_problem, notes)]
    return Markup().join(parts)


def _problem(problem: ProblemGroup) -> Markup:
    items = [
        Markup("<li><code>{}</code>{}</li>").format(
            one.place, f" ({one.detail})" if one.detail else ""
        )
        for one in problem.problems[:MOST_PLACES]
    ]
    more = len(problem.problems) - MOST_PLACES
    if more > 0:
        items.append(Markup("<li>and {} more, all in exploration.json</li>").format(more))
    word = "" if problem.severity == NOTE else f" ({SEVERITIES[problem.severity]})"
    # One that stops training is marked by its word as well as by colour.
    opening = Markup('<span class="mark">{}</span>' if problem.severity == STOPS else "{}")
    return Markup("<p><strong>{}: {}</strong>{}<br>{}</p><ul>{}</ul>\n").format(
        problem.category, problem.title, opening.format(word), problem.advice, Markup().join(items)
    )


def _counts(record: Record, exploration: Exploration) -> Markup:
    head = (
        "category and group",
        "photos",
        "masks",
        "sizes in pixels",
        "modes",
        "formats",
    )
    rows = [
        (
            f"{name}: {group}",
            facts["photos"],
            facts["masks"],
            _counted(facts["sizes"]),
            _counted(facts["modes"]),
            _counted(facts["formats"]),
        )
        for name, category in record["categories"].items()
        for group, facts in category["groups"].items()
    ]
    promises = [
        (
            name,
            count_good(exploration.photos[name]),
            percent(category["smallest_false_alarm_rate"]),
        )
        for name, category in record["categories"].items()
    ]
    note = (
        "Training holds out a fifth of the good photos to calibrate the threshold. From n held-out "
        "photos, no false-alarm rate under 1/(n+1) can be promised."
    )
    return Markup().join(
        (
            table(head, rows),
            table(("category", "good photos", "smallest rate to promise"), promises),
            paragraph(note),
        )
    )


def _counted(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count})" for value, count in counts.items())


def _light(record: Record, exploration: Exploration) -> Markup:
    parts = [
        paragraph(
            "Each box holds the middle half of a group's photos, its line the median; dots lie far "
            "out. Good test photos should look like the training photos: where their boxes lie "
            "apart, light or camera has changed, and a model will call that a defect."
        )
    ]
    for name, photos in exploration.photos.items():
        groups = by_group(photos)
        if not groups:
            continue
        facts = record["categories"][name]["groups"]
        rows = [
            (group, *(_spread(facts[group][quantity], _short) for quantity in QUANTITIES))
            for group in groups
        ]
        parts += [
            Markup("<h3>{}</h3>\n").format(name),
            table(("median (least to greatest)", *QUANTITIES), rows),
            Markup('<div class="charts">'),
            *(
                chart(
                    box_chart(groups, quantity, f"{name}: {quantity}"),
                    f"{quantity.capitalize()}: {meaning}.",
                )
                for quantity, meaning in MEANINGS.items()
            ),
            Markup("</div>\n"),
        ]
    return Markup().join(parts)


def _spread(spread: Mapping[str, float] | None, words: Callable[[float], str]) -> str:
    if spread is None:
        return UNDEFINED
    return f"{words(spread['median'])} ({words(spread['min'])} to {words(spread['max'])})"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _outliers(outliers: Mapping[str, Sequence[Outlier]]) -> Markup:
    found = [outlier for some in outliers.values() for outlier in some]
    hint = (
        "A hint, no verdict: a good photo may be unusual. But a defective part, another product "
        "or a failed exposure among the good photos teaches the model that it is good. Named are "
        "training photos whose brightness, contrast, sharpness or look as a whole lies more than "
        f"{OUTLIER_LIMIT:g} robust standard deviations (from median and median absolute deviation) "
        "from the others of their category."
    )
    if not found:
        return paragraph(hint) + paragraph("There are none here.")
    figures = [_figure(outlier.photo, _outlier_words(outlier)) for outlier in found[:MOST_OUTLIERS]]
    return paragraph(hint) + _grid(figures) + _more(len(found) - MOST_OUTLIERS)


def _outlier_words(outlier: Outlier) -> str:
    word = OUTLIER_WORDS[outlier.quantity][outlier.z > 0]
    return (
        f"{outlier.photo.stored.name}: {word}; {outlier.quantity} {_short(outlier.value)}, usually "
        f"{_short(outlier.usual)} ({abs(outlier.z):.1f} deviations)"
    )


def _defects(record: Record, exploration: Exploration) -> Markup:
    rows, charts, extents = [], [], []
    for name, photos in exploration.photos.items():
        areas = {
            group.partition("/")[2]: [photo.defect_area for photo in some if photo.defect_area]
            for group, some in by_group(photos).items()
            if not group.endswith(f"/{GOOD_KIND}")
        }
        groups = record["categories"][name]["groups"]
        rows += [
            (
                f"{name}: {kind}",
                groups[f"test/{kind}"]["photos"],
                len(marked),
                _spread(groups[f"test/{kind}"]["defect_area"], _fine_percent),
                _spread(groups[f"test/{kind}"]["components"], "{:.3g}".format),
            )
            for kind, marked in areas.items()
            if f"test/{kind}" in groups
        ]
        marked = {kind: some for kind, some in areas.items() if some}
        extents += marked.values()
        if marked:
            sentence = f"{name}: share of the picture that a defect covers, one dot a photo."
            charts.append(chart(area_chart(marked, f"{name}: extent of defects"), sentence))
    if not rows:
        return paragraph("There are no defective photos.")
    head = (
        "category and kind",
        "photos",
        "with a mask",
        "share of the picture, median (least to greatest)",
        "separate regions",
    )
    side, every = Recipe().image_size, [area for areas in extents for area in areas]
    note = (
        f"A model sees the photo at {side} x {side} pixels unless --image_size says otherwise. "
        + (f"The smallest marked defect is {min(every) * side**2:.0f} of them." if every else "")
    )
    return Markup().join(
        (
            table(head, rows),
            paragraph(note),
            Markup('<div class="charts">{}</div>\n').format(Markup().join(charts)),
        )
    )


def _fine_percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _duplicates(matches: Sequence[Match]) -> Markup:
    equal = [match for match in matches if match.how != NEAR]
    near = [match for match in matches if match.how == NEAR]
    leaks = sum(match.is_leak for match in matches)
    summary = (
        f"{plural(len(equal), 'pair')} of equal photos (the same file, or the same pixels in "
        f"another one), {plural(len(near), 'pair')} of nearly equal ones; {leaks} between training "
        "and test."
    )
    method = (
        "Nearly equal: compared as grey pictures of 64 x 64 pixels, less than "
        f"{NEAR_LIMIT:g} of the distance that is usual between neighbours of the category remains "
        "when brightness, contrast, a small shift and a small stretch are taken away. That finds a "
        "photo saved again as JPEG, made smaller, cut by 1 % at each edge, or taken twice of one "
        "part. It does not find a photo that was turned, mirrored, cut by much or edited, and it "
        "needs 7 photos of a category."
    )
    shown = sorted(matches, key=lambda match: (not match.is_leak, match.distance))[:MOST_PAIRS]
    pairs = [_pair(match) for match in shown]
    return Markup().join(
        (
            paragraph(summary),
            *pairs,
            _more(len(matches) - MOST_PAIRS),
            paragraph(method),
        )
    )


def _pair(match: Match) -> Markup:
    words = match.how if match.how != NEAR else f"nearly equal (distance {match.distance:.2f})"
    words += ", in training and test" if match.is_leak else ""
    return Markup('<div class="case"><p>{}</p>{}</div>\n').format(
        words.capitalize(),
        _grid([_figure(photo, photo.stored.name) for photo in (match.first, match.second)]),
    )


def _samples(exploration: Exploration) -> Markup:
    parts = [
        paragraph(
            "Some photos of each group, evenly through their names. The outline around a defect is "
            "drawn from its mask."
        )
    ]
    for name, photos in exploration.photos.items():
        for group, some in by_group(photos).items():
            places = np.unique(np.linspace(0, len(some) - 1, MOST_PICTURES).round().astype(int))
            heading = f"{name}: {group} ({len(places)} of {len(some)})"
            parts.append(Markup("<h3>{}</h3>\n").format(heading))
            chosen = [some[place] for place in places]
            parts.append(
                _grid([_figure(one, one.stored.name.rpartition("/")[2]) for one in chosen])
            )
    return Markup().join(parts)


def _grid(figures: Sequence[Markup]) -> Markup:
    return Markup('<div class="pictures">{}</div>\n').format(Markup().join(figures))


def _figure(photo: PhotoFacts, caption: str) -> Markup:
    with Image.open(BytesIO(photo.thumbnail)) as image:
        shown = picture(image, photo.stored.name)
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(shown, caption)


def _more(count: int) -> Markup:
    return paragraph(f"{count} more are in exploration.json.") if count > 0 else Markup()


def _making(record: Record) -> Markup:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return Markup().join(
        (
            preformatted(record["command"]),
            paragraph(f"{record['date']}, in {duration(record['seconds'])}, with {versions}."),
            paragraph(
                "Every photo was read once, turned upright and converted to 8-bit RGB, as models "
                "get it. Sharpness grows with noise and with size: compare it within a category. "
                "All figures of all photos are in exploration.json."
            ),
        )
    )
