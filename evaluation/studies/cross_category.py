"""Does a model know what it was not made for? Every model on every product's photos.

    python -m evaluation.studies.cross_category --models runs/* --data DIR synthetic:all \
        --output runs/cross_category.json

Says which share of the photos each model refuses to judge (`modeling.out_of_distribution`): of its
own product, good and defective, it should be none; of every other, all. Prints Markdown: a table of
good photos, one of defective ones, and the photos that were wrongly refused or wrongly judged.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset
from tqdm import tqdm

from data.rows import decode_picture
from evaluation.documents.document import markdown_table
from evaluation.studies.judges import (
    BATCH,
    GOOD,
    Judge,
    add_judges_and_photos,
    load_judges,
    load_photos,
    opinions,
    run_study,
)
from model_files import undefined_as_null
from modeling import CHECK, PASS, Rate, ReconstructionOutput, open_photo, rate, verdict_of
from system.batches import batches_of

NAME = "cross_category.py"
SHOWN = 12  # wrong photos of a model and product that are listed by name


class Opinion(NamedTuple):
    """What a model says of one photo."""

    image_id: str
    is_good: bool  # whether it shows a good part
    verdict: str  # CHECK where the model refuses, otherwise PASS or FAIL
    doubt: str | None  # why it refuses, one of `modeling.out_of_distribution.DOUBTS`
    raw_score: float  # unbounded


class Refusals(NamedTuple):
    """What a model, by its name, makes of one product's photos."""

    model: str
    judged_as: str  # the category that it was told
    product: str  # what the photos show
    good: Rate  # how many of the good ones it refuses
    defective: Rate  # how many of the defective ones it refuses
    reasons: dict[str, int]  # how many photos it refuses for which doubt
    passed: int  # how many it judges and passes
    wrong: list[Opinion]  # refused ones of its own product, judged ones of another

    @property
    def is_own(self) -> bool:
        """Whether the photos show what the model was made for."""
        return self.judged_as == self.product

    @property
    def name(self) -> str:
        """Short name of the model and of what it was told."""
        same = self.model == self.judged_as
        return self.model if same else f"{self.model} ({self.judged_as})"

    def as_record(self) -> dict[str, Any]:
        """Plain values for JSON; a share of nothing is NaN."""
        return self._asdict() | {
            "good": self.good._asdict(),
            "defective": self.defective._asdict(),
            "wrong": [one._asdict() for one in self.wrong],
        }


def cross(judges: Sequence[Judge], photos: Mapping[str, Dataset]) -> list[Refusals]:
    """Every model on the test photos of every product: model after model, product after product.

    Each photo is decoded once and shown to all models; one that can't be is a DatasetError.
    """
    said: dict[tuple[int, str], list[Opinion]] = {
        (number, product): [] for number in range(len(judges)) for product in photos
    }
    with tqdm(total=sum(map(len, photos.values())), desc="crossing", unit="photo") as bar:
        for product, dataset in photos.items():
            facts = dataset.select_columns(["image_id", "defect"])
            stored = dataset.select_columns(["image", "image_id"])
            for rows in batches_of(len(dataset), BATCH):
                pictures = [open_photo(decode_picture(stored, row, "image")) for row in rows]
                known = facts[rows.start : rows.stop]
                for number, output in enumerate(opinions(judges, pictures)):
                    said[number, product] += _opinions(output, known)
                bar.update(len(pictures))
    return [
        summarise(judges[number], product, several) for (number, product), several in said.items()
    ]


def summarise(judge: Judge, product: str, said: Sequence[Opinion]) -> Refusals:
    """Count what a model said of one product's photos."""

    def refused(among: Sequence[Opinion]) -> Rate:
        return rate(sum(one.verdict == CHECK for one in among), len(among))

    own = judge.category == product
    return Refusals(
        model=judge.name,
        judged_as=judge.category,
        product=product,
        good=refused([one for one in said if one.is_good]),
        defective=refused([one for one in said if not one.is_good]),
        reasons=dict(Counter(one.doubt for one in said if one.doubt is not None)),
        passed=sum(one.verdict == PASS for one in said),
        wrong=[one for one in said if (one.verdict == CHECK) is own],
    )


