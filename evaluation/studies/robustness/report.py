"""The robustness study as a page, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from PIL import Image

from evaluation.documents.document import (
    Block,
    Charts,
    Code,
    Heading,
    Paragraph,
    Pictures,
    Section,
    Table,
    write_document,
)
from evaluation.documents.wording import figure as digits
from evaluation.documents.wording import plural
from evaluation.evaluate.provenance import versions_used
from evaluation.studies.robustness.chart import capital, strength_chart
from evaluation.studies.robustness.figures import (
    AUROC,
    CHECKS,
    CLEAN,
    FALSE_ALARMS,
    MISSES,
    NAMES,
    Condition,
    Figures,
    ModelFigures,
    spread,
)
from evaluation.studies.robustness.significance import LEVEL, RESAMPLES
from model_files import undefined_as_null
from modeling import Rate

TITLE = "Robustness and fairness"
NAME = "robustness"
SAMPLE_SIDE = 240  # pixels of the longer side of a sample picture
HOLDS = "holds"  # where no strength is worse
SHARES = ("false_alarms", "misses", "checks", "unnoticed", "located")  # of `Figures`

MEANINGS = {
    AUROC: "How surely an anomalous photo scores higher than a good one, at no threshold.",
    FALSE_ALARMS: "Good photos that fail at the calibrated threshold, whether or not the model "
    "also asks for a CHECK.",
    MISSES: "Anomalous photos that pass at the calibrated threshold, whether or not the model "
    "also asks for a CHECK.",
    CHECKS: "Photos that the model refuses to judge, because they do not look like the product.",
}
AT_A_GLANCE = (
    "The weakest step of each change at which a figure is worse than on the unchanged photos, and "
    f'which; "{HOLDS}" where none is. Worse means: photo by photo, chance alone would show it in '
    f"at most {LEVEL:.0%} of such comparisons. A small drop in few photos is not proven by that, "
    "so look at the figures below as well."
)
KINDS_OF_DEFECT = (
    "How many of each kind of defect are missed: unchanged, and at that strength of each change at "
    "which most are. The last row is the largest share minus the smallest."
)
ALL_FIGURES = (
    '"Wrong without CHECK" are the wrong verdicts that a person at the line would meet: false '
    'alarms and misses that the model does not refuse. "Located" are the anomalous photos whose '
    "map is strongest in the defect. Image AUROC has its change against the unchanged photos "
    "beside it."
)
HOW_MADE = (
    "Shares are compared by McNemar's exact test, one-sided, and image AUROC by a paired bootstrap "
    f"of {RESAMPLES} draws, both at a level of {LEVEL:.0%}. Changes act on the photo as the camera "
    "gave it. Noise and directions are drawn for each photo from its name and the seed. What a "
    "rotation or a shift brings into view mirrors what was there."
)


def write_report(
    output_dir: Path,
    models: Sequence[ModelFigures],
    samples: Mapping[Condition, Image.Image],
    command: str,
    seed: int,
) -> None:
    """Write robustness.html, robustness.md, robustness.json and the sample pictures.

    There is at least one model, and all have the same conditions; the samples are one photo under
    each of them. Command and seed say what made the figures.
    """
    folder = output_dir / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "command": command,
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions_used(),
        "level": LEVEL,
        "resamples": RESAMPLES,
        "results": [_record(model) for model in models],
        "spread": _spreads(models),
    }
    text = json.dumps(undefined_as_null(record), indent=2, allow_nan=False) + "\n"
    (output_dir / f"{NAME}.json").write_text(text)
    pictures = {
        condition: _save(picture, folder / f"{number:02d}.jpg")
        for number, (condition, picture) in enumerate(samples.items())
    }
    sections = [
        _at_a_glance(models),
        _over_strength(models),
        *(_comparison(models, name) for name in NAMES if len(models) > 1),
        _kinds_of_defect(models),
        *(_all_figures(model) for model in models),
        _samples(pictures),
        _how_made(record),
    ]
    write_document(output_dir / f"{NAME}.html", TITLE, _lead(models), sections)


def _lead(models: Sequence[ModelFigures]) -> str:
    count = len(models[0].figures) - 1
    worse = sum(bool(one.worse) for model in models for one in model.figures)
    return (
        f"{plural(len(models), 'model')} judged test photos of their own product, unchanged and "
        f"under {plural(count, 'change')}. In {worse} of {count * len(models)} cases a figure is "
        "worse than on the unchanged photos beyond what chance explains."
    )


def _at_a_glance(models: Sequence[ModelFigures]) -> Section:
    """For each change the weakest strength on each side at which something is worse."""
    rows = [
        [change, *(_first_worse(model, change) for model in models)] for change in models[0].changes
    ]
    table = Table(["change", *(model.name for model in models)], rows)
    return Section("What each model bears", [Paragraph(AT_A_GLANCE), table])


def _first_worse(model: ModelFigures, change: str) -> str:
    worse = [one for one in model.under(change) if one.worse]  # by ascending strength
    below = [one for one in worse if one.condition.strength < 0][-1:]
    above = [one for one in worse if one.condition.strength > 0][:1]
    found = [f"{one.condition.amount}: {', '.join(one.worse)}" for one in below + above]
    return "; ".join(found) or HOLDS


def _over_strength(models: Sequence[ModelFigures]) -> Section:
    charts = [
        (
            strength_chart(models, name),
            f"{capital(name)} over the strength of each change. {MEANINGS[name]}",
        )
        for name in NAMES
    ]
    return Section("Over the strength", [Charts(charts)])


def _comparison(models: Sequence[ModelFigures], name: str) -> Section:
    """One figure of all models under all conditions, with the spread between them."""
    rows, marked = [], []
    for number, under_one in enumerate(zip(*(model.figures for model in models), strict=True)):
        apart = spread(one.value(name) for one in under_one)
        cells = [_cell(one, name) for one in under_one]
        rows.append([str(under_one[0].condition), *cells, _digits(apart)])
        if any(name in one.worse for one in under_one):
            marked.append(number)
    text = (
        f'{MEANINGS[name]} Marked "worse" where it is worse than unchanged beyond chance. The last '
        "column is the largest value minus the smallest."
    )
    head = ["change", *(model.name for model in models), "spread"]
    return Section(capital(name), [Paragraph(text), Table(head, rows, "", marked, "worse")])


def _cell(one: Figures, name: str) -> str:
    words = _digits(one.image_auroc) if name == AUROC else _count(one.share(name))
    return f"{words} worse" if name in one.worse else words


def _kinds_of_defect(models: Sequence[ModelFigures]) -> Section:
    """Misses by kind of defect at the strength of each change that misses most of it."""
    blocks: list[Block] = [Paragraph(KINDS_OF_DEFECT)]
    value = attrgetter("value")
    for model in models:
        changes = (CLEAN.change, *model.changes)
        rows = {
            kind: [
                max((one.misses_by_defect[kind] for one in model.under(change)), key=value)
                for change in changes
            ]
            for kind in model.figures[0].misses_by_defect
        }
        cells = [[kind, *map(_count, most)] for kind, most in rows.items()]
        apart = [_digits(spread(map(value, column))) for column in zip(*rows.values(), strict=True)]
        if rows:
            table = Table(["kind", *changes], [*cells, ["spread", *apart]])
            blocks += [Heading(model.name), table]
    return Section("Kinds of defect", blocks)


def _all_figures(model: ModelFigures) -> Section:
    head = ["change", *NAMES, "wrong without CHECK", "located", "worse"]
    rows = [
        [
            str(one.condition),
            _auroc_and_change(one, model.figures[0]),
            *(_count(getattr(one, name)) for name in SHARES),
            ", ".join(one.worse),
        ]
        for one in model.figures
    ]
    marked = [number for number, one in enumerate(model.figures) if one.worse]
    table = Table(head, rows, "", marked, "worse")
    return Section(f"All figures of {model.name}", [Paragraph(ALL_FIGURES), table])


def _auroc_and_change(one: Figures, clean: Figures) -> str:
    words = _digits(one.image_auroc)
    if one is clean or math.isnan(one.image_auroc):
        return words
    return f"{words} ({one.image_auroc - clean.image_auroc:+.3f})"


def _samples(pictures: Mapping[Condition, Path]) -> Section:
    blocks = []
    for change in dict.fromkeys(one.change for one in pictures if one != CLEAN):
        shown = [one for one in pictures if one.change in (change, CLEAN.change)]
        blocks.append(Pictures(change, [(pictures[one], one.amount) for one in shown]))
    return Section("What the changes look like", blocks)


def _how_made(record: Mapping[str, Any]) -> Section:
    used = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    sentence = f"Seed {record['seed']}, {record['date']}; {used}."
    blocks = [Code(record["command"]), Paragraph(sentence), Paragraph(HOW_MADE)]
    return Section("How these figures were made", blocks)


def _record(model: ModelFigures) -> dict[str, Any]:
    conditions = [
        {
            **one.condition._asdict(),
            "words": str(one.condition),
            "image_auroc": one.image_auroc,
            "image_auroc_change_interval": list(one.auroc_change),
            **{name: getattr(one, name)._asdict() for name in SHARES},
            "misses_by_defect": {
                kind: share._asdict() for kind, share in one.misses_by_defect.items()
            },
            "worse": list(one.worse),
        }
        for one in model.figures
    ]
    return {"model": model.model, "category": model.category, "conditions": conditions}


def _spreads(models: Sequence[ModelFigures]) -> list[dict[str, Any]]:
    """Between models or categories, by condition and figure."""
    return [
        {
            **under_one[0].condition._asdict(),
            **{name: spread(one.value(name) for one in under_one) for name in NAMES},
        }
        for under_one in zip(*(model.figures for model in models), strict=True)
    ]


def _count(share: Rate) -> str:
    return f"{share.count} of {share.total}" if share.total else "-"


def _digits(value: float) -> str:
    return digits(None if math.isnan(value) else value)


def _save(picture: Image.Image, path: Path) -> Path:
    picture = picture.copy()
    picture.thumbnail((SAMPLE_SIDE, SAMPLE_SIDE))
    picture.save(path, quality=90)
    return path
