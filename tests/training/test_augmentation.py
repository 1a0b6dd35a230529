from __future__ import annotations

import numpy as np
import pytest

from training.augmentation import ANY_ROTATION, FIXED, PRESETS, Augmentation, augment
from training.augmentation import augmentation_for as preset_of
from training.model_card import MVTEC_CATEGORIES
from training.synthetic import PARTS


@pytest.fixture
def picture() -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.random((48, 48, 3), dtype=np.float32)


def test_every_known_category_has_a_preset():
    assert {*MVTEC_CATEGORIES, *PARTS} == {*PRESETS}


def test_an_unknown_category_is_left_as_it_is(picture):
    assert preset_of("bracket") == FIXED
    assert np.array_equal(augment(picture, FIXED, np.random.default_rng(0)), picture)


def test_overrides_change_the_preset_alone():
    changed = preset_of("screw", {"noise": 0.02})
    assert (changed.rotation, changed.noise) == (180, 0.02)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"rotatoin": 5}, "augmentation knows rotation.*found rotatoin"),
        ({"rotation": 200}, "augmentation.rotation must be a number from 0 to 180, found 200"),
        ({"shift": -1}, "augmentation.shift"),
    ],
)
def test_wrong_overrides_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        preset_of("screw", overrides)


@pytest.mark.parametrize(
    "allowed",
    [
        ANY_ROTATION,
        Augmentation(shift=0.1),
        Augmentation(brightness=0.2),
        Augmentation(contrast=0.3),
        Augmentation(noise=0.05),
        Augmentation(flip_horizontal=1.0),
    ],
)
def test_the_same_seed_gives_the_same_picture_in_range(allowed, picture):
    first, second = (augment(picture, allowed, np.random.default_rng(3)) for _ in range(2))
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

    turned = augment(picture, ANY_ROTATION, Fixed())
    assert np.allclose(turned, picture[::-1, ::-1], atol=1e-4)


def test_brightness_shifts_and_contrast_spreads_around_the_mean():
    picture = np.linspace(0.4, 0.6, 48 * 48 * 3, dtype=np.float32).reshape(48, 48, 3)
    brighter = augment(picture, Augmentation(brightness=0.2), np.random.default_rng(1))
    assert np.ptp(brighter - picture) < 1e-5
    spread = augment(picture, Augmentation(contrast=0.5), np.random.default_rng(1))
    assert abs(spread.mean() - picture.mean()) < 1e-3
    assert abs(spread.std() / picture.std() - 1) > 0.01
