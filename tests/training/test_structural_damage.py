"""Structural damage changes what is where, and leaves no seam."""

from __future__ import annotations

import numpy as np
import pytest

from data.synthetic import render
from training.photos.structural_damage import (
    KINDS,
    damage_structure,
    doubled,
    moved,
    swapped,
    turned,
    without_part,
    without_piece,
)

SIDE = 128


@pytest.fixture(scope="module")
def part() -> np.ndarray:
    photo = render("flange_nut", seed=3, defect="good", size=SIDE).image.convert("RGB")
    return np.asarray(photo, np.float32) / 255


def changed(part: np.ndarray, damaged: np.ndarray) -> float:
    """The share of the picture that visibly changed."""
    return float((np.abs(damaged - part).max(axis=2) > 10 / 255).mean())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_damage_is_seen_stays_in_range_and_is_what_its_generator_says(part, kind):
    before = part.copy()
    one, again, other = (
        damage_structure(part, np.random.default_rng(seed), [kind]) for seed in (1, 1, 2)
    )
    assert np.array_equal(part, before)
    assert one.shape == part.shape and one.dtype == np.float32
    assert 0 <= one.min() <= one.max() <= 1
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert changed(part, one) > 0.002


@pytest.mark.parametrize("kind", [without_piece, doubled, swapped], ids=lambda kind: kind.__name__)
def test_pieces_leave_most_of_the_part_as_it_is(part, kind):
    shares = [changed(part, kind(part, np.random.default_rng(seed))) for seed in range(20)]
    assert max(shares) < 0.25 and np.median(shares) > 0.005


def test_where_the_part_was_the_ground_goes_on(part):
    empty = without_part(part, np.random.default_rng(0))
    frame = np.concatenate([empty[:4].reshape(-1, 3), empty[-4:].reshape(-1, 3)])
    middle = empty[40:88, 40:88].reshape(-1, 3)
    assert np.abs(middle.mean(axis=0) - frame.mean(axis=0)).max() < 0.03
    grain = [np.abs(np.diff(pixels.mean(axis=1))).mean() for pixels in (middle, frame)]
    assert grain[0] == pytest.approx(grain[1], rel=0.6)  # as grainy as the ground


def test_a_moved_part_is_whole_and_elsewhere(part):
    found = moved(part, np.random.default_rng(0))
    dark = [np.argwhere(picture.mean(axis=2) < 0.1).mean(axis=0) for picture in (part, found)]
    step = np.hypot(*(dark[1] - dark[0])) / SIDE
    assert 0.05 <= step <= 0.15 + 0.01


def test_a_turned_part_stays_where_it_is(part):
    found = turned(part, np.random.default_rng(0))
    dark = [np.argwhere(picture.mean(axis=2) < 0.1).mean(axis=0) for picture in (part, found)]
    assert np.hypot(*(dark[1] - dark[0])) / SIDE < 0.01
    assert changed(part, found) > 0.05
