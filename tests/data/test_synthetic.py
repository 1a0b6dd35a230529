from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, distance_transform_edt

from data.synthetic import PARTS, SyntheticPhoto, defects_of, render
from data.synthetic.camera import REACH
from data.synthetic.defects import LARGEST, SMALLEST

ROOT = Path(__file__).parents[2]
PART_AND_DEFECT = [(part, defect) for part in PARTS for defect in defects_of(part)]


def _pixels(photo: SyntheticPhoto) -> np.ndarray:
    return np.asarray(photo.image).astype(int)


def _mask(photo: SyntheticPhoto) -> np.ndarray:
    return np.asarray(photo.mask) > 0


def _change(good: SyntheticPhoto, defective: SyntheticPhoto) -> np.ndarray:
    return np.abs(_pixels(defective) - _pixels(good)).max(axis=-1)


def _outline_box(photo: SyntheticPhoto) -> np.ndarray:
    """Share of the width of left, right, top and bottom of what differs from the ground's tone."""
    grey = np.asarray(photo.image.convert("L")).astype(float)
    rows, columns = np.where(np.abs(grey - np.median(grey[:, :6])) > 40)
    low, high = np.percentile(columns, [0.5, 99.5]), np.percentile(rows, [0.5, 99.5])
    return np.concatenate([low, high]) / grey.shape[0]


def test_the_three_parts_offer_enough_kinds_of_defect():
    assert PARTS == ("flange_nut", "key", "fabric")
    assert len(defects_of("flange_nut")) >= 5
    assert all(len(defects_of(part)) >= 4 for part in PARTS)
    assert all("good" not in defects_of(part) for part in PARTS)


@pytest.mark.parametrize("part", PARTS)
def test_good_photo_is_rgb_of_the_size_and_has_no_mask(part):
    photo = render(part, seed=0)
    assert photo.image.mode == "RGB" and photo.image.size == (256, 256)
    assert photo.mask is None and photo.defect == "good"


@pytest.mark.parametrize(("part", "defect"), PART_AND_DEFECT)
def test_same_arguments_give_the_same_bytes(part, defect):
    first, again = (render(part, seed=5, defect=defect, size=96) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()


def test_another_process_gives_the_same_bytes():
    here = render("key", seed=3, defect="stain", size=64).image.tobytes()
    script = (
        "import sys; from data.synthetic import render;"
        "sys.stdout.buffer.write(render('key', seed=3, defect='stain', size=64).image.tobytes())"
    )
    there = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=ROOT
    )
    assert there.stdout == here


@pytest.mark.parametrize("part", PARTS)
def test_different_seeds_give_different_parts_and_defects(part):
    goods = {render(part, seed=seed, size=64).image.tobytes() for seed in range(5)}
    assert len(goods) == 5
    for defect in defects_of(part):
        masks = {
            render(part, seed=seed, defect=defect, size=64).mask.tobytes() for seed in range(4)
        }
        assert len(masks) > 1, defect


@pytest.mark.parametrize(("part", "defect"), PART_AND_DEFECT)
def test_the_mask_is_binary_and_within_the_limits_of_size(part, defect):
    for seed in range(8):
        photo = render(part, seed=seed, defect=defect, size=128)
        assert photo.defect == defect
        assert photo.mask.mode == "L" and photo.mask.size == photo.image.size
        values = np.asarray(photo.mask)
        assert set(np.unique(values)) == {0, 255}
        assert SMALLEST <= (values > 0).mean() <= LARGEST


@pytest.mark.parametrize(("part", "defect"), PART_AND_DEFECT)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_defect_changes_its_mask_and_nothing_beyond_its_shadow(part, defect, seed):
    defective = render(part, seed=seed, defect=defect)
    change, mask = _change(render(part, seed=seed), defective), _mask(defective)
    far = distance_transform_edt(~mask) > REACH * mask.shape[0]
    assert far.any() and change[far].max() <= 1
    assert change[mask].mean() > 8
    near = binary_dilation(mask, iterations=4)
    assert change[near].sum() > 0.85 * change.sum()


def test_a_shifted_mask_would_not_pass_as_exact():
    defective = render("flange_nut", seed=1, defect="stain")
    change, mask = _change(render("flange_nut", seed=1), defective), _mask(defective)
    shifted = np.roll(mask, 40, axis=1)
    assert change[shifted & ~mask].mean() < 0.2 * change[mask].mean()


