"""What all sources of photos give: rows with the same columns, and errors of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
from PIL import Image

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
VALIDATION = "validation"  # a split that few sources have

Rows = list[dict[str, Any]]


class DatasetError(ValueError):
    """The photos can't be read; the message is one sentence for the person who named them."""


class UnknownCategoryError(DatasetError):
    """A category is unknown, or missing where there are several; `found` lists those there are."""

    def __init__(self, message: str, found: Sequence[str]) -> None:
        super().__init__(message)
        self.found = list(found)


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


def decode_picture(photos: datasets.Dataset, index: int, column: str) -> Image.Image | None:
    """The picture in a row's column, image or mask, as stored; None where there is none.

    Damaged bytes are a `DatasetError`, which names it, as a decoder's own errors do not.
    """
    try:
        return photos.select_columns([column])[index][column]
    except (OSError, SyntaxError, ValueError) as error:  # each format's decoder raises its own
        name = photos.select_columns(["image_id"])[index]["image_id"]
        raise DatasetError(
            f"The {column} of {name} is damaged ({error}); replace or remove it."
        ) from error
