"""Where the photos of a data set lie, and what in its folders is not as training expects it.

The loader of `data.dataset` stops at the first problem, as it should before hours of training.
This walk goes by the same rules and collects them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
        photo, mask: their files, or what is in them; None where there is no mask.
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


class Problem(NamedTuple):
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


class Category(NamedTuple):
    """A product's photos by split, kind and name, not read; and what their folders already show."""

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
    """Find the photos of each category, one category at a time; of all where none is named.

    Takes what `data.dataset.load_inspection_dataset` takes, and `synthetic:all`. That there is no
    such folder, dataset or category is a `DatasetError`; a single bad file is a problem, no error.
    """
    name = os.fspath(data)

    def find(category: str | None) -> Category:
        if is_folder(name):
            return _in_folder(category_folder(Path(name).expanduser(), category))
        return _in_dataset(load_inspection_dataset(name, category, seed=seed, revision=revision))

    chosen: list[str | None] = list(dict.fromkeys(categories)) or [None]
    try:
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
        for one in rows:
            name, category, kind = one["image_id"], one["category"], one["defect"]
            photo, mask = _stored(one["image"]), one["mask"] and _stored(one["mask"])
            photos.append(StoredPhoto(name, name, category, split, kind, photo, mask))
    return Category(photos[0].category if photos else "", photos, [])


def _stored(picture: dict[str, Any]) -> Path | bytes:
    return picture["bytes"] if picture["bytes"] is not None else Path(picture["path"])


def _in_folder(folder: Path) -> Category:
    good, ground_truth = folder / TRAIN / GOOD, folder / GROUND_TRUTH
    photos = [_stored_photo(folder, TRAIN, GOOD, path) for path in photo_files(good)]
    problems = _ignored(folder, [folder / name for name in KNOWN_FOLDERS], folder)
    problems += _ignored(folder / TRAIN, [good], folder)
    problems += _ignored(good, photo_files(good), folder)
    for split in (TEST, VALIDATION):
        kinds = _folders(folder / split)
        problems += _ignored(folder / split, kinds, folder)
        for kind in kinds:
            found, more = _labelled(folder, split, kind)
            photos += found
            problems += more
    drawn = _folders(ground_truth)
    problems += _ignored(ground_truth, drawn, folder)
    for kind in drawn:
        if not (folder / TEST / kind.name).is_dir():  # the loader never looks at it
            problems += _at("mask_without_photo", photo_files(kind), folder)
    return Category(folder.name, photos, problems + _same_names(photos))


def _labelled(folder: Path, split: str, kind: Path) -> tuple[list[StoredPhoto], list[Problem]]:
    """The photos of one kind with their masks, as `data.dataset` pairs them."""
    masks: dict[str, Path] = {}
    problems = _ignored(kind, photo_files(kind), folder)
    if split == TEST:
        ground_truth = folder / GROUND_TRUTH / kind.name
        masks, drawn = mask_files(ground_truth), photo_files(ground_truth)
        problems += _ignored(ground_truth, drawn, folder)
        problems += _at("two_masks", [path for path in drawn if path not in masks.values()], folder)
    photos = []
    for path in photo_files(kind):
        photos.append(_stored_photo(folder, split, kind.name, path, masks.pop(path.stem, None)))
    return photos, problems + _at("mask_without_photo", masks.values(), folder)


def _stored_photo(
    folder: Path, split: str, kind: str, path: Path, mask: Path | None = None
) -> StoredPhoto:
    image_id = row(None, folder.name, split, kind, path.stem)["image_id"]
    return StoredPhoto(image_id, _name(path, folder), folder.name, split, kind, path, mask)


def _same_names(photos: Sequence[StoredPhoto]) -> list[Problem]:
    counts = Counter(photo.image_id for photo in photos)
    twice = [photo for photo in photos if counts[photo.image_id] > 1]
    return [Problem("same_name", photo.category, photo.name) for photo in twice]


def _ignored(parent: Path, taken: Iterable[Path], folder: Path) -> list[Problem]:
    """What nobody looks at in a folder that should hold nothing but what is taken."""
    problems = []
    for path in sorted({*visible_files(parent)} - {*taken}):
        kind, detail = "ignored_picture" if _is_picture(path) else "ignored_file", ""
        if path.is_dir():
            inside = sum(map(_is_picture, path.rglob("*")))
            kind = "ignored_folder" if inside else "ignored_file"
            detail = plural(inside, "picture") if inside else ""
        problems.append(Problem(kind, folder.name, _name(path, folder), detail))
    return problems


def _at(kind: str, paths: Iterable[Path], folder: Path) -> list[Problem]:
    """The same problem at some places of a category."""
    return [Problem(kind, folder.name, _name(path, folder)) for path in paths]


def _is_picture(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in UNKNOWN_TO_PILLOW or (
        Image.registered_extensions().get(suffix) in Image.OPEN and suffix != ".pdf"
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in visible_files(folder) if path.is_dir())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder.parent).as_posix()