@pytest.mark.parametrize("part", ["flange_nut", "key"])
@pytest.mark.parametrize("defect", ["scratch", "dent", "stain", "misprint"])
def test_damage_to_the_part_stays_on_the_part(part, defect):
    # the coloured or bright part against its ground, seen without the defect
    good = _pixels(render(part, seed=4)).astype(float)
    ground = np.median(good[:6].reshape(-1, 3), axis=0)
    on_part = binary_dilation(np.abs(good - ground).max(axis=-1) > 25, iterations=3)
    mask = _mask(render(part, seed=4, defect=defect))
    assert (mask & ~on_part).sum() <= 0.05 * mask.sum()


def test_the_nut_lies_the_same_way_in_every_photo():
    boxes = np.array([_outline_box(render("flange_nut", seed=seed)) for seed in range(12)])
    assert np.ptp(boxes, axis=0).max() < 0.03
    assert np.ptp(boxes, axis=0).max() > 0  # but it is not glued to the spot
    photos = np.array([_pixels(render("flange_nut", seed=seed, size=128)) for seed in range(8)])
    likeness = np.corrcoef(photos.reshape(8, -1))
    assert likeness.min() > 0.9


def test_the_key_lies_at_any_angle():
    angles = []
    for seed in range(24):
        pixels = _pixels(render("key", seed=seed, size=128)).astype(float)
        yellow = pixels[..., 0] - pixels[..., 2] > 15
        rows, columns = np.where(yellow)
        cloud = np.stack([columns - columns.mean(), rows - rows.mean()])
        axis = np.linalg.svd(cloud, full_matrices=False)[0][:, 0]
        skew = np.sign(((axis @ cloud) ** 3).sum())  # the blade is the long thin end
        angles.append(np.arctan2(*(skew * axis)))
    quarters = np.histogram(angles, bins=4, range=(-np.pi, np.pi))[0]
    assert quarters.min() >= 1


def test_the_key_is_whole_in_the_picture():
    for seed in range(12):
        pixels = _pixels(render("key", seed=seed, size=128))
        border = np.concatenate([pixels[:2], pixels[-2:], pixels[:, :2].swapaxes(0, 1)])
        assert (border[..., 0] - border[..., 2]).max() < 15


@pytest.mark.parametrize("size", [64, 100, 333])
@pytest.mark.parametrize("part", PARTS)
def test_geometry_scales_with_the_size(part, size):
    defect = "stain"
    small = render(part, seed=2, defect=defect, size=size)
    reference = render(part, seed=2, defect=defect, size=256)
    assert small.image.size == small.mask.size == (size, size)
    box = Image.Resampling.BOX
    other = render(part, seed=3, defect=defect, size=256)
    coarse = [np.asarray(p.image.resize((32, 32), box), float) for p in (small, reference, other)]
    same_part, other_part = (np.abs(coarse[0] - c).mean() for c in coarse[1:])
    assert same_part < 15 and same_part < 0.9 * other_part
    masks = [np.asarray(p.mask.resize((32, 32), box), float) > 127 for p in (small, reference)]
    assert (masks[0] & masks[1]).sum() >= 0.5 * (masks[0] | masks[1]).sum()


def test_the_largest_size_renders():
    assert render("flange_nut", seed=0, defect="dent", size=1024).image.size == (1024, 1024)


@pytest.mark.parametrize("part", PARTS)
def test_photos_are_well_exposed(part):
    pixels = np.stack([_pixels(render(part, seed=seed, size=128)) for seed in range(6)])
    assert (pixels == 255).mean() < 0.02
    assert pixels.std() > 20
    brightness = pixels.mean(axis=(1, 2, 3))
    assert 0 < np.ptp(brightness) < 20  # the lamp drifts, mildly


def test_unknown_part_names_the_known_ones():
    for call in (lambda: defects_of("bolt"), lambda: render("bolt", seed=0)):
        with pytest.raises(ValueError, match=r"'bolt'.*flange_nut, key, fabric\.$"):
            call()


def test_unknown_defect_names_the_known_ones():
    with pytest.raises(ValueError, match=r"fabric.*'dent'.*good.*stain.*\.$"):
        render("fabric", seed=0, defect="dent")


@pytest.mark.parametrize("size", [63, 1025])
def test_size_out_of_range_is_refused(size):
    with pytest.raises(ValueError, match=rf"between 64 and 1024.*{size}"):
        render("key", seed=0, size=size)


def test_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed"):
        render("key", seed=-1)
