"""Several models that look at the same photos, and what it takes to show them.

A photo is decoded once, and prepared once for all models whose image processors are set alike.
Memory does not grow with the photos.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import torch
from datasets import Dataset, concatenate_datasets
from datasets.utils.logging import disable_progress_bar
from PIL import Image
from torch import Tensor

from data.dataset import load_categories
from data.rows import DatasetError, UnknownCategoryError
from data.synthetic_dataset import SYNTHETIC_PREFIX
from evaluation.evaluate.selection import model_folders, short_names
from modeling import (
    InspectionImageProcessor,
    ModelLoadError,
    PhotoError,
    ReconstructionModel,
    ReconstructionOutput,
    load_model,
)
from system.command_line import run_command, whole_number_from
from system.memory import keep_freed_memory

# Pictures at a time. On a CPU, more are no faster (0.15 s a photo at 448 pixels for 1, 2, 4 and 8,
# one core, 2026-11-25), and each needs 100 MB within the backbone.
BATCH = 2
GOOD = "good"


def add_judges_and_photos(parser: argparse.ArgumentParser, seed_help: str) -> None:
    """Add the arguments that say which models see which photos."""
    add = parser.add_argument
    add("--models", nargs="+", required=True, metavar="FOLDER", help="folders or Hub ids")
    add("--data", nargs="+", required=True, metavar="SOURCE", help="as evaluate.py takes them")
    add("--seed", type=whole_number_from(0), default=0, help=f"{seed_help} (default: 0)")
    add(
        "--limit",
        type=whole_number_from(1),
        metavar="N",
        help="N good and N defective photos of each product",
    )


def run_study(name: str, work: Callable[[], None], output: Path | None, option: str) -> int:
    """Run a command of many models and photos as `run_command` does; `option` names `output`."""
    keep_freed_memory()
    disable_progress_bar()  # of `datasets`
    bad_input = (DatasetError, ModelLoadError, PhotoError)
    return run_command(name, work, bad_input=bad_input, paths=(output, f"--data and {option}"))


class Judge(NamedTuple):
    """A model that judges photos as those of one of its categories."""

    name: str  # of the model, unique among those that were loaded together
    category: str  # what it takes every photo for
    model: ReconstructionModel  # calibrated
    processor: InspectionImageProcessor


def load_judges(models: Sequence[str | os.PathLike]) -> list[Judge]:
    """Load models, each as a judge of every category that it knows.

    They are folders, Hub ids, or folders that hold model folders; one that can't be loaded or is
    not calibrated is a ModelLoadError.
    """
    judges = []
    sources = model_folders([os.fspath(model) for model in models])
    names = short_names([Path(source).parts for source in sources], "/")
    for name, source in zip(names, sources, strict=True):
        model, processor = load_model(source)
        if not model.config.calibrations:
            raise ModelLoadError(
                f"The model {source} is not calibrated, so it neither judges nor doubts a photo; "
                "train it with training/train.py or call model.calibrate with good photos."
            )
        judges += [Judge(name, category, model, processor) for category in model.config.categories]
    return judges


def opinions(
    judges: Sequence[Judge], pictures: Sequence[Image.Image]
) -> list[ReconstructionOutput]:
    """What each judge says of upright RGB photos, about `BATCH` of them; one output a judge."""
    prepared: dict[str, Tensor] = {}  # by the settings of the image processor
    outputs = []
    for judge in judges:
        settings = judge.processor.to_json_string()
        if settings not in prepared:
            inputs = judge.processor(list(pictures), return_tensors="pt")
            prepared[settings] = inputs["pixel_values"]
        pixel_values = prepared[settings].to(judge.model.device, judge.model.dtype)
        with torch.inference_mode():
            outputs.append(judge.model.detect(pixel_values, judge.category))
    return outputs


def load_photos(
    sources: Sequence[str],
    categories: Sequence[str] = (),
    *,
    seed: int = 0,
    limit: int | None = None,
) -> dict[str, Dataset]:
    """Test photos by product, of some categories or of all, and as `few_of_each` limits them.

    Sources are those of `data.dataset.load_categories`; the seed decides which synthetic parts are
    drawn. A source that can't be read, or a category in none of them, is a DatasetError.
    """
    photos: dict[str, Dataset] = {}
    for source in sources:
        # Training photos would be drawn as they are loaded, and nobody here looks at them.
        if source.startswith(SYNTHETIC_PREFIX) and "train=" not in source:
            source += "&train=0" if "?" in source else "?train=0"
        test = load_categories(source, ["all"], seed=seed)["test"]
        names = test["category"]
        for product in dict.fromkeys(names):
            chosen = test.select([i for i, name in enumerate(names) if name == product])
            if product in photos:
                chosen = concatenate_datasets([photos[product], chosen])
            photos[product] = chosen
    missing = [category for category in categories if category not in photos]
    if missing:
        raise UnknownCategoryError(
            f"There are no test photos of {', '.join(missing)} in {', '.join(sources)}; "
            f"there are {', '.join(photos) or 'none at all'}.",
            list(photos),
        )
    return {
        product: few_of_each(dataset, limit)
        for product, dataset in photos.items()
        if not categories or product in categories
    }


def few_of_each(photos: Dataset, limit: int | None) -> Dataset:
    """The first `limit` good photos and as many defective ones, kinds of defect in turn; or all."""
    if limit is None:
        return photos
    kinds: dict[str, list[int]] = {}
    for index, defect in enumerate(photos["defect"]):
        kinds.setdefault(defect, []).append(index)
    good = kinds.pop(GOOD, [])
    in_turn = [index for several in zip_longest(*kinds.values()) for index in several]
    defective = [index for index in in_turn if index is not None]
    return photos.select(sorted(good[:limit] + defective[:limit]))
