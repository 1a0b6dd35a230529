"""Photos as a `datasets.DatasetDict`: from a folder, from the Hub, or drawn by our own code.

Photos are stored as read; `modeling.image_processing` alone turns and converts them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import datasets
import numpy as np
from PIL import Image, ImageOps

from data import synthetic

LABELS = ("normal", "anomalous")
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "mask": datasets.Image(),
        "label": datasets.ClassLabel(names=list(LABELS)),
        "defect": datasets.Value("string"),
        "category": datasets.Value("string"),
        "image_id": datasets.Value("string"),
    }
)
PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VALIDATION = "validation"
SYNTHETIC_PREFIX = "synthetic:"
SYNTHETIC_DEFAULTS = {"train": 200, "test_good": 40, "test_per_defect": 12, "size": 256}
SEEDS_PER_SPLIT = 1_000_000  # keeps the seeds of train and test photos apart

Rows = list[dict[str, Any]]


class DatasetError(ValueError):
    """The photos can't be read; the message is one sentence for the person who named them."""


class UnknownCategoryError(DatasetError):
    """A category is unknown, or missing where there are several; `found` lists those there are."""

    def __init__(self, message: str, found: Sequence[str]) -> None:
        super().__init__(message)
        self.found = list(found)


def load_inspection_dataset(
    data: str | os.PathLike,
    category: str | None = None,
    *,
    seed: int = 0,
    token: str | None = None,
    revision: str | None = None,
) -> datasets.DatasetDict:
    """Load one category.

    Args:
        data: a folder in the layout of MVTec AD (the root that holds the categories, or one
            category's own folder), a dataset on the Hub (ORG/NAME), or `synthetic:PART`, where
            `synthetic:PART?train=40&test_good=10&test_per_defect=4&size=128` sets the numbers.
        category: the product; may be None where `data` holds only one.
        seed: decides which synthetic parts are drawn, >= 0.
        token: access token for a private dataset on the Hub.
        revision: branch, tag or commit of the dataset on the Hub.

    Returns:
        `train` (good photos only) and `test`, both with `FEATURES`; `mask` is None for good
        photos and where there is none, and `test` is empty where there are no test photos. A
        folder that holds a labelled `validation/` beside them gives that split too, without masks.

    Raises:
        DatasetError: when something is missing or can't be read; it names the thing, what was
            expected, what was found and what to do.
    """
    name = os.fspath(data)
    if name.startswith(SYNTHETIC_PREFIX):
        splits = _draw(name, category, seed)
    elif is_folder(name):
        splits = _read_folder(Path(name).expanduser(), category)
    else:
        from data.hub_dataset import read_hub_dataset  # it imports this module

        splits = read_hub_dataset(name, category, token=token, revision=revision)
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
    data: str | os.PathLike, categories: Sequence[str] = (), *, seed: int = 0, **where: Any
) -> datasets.DatasetDict:
    """Load several categories as one dataset.

    Args:
        data: as `load_inspection_dataset` takes it; `synthetic:all` holds all synthetic parts.
        categories: the products; `["all"]` takes every one there is, and none the only one.
        seed: as there.
        where: `token` and `revision`, as there.

    Returns:
        The splits that each of them has, category after category in the order given.

    Raises:
        DatasetError: as `load_inspection_dataset` does.
    """
    # Each once: a photo that is there twice could be held out and learned from.
    names: list[str | None] = list(dict.fromkeys(categories)) or [None]
    if names == ["all"]:
        names = _all_categories(data, seed, where)
    loaded = [load_inspection_dataset(data, name, seed=seed, **where) for name in names]
    return datasets.DatasetDict(
        {
            split: datasets.concatenate_datasets([one[split] for one in loaded])
            for split in loaded[0]
            if all(split in one for one in loaded)
        }
    )


def _all_categories(data: str | os.PathLike, seed: int, where: dict[str, Any]) -> list[str | None]:
    """Every source lists what it holds when it is asked for too little."""
    try:
        load_inspection_dataset(data, None, seed=seed, **where)
    except UnknownCategoryError as error:
        return list(error.found) or [None]  # without any, asking again says what is missing
    return [None]