def as_table(refusals: Sequence[Refusals], kind: str) -> str:
    """Markdown: a row a model, a column a product, how many photos of a kind are refused.

    The kind is "good" or "defective".
    """
    products = list(dict.fromkeys(entry.product for entry in refusals))
    rows: dict[str, list[str]] = {}  # the refusals come product after product
    for entry in refusals:
        share = getattr(entry, kind)
        words = f"{share.count} of {share.total}"
        rows.setdefault(entry.name, []).append(f"**{words}**" if entry.is_own else words)
    head = [f"model \\ {kind} photos of", *products]
    return markdown_table(head, [[name, *cells] for name, cells in rows.items()])


def summary(refusals: Sequence[Refusals]) -> str:
    """Wrongly refused, wrongly judged, and of these passed: Markdown, a line each."""
    own = [entry for entry in refusals if entry.is_own]
    others = [entry for entry in refusals if not entry.is_own]
    lines = [
        f"- Of {whose} {kind} photos the models refuse "
        f"{_in_words([getattr(entry, kind) for entry in entries])}."
        for whose, entries in (("their own products'", own), ("other products'", others))
        for kind in ("good", "defective")
    ]
    passed = [rate(entry.passed, entry.good.total + entry.defective.total) for entry in others]
    lines.append(f"- Of other products' photos they judge and pass {_in_words(passed)}.")
    return "\n".join(lines)


def wrong_photos(refusals: Sequence[Refusals]) -> str:
    """Markdown: by name, what was wrongly refused and what was wrongly judged."""
    lines = []
    for entry in refusals:
        if not entry.wrong:
            continue
        what = "refuses its own" if entry.is_own else "judges"
        shown = [f"{one.image_id} ({one.doubt or one.verdict})" for one in entry.wrong[:SHOWN]]
        more = len(entry.wrong) - len(shown)
        rest = f" and {more} more" if more else ""
        lines.append(f"- {entry.name} {what} {', '.join(shown)}{rest}.")
    return "\n".join(lines) or "- No photo is wrongly refused or wrongly judged."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog=NAME, description="Every model on every product's photos."
    )
    add_judges_and_photos(parser, "of synthetic parts")
    add = parser.add_argument
    add("--good_only", action="store_true", help="show the models the good photos alone")
    add("--output", type=Path, help="JSON file for the numbers")
    options = parser.parse_args(arguments)
    return run_study(NAME, lambda: _study(options), options.output, "--output")


def _study(options: argparse.Namespace) -> None:
    if options.output:  # before hours of judging
        options.output.parent.mkdir(parents=True, exist_ok=True)
        if options.output.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(options.output))
    photos = load_photos(options.data, seed=options.seed, limit=options.limit)
    if options.good_only:
        for product, dataset in photos.items():
            good = [row for row, defect in enumerate(dataset["defect"]) if defect == GOOD]
            photos[product] = dataset.select(good)
    refusals = cross(load_judges(options.models), photos)
    kinds = ("good",) if options.good_only else ("good", "defective")
    tables = [as_table(refusals, kind) for kind in kinds]
    print(*tables, summary(refusals), wrong_photos(refusals), sep="\n\n")
    if options.output:
        record = undefined_as_null([entry.as_record() for entry in refusals])
        options.output.write_text(json.dumps(record, indent=2) + "\n")


def _opinions(output: ReconstructionOutput, known: Mapping[str, Sequence[str]]) -> list[Opinion]:
    columns = (
        known["image_id"],
        known["defect"],
        output.is_anomalous.tolist(),
        output.doubt_names(),
        output.raw_score.tolist(),
    )
    return [
        Opinion(image_id, defect == GOOD, verdict_of(fails, doubt), doubt, raw_score)
        for image_id, defect, fails, doubt, raw_score in zip(*columns, strict=True)
    ]


def _in_words(shares: Sequence[Rate]) -> str:
    """Several shares as one."""
    share = rate(sum(one.count for one in shares), sum(one.total for one in shares))
    if not share.total:
        return "none, for there are none"
    return (
        f"{100 * share.value:.2f} % ({share.count} of {share.total}; 95 % interval "
        f"{100 * share.low:.2f} to {100 * share.high:.2f} %)"
    )


if __name__ == "__main__":
    sys.exit(main())
