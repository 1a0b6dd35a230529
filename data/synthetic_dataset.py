"""Photos of synthetic parts, `synthetic:PART`, as rows."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from PIL import Image

from data import synthetic
from data.rows import DatasetError, Rows, UnknownCategoryError, row

SYNTHETIC_PREFIX = "synthetic:"
SYNTHETIC_DEFAULTS = {"train": 200, "test_good": 40, "test_per_defect": 12, "size": 256}
SEEDS_PER_SPLIT = 1_000_000  # keeps the seeds of train and test photos apart


def draw_dataset(name: str, category: str | None, seed: int) -> dict[str, Rows]:
    """Rows of one part by split; the seeds of train, good and defective test photos never meet.

    An unknown part, or a number that can't be used, is a `DatasetError`.
    """
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
