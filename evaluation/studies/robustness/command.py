"""How a model bears what cameras, lamps and files do: one test set under controlled changes.

    python -m evaluation.studies.robustness --models runs/* --data DIR --output_dir OUT

Writes robustness.html, robustness.md and robustness.json: for every change and strength image
AUROC, false-alarm rate, miss rate and how often the model refuses to judge (CHECK), against the
same photos unchanged; and how far categories and kinds of defect lie apart.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset
from PIL import Image
from sklearn.exceptions import UndefinedMetricWarning
from tqdm import tqdm

from data.rows import DatasetError, decode_picture
from evaluation.studies.judges import (
    BATCH,
    Judge,
    add_judges_and_photos,
    load_judges,
    load_photos,
    opinions,
    run_study,
)
from evaluation.studies.robustness.figures import (
    CLEAN,
    Condition,
    Observed,
    Trial,
    conditions,
    figures_of,
)
from evaluation.studies.robustness.perturbations import PERTURBATIONS
from evaluation.studies.robustness.report import write_report
from modeling import open_photo
from system.batches import batches_of
from system.command_line import published_command

# The strongest place of a map counts as in a defect up to this share of the photo's longer side
# from its mask: maps are smooth, and a mask is drawn by hand.
TOLERANCE = 0.02


def try_out(
    judges: Sequence[Judge],
    photos: Mapping[str, Dataset],
    chosen: Sequence[Condition],
    seed: int = 0,
) -> list[Trial]:
    """Show each judge the photos of its category under every condition; one trial a judge.

    A photo is decoded once, changed, and shown to all judges of its category; one that can't be
    decoded is a DatasetError. Judges without photos are left out. `CLEAN` must be among the
    conditions. Noise and directions are drawn for each photo by its name and the seed.
    """
    pairs = []
    for judge in judges:
        if judge.category in photos:
            defects = photos[judge.category]["defect"][:]
            observed = {condition: Observed() for condition in chosen}
            pairs.append((judge, Trial(judge.name, judge.category, defects, observed)))
    products = dict.fromkeys(judge.category for judge, _ in pairs)
    total = len(chosen) * sum(len(photos[product]) for product in products)
    with tqdm(total=total, desc="changing photos", unit="photo") as bar:
        for product in products:
            concerned = [pair for pair in pairs if pair[0].category == product]
            for row in range(len(photos[product])):
                _try_photo(concerned, photos[product], row, chosen, seed, bar)
    return [trial for _, trial in pairs]


def change(
    image: Image.Image, mask: Image.Image | None, condition: Condition, image_id: str, seed: int
) -> tuple[Image.Image, Image.Image | None]:
    """A photo and its mask under a condition; its name and the seed give the random numbers."""
    if condition == CLEAN:
        return image, mask
    numbers = (seed, *f"{image_id} {condition.change}".encode())
    return PERTURBATIONS[condition.change].apply(image, mask, condition.strength, numbers)


def is_located(anomaly_map: np.ndarray, mask: Image.Image | None) -> bool | None:
    """Whether the map (h, w) is strongest in the defect, or within `TOLERANCE` of it.

    The pointing game of Zhang et al. (Top-down Neural Attention by Excitation Backprop, 2016).
    The mask is of mode L and of any size; None, or one without a defect, gives None.
    """
    truth = None if mask is None else np.asarray(mask) > 127
    if truth is None or not truth.any():
        return None
    peak = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
    y, x = (
        int((place + 0.5) / side * whole)
        for place, side, whole in zip(peak, anomaly_map.shape, truth.shape, strict=True)
    )
    reach = round(TOLERANCE * max(truth.shape))
    near = truth[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    return bool(near.any())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="robustness.py", description="One test set under controlled changes of the photos."
    )
    add_judges_and_photos(parser, "of synthetic parts, noise, directions and bootstrap")
    add = parser.add_argument
    add("--category", nargs="+", default=[], help="only these products")
    add("--changes", nargs="+", choices=PERTURBATIONS, default=list(PERTURBATIONS), metavar="NAME")
    add("--output_dir", required=True, type=Path, help="folder that gets the results")
    options = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = published_command("-m evaluation.studies.robustness", words)
    return run_study(
        "robustness.py", lambda: _study(options, command), options.output_dir, "--output_dir"
    )


def _study(options: argparse.Namespace, command: str) -> None:
    """Show the models all photos under all conditions, and write what came of it."""
    options.output_dir.mkdir(parents=True, exist_ok=True)  # before hours of judging
    photos = load_photos(options.data, options.category, seed=options.seed, limit=options.limit)
    judges = [
        judge
        for judge in load_judges(options.models)
        if not options.category or judge.category in options.category
    ]
    _check_pairs(judges, photos, options.models)
    chosen = conditions(options.changes)
    trials = try_out(judges, photos, chosen, options.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # a dash says it in the tables
        models = [figures_of(trial, options.seed) for trial in trials]
    example = photos[trials[0].category].select_columns(["image", "image_id"])
    picture, image_id = open_photo(decode_picture(example, 0, "image")), example[0]["image_id"]
    samples = {one: change(picture, None, one, image_id, options.seed)[0] for one in chosen}
    write_report(options.output_dir, models, samples, command, options.seed)
    print(f"Results are in {options.output_dir}")


def _try_photo(
    pairs: Sequence[tuple[Judge, Trial]],
    photos: Dataset,
    row: int,
    chosen: Sequence[Condition],
    seed: int,
    bar: tqdm,
) -> None:
    """Show one photo under all conditions to all judges of its product."""
    stored = photos.select_columns(["image", "mask", "image_id"])
    image_id = photos.select_columns(["image_id"])[row]["image_id"]
    image = open_photo(decode_picture(stored, row, "image"))
    mask = decode_picture(stored, row, "mask")
    mask = None if mask is None else mask.convert("L")
    for batch in batches_of(len(chosen), BATCH):
        some = chosen[batch.start : batch.stop]
        pictures, masks = zip(
            *(change(image, mask, one, image_id, seed) for one in some), strict=True
        )
        outputs = opinions([judge for judge, _ in pairs], pictures)
        for (_, trial), output in zip(pairs, outputs, strict=True):
            maps = output.anomaly_map.float().cpu().numpy()
            doubts = output.doubt_names()
            for position, condition in enumerate(some):
                observed = trial.observed[condition]
                observed.raw_scores.append(output.raw_score[position].item())
                observed.failed.append(output.is_anomalous[position].item())
                observed.refused.append(doubts[position] is not None)
                observed.located.append(is_located(maps[position], masks[position]))
        bar.update(len(some))


def _check_pairs(
    judges: Sequence[Judge], photos: Mapping[str, Dataset], models: Sequence[str]
) -> None:
    """A model without photos is named; no model at all is an error."""
    idle = [judge.name for judge in judges if judge.category not in photos]
    if len(idle) == len(judges):
        known = ", ".join(dict.fromkeys(judge.category for judge in judges)) or "none of these"
        raise DatasetError(
            f"There are no photos for {', '.join(models)}: the models know {known}, the data holds "
            f"{', '.join(photos)}; give both of one product."
        )
    if idle:
        print(f"Left out, for there are no photos of it: {', '.join(idle)}.", file=sys.stderr)
