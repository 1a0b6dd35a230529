"""Held-out good parts choose normalisation and threshold; a labelled validation set may, too."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from commands import run_command
from torch.utils.data import DataLoader

from data.dataset import load_inspection_dataset
from data.synthetic import render
from modeling import Autoencoder, AutoencoderConfig, Calibration, InspectionImageProcessor
from training.calibration.held_out_calibration import (
    CANDIDATES,
    LEAST_JUDGED,
    best_by_a_margin,
    choose_and_score,
    choose_normalisation,
    set_thresholds,
)
from training.calibration.held_out_damage import DamageTrial
from training.calibration.trials import see_trials
from training.photos.decoded import PreparedPhotos
from training.recipe import Recipe
from training.train import main

SIDE = 64


def calibrate(model, held_out, processor, recipe) -> None:
    set_thresholds(model, choose_and_score(model, held_out, processor, recipe), recipe)


@pytest.fixture(scope="module")
def good():
    data = f"synthetic:flange_nut?train=12&test_good=1&test_per_defect=1&size={SIDE}"
    return load_inspection_dataset(data)["train"]


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    config = AutoencoderConfig(image_size=SIDE, target="pixels", categories=["flange_nut"])
    return Autoencoder(config).eval()


PROCESSOR = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})


def test_auto_chooses_one_of_the_targets_normalisations_and_calibrates(model, good):
    calibrate(model, good, PROCESSOR, Recipe(batch_size=4, false_alarm_rate=0.2))
    assert model.config.residual_normalisation in CANDIDATES["pixels"]
    assert len(model.calibration_of().normal_scores) == len(good)


def test_where_damage_leaves_room_the_threshold_lies_in_it(model, good):
    calibrate(model, good, PROCESSOR, Recipe(batch_size=4, false_alarm_rate=0.2))
    found = model.calibration_of()
    conformal = Calibration.fit(found.normal_scores, 0.2)
    trial = DamageTrial.of_category(PreparedPhotos(good, PROCESSOR), "flange_nut", Recipe())
    damaged = [model.detect(torch.stack(copy)).raw_score for copy in trial.copies]
    assert found == conformal.raised_towards(torch.cat(damaged).tolist())
    assert found.raw_threshold > conformal.raw_threshold


def test_too_few_photos_choose_nothing_and_have_no_statistics_per_location(model, good):
    few = PreparedPhotos(good.select(range(LEAST_JUDGED - 1)), PROCESSOR)
    trial = DamageTrial.of_category(few, "flange_nut", Recipe())
    seen = see_trials(model, {"flange_nut": trial}, 4)
    assert choose_normalisation(model, seen, Recipe()) == "none"


def test_two_photos_have_no_statistics_per_location(model, good):
    two = PreparedPhotos(good.select(range(2)), PROCESSOR)
    model.set_residual_normalisation("location")
    with pytest.raises(ValueError, match="at least 3 held-out good photos, found 2"):
        model.calibrate(DataLoader(two), 0.3)
    calibrate(model, good.select(range(2)), PROCESSOR, Recipe(false_alarm_rate=0.34))
    assert model.config.residual_normalisation == "none"


def test_a_part_that_may_be_turned_has_no_statistics_per_location(model, good):
    recipe = Recipe(batch_size=4, augmentation={"rotation": 180}, false_alarm_rate=0.2)
    calibrate(model, good, PROCESSOR, recipe)
    assert model.config.residual_normalisation == "none"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0.95, 0.94, 0.96, 0.95], "location"),  # better every time
        ([0.99, 0.86, 0.98, 0.87], "none"),  # as much better on average, but by chance
        ([0.905, 0.905, 0.905, 0.905], "none"),  # every time, but by nothing
        ([0.80, 0.81, 0.80, 0.81], "none"),
    ],
)
def test_the_default_is_left_only_for_a_gain_beyond_chance(other, expected):
    aurocs = {"none": np.full(4, 0.9), "location": np.array(other)}
    assert best_by_a_margin(aurocs) == expected


def test_a_given_normalisation_is_kept(model, good):
    recipe = Recipe(batch_size=4, residual_normalisation="none", false_alarm_rate=0.2)
    model.set_residual_normalisation("none")
    calibrate(model, good, PROCESSOR, recipe)
    assert model.config.residual_normalisation == "none"


def test_statistics_of_another_normalisation_are_thrown_away(model, good):
    calibrate(model, good, PROCESSOR, Recipe(batch_size=4, false_alarm_rate=0.2))
    model.set_residual_normalisation("none")
    assert model.calibration_of() is None
    with pytest.raises(ValueError, match="residual_normalisation of pixels"):
        model.set_residual_normalisation("channel")


@pytest.fixture(scope="module")
def labelled_folder(tmp_path_factory):
    """A category with a labelled validation set, as a user would lay it out."""
    root = tmp_path_factory.mktemp("labelled")
    for split, defect, seeds in (
        ("train", "good", range(16)),
        ("validation", "good", range(20, 26)),
        ("validation", "stain", range(30, 36)),
    ):
        folder = root / "bracket" / split / defect
        folder.mkdir(parents=True)
        for seed in seeds:
            render("flange_nut", seed=seed, defect=defect, size=SIDE).image.save(
                folder / f"{seed:03d}.png"
            )
    return root


SHORT = ("--image_size", "64", "--target", "pixels", "--epochs", "1", "--threshold_rule", "roc")


def test_a_labelled_validation_set_sets_the_threshold(labelled_folder, tmp_path):
    split = load_inspection_dataset(labelled_folder)["validation"]
    assert np.bincount(split["label"]).tolist() == [6, 6]
    finished = run_command(
        "training/train.py", "--data", labelled_folder, "--output_dir", tmp_path, *SHORT
    )
    assert finished.returncode == 0, finished.stderr
    calibration = json.loads((tmp_path / "config.json").read_text())["calibrations"]["bracket"]
    assert calibration["rule"] == "roc"
    assert "labelled validation" in (tmp_path / "README.md").read_text()


def test_without_one_the_rule_says_where_it_belongs(tmp_path, capsys):
    data = "synthetic:flange_nut?train=8&test_good=1&test_per_defect=1&size=64"
    assert main(["--data", data, "--output_dir", str(tmp_path), *SHORT]) == 2
    said = capsys.readouterr().err
    assert "validation/good" in said
    assert said.count("train.py: ") == 1
