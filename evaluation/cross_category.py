"""Does a model know what it was not made for? Every model on every product's photos.

    python evaluation/cross_category.py --models runs/* --data DIR synthetic:all \
        --output runs/cross_category.json

Says which share of the photos each model refuses to judge (`modeling.familiarity`): of its own
product, good and defective, it should be none; of every other, all. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

# A script started by its path finds only its own folder; the packages lie one above. Its own folder
# must not stay: there, `evaluate` and `metrics` would hide installed libraries of these names.
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
from datasets import Dataset

from evaluation.prediction import category_for
from modeling import (
    InspectionImageProcessor,
    ModelLoadError,
    Rate,
    ReconstructionModel,
    load_model,
    open_photo,
    rate,
)
from modeling.familiarity import DOUBTS, NO_DOUBT
from training.dataset import DatasetError, decode_picture, load_categories

GOOD = "good"
BATCH = 16


class Refusals(NamedTuple):
    """What a model makes of one product's photos.

    Attributes:
        model: its name.
        judged_as: the category that it was told.
        product: what the photos show.
        good: how many of the good ones it refuses.
        defective: how many of the defective ones it refuses.
        reasons: how many photos by reason.
    """

    model: str
    judged_as: str
    product: str
    good: Rate
    defective: Rate
    reasons: dict[str, int]


def doubts(
    model: ReconstructionModel,
    processor: InspectionImageProcessor,
    photos: Dataset,
    category: str,
) -> list[str | None]:
    """Why each photo can't be judged as this category, or None where it can."""
    stored = photos.select_columns(["image", "image_id"])
    told = category_for(model, category)
    numbers: list[int] = []
    for first in range(0, len(photos), BATCH):
        rows = range(first, min(first + BATCH, len(photos)))
        pictures = [open_photo(decode_picture(stored, row, "image")) for row in rows]
        pixel_values = processor(pictures, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            output = model.detect(pixel_values.to(model.device, model.dtype), told)
        numbers += output.doubt.tolist()
    return [None if number == NO_DOUBT else DOUBTS[number] for number in numbers]


def cross(folders: Sequence[Path], photos: dict[str, Dataset]) -> Iterator[Refusals]:
    """Every model on every product.

    Args:
        folders: model folders.
        photos: test photos by product.

    Raises:
        ModelLoadError: when a folder holds no model.
    """
    for folder in folders:
        model, processor = load_model(folder)
        for judged_as in model.config.categories:
            for product, dataset in photos.items():
                found = doubts(model, processor, dataset, judged_as)
                kinds = [defect == GOOD for defect in dataset["defect"]]
                good, defective = (
                    [doubt for doubt, is_good in zip(found, kinds, strict=True) if is_good is kind]
                    for kind in (True, False)
                )
                yield Refusals(
                    folder.name,
                    judged_as,
                    product,
                    rate(sum(doubt is not None for doubt in good), len(good)),
                    rate(sum(doubt is not None for doubt in defective), len(defective)),
                    dict(Counter(doubt for doubt in found if doubt is not None)),
                )


def as_table(refusals: Sequence[Refusals]) -> str:
    """Markdown: a row a model, a column a product; refused of all photos, good and defective."""
    products = list(dict.fromkeys(entry.product for entry in refusals))
    rows = list(dict.fromkeys((entry.model, entry.judged_as) for entry in refusals))
    cells = {(entry.model, entry.judged_as, entry.product): _cell(entry) for entry in refusals}
    lines = [
        f"| model | {' | '.join(products)} |",
        f"|---|{'---|' * len(products)}",
        *(
            f"| {model} | {' | '.join(cells[model, judged_as, product] for product in products)} |"
            for model, judged_as in rows
        ),
    ]
    return "\n".join(lines)


def _cell(entry: Refusals) -> str:
    count, total = _all(entry)
    words = f"{count} of {total}"
    return f"**{words}**" if entry.judged_as == entry.product else words


def _all(entry: Refusals) -> tuple[int, int]:
    return entry.good.count + entry.defective.count, entry.good.total + entry.defective.total


def summary(refusals: Sequence[Refusals]) -> str:
    """Two sentences: wrongly refused, and wrongly judged."""
    own = [_all(entry) for entry in refusals if entry.judged_as == entry.product]
    others = [_all(entry) for entry in refusals if entry.judged_as != entry.product]
    refused = rate(*map(sum, zip(*own, strict=True))) if own else rate(0, 0)
    caught = rate(*map(sum, zip(*others, strict=True))) if others else rate(0, 0)
    return (
        f"Of their own products' photos the models refuse {_words(refused)}.\n"
        f"Of other products' photos they refuse {_words(caught)}."
    )


def _words(share: Rate) -> str:
    return (
        f"{100 * share.value:.2f} % ({share.count} of {share.total}; 95 % interval "
        f"{100 * share.low:.2f} to {100 * share.high:.2f} %)"
    )


def load_photos(sources: Sequence[str], seed: int) -> dict[str, Dataset]:
    """Test photos of all products in the sources, by product.

    Raises:
        DatasetError: when a source can't be read.
    """
    photos: dict[str, Dataset] = {}
    for source in sources:
        test = load_categories(source, ["all"], seed=seed)["test"]
        names = test["category"]
        for product in dict.fromkeys(names):
            photos[product] = test.select([i for i, name in enumerate(names) if name == product])
    return photos


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(description="Every model on every product's photos.")
    parser.add_argument("--models", nargs="+", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--data", nargs="+", required=True, metavar="SOURCE")
    parser.add_argument("--seed", type=int, default=0, help="of synthetic parts")
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    options = parser.parse_args(arguments)
    try:
        refusals = list(cross(options.models, load_photos(options.data, options.seed)))
    except (DatasetError, ModelLoadError) as error:
        print(f"cross_category.py: {error}", file=sys.stderr)
        return 2
    print(as_table(refusals), summary(refusals), sep="\n\n")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        entries = [
            entry._asdict() | {"good": entry.good._asdict(), "defective": entry.defective._asdict()}
            for entry in refusals
        ]
        options.output.write_text(json.dumps(entries, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
