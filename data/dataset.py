"""Photos as a `datasets.DatasetDict`: from a folder, from the Hub, or drawn by our own code."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np

from data.folder import read_folder
from data.hub_dataset import read_hub_dataset
from data.rows import FEATURES, DatasetError, UnknownCategoryError
from data.synthetic_dataset import SYNTHETIC_PREFIX, draw_dataset


def load_inspection_dataset(
    data: str | os.PathLike,
    category: str | None = None,
    *,
    seed: int = 0,
    revision: str | None = None,
) -> datasets.DatasetDict:
    """Load one category.

    Args:
        data: a folder in the layout of MVTec AD (the root that holds the categories, or one
            category's own folder), a dataset on the Hub (ORG/NAME), or `synthetic:PART`, where
            `synthetic:PART?train=40&test_good=10&test_per_defect=4&size=128` sets the numbers.
        category: the product; may be None where `data` holds only one.
        seed: decides which synthetic parts are drawn, >= 0.
        revision: branch, tag or commit of the dataset on the Hub.

    Returns:
        `train` (good photos only) and `test`, both with `FEATURES`; `mask` is None for good
        photos and where there is none, and `test` is empty where there are no test photos. A
        folder that holds a labelled `validation/` beside them gives that split too, without masks.

    Raises:
        DatasetError: names what is missing or can't be read, what was expected, found, and to do.
    """
    name = os.fspath(data)
    if name.startswith(SYNTHETIC_PREFIX):
        splits = draw_dataset(name, category, seed)
    elif is_folder(name):
        splits = read_folder(Path(name).expanduser(), category)
    else:
        splits = read_hub_dataset(name, category, revision)
    return datasets.DatasetDict(
        {
            # By columns, not `from_list`: that loses the features where there are no rows.
            split: datasets.Dataset.from_dict(
                {name: [photo[name] for photo in rows] for name in FEATURES}, features=FEATURES
            )
            for split, rows in splits.items()
        }
    )


def load_categories(
    data: str | os.PathLike, categories: Sequence[str] = (), *, seed: int = 0
) -> datasets.DatasetDict:
    """Load several categories as `load_inspection_dataset` loads one, in the order given.

    `["all"]` takes every one there is, and none the only one; `synthetic:all` has all synthetic
    parts. The result has the splits that each category has.
    """
    # Each once: a photo that is there twice could be held out and learned from.
    names: list[str | None] = list(dict.fromkeys(categories)) or [None]
    if names == ["all"]:
        names = _all_categories(data, seed)
    loaded = [load_inspection_dataset(data, name, seed=seed) for name in names]
    return datasets.DatasetDict(
        {
            split: datasets.concatenate_datasets([one[split] for one in loaded])
            for split in loaded[0]
            if all(split in one for one in loaded)
        }
    )


def _all_categories(data: str | os.PathLike, seed: int) -> list[str | None]:
    """All that a source has, which lists them in its error where several are and none is named."""
    try:
        load_inspection_dataset(data, None, seed=seed)
    except UnknownCategoryError as error:
        return list(error.found) or [None]  # without any, asking again says what is missing
    return [None]


def split_calibration(
    train: datasets.Dataset, fraction: float, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Hold out a share of the good photos of each category, which the seed decides.

    At least 2 photos are held out, so that their spread exists. Fewer than 3 of a category, or a
    fraction outside (0, 1), are a `DatasetError`.

    Returns:
        (fit, calibration), disjoint, together all of `train`, each in the original order.
    """
    held_out = rows_held_out(train["category"], fraction, seed)
    return train.select(np.setdiff1d(np.arange(len(train)), held_out)), train.select(held_out)


def rows_held_out(of_photos: Sequence[str], fraction: float, seed: int) -> np.ndarray:
    """The rows that `split_calibration` holds out, ascending, of photos of these categories."""
    if not 0 < fraction < 1:
        raise DatasetError(
            f"calibration_fraction must lie between 0 and 1 (both excluded), found {fraction}."
        )
    if not len(of_photos):
        raise DatasetError(
            "Training needs at least 3 good photos (1 to learn from, 2 to calibrate), and there "
            "are none; give --data that has some under train."
        )
    categories = np.array(of_photos)
    held_out: list[int] = []
    for category in dict.fromkeys(categories.tolist()):
        photos = np.flatnonzero(categories == category)
        if len(photos) < 3:
            raise DatasetError(
                f"Training needs at least 3 good photos of {category} (1 to learn from, 2 to "
                f"calibrate), found {len(photos)}; add photos to train/good."
            )
        n = num_held_out(len(photos), fraction)
        held_out += np.random.default_rng(seed).permutation(photos)[:n].tolist()
    return np.sort(held_out)


def num_held_out(n_photos: int, fraction: float) -> int:
    """How many of a category's good photos, 3 or more, `split_calibration` holds out."""
    return min(max(2, round(fraction * n_photos)), n_photos - 1)


def is_folder(data: str) -> bool:
    """Whether the name means a folder on this machine: no synthetic part, no Hub dataset."""
    if data.startswith(SYNTHETIC_PREFIX):
        return False
    looks_like_a_path = data.startswith((".", "/", "~")) or "\\" in data or data.count("/") != 1
    return looks_like_a_path or Path(data).expanduser().exists()
