"""A trained whole part: a part that is gone, moved or turned is a FAIL, and is shown in place."""

from __future__ import annotations

import numpy as np
import pytest
from commands import run_command
from conftest import TINY_DATA
from PIL import Image

from data.synthetic import render
from modeling import load_pipeline
from training.photos.augmentation import EDGE, moved_picture
from training.photos.structural_damage import without_part

SIDE = 192
PHOTOS = 8


@pytest.fixture(scope="module")
def inspect(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "nut"
    finished = run_command(
        *("training/train.py", "--data", TINY_DATA),
        *("--image_size", "128", "--epochs", "6", "--checkpoint_every", "0"),
        *("--output_dir", folder),
    )
    assert finished.returncode == 0, finished.stderr
    return load_pipeline(folder)


def good_photos() -> list[np.ndarray]:
    photos = [
        render("flange_nut", seed=800_000 + n, defect="good", size=SIDE) for n in range(PHOTOS)
    ]
    return [np.asarray(photo.image.convert("RGB"), np.float32) / 255 for photo in photos]


def as_photo(picture: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(picture, 0, 1) * 255).round().astype(np.uint8))


def moved_away(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    direction = generator.uniform(0, 2 * np.pi)
    across, down = 0.1 * np.cos(direction), 0.1 * np.sin(direction)
    return moved_picture(picture, across=across, down=down, outside=EDGE)


def turned_away(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return moved_picture(picture, angle=float(generator.choice([-15, 15])), outside=EDGE)


@pytest.mark.parametrize(
    "damage", [without_part, moved_away, turned_away], ids=["gone", "moved", "turned"]
)
def test_what_is_not_in_its_place_fails_and_is_shown_there(inspect, damage):
    for number, good in enumerate(good_photos()):
        damaged = damage(good, np.random.default_rng(number))
        found = inspect(as_photo(damaged))
        assert found.verdict == "FAIL"
        shown = np.asarray(found.reconstruction, np.float32) / 255
        distance = [np.abs(shown - picture).mean() for picture in (good, damaged)]
        assert distance[0] < 0.95 * distance[1]


def test_good_parts_pass(inspect):
    verdicts = [inspect(as_photo(good)).verdict for good in good_photos()]
    assert verdicts.count("PASS") >= PHOTOS - 1


def test_another_product_is_refused_as_before(inspect):
    for product in ("key", "fabric"):
        photo = render(product, seed=1, defect="good", size=SIDE).image
        assert inspect(photo).verdict == "CHECK"
