"""Whose photos a model learned from, and what that allows to be done with the model."""

from __future__ import annotations

from collections.abc import Sequence

# fmt: off
MVTEC_CATEGORIES = (
    "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill",
    "screw", "tile", "toothbrush", "transistor", "wood", "zipper",
)
# fmt: on
MVTEC_LICENSE = "cc-by-nc-sa-4.0"
OWN_LICENSE = "apache-2.0"
UNKNOWN_LICENSE = "other"
# Under these a picture may be shown on a public card, with the data named beside it.
OPEN_LICENSES = ("apache-2.0", "mit", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "pddl", "odc-by")


def license_of(data: str, data_license: str | None, categories: Sequence[str]) -> str:
    """Licence of a model, which follows its data's: a folder, Hub dataset or synthetic:PART.

    What the recipe says counts; synthetic parts are ours; a category that is named like one of
    MVTec AD is taken for it, because the stricter licence is the safe guess; anything else is the
    user's own and unknown here.
    """
    if data_license:
        return data_license
    if is_synthetic(data):
        return OWN_LICENSE
    return MVTEC_LICENSE if {*categories} & {*MVTEC_CATEGORIES} else UNKNOWN_LICENSE


def is_mvtec(data: str, data_license: str | None, categories: Sequence[str]) -> bool:
    """Whether the photos are taken for those of MVTec AD."""
    named_like_it = bool({*categories} & {*MVTEC_CATEGORIES})
    return named_like_it and license_of(data, data_license, categories) == MVTEC_LICENSE


def is_synthetic(data: str) -> bool:
    """Whether the photos are our own drawings."""
    return data.startswith("synthetic:")


def pictures_may_be_shown(data: str, data_license: str | None) -> bool:
    """Whether a public card may show the photos: our own drawings, or openly licensed ones."""
    return is_synthetic(data) or data_license in OPEN_LICENSES
