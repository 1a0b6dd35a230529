"""Where the photos of a data set lie, and what in its folders is not as training expects it.

The loader of `data.dataset` stops at the first problem, as it should before hours of training.
This walk goes by the same rules and collects them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from PIL import Image

from data.dataset import is_folder, load_inspection_dataset
from data.folder import category_folder, mask_files, photo_files, visible_files
from data.rows import VALIDATION, UnknownCategoryError, row
from evaluation.documents.wording import plural

GOOD = "good"
TRAIN, TEST, GROUND_TRUTH = "train", "test", "ground_truth"
KNOWN_FOLDERS = (TRAIN, TEST, GROUND_TRUTH, VALIDATION)
UNKNOWN_TO_PILLOW = {".heic", ".heif", ".avif", ".dng", ".cr2", ".nef", ".arw"}


@dataclass(frozen=True)
class StoredPhoto:
    """One photo that training or evaluation would take, not yet read.

    Attributes:
        image_id: CATEGORY/SPLIT/KIND/STEM, as in predictions.csv.
        name: how a person finds it: its path from the folder above the category, or `image_id`.
        category: the product.
        split: train, test or validation.
        kind: kind of defect, "good" for a normal photo.
        photo: its file, or what is in it.
        mask: the same of its mask; None where there is none.
    """

    image_id: str
    name: str
    category: str
    split: str
    kind: str
    photo: Path | bytes
    mask: Path | bytes | None = None

    @property
    def group(self) -> str:
        """Its split and kind, such as test/scratch."""
        return f"{self.split}/{self.kind}"

    @property
    def is_good(self) -> bool:
        """Whether nobody called it defective."""
        return self.kind == GOOD

    @property
    def is_for_training(self) -> bool:
        """Whether a model learns from it."""
        return self.split == TRAIN and self.is_good


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be, at one place.

    Attributes:
        kind: one of `evaluation.explore.problems.KINDS`.
        category: the product.
        place: the file, folder or group that it is about.
        detail: what was found there, where `kind` does not say it.
    """

    kind: str
    category: str
    place: str
    detail: str = ""


@dataclass(frozen=True)
class Category:
    """All photos of a product, and what their folders already show.

    Attributes:
        name: the product.
        photos: in the order of their splits, kinds and names.
        problems: of the folders; the photos are not read.
    """

    name: str
    photos: list[StoredPhoto]
    problems: list[Problem]


def find_categories(
    data: str | os.PathLike,
    categories: Sequence[str] = (),
    *,
    seed: int = 0,
    revision: str | None = None,
) -> Iterator[Category]:
    """Find the photos of each category, one category at a time.

    Args:
        data: as `data.dataset.load_inspection_dataset` takes it, and `synthetic:all`.
        categories: which of them; none for all that there are.
        seed: decides which synthetic parts are drawn.
        revision: branch, tag or commit of a dataset on the Hub.

    Raises:
        DatasetError: when there is no such folder, dataset or category. A single bad file is a
            problem and no error.
    """
    name = os.fspath(data)
    root = Path(name).expanduser() if is_folder(name) else None

    def find(category: str | None) -> Category:
        if root is not None:
            return _in_folder(category_folder(root, category))
        splits = load_inspection_dataset(name, category, seed=seed, revision=revision)
        return _in_dataset(splits)

    try:
        chosen: list[str | None] = list(dict.fromkeys(categories)) or [None]
        first = find(chosen[0])
    except UnknownCategoryError as error:
        if categories or not error.found:
            raise
        chosen = list(error.found)
        first = find(chosen[0])
    yield first
    yield from map(find, chosen[1:])


def _in_dataset(splits: datasets.DatasetDict) -> Category:
    photos = []
    for split, rows in splits.items():
        for column in ("image", "mask"):
            rows = rows.cast_column(column, datasets.Image(decode=False))
        photos += [
            StoredPhoto(
                image_id=one["image_id"],
                name=one["image_id"],
                category=one["category"],
                split=split,
                kind=one["defect"],
                photo=_stored(one["image"]),
                mask=one["mask"] and _stored(one["mask"]),
            )
            for one in rows
        ]
    return Category(photos[0].category if photos else "", photos, [])


