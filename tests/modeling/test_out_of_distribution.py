from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from data.synthetic import render
from modeling import Autoencoder, AutoencoderConfig, load_pipeline
from modeling.out_of_distribution import (
    DOUBT_NOTES,
    DOUBTS,
    OutOfDistribution,
    light_and_sharpness,
    summarise_pixels,
)


def photo(seed: int, category: str = "flange_nut", defect: str = "good") -> Image.Image:
    return render(category, seed=seed, defect=defect, size=192).image


@pytest.fixture(scope="module")
def inspect(trained_model):
    return load_pipeline(trained_model)


@pytest.mark.parametrize("defect", ["good", "missing_part", "stain", "scratch", "foreign_body"])
def test_a_part_is_judged_whatever_its_defect(inspect, defect):
    for seed in range(920_000, 920_006):
        result = inspect(photo(seed, defect=defect))
        assert result.doubt is None
        assert result.verdict in ("PASS", "FAIL")


@pytest.mark.parametrize("category", ["key", "fabric"])
def test_another_product_is_not_judged(inspect, category):
    for seed in range(921_000, 921_004):
        result = inspect(photo(seed, category))
        assert result.verdict == "CHECK"
        assert result.doubt == "other_product"
        assert result.regions == []
        assert result.notes == DOUBT_NOTES["other_product"]
        assert result.at_threshold(1.0).verdict == "CHECK"


@pytest.mark.parametrize(
    ("doubt", "change"),
    [
        ("blank", lambda picture: Image.new("RGB", picture.size, (128, 128, 128))),
        ("dark", lambda picture: Image.new("RGB", picture.size)),
        ("dark", lambda picture: picture.point(lambda value: value // 8)),
        ("bright", lambda picture: picture.point(lambda value: min(255, 4 * value))),
        ("blurred", lambda picture: picture.filter(ImageFilter.GaussianBlur(6))),
    ],
)
def test_a_photo_that_shows_nothing_says_why(inspect, doubt, change):
    result = inspect(change(photo(922_000)))
    assert result.verdict == "CHECK"
    assert result.doubt == doubt


@pytest.mark.parametrize("factor", [0.85, 1.15])
def test_another_light_is_no_reason_to_doubt(inspect, factor):
    assert inspect(photo(923_000).point(lambda value: int(value * factor))).doubt is None


@pytest.mark.parametrize("quality", [95, 75, 50])
@pytest.mark.parametrize("defect", ["good", "stain"])
def test_another_file_of_the_part_is_no_reason_to_doubt(inspect, tmp_path, quality, defect):
    path = tmp_path / "part.jpg"
    for seed in range(924_000, 924_003):
        photo(seed, defect=defect).save(path, quality=quality)
        assert inspect(path).doubt is None


def test_a_model_that_knows_no_good_part_doubts_nothing():
    config = AutoencoderConfig(target="pixels", image_size=64, hidden_sizes=[8, 16])
    output = Autoencoder(config).eval().detect(torch.rand(3, 3, 64, 64))
    assert output.doubt.tolist() == [-1, -1, -1]


def test_what_is_known_is_saved_with_the_model(trained_model, inspect):
    again = load_pipeline(trained_model).model.familiarity
    assert torch.isfinite(again.limit).all()
    for name, value in inspect.model.familiarity.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_each_category_is_compared_with_its_own():
    generator = torch.Generator().manual_seed(0)
    known = OutOfDistribution("features", categories=2, channels=5)
    first = torch.randn(20, 5, generator=generator)
    second = first + 9
    measured = torch.tensor([[0.2, 0.5, 0.1, 0.0]]).repeat(20, 1)
    for category, summaries in enumerate((first, second)):
        with_copies = torch.stack([summaries, summaries + 0.1], dim=1)
        known.fit(category, with_copies, measured)
    for category in (0, 1):
        found = known.doubts(
            torch.cat([first[:1], second[:1]]), measured[:2], torch.tensor([category, category])
        )
        own, other = found[category].item(), found[1 - category].item()
        assert own == -1
        assert DOUBTS[other] == "other_product"


def test_measures_are_what_they_say():
    step = torch.zeros(1, 3, 8, 8)
    step[..., 4:] = 1
    contrast, brightness, sharpness, white = light_and_sharpness(step)[0].tolist()
    assert brightness == white == 0.5
    assert contrast == pytest.approx(np.std([0, 1] * 32, ddof=1))
    assert sharpness == pytest.approx(2 / 6)  # two of six inner columns see the step
    assert summarise_pixels(torch.rand(2, 3, 64, 64)).shape == (2, 42)
