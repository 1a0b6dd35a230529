"""Datasets on the Hub, one category at a time, in the layouts that exist there.

1. One config a category, parquet, with the columns of `data.rows.FEATURES` (ours, as
   data/prepare_data.py pushes it).
2. One split a category and part, `data/bottle.train-*.parquet`
   (TheoM55/mvtec_all_objects_split: columns image_path, split, object, defect, label, mask_path).
3. A FiftyOne export (Voxel51/mvtec-ad: pictures as files, joined by samples.json).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import datasets
import httpx2
from huggingface_hub import HfApi, hf_hub_download, snapshot_download

from data.rows import FEATURES, VALIDATION, DatasetError, Rows, UnknownCategoryError, row
from system.errors import first_line

SPLIT_FILE = re.compile(r"(?:^|/)(?P<category>[^/]+)\.(?P<split>train|test)-[^/]*\.parquet$")
PHOTO_COLUMNS = ("image", "image_path")
MASK_COLUMNS = ("mask", "mask_path")


def read_hub_dataset(repo: str, category: str | None, revision: str | None) -> dict[str, Rows]:
    """Rows of one category by split, `validation` from layout 1 alone; no other is downloaded.

    A dataset that can't be reached, has another layout or no such category is a `DatasetError`.
    """
    try:
        files = HfApi().list_repo_files(repo, repo_type="dataset", revision=revision)
        parts = [match for match in map(SPLIT_FILE.search, files) if match]
        if "samples.json" in files:
            found = _read_fiftyone(repo, category, revision)
        elif parts:
            found = _read_splits(repo, category, parts, revision)
        else:
            found = _read_configs(repo, category, revision)
    except DatasetError:
        raise
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise DatasetError(
            f"The dataset {repo} could not be read from the Hub ({first_line(error)}); check the "
            "name, the network and, for a private dataset, the token."
        ) from error
    return {"train": [], "test": [], **found}


def _read_configs(repo: str, category: str | None, revision: str | None) -> dict[str, Rows]:
    names = datasets.get_dataset_config_names(repo, revision=revision)
    _check_category(repo, category, names)
    loaded = datasets.load_dataset(repo, category, revision=revision)
    missing = [name for name in FEATURES if name not in loaded["train"].column_names]
    if missing:
        raise DatasetError(
            f"The dataset {repo} has no column {', '.join(missing)}; expected one config a "
            "category with image, mask, label, defect, category and image_id, files such as "
            "data/CATEGORY.train-*.parquet, or a FiftyOne export with samples.json."
        )
    splits = ("train", "test", VALIDATION)
    return {split: list(_undecoded(loaded[split])) for split in splits if split in loaded}


def _read_splits(
    repo: str, category: str | None, parts: list[re.Match[str]], revision: str | None
) -> dict[str, Rows]:
    _check_category(repo, category, sorted({part["category"] for part in parts}))
    # Named files: asking for the split by its name would download every category first.
    data_files = {
        part["split"]: f"**/{category}.{part['split']}-*.parquet"
        for part in parts
        if part["category"] == category
    }
    loaded = datasets.load_dataset(repo, data_files=data_files, revision=revision)
    return {
        split: [
            _row_of_split(photo, category, split, number)
            for number, photo in enumerate(_undecoded(photos))
        ]
        for split, photos in loaded.items()
    }


def _row_of_split(photo: dict[str, Any], category: str, split: str, number: int) -> dict[str, Any]:
    image = next(photo[name] for name in PHOTO_COLUMNS if photo.get(name))
    mask = next((photo[name] for name in MASK_COLUMNS if photo.get(name)), None)
    defect = photo.get("defect") or "good"
    stem = Path(image.get("path") or "").stem or f"{number:05d}"
    return row(image, category, split, defect, stem, None if defect == "good" else mask)


def _undecoded(photos: datasets.Dataset) -> datasets.Dataset:
    """Picture columns as {"bytes", "path"}, as stored: nothing is decoded and encoded again."""
    for name, feature in photos.features.items():
        if isinstance(feature, datasets.Image):
            photos = photos.cast_column(name, datasets.Image(decode=False))
    return photos


def _read_fiftyone(repo: str, category: str | None, revision: str | None) -> dict[str, Rows]:
    where = {"repo_type": "dataset", "revision": revision}
    index = hf_hub_download(repo, "samples.json", **where)
    samples = json.loads(Path(index).read_text())["samples"]
    _check_category(repo, category, sorted({_label(sample["category"]) for sample in samples}))
    chosen = [sample for sample in samples if _label(sample["category"]) == category]
    wanted = [sample["filepath"] for sample in chosen]
    wanted += [path for path in map(_mask_path, chosen) if path]
    folder = Path(snapshot_download(repo, allow_patterns=wanted, **where))
    found: dict[str, Rows] = {"train": [], "test": []}
    for sample in chosen:
        marks = [*sample.get("tags", []), _label(sample.get("split"))]
        split = "train" if "train" in marks else "test"
        path, defect, mask = sample["filepath"], _label(sample["defect"]), _mask_path(sample)
        drawn = str(folder / mask) if mask and defect != "good" else None
        photo = str(folder / path)
        found[split].append(row(photo, category, split, defect, Path(path).stem, drawn))
    return found


def _label(value: Any) -> str:
    """FiftyOne writes a classification as {"label": ...} and a plain string as it is."""
    return value["label"] if isinstance(value, dict) else str(value)


def _mask_path(sample: dict[str, Any]) -> str | None:
    return (sample.get("defect_mask") or {}).get("mask_path")


def _check_category(repo: str, category: str | None, found: list[str]) -> None:
    if category not in found:
        wanted = "no --category was given" if category is None else f"--category {category} is new"
        raise UnknownCategoryError(
            f"In {repo}, {wanted}; it holds {', '.join(found) or 'none'}.", found
        )
