from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from PIL import Image

from data import synthetic
from evaluation.studies.robustness import perturbations
from evaluation.studies.robustness.perturbations import PERTURBATIONS
from modeling.out_of_distribution import light_and_sharpness

SEED = (3, 1, 4)


@pytest.fixture(scope="module")
def part() -> synthetic.SyntheticPhoto:
    return synthetic.render("key", seed=2, defect=synthetic.defects_of("key")[0], size=128)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float)


def change(name: str, image: Image.Image, strength: float, seed=SEED) -> Image.Image:
    return PERTURBATIONS[name].apply(image, None, strength, seed)[0]


def sharpness(image: Image.Image) -> float:
    pixel_values = torch.tensor(pixels(image) / 255).permute(2, 0, 1)[None]
    return light_and_sharpness(pixel_values)[0, 2].item()


def test_the_example_in_the_docstring_holds():
    assert doctest.testmod(perturbations).failed == 0


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_strength_0_is_the_picture_itself(name, part):
    image, mask = PERTURBATIONS[name].apply(part.image, part.mask, 0, SEED)
    assert image == part.image
    assert mask == part.mask


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_one_seed_gives_the_same_pixels_and_the_picture_stays_as_it_was(name, part):
    before = part.image.tobytes()
    for strength in PERTURBATIONS[name].strengths:
        first = change(name, part.image, strength)
        assert first == change(name, part.image, strength)
        assert first != part.image
        assert (first.mode, first.size) == ("RGB", part.image.size)
    assert part.image.tobytes() == before


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_stronger_change_moves_the_pixels_further(name, part):
    for sign in (-1, 1):
        ladder = [one for one in PERTURBATIONS[name].strengths if one * sign > 0]
        moved = [
            np.abs(pixels(change(name, part.image, one)) - pixels(part.image)).mean()
            for one in ladder
        ]
        assert moved == sorted(moved)


@pytest.mark.parametrize("name", ["noise", "rotation", "shift"])
def test_another_seed_gives_other_noise_and_another_direction(name, part):
    strength = PERTURBATIONS[name].strengths[-1]
    pictures = {change(name, part.image, strength, seed).tobytes() for seed in range(8)}
    assert len(pictures) == {"noise": 8, "rotation": 2, "shift": 8}[name]


@pytest.mark.parametrize("name", ["brightness", "contrast", "colour temperature", "blur", "JPEG"])
def test_what_is_not_random_does_not_depend_on_the_seed(name, part):
    strength = PERTURBATIONS[name].strengths[-1]
    assert change(name, part.image, strength, 1) == change(name, part.image, strength, 2)


def test_one_stop_is_twice_the_light():
    grey = Image.new("RGB", (2, 2), (100, 100, 100))
    light = ((100 / 255 + 0.055) / 1.055) ** 2.4
    found = change("brightness", grey, 1).getpixel((0, 0))[0] / 255
    assert ((found + 0.055) / 1.055) ** 2.4 == pytest.approx(2 * light, rel=0.02)
    assert change("brightness", grey, -1).getpixel((0, 0))[0] < 100


def test_contrast_spreads_grey_values_around_their_mean(part):
    flat, steep = (change("contrast", part.image, share) for share in (-0.2, 0.2))
    assert pixels(flat).std() < pixels(part.image).std() < pixels(steep).std()
    assert pixels(flat).mean() == pytest.approx(pixels(part.image).mean(), abs=2)


def test_a_warmer_lamp_reddens_and_keeps_the_brightness_of_grey():
    grey = Image.new("RGB", (2, 2), (120, 120, 120))
    (warm_red, _, warm_blue), (cold_red, _, cold_blue) = (
        change("colour temperature", grey, mired).getpixel((0, 0)) for mired in (50, -50)
    )
    assert warm_red > 120 > warm_blue
    assert cold_red < 120 < cold_blue
    luminance = change("colour temperature", grey, 50).convert("L").getpixel((0, 0))
    assert luminance == pytest.approx(120, abs=6)


def test_daylight_is_the_white_of_srgb():
    assert perturbations._black_body(perturbations.DAYLIGHT) == pytest.approx([1, 1, 1], abs=0.05)


def test_blur_lowers_sharpness_by_the_same_share_of_any_photo(part):
    values = [sharpness(change("blur", part.image, one)) for one in (0.1, 0.2, 0.4, 0.8)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < sharpness(part.image) / 2
    large = part.image.resize((256, 256), Image.Resampling.BICUBIC)
    blurred = change("blur", large, 1.6).resize((128, 128), Image.Resampling.BOX)
    assert np.abs(pixels(blurred) - pixels(change("blur", part.image, 1.6))).mean() < 1.5


def test_noise_has_the_deviation_that_was_asked_for():
    grey = Image.new("RGB", (100, 100), (128, 128, 128))
    noisy = pixels(change("noise", grey, 5))
    assert noisy.std() == pytest.approx(5, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.2)


def test_jpeg_says_its_quality():
    assert PERTURBATIONS["JPEG"].wording(25) == "quality 75"


@pytest.mark.parametrize("name", ["rotation", "shift"])
def test_mask_and_picture_move_alike(name, part):
    square = np.zeros((120, 120), dtype=np.uint8)
    square[20:40, 60:90] = 255
    image, mask = Image.fromarray(square).convert("RGB"), Image.fromarray(square)
    for seed in range(4):
        moved, truth = PERTURBATIONS[name].apply(image, mask, 5, seed)
        assert truth != mask
        differ = (pixels(moved)[..., 0] > 127) != (pixels(truth) > 127)
        assert differ.mean() < 0.002  # only at the edges, where the picture is interpolated


@pytest.mark.parametrize("name", ["brightness", "blur", "noise", "JPEG"])
def test_where_nothing_moves_the_mask_stays(name, part):
    strength = PERTURBATIONS[name].strengths[-1]
    assert PERTURBATIONS[name].apply(part.image, part.mask, strength, SEED)[1] == part.mask


@pytest.mark.parametrize("name", ["rotation", "shift"])
def test_no_black_comes_into_view(name):
    white = Image.new("RGB", (90, 60), "white")
    for strength in PERTURBATIONS[name].strengths:
        assert change(name, white, strength).getextrema() == ((255, 255),) * 3


def test_a_shift_moves_by_a_share_of_the_longer_side():
    dot = np.zeros((100, 200), dtype=np.uint8)
    dot[50, 100] = 255
    for seed in range(5):
        moved = pixels(perturbations.shift(Image.fromarray(dot), 2, np.random.default_rng(seed)))
        place = np.array(np.unravel_index(moved.argmax(), moved.shape))
        assert np.hypot(*(place - (50, 100))) == pytest.approx(4, abs=0.75)


def test_a_rotation_turns_by_its_angle():
    line = np.zeros((201, 201), dtype=np.uint8)
    line[:, 98:103] = 255
    turned = pixels(perturbations.rotate(Image.fromarray(line), 5, np.random.default_rng(0))) > 127
    top, bottom = (turned[row].nonzero()[0].mean() for row in (20, 180))
    assert abs(np.degrees(np.arctan((top - bottom) / 160))) == pytest.approx(5, abs=0.3)
