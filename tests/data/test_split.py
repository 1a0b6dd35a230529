"""Good photos are dealt by the seed alone, and one that is left out moves no other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset

from data.dataset import split_calibration
from data.rows import DatasetError
from data.split import dealt_rows, photos_named, split_good

CATEGORIES = ["bolt"] * 23 + ["nut"] * 31
IDS = [f"{category}/train/good/{row:03}" for row, category in enumerate(CATEGORIES)]


@pytest.fixture(scope="module")
def photos() -> Dataset:
    return Dataset.from_dict({"category": CATEGORIES, "image_id": IDS})


def test_what_is_held_out_is_as_without_folds(photos):
    split = split_good(photos, 0.2, 3, folds=5)
    good, held_out = split_calibration(photos, 0.2, 3)
    assert photos.select(split.learned)["image_id"][:] == good["image_id"][:]
    assert photos.select(split.held_out)["image_id"][:] == held_out["image_id"][:]
    assert not split_good(photos, 0.2, 3).folds


def test_every_photo_is_in_one_fold(photos):
    split = split_good(photos, 0.2, 3, folds=5)
    assert len(split.folds) == 4
    assert sorted(np.concatenate([split.held_out, *split.folds])) == [*range(len(photos))]
    assert sorted(np.concatenate(split.folds)) == split.learned.tolist()


def test_a_folds_model_learns_from_all_but_its_own(photos):
    split = split_good(photos, 0.2, 3, folds=5, left_out=["001"])
    for number, own in enumerate(split.folds, start=1):
        learned = {*split.learned_without(number).tolist()}
        assert learned | {*own.tolist()} == {*range(len(photos))} - {1}
        assert not learned & {*own.tolist()}


def test_each_category_is_dealt_evenly_and_as_the_seed_says():
    parts = dealt_rows(CATEGORIES, 4, seed=0)
    for category in ("bolt", "nut"):
        sizes = [Counter(CATEGORIES[row] for row in part)[category] for part in parts]
        assert max(sizes) - min(sizes) <= 1
    again, other = (dealt_rows(CATEGORIES, 4, seed) for seed in (0, 1))
    assert [part.tolist() for part in parts] == [part.tolist() for part in again]
    assert [part.tolist() for part in parts] != [part.tolist() for part in other]
    assert dealt_rows(CATEGORIES, 0, seed=0) == []


def test_a_photo_that_is_left_out_moves_no_other(photos):
    whole = split_good(photos, 0.3, 1, folds=4)
    rows = [int(whole.held_out[0]), int(whole.folds[1][0]), int(whole.learned[-1])]
    split = split_good(photos, 0.3, 1, folds=4, left_out=[IDS[row] for row in rows])
    for before, after in zip(
        (whole.learned, whole.held_out, *whole.folds),
        (split.learned, split.held_out, *split.folds),
        strict=True,
    ):
        assert after.tolist() == [row for row in before if row not in rows]


def test_a_photo_is_named_in_full_or_by_its_end():
    assert photos_named(["nut/train/good/030", "004", "good/005", "004"], IDS).tolist() == [
        4,
        5,
        30,
    ]
    assert photos_named([], IDS).tolist() == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "bolt/train/good/0004",
            "which no good photo is called; did you mean bolt/train/good/004?",
        ),
        ("004.png", "did you mean bolt/train/good/004?"),
        ("zzz", "which no good photo is called; see the names in train/."),
        ("7", "which no good photo is called"),  # 007 and 017 only end in it
    ],
)
def test_a_name_that_no_photo_has_is_told_with_what_may_be_meant(name, sentence):
    with pytest.raises(DatasetError) as error:
        photos_named([name], IDS)
    assert f"leave_out names {name}, " in str(error.value)
    assert sentence in str(error.value)


def test_an_end_that_several_photos_have_is_no_name():
    ids = ["bolt/train/good/000", "nut/train/good/000"]
    with pytest.raises(DatasetError, match=r"2 good photos end with, such as bolt.* and nut.*full"):
        photos_named(["000"], ids)
