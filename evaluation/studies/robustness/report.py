"""The robustness study as a page, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from evaluation.documents.document import (
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
from evaluation.evaluate.provenance import LIBRARIES
from evaluation.evaluate.results import nan_to_none
from evaluation.studies.robustness.chart import capital, strength_chart
from evaluation.studies.robustness.measures import (
    AUROC,
    CHECKS,
    CLEAN,
    FALSE_ALARMS,
    MISSES,
    NAMES,
    SHARES,
    Condition,
    Figures,
    Measured,
    changes_of,
    spread,
    value_of,
)
from evaluation.studies.robustness.paired import LEVEL, RESAMPLES
from modeling import Rate

TITLE = "Robustness and fairness"
NAME = "robustness"
SAMPLE_SIDE = 240  # pixels of the longer side of a sample picture
HOLDS = "holds"  # where no strength is worse

MEANINGS = {
    AUROC: "How surely an anomalous photo scores higher than a good one, at no threshold.",
    FALSE_ALARMS: "Good photos that fail at the calibrated threshold, whether or not the model "
    "also asks for a CHECK.",
    MISSES: "Anomalous photos that pass at the calibrated threshold, whether or not the model "
    "also asks for a CHECK.",
    CHECKS: "Photos that the model refuses to judge, because they do not look like the product.",
}


def write_report(
    output_dir: Path,
    measured: Sequence[Measured],
    samples: Mapping[Condition, Image.Image],
    command: str,
    seed: int,
) -> None:
    """Write robustness.html, robustness.md, robustness.json and the sample pictures.

    Args:
        output_dir: is made.
        measured: at least one, all with the same conditions.
        samples: one photo under every condition.
        command: what made them.
        seed: beside the command.
    """
    folder = output_dir / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    versions = {
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
    }
    record = {
        "command": command,
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "level": LEVEL,
        "resamples": RESAMPLES,
        "results": [_record(one) for one in measured],
        "spread": _spreads(measured),
    }
    text = json.dumps(nan_to_none(record), indent=2, allow_nan=False) + "\n"
    (output_dir / f"{NAME}.json").write_text(text)
    pictures = {
        condition: _save(picture, folder / f"{number:02d}.jpg")
        for number, (condition, picture) in enumerate(samples.items())
    }
    write_document(
        output_dir / f"{NAME}.html",
        TITLE,
        _lead(measured),
        [
            _at_a_glance(measured),
            _over_strength(measured),
            *(_matrix(measured, name) for name in NAMES if len(measured) > 1),
            _kinds_of_defect(measured),
            *(_details(one) for one in measured),
            _samples(pictures),
            _how_made(record),
        ],
    )


def _lead(measured: Sequence[Measured]) -> str:
    count = len(measured[0].figures) - 1
    worse = sum(bool(one.worse) for each in measured for one in each.figures)
    return (
        f"{plural(len(measured), 'model')} judged test photos of their own product, unchanged and "
        f"under {plural(count, 'change')}. In {worse} of {count * len(measured)} cases a figure is "
        "worse than on the unchanged photos beyond what chance explains."
    )


def _at_a_glance(measured: Sequence[Measured]) -> Section:
    """For each change the weakest strength on each side at which something is worse."""
    rows = [
        [change, *(_first_worse(one, change) for one in measured)]
        for change in changes_of(measured)
    ]
    return Section(
        "What each model bears",
        [
            Paragraph(
                "The weakest step of each change at which a figure is worse than on the unchanged "
                f'photos, and which; "{HOLDS}" where none is. Worse means: photo by photo, chance '
                f"alone would show it in at most {LEVEL:.0%} of such comparisons. A small drop in "
                "few photos is not proven by that, so look at the figures below as well."
            ),
            Table(["change", *_names(measured)], rows),
        ],
    )


def _first_worse(one: Measured, change: str) -> str:
    found = []
    for sign in (-1, 1):
        ladder = [each for each in one.figures if each.condition.strength * sign > 0]
        ladder = [each for each in ladder if each.condition.change == change]
        ladder.sort(key=lambda each: abs(each.condition.strength))
        first = next((each for each in ladder if each.worse), None)
        if first:
            found.append(f"{first.condition.amount}: {', '.join(first.worse)}")
    return "; ".join(found) or HOLDS


def _over_strength(measured: Sequence[Measured]) -> Section:
    charts = [
        (
            strength_chart(measured, name),
            f"{capital(name)} over the strength of each change. {MEANINGS[name]}",
        )
        for name in NAMES
    ]
    return Section("Over the strength", [Charts(charts)])


def _matrix(measured: Sequence[Measured], name: str) -> Section:
    """One figure of all models under all conditions, with the spread between them."""
    rows, marked = [], []
    for number, first in enumerate(measured[0].figures):
        each = [one.of(first.condition) for one in measured]
        apart = spread(value_of(one, name) for one in each)
        cells = [_cell(one, name) for one in each]
        rows.append([str(first.condition), *cells, digits(_defined(apart))])
        if any(name in one.worse for one in each):
            marked.append(number)
    head = ["change", *_names(measured), "spread"]
    text = (
        f'{MEANINGS[name]} Marked "worse" where it is worse than unchanged beyond chance. The last '
        "column is the largest value minus the smallest."
    )
    return Section(capital(name), [Paragraph(text), Table(head, rows, "", marked, "worse")])


def _cell(one: Figures, name: str) -> str:
    words = digits(_defined(one.image_auroc)) if name == AUROC else _share(SHARES[name](one))
    return f"{words} worse" if name in one.worse else words


def _kinds_of_defect(measured: Sequence[Measured]) -> Section:
    """Misses by kind of defect at the strength of each change that misses most of it."""
    blocks: list[Any] = [
        Paragraph(
            "How many of each kind of defect are missed: unchanged, and at that strength of each "
            "change at which most are. The last row is the largest share minus the smallest."
        )
    ]
    for each in measured:
        changes = changes_of([each])
        columns = [[each.of(CLEAN)]] + [
            [one for one in each.figures if one.condition.change == change] for change in changes
        ]
        kinds = list(each.of(CLEAN).misses_by_defect)
        worst = [
            [
                max((one.misses_by_defect[kind] for one in column), key=lambda r: r.value)
                for kind in kinds
            ]
            for column in columns
        ]
        rows = [
            [kind, *(_share(column[number]) for column in worst)]
            for number, kind in enumerate(kinds)
        ]
        apart = [digits(_defined(spread(share.value for share in column))) for column in worst]
        if kinds:
            table = Table(["kind", CLEAN.change, *changes], [*rows, ["spread", *apart]])
            blocks += [Heading(each.name), table]
    return Section("Kinds of defect", blocks)


def _details(one: Measured) -> Section:
    head = (
        "change",
        AUROC,
        FALSE_ALARMS,
        MISSES,
        CHECKS,
        "wrong without CHECK",
        "located",
        "worse",
    )
    rows = [
        [
            str(each.condition),
            _auroc_and_change(each, one.of(CLEAN)),
            *map(
                _share, (each.false_alarms, each.misses, each.checks, each.unnoticed, each.located)
            ),
            ", ".join(each.worse),
        ]
        for each in one.figures
    ]
    text = (
        '"Wrong without CHECK" are the wrong verdicts that a person at the line would meet: false '
        'alarms and misses that the model does not refuse. "Located" are the anomalous photos '
        "whose map is strongest in the defect. Image AUROC has its change against the unchanged "
        "photos beside it."
    )
    marked = [number for number, each in enumerate(one.figures) if each.worse]
    return Section(
        f"All figures of {one.name}", [Paragraph(text), Table(head, rows, "", marked, "worse")]
    )


def _auroc_and_change(one: Figures, clean: Figures) -> str:
    words = digits(_defined(one.image_auroc))
    if one is clean or math.isnan(one.image_auroc):
        return words
    return f"{words} ({one.image_auroc - clean.image_auroc:+.3f})"


def _samples(pictures: Mapping[Condition, Path]) -> Section:
    blocks = [
        Pictures(
            change,
            [
                (path, condition.amount)
                for condition, path in pictures.items()
                if condition.change in (change, CLEAN.change)
            ],
        )
        for change in dict.fromkeys(one.change for one in pictures)
        if change != CLEAN.change
    ]
    return Section("What the changes look like", blocks)


def _how_made(record: Mapping[str, Any]) -> Section:
    used = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return Section(
        "How these figures were made",
        [
            Code(record["command"]),
            Paragraph(f"Seed {record['seed']}, {record['date']}; {used}."),
            Paragraph(
                "Shares are compared by McNemar's exact test, one-sided, and image AUROC by a "
                f"paired bootstrap of {RESAMPLES} draws, both at a level of {LEVEL:.0%}. Changes "
                "act on the photo as the camera gave it. Noise and directions are drawn for each "
                "photo from its name and the seed. What a rotation or a shift brings into view "
                "mirrors what was there."
            ),
        ],
    )


def _record(one: Measured) -> dict[str, Any]:
    return {
        "model": one.model,
        "category": one.category,
        "conditions": [
            {
                "change": each.condition.change,
                "strength": each.condition.strength,
                "words": str(each.condition),
                "image_auroc": each.image_auroc,
                "image_auroc_change_interval": list(each.auroc_change),
                **{
                    key: getattr(each, key)._asdict()
                    for key in ("false_alarms", "misses", "checks", "unnoticed", "located")
                },
                "misses_by_defect": {
                    kind: share._asdict() for kind, share in each.misses_by_defect.items()
                },
                "worse": list(each.worse),
            }
            for each in one.figures
        ],
    }


def _spreads(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Between models or categories, by condition and figure."""
    return [
        {
            "change": first.condition.change,
            "strength": first.condition.strength,
            **{
                name: spread(value_of(one.of(first.condition), name) for one in measured)
                for name in NAMES
            },
        }
        for first in measured[0].figures
    ]


def _names(measured: Sequence[Measured]) -> list[str]:
    return [one.name for one in measured]


def _share(share: Rate) -> str:
    return f"{share.count} of {share.total}" if share.total else "-"


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _save(picture: Image.Image, path: Path) -> Path:
    picture = picture.copy()
    picture.thumbnail((SAMPLE_SIDE, SAMPLE_SIDE))
    picture.save(path, quality=90)
    return path
