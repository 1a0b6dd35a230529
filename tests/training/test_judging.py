"""Held-out good photos choose whether the ground counts, and dirt on it fails no good part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from PIL import Image
from torch.utils.data import DataLoader

from data.dataset import load_inspection_dataset
from data.synthetic import render
from modeling import (
    Autoencoder,
    AutoencoderConfig,
    InspectionImageProcessor,
    ReconstructionModel,
    load_pipeline,
)
from training import judging
from training.calibration.held_out_calibration import choose_and_score, set_thresholds
from training.judging import choose_judged, has_structure, learn_ground
from training.photos.augmentation import Augmentation
from training.photos.decoded import PreparedPhotos
from training.photos.dirt import KINDS, dirty
from training.recipe import Recipe

SIDE = 64
DATA = f"synthetic:flange_nut?train=12&test_good=1&test_per_defect=1&size={SIDE}"
PROCESSOR = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})


def calibrate(model, held_out, processor, recipe) -> None:
    set_thresholds(model, choose_and_score(model, held_out, processor, recipe), recipe)


@pytest.fixture(scope="module")
def photos() -> PreparedPhotos:
    return PreparedPhotos(load_inspection_dataset(DATA)["train"], PROCESSOR)


@pytest.fixture
def model(photos) -> Autoencoder:
    torch.manual_seed(0)
    config = AutoencoderConfig(
        image_size=SIDE, target="pixels", categories=["flange_nut"], judged="part"
    )
    model = Autoencoder(config).eval()
    learn_ground(model, with_category(photos), PROCESSOR, Recipe())
    model.calibrate(DataLoader(photos, 4), 0.2)
    return model


def with_category(photos: PreparedPhotos) -> Dataset:
    return photos.photos.add_column("category", ["flange_nut"] * len(photos))


def tells_ground_apart(model: Autoencoder) -> bool:
    return bool((model.ground.places == 0).any())


def test_the_ground_of_an_aligned_part_is_learned_and_left_to_count_for_nothing(model, photos):
    assert tells_ground_apart(model)
    choose_judged(model, photos, "flange_nut", Recipe(batch_size=4))
    assert tells_ground_apart(model)


@pytest.mark.parametrize(("judge", "kept"), [("auto", False), ("part", True)])
def test_where_damage_is_lost_all_is_judged_unless_the_recipe_says_otherwise(
    model, photos, monkeypatch, judge, kept
):
    model.ground.places.zero_()  # as if nothing were part,
    model.ground.limit.fill_(1e9)  # and nothing stood out
    monkeypatch.setattr(judging, "dirty", lambda picture, *_: picture)
    choose_judged(model, photos, "flange_nut", Recipe(batch_size=4, judge=judge))
    assert tells_ground_apart(model) == kept


def test_a_recipe_that_judges_all_makes_a_model_without_ground():
    assert Recipe(judge="all").model_fields()["judged"] == "all"
    assert Recipe().model_fields()["judged"] == "part"
    with pytest.raises(ValueError, match="judge must be one of auto, part, all"):
        Recipe(judge="ground")


def test_calibration_walks_the_choice(model, photos):
    recipe = Recipe(batch_size=4, false_alarm_rate=0.2, residual_normalisation="none")
    model.set_residual_normalisation("none")
    calibrate(model, with_category(photos), PROCESSOR, recipe)
    assert len(model.calibration_of().normal_scores) == 12


def test_structure_is_where_the_part_is(photos):
    picture = photos[0].permute(1, 2, 0).numpy()
    structured = has_structure(picture)
    assert 0.1 < structured.mean() < 0.8
    assert not structured[:3].any()


@pytest.mark.parametrize("kind", KINDS)
def test_dirt_lies_on_the_ground_alone_and_the_generator_repeats_it(photos, kind, monkeypatch):
    monkeypatch.setattr("training.photos.dirt.KINDS", (kind,))
    picture = photos[0].permute(1, 2, 0).numpy()
    ground = np.zeros((SIDE, SIDE), bool)
    ground[:, :20] = True
    soiled = dirty(picture, ground, np.random.default_rng(1))
    assert np.array_equal(soiled, dirty(picture, ground, np.random.default_rng(1)))
    assert np.array_equal(soiled[:, 20:], picture[:, 20:])
    assert np.abs(soiled - picture).max() > 0.02
    assert np.array_equal(dirty(picture, ground & False, np.random.default_rng(1)), picture)


def test_a_part_moves_where_its_place_may_change():
    assert not Augmentation(rotation=5, shift=0.02, exposure=1).moves
    for changed in ({"rotation": 180}, {"shift": 0.1}, {"flip_horizontal": 0.5}):
        assert Augmentation(**changed).moves


def soiled_photo(photo: Image.Image, model: ReconstructionModel, seed: int) -> Image.Image:
    """The same photo with dirt where the model says that the ground is."""
    picture = np.asarray(photo, np.float32) / 255
    size = (model.config.image_size, model.config.image_size)
    pixels = torch.from_numpy(np.array(photo.resize(size), np.float32) / 255).permute(2, 0, 1)
    judged = model.judged_places(pixels[None], torch.zeros(1, dtype=torch.long))
    ground = F.interpolate(judged[None], size=picture.shape[:2])[0, 0].numpy() == 0
    assert ground.any()
    soiled = dirty(picture, ground, np.random.default_rng(seed))
    return Image.fromarray((soiled * 255).round().astype(np.uint8))


def test_dirt_beside_good_parts_fails_no_more_of_them_and_is_told(trained_model):
    inspect = load_pipeline(trained_model)
    told, fails = 0, {"clean": 0, "soiled": 0}
    for seed in range(24):
        photo = render("flange_nut", seed=810_000 + seed, size=192).image
        fails["clean"] += inspect(photo).verdict == "FAIL"
        found = inspect(soiled_photo(photo, inspect.model, seed))
        fails["soiled"] += found.verdict == "FAIL"
        told += found.beside is not None
        assert ("does not count" in found.notes or "do not count" in found.notes) == (
            found.beside is not None
        )
    assert told >= 9
    assert fails["soiled"] <= fails["clean"] + 1  # one in 24 is what the threshold promises anyway


def test_something_large_beside_a_good_part_is_judged_and_named(trained_model):
    inspect = load_pipeline(trained_model)
    picture = np.array(render("flange_nut", seed=820_000, size=192).image)
    picture[:32, :32] = (230, 60, 40)
    found = inspect(Image.fromarray(picture))
    assert found.verdict == "FAIL"
    assert found.regions[0].apart
    assert "something large" in found.notes
    assert inspect(Image.fromarray(picture)).at_threshold(found.threshold).notes == found.notes
