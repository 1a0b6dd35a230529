"""What becomes of each good photo: learned from, held out, dealt into folds, or left out."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from data.dataset import rows_held_out
from data.rows import DatasetError


@dataclass(frozen=True)
class Split:
    """Rows of good photos, ascending each; no row is in two of the folds, or learned and held out.

    A photo that is left out is in none of them.
    """

    learned: np.ndarray  # what the model that ships learns from
    held_out: np.ndarray  # what its choices are made by: fold 0
    folds: tuple[np.ndarray, ...] = ()  # what it learns from, dealt: folds 1, 2, ...

    def learned_without(self, fold: int) -> np.ndarray:
        """What the model of a fold, 1 or above, learns from: all rows but the fold's own."""
        rows = np.union1d(self.learned, self.held_out)
        return np.setdiff1d(rows, self.folds[fold - 1])


def split_good(
    photos: Dataset, fraction: float, seed: int, folds: int = 1, left_out: Sequence[str] = ()
) -> Split:
    """Hold a share of the photos out, as `split_calibration` does, and deal the others.

    Photos are dealt first and left out then, so that all others are where they would be anyway.
    Errors are those of `split_calibration` and `photos_named`.

    Args:
        photos: good photos of any number of categories.
        fraction: of each category's photos that is held out, in (0, 1).
        seed: decides which, >= 0.
        folds: how many there are, the held-out photos being one of them; 1 deals nothing.
        left_out: names of photos as `photos_named` takes them.
    """
    out = photos_named(left_out, photos["image_id"])
    held_out = rows_held_out(photos["category"], fraction, seed)
    learned = np.setdiff1d(np.arange(len(photos)), held_out)
    dealt = dealt_rows(np.array(photos["category"])[learned], folds - 1, seed)
    return Split(
        learned=np.setdiff1d(learned, out),
        held_out=np.setdiff1d(held_out, out),
        folds=tuple(np.setdiff1d(learned[rows], out) for rows in dealt),
    )


def dealt_rows(categories: Sequence[str], parts: int, seed: int) -> list[np.ndarray]:
    """Deal the rows of each category into so many parts, alike but for one photo of a category.

    Of N photos' categories: (n,) row numbers a part, together all N; no part where `parts` is 0.
    """
    names = np.array(categories)
    dealt: list[list[int]] = [[] for _ in range(parts)]
    for category in dict.fromkeys(names.tolist()):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(names == category))
        for number, part in enumerate(dealt):
            part += rows[number::parts].tolist()
    return [np.sort(np.array(part, dtype=int)) for part in dealt]


def photos_named(names: Sequence[str], image_ids: Sequence[str]) -> np.ndarray:
    """The rows of the photos that are named, ascending.

    A name is an image id such as bottle/train/good/012, or the last part of one, such as 012, if
    that is no other photo's. Any other name is a `DatasetError`, with what may have been meant.
    """
    rows: dict[str, list[int]] = {}
    for row, image_id in enumerate(image_ids):
        rows.setdefault(image_id, []).append(row)
    return np.unique([row for name in names for row in rows[_id_of(name, list(rows))]]).astype(int)


def _id_of(name: str, image_ids: Sequence[str]) -> str:
    """The id that a name means."""
    if name in image_ids:
        return name
    meant = [image_id for image_id in image_ids if image_id.endswith(f"/{name}")]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise DatasetError(
            f"leave_out names {name}, which {len(meant)} good photos end with, such as {meant[0]} "
            f"and {meant[1]}; name it in full."
        )
    by_end = {image_id.rpartition("/")[2]: image_id for image_id in image_ids}
    near = difflib.get_close_matches(name, [*image_ids, *by_end], n=1, cutoff=0.5)
    hint = f"did you mean {by_end.get(near[0], near[0])}?" if near else "see the names in train/."
    raise DatasetError(f"leave_out names {name}, which no good photo is called; {hint}")
