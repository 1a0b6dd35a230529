"""Photos from a folder in the layout of MVTec AD.

Photos are stored as read; `modeling.image_processing` alone turns and converts them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image, ImageOps

from data.rows import VALIDATION, DatasetError, Rows, UnknownCategoryError, row

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def read_folder(root: Path, category: str | None) -> dict[str, Rows]:
    """Rows of one category by split, the pictures as paths of whole ones, or a `DatasetError`."""
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

    An `UnknownCategoryError` says that there is none such, or several and none was named.
    """
    if not root.is_dir():
        raise DatasetError(
            f"The folder {root} does not exist; give the folder that holds your categories "
            "(CATEGORY/train/good/...), a Hub dataset ORG/NAME, or synthetic:PART."
        )
    if (root / "train").is_dir() and category in (None, root.resolve().name):
        return root.resolve()
    found = categories_in(root)
    if category is None and len(found) == 1:
        return root / found[0]
    if category in found:
        return root / category
    choice = f"it holds {', '.join(found)}" if found else "it holds no CATEGORY/train/good folder"
    wanted = "no --category was given" if category is None else f"--category {category} is unknown"
    raise UnknownCategoryError(f"In {root}, {wanted}; {choice}.", found)


def categories_in(root: Path) -> list[str]:
    """Names of the folders that hold train/, sorted."""
    return sorted(path.name for path in visible_files(root) if (path / "train").is_dir())


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
