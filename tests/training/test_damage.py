from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from data.synthetic import render
from training.photos.damage import KINDS, REACH, VISIBLE, damage, spot_in, structure_of


@pytest.fixture(scope="module")
def part() -> np.ndarray:
    return np.asarray(render("flange_nut", seed=1, size=128).image, np.float32) / 255


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_kind_changes_something_near_its_place(kind, part):
    changes, structure = 0, structure_of(part)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        spot = spot_in(part, structure, generator)
        before = spot.before
        changed, share = kind(spot, generator)
        assert changed.shape == before.shape
        assert share.shape == before.shape[:2]
        assert 0 <= share.min() <= share.max() <= 1 + 1e-6
        difference = np.abs(share[..., None] * (changed - before)).max(axis=2)
        changes += difference.max() > VISIBLE
        touched = np.argwhere(share > 0.5)
        if len(touched):
            assert np.abs(touched - spot.place).min(axis=0).max() <= REACH * 128
    assert changes >= 10


def test_the_mask_is_where_the_picture_visibly_changed(part):
    for seed in range(10):
        damaged, mask = damage(part, np.random.default_rng(seed))
        assert np.array_equal(mask, np.abs(damaged - part).max(axis=2) > VISIBLE)
        assert 0 <= damaged.min() <= damaged.max() <= 1
        far = ~ndimage.binary_dilation(mask, iterations=12)
        assert np.abs(damaged - part)[far].mean() < 0.01


def test_the_same_seed_damages_alike_and_leaves_the_original_alone(part):
    before = part.copy()
    first, _ = damage(part, np.random.default_rng(4))
    second, _ = damage(part, np.random.default_rng(4))
    assert np.array_equal(first, second)
    assert np.array_equal(part, before)


def test_damage_varies_in_size_from_specks_to_patches(part):
    shares = [damage(part, np.random.default_rng(seed), count=1)[1].mean() for seed in range(60)]
    assert np.median(shares) < 0.03
    assert max(shares) > 0.01
    assert max(shares) < 0.3