def _stored(picture: dict[str, Any]) -> Path | bytes:
    return picture["bytes"] if picture["bytes"] is not None else Path(picture["path"])


def _in_folder(folder: Path) -> Category:
    photos = [
        _stored_photo(folder, TRAIN, GOOD, path) for path in photo_files(folder / TRAIN / GOOD)
    ]
    problems = _ignored_in(folder, KNOWN_FOLDERS, folder)
    problems += _ignored_in(folder / TRAIN, (GOOD,), folder)
    problems += _ignored_among(folder / TRAIN / GOOD, folder)
    for split in (TEST, VALIDATION):
        kinds = _folders(folder / split)
        problems += _ignored_in(folder / split, [kind.name for kind in kinds], folder)
        for kind in kinds:
            found, more = _labelled(folder, split, kind)
            photos += found
            problems += more
    problems += _masks_without_kind(folder)
    return Category(folder.name, photos, problems + _same_names(photos))


def _labelled(folder: Path, split: str, kind: Path) -> tuple[list[StoredPhoto], list[Problem]]:
    """The photos of one kind with their masks, as `data.dataset` pairs them."""
    masks: dict[str, Path] = {}
    problems = _ignored_among(kind, folder)
    if split == TEST:
        drawn = folder / GROUND_TRUTH / kind.name
        masks = mask_files(drawn)
        problems += _ignored_among(drawn, folder)
        problems += [
            Problem("two_masks", folder.name, _name(path, folder))
            for path in photo_files(drawn)
            if path not in masks.values()
        ]
    photos = []
    for path in photo_files(kind):
        photos.append(_stored_photo(folder, split, kind.name, path, masks.pop(path.stem, None)))
    problems += [
        Problem("mask_without_photo", folder.name, _name(path, folder)) for path in masks.values()
    ]
    return photos, problems


def _stored_photo(
    folder: Path, split: str, kind: str, path: Path, mask: Path | None = None
) -> StoredPhoto:
    image_id = row(None, folder.name, split, kind, path.stem)["image_id"]
    return StoredPhoto(image_id, _name(path, folder), folder.name, split, kind, path, mask)


def _masks_without_kind(folder: Path) -> list[Problem]:
    """Masks of kinds that have no folder under test/, which the loader never looks at."""
    drawn = _folders(folder / GROUND_TRUTH)
    problems = _ignored_in(folder / GROUND_TRUTH, [kind.name for kind in drawn], folder)
    return problems + [
        Problem("mask_without_photo", folder.name, _name(path, folder))
        for kind in drawn
        if not (folder / TEST / kind.name).is_dir()
        for path in photo_files(kind)
    ]


def _same_names(photos: Sequence[StoredPhoto]) -> list[Problem]:
    counts = Counter(photo.image_id for photo in photos)
    return [
        Problem("same_name", photo.category, photo.name)
        for photo in photos
        if counts[photo.image_id] > 1
    ]


def _ignored_in(parent: Path, known: Sequence[str], folder: Path) -> list[Problem]:
    """What nobody looks at in a folder that should hold only the folders that are known."""
    return [
        _ignored(path, folder) for path in sorted(visible_files(parent)) if path.name not in known
    ]


def _ignored_among(parent: Path, folder: Path) -> list[Problem]:
    """What nobody looks at in a folder of pictures."""
    taken = {*photo_files(parent)}
    return [_ignored(path, folder) for path in sorted(visible_files(parent)) if path not in taken]


def _ignored(path: Path, folder: Path) -> Problem:
    if path.is_dir():
        inside = sum(_is_picture(file) for file in path.rglob("*"))
        kind = "ignored_folder" if inside else "ignored_file"
        detail = plural(inside, "picture") if inside else ""
        return Problem(kind, folder.name, _name(path, folder), detail)
    kind = "ignored_picture" if _is_picture(path) else "ignored_file"
    return Problem(kind, folder.name, _name(path, folder))


def _is_picture(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in UNKNOWN_TO_PILLOW or (
        Image.registered_extensions().get(suffix) in Image.OPEN and suffix != ".pdf"
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in visible_files(folder) if path.is_dir())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder.parent).as_posix()