def split_calibration(
    train: datasets.Dataset, fraction: float, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    """Hold out a random part of the good photos of each category.

    Args:
        train: good photos, at least 3 a category.
        fraction: share to hold out, in (0, 1); at least 2 photos are, so that their spread exists.
        seed: decides which.

    Returns:
        (fit, calibration), disjoint, together all of `train`, each in the original order.

    Raises:
        DatasetError: with fewer than 3 photos or none, or a fraction outside (0, 1).
    """
    if not 0 < fraction < 1:
        raise DatasetError(
            f"calibration_fraction must lie between 0 and 1 (both excluded), found {fraction}."
        )
    if not len(train):
        raise DatasetError(
            "Training needs at least 3 good photos (1 to learn from, 2 to calibrate), and there "
            "are none; give --data that has some under train."
        )
    categories = np.array(train["category"])
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
    kept = sorted({*range(len(train))} - {*held_out})
    return train.select(kept), train.select(sorted(held_out))


def num_held_out(n_photos: int, fraction: float) -> int:
    """How many of a category's good photos `split_calibration` holds out.

    Args:
        n_photos: at least 3.
        fraction: share to hold out, in (0, 1).
    """
    return min(max(2, round(fraction * n_photos)), n_photos - 1)


def decode_picture(photos: datasets.Dataset, index: int, column: str) -> Image.Image | None:
    """Decode one picture, naming it where that fails, which a decoder's own errors do not.

    Args:
        photos: with `FEATURES`, or at least `column` and `image_id`.
        index: which row.
        column: image or mask.

    Returns:
        The picture as stored, or None where there is none.

    Raises:
        DatasetError: when its bytes are damaged.
    """
    try:
        return photos.select_columns([column])[index][column]
    except (OSError, SyntaxError, ValueError) as error:  # each format's decoder raises its own
        name = photos.select_columns(["image_id"])[index]["image_id"]
        raise DatasetError(
            f"The {column} of {name} is damaged ({error}); replace or remove it."
        ) from error


def row(
    image: Any, category: str, split: str, defect: str, stem: str, mask: Any = None
) -> dict[str, Any]:
    """One row with the columns of `FEATURES`; "good" is the defect of a normal photo."""
    return {
        "image": image,
        "mask": mask,
        "label": LABELS[0] if defect == "good" else LABELS[1],
        "defect": defect,
        "category": category,
        "image_id": f"{category}/{split}/{defect}/{stem}",
    }


def is_folder(data: str) -> bool:
    """Whether the name means a folder on this machine: no synthetic part, no Hub dataset."""
    if data.startswith(SYNTHETIC_PREFIX):
        return False
    return Path(data).expanduser().exists() or _looks_like_a_path(data)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~", "\\")) or "\\" in name or name.count("/") != 1


def _draw(name: str, category: str | None, seed: int) -> dict[str, Rows]:
    """Synthetic parts; the seeds of train, good and defective test photos never meet."""
    part, _, query = name.removeprefix(SYNTHETIC_PREFIX).partition("?")
    if part == "all":
        if category not in synthetic.PARTS:
            parts = ", ".join(synthetic.PARTS)
            raise UnknownCategoryError(
                f"--category of {name} must be one of {parts}.", synthetic.PARTS
            )
        part = category
    if part not in synthetic.PARTS:
        raise DatasetError(
            f"synthetic:{part} does not exist; choose one of {', '.join(synthetic.PARTS)}."
        )
    if category not in (None, part):
        raise DatasetError(
            f"The category of {name} is {part}, found --category {category}; leave it out."
        )
    numbers = SYNTHETIC_DEFAULTS | _synthetic_numbers(query)
    defects = synthetic.defects_of(part)

    def photo(split: str, number: int, defect: str) -> dict[str, Any]:
        first = (2 * seed + (split == "test")) * SEEDS_PER_SPLIT
        drawn = synthetic.render(part, seed=first + number, defect=defect, size=numbers["size"])
        mask = None if drawn.mask is None else _as_png(drawn.mask)
        return row(_as_png(drawn.image), part, split, defect, f"{number:05d}", mask)

    test = [photo("test", number, "good") for number in range(numbers["test_good"])]
    for kind, defect in enumerate(defects):
        first = numbers["test_good"] + kind * numbers["test_per_defect"]
        test += [photo("test", first + n, defect) for n in range(numbers["test_per_defect"])]
    return {"train": [photo("train", n, "good") for n in range(numbers["train"])], "test": test}


def _synthetic_numbers(query: str) -> dict[str, int]:
    numbers = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in SYNTHETIC_DEFAULTS or not text.isdigit():
            raise DatasetError(
                f"synthetic:PART?... takes whole numbers for {', '.join(SYNTHETIC_DEFAULTS)}, "
                f"found {name}={text}."
            )
        numbers[name] = int(text)
    if not 64 <= numbers.get("size", 64) <= 1024:
        raise DatasetError(f"size must lie between 64 and 1024 pixels, found {numbers['size']}.")
    return numbers


def _as_png(image: Image.Image) -> dict[str, Any]:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _read_folder(root: Path, category: str | None) -> dict[str, Rows]:
    folder = category_folder(root, category)
    good = photo_files(folder / "train" / "good")
    if not good:
        raise DatasetError(
            f"{folder / 'train' / 'good'} holds no good photos; expected files ending in "
            f"{', '.join(PHOTO_SUFFIXES)} there."
        )
    train = [row(_checked(path), folder.name, "train", "good", path.stem) for path in good]
    splits = {"train": train, "test": _read_labelled(folder, "test", folder / "ground_truth")}
    if (folder / VALIDATION).is_dir():
        splits[VALIDATION] = _read_labelled(folder, VALIDATION)
    return splits


def _read_labelled(folder: Path, split: str, ground_truth: Path | None = None) -> Rows:
    """Photos in one folder a kind, masks where `ground_truth` has any."""
    rows: Rows = []
    for kind in sorted(path for path in visible_files(folder / split) if path.is_dir()):
        masks = mask_files(ground_truth / kind.name) if ground_truth else {}
        for path in photo_files(kind):
            image, mask = _checked(path), masks.pop(path.stem, None)
            if mask is not None:
                _check_mask(mask, path)
            rows.append(row(image, folder.name, split, kind.name, path.stem, mask and str(mask)))
        for orphan in masks.values():
            warnings.warn(f"The mask {orphan} has no photo in {kind}.", stacklevel=5)
    return rows


def category_folder(root: Path, category: str | None) -> Path:
    """The folder that holds train/, found from the root or given itself.

    Raises:
        UnknownCategoryError: there is no such category, or several and none was named.
        DatasetError: the root does not exist.
    """
    if not root.is_dir():
        raise DatasetError(
            f"The folder {root} does not exist; give the folder that holds your categories "
            "(CATEGORY/train/good/...), a Hub dataset ORG/NAME, or synthetic:PART."
        )
    if (root / "train").is_dir() and category in (None, root.resolve().name):
        return root.resolve()
    found = sorted(path.name for path in visible_files(root) if (path / "train").is_dir())
    if category is None and len(found) == 1:
        return root / found[0]
    if category in found:
        return root / category
    choice = f"it holds {', '.join(found)}" if found else "it holds no CATEGORY/train/good folder"
    wanted = "no --category was given" if category is None else f"--category {category} is unknown"
    raise UnknownCategoryError(f"In {root}, {wanted}; {choice}.", found)


def visible_files(folder: Path) -> list[Path]:
    """Files and folders in a folder that may not exist, without hidden ones, in no order."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def photo_files(folder: Path) -> list[Path]:
    """The photos in a folder that may not exist, sorted; everything else in it is ignored."""
    return sorted(path for path in visible_files(folder) if path.suffix.lower() in PHOTO_SUFFIXES)


def mask_files(folder: Path) -> dict[str, Path]:
    """Masks by the stem of their photo: `000_mask.png`, or plainly `000.png`."""
    return {path.stem.removesuffix("_mask"): path for path in photo_files(folder)}


def _checked(path: Path) -> str:
    """The path of a photo that really is one, whole.

    `verify` finds a damaged PNG by its checksums without decoding it; the other formats have none,
    and only decoding shows that the end is missing.
    """
    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()
            else:
                image.load()
    except Exception as error:  # each format's decoder raises its own kinds
        raise DatasetError(
            f"{path} can't be read as a picture ({error}); replace or remove it."
        ) from error
    return str(path)


def _check_mask(mask: Path, photo: Path) -> None:
    with Image.open(_checked(mask)) as opened:
        mask_size = opened.size
    with Image.open(photo) as opened:
        photo_size = ImageOps.exif_transpose(opened).size if opened.getexif() else opened.size
    if mask_size != photo_size:
        raise DatasetError(
            f"The mask {mask} is {mask_size[0]} x {mask_size[1]} pixels, expected the size of its "
            f"photo {photo}, {photo_size[0]} x {photo_size[1]}; export it again at that size."
        )
