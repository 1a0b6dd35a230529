"""The card beside a dataset: whose photos they are, how many, and how to use them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from data.licences import MVTEC_CATEGORIES, MVTEC_LICENSE
from hub_models import PROJECT_TAG

UNKNOWN_LICENSE = "other"
TAGS = (PROJECT_TAG, "anomaly-detection", "visual-inspection", "defect-detection")
# The Hub has no task for anomalies; the labels are one of the first, the masks one of the second.
TASK_CATEGORIES = ("image-classification", "image-segmentation")
SPLITS = ("train", "test", "validation")


def dataset_card(
    repo: str,
    metadata: Mapping[str, Any],
    categories: Sequence[str],
    license_id: str | None = None,
) -> str:
    """Write the card of a dataset on the Hub anew, keeping what makes it load.

    Args:
        repo: ORG/NAME.
        metadata: front matter of the card that it has, which stays where nothing here replaces it,
            `configs` and `dataset_info` above all; empty where it has none.
        categories: those that it holds or will hold, at least one.
        license_id: as the Hub spells it; None keeps the present one, or takes MVTec AD's where a
            category is named like one of its, because the stricter licence is the safe guess.

    Returns:
        The whole of README.md.
    """
    data = DatasetCardData(**metadata)
    license_id = license_id or _license_of(data, categories)
    data.license = license_id
    data.task_categories = list(TASK_CATEGORIES)
    data.tags = list(dict.fromkeys([*(data.get("tags") or []), *TAGS]))
    counts = _photos_by_split(data)
    body = _body(repo, license_id, counts, sorted({*counts, *categories}))
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


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


def _body(
    repo: str, license_id: str, counts: Mapping[str, Mapping[str, int]], categories: Sequence[str]
) -> str:
    word = shlex.quote(categories[0])
    return f"""# {repo.split("/")[1]}

Photos for visual inspection that learns from good parts alone: one configuration a category, in
the columns `image`, `mask` (of the defect; none for a good part and where none was drawn), `label`
(normal or anomalous), `defect` (its kind, `good` for a good part), `category` and `image_id`.
`train` holds good parts only. The pictures are the original files, byte for byte.

{_table(counts)}

**Licence:** {_license_sentence(license_id, categories)}

Load one category, which downloads only that one:

```python
import datasets

photos = datasets.load_dataset("{repo}", "{categories[0]}")
```

Train on it, from a clone of Golden Sample:

```
python training/train.py --data {repo} --category {word} --output_dir runs/{word}
```

This card is written anew whenever `data/prepare_data.py` pushes a category.
"""


def _table(counts: Mapping[str, Mapping[str, int]]) -> str:
    if not counts:
        return "The photos are on their way."
    splits = [name for name in SPLITS if any(name in photos for photos in counts.values())]
    lines = [["category", *splits], ["---", *["---:"] * len(splits)]]
    for category, photos in counts.items():
        lines.append([category, *[str(photos.get(name, 0)) for name in splits]])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _license_sentence(license_id: str, categories: Sequence[str]) -> str:
    known = [category for category in categories if category in MVTEC_CATEGORIES]
    if license_id == MVTEC_LICENSE and known:
        return (
            f"{', '.join(known)} of MVTec AD (Bergmann et al., CVPR 2019; Bergmann et al., IJCV "
            "2021), MVTec Software GmbH, CC BY-NC-SA 4.0: non-commercial use only, with "
            "attribution, share alike."
        )
    if license_id == UNKNOWN_LICENSE:
        return "not said; ask whoever published the photos before you use them."
    return f"{license_id}."
