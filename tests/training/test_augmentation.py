from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from data.licences import MVTEC_CATEGORIES
from data.synthetic import PARTS
from training.photos.augmentation import (
    ANY_ROTATION,
    FIXED,
    PRESETS,
    UNCHANGED,
    Augmentation,
    augment,
)
from training.photos.augmentation import augmentation_for as preset_of


def only(**fields: float) -> Augmentation:
    """These fields, and no other change of the photo."""
    return dataclasses.replace(UNCHANGED, **fields)


@pytest.fixture
def picture() -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.random((48, 48, 3), dtype=np.float32)


def test_every_known_category_has_a_preset():
    assert {*MVTEC_CATEGORIES, *PARTS} == {*PRESETS}


def test_an_unknown_category_is_left_as_it_is(picture):
    assert preset_of("bracket") == FIXED
    off = {"resampling": 0, "compression": 0}
    assert preset_of("bracket", off) == UNCHANGED
    assert np.array_equal(augment(picture, UNCHANGED, np.random.default_rng(0)), picture)


def test_overrides_change_the_preset_alone():
    changed = preset_of("screw", {"noise": 0.02})
    assert (changed.rotation, changed.noise) == (180, 0.02)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"rotatoin": 5}, "augmentation knows rotation.*found rotatoin"),
        ({"rotation": 200}, "augmentation.rotation must be a number from 0 to 180, found 200"),
        ({"shift": -1}, "augmentation.shift"),
        ({"compression": 1}, "augmentation.compression must be a number from 0 to 0.9, found 1"),
    ],
)
def test_wrong_overrides_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        preset_of("screw", overrides)


@pytest.mark.parametrize(
    "allowed",
    [
        ANY_ROTATION,
        only(shift=0.1),
        only(brightness=0.2),
        only(contrast=0.3),
        only(noise=0.05),
        only(flip_horizontal=1.0),
        only(resampling=0.5),
        only(compression=0.5),
    ],
)
def test_the_same_seed_gives_the_same_picture_in_range(allowed, picture):
    first, second = (augment(picture, allowed, np.random.default_rng(0)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == picture.shape
    assert first.dtype == np.float32
    assert 0 <= first.min() <= first.max() <= 1
    assert not np.array_equal(first, picture)


def test_a_rotation_by_180_degrees_turns_the_picture(picture):
    class Fixed:
        """Draws the largest angle and nothing else."""

        def uniform(self, low, high, size=None):
            return np.full(size, high) if size else high

        def random(self):
            return 1.0

        def standard_normal(self, shape, dtype):
            return np.zeros(shape, dtype)

    turned = augment(picture, only(rotation=180), Fixed())
    assert np.allclose(turned, picture[::-1, ::-1], atol=1e-4)


def test_brightness_shifts_and_contrast_spreads_around_the_mean():
    picture = np.linspace(0.4, 0.6, 48 * 48 * 3, dtype=np.float32).reshape(48, 48, 3)
    brighter = augment(picture, only(brightness=0.2), np.random.default_rng(1))
    assert np.ptp(brighter - picture) < 1e-5
    spread = augment(picture, only(contrast=0.5), np.random.default_rng(1))
    assert abs(spread.mean() - picture.mean()) < 1e-3
    assert abs(spread.std() / picture.std() - 1) > 0.01


@pytest.mark.parametrize("change", [{"resampling": 0.5}, {"compression": 0.5}])
def test_a_smaller_file_shows_the_same_part(change):
    rows, columns = np.mgrid[:48, :48] / 48
    part = np.stack([rows, columns, np.hypot(rows - 0.5, columns - 0.5) < 0.3], axis=2)
    part = part.astype(np.float32)
    allowed = only(**change)
    versions = [augment(part, allowed, np.random.default_rng(seed)) for seed in range(20)]
    distances = np.array([np.abs(version - part).mean() for version in versions])
    assert 5 <= (distances == 0).sum() <= 15  # about half stay as they are
    assert 0 < distances.max() < 0.03
