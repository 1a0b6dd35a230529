"""The card beside a dataset: whose photos they are, how many, and how to use them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from data.licences import MVTEC_CATEGORIES, MVTEC_LICENSE, UNKNOWN_LICENSE
from hub_models import PROJECT_TAG

TAGS = (PROJECT_TAG, "anomaly-detection", "visual-inspection", "defect-detection")
# The Hub has no task for anomalies; the labels are one of the first, the masks one of the second.
TASK_CATEGORIES = ("image-classification", "image-segmentation")
SPLITS = ("train", "test", "validation")
TEMPLATE = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    autoescape=False,  # it is Markdown
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
).get_template("dataset_card.md")


def dataset_card(
    repo: str,
    metadata: Mapping[str, Any],
    categories: Sequence[str],
    license_id: str | None = None,
) -> str:
    """Write the card of a dataset on the Hub, README.md, anew for the categories that it will hold.

    The front matter of the card that it has, if any, stays where nothing here replaces it,
    `configs` and `dataset_info` above all. The licence is as the Hub spells it; None keeps the
    present one, or takes MVTec AD's where a category is named like one of its, because the stricter
    licence is the safe guess.
    """
    data = DatasetCardData(**metadata)
    data.license = license_id or _license_of(data, categories)
    data.task_categories = list(TASK_CATEGORIES)
    data.tags = list(dict.fromkeys([*(data.get("tags") or []), *TAGS]))
    counts = _photos_by_split(data)
    categories = sorted({*counts, *categories})
    return TEMPLATE.render(
        front_matter=data.to_yaml(),
        repo=repo,
        categories=categories,
        word=shlex.quote(categories[0]),
        counts=counts,
        splits=[name for name in SPLITS if any(name in photos for photos in counts.values())],
        license=data.license,
        mvtec_license=MVTEC_LICENSE,
        mvtec_categories=[name for name in categories if name in MVTEC_CATEGORIES],
        unknown_license=UNKNOWN_LICENSE,
    )


def _license_of(data: DatasetCardData, categories: Sequence[str]) -> str:
    if data.get("license") not in (None, UNKNOWN_LICENSE):
        return data.get("license")
    return MVTEC_LICENSE if {*categories} & {*MVTEC_CATEGORIES} else UNKNOWN_LICENSE


def _photos_by_split(data: DatasetCardData) -> dict[str, dict[str, int]]:
    """Number of photos of each category that is there, by split."""
    infos = DatasetInfosDict.from_dataset_card_data(data)
    return {
        category: {name: split.num_examples for name, split in (info.splits or {}).items()}
        for category, info in sorted(infos.items())
    }
