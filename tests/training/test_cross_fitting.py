"""Cross-fitted calibration: every good photo scored by a model that has not learned from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import run_command
from conftest import ROOT
from datasets import Dataset
from PIL import ImageOps
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from data.dataset import load_inspection_dataset
from data.split import split_good
from data.synthetic import render
from modeling import (
    Autoencoder,
    AutoencoderConfig,
    Calibration,
    InspectionImageProcessor,
    ReconstructionModel,
    load_model,
)
from training.calibration import cross_fitting
from training.calibration.cross_fitting import Choices, Fold
from training.initial_model import build_model
from training.photos.decoded import PreparedPhotos
from training.recipe import Recipe, parse_recipe
from training.train import main

SIDE = 64
DATA = f"synthetic:flange_nut?train=16&test_good=1&test_per_defect=1&size={SIDE}"
PHOTOS = 16
SMALL = ("--data", DATA, "--image_size", str(SIDE), "--calibration_fraction", "0.3")
SMALL += ("--batch_size", "3", "--checkpoint_every", "1", "--scale", "coarse")
COARSE = (16.0, (7, 20))  # that scale, as `Choices` says it
CROSS = ("--calibration", "cross", "--folds", "3")
ON_PIXELS = ("--target", "pixels", "--epochs", "2")
STEPS = 4  # an epoch of a fold's: 11 photos at most
PROCESSOR = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})


def calibration_in(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["calibrations"]["flange_nut"]


class Trained:
    """A folder that was trained with folds, and what of each fold was seen on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.learned: list[Dataset] = []
        self.own: list[Dataset] = []
        self.models: list[ReconstructionModel] = []


@pytest.fixture(scope="module")
def crossed(tmp_path_factory) -> Trained:
    """With a whole part and a ground, so that there are choices."""
    seen = Trained(tmp_path_factory.mktemp("crossed"))
    fit, finish = cross_fitting.fit, cross_fitting.finish_learning

    def watched_fit(model, learned, own, *rest):
        seen.learned.append(learned)
        seen.own.append(own)
        return fit(model, learned, own, *rest)

    def watched_finish(model, *rest):
        seen.models.append(model)
        return finish(model, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cross_fitting, "fit", watched_fit)
        patch.setattr(cross_fitting, "finish_learning", watched_finish)
        words = (*SMALL, *CROSS, "--epochs", "1", "--output_dir", str(seen.folder))
        assert main([*words]) == 0
    return seen


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> Path:
    """The same without folds."""
    folder = tmp_path_factory.mktemp("held_out")
    assert main([*SMALL, "--epochs", "1", "--output_dir", str(folder)]) == 0
    return folder


def test_all_good_photos_set_the_threshold(crossed, held_out):
    assert len(calibration_in(crossed.folder)["normal_scores"]) == PHOTOS
    assert {*calibration_in(held_out)["normal_scores"]} < {
        *calibration_in(crossed.folder)["normal_scores"]
    }
    assert not (crossed.folder / "folds").exists()


def test_the_model_that_ships_is_the_one_without_folds(crossed, held_out):
    one, other = (load_file(path / "model.safetensors") for path in (crossed.folder, held_out))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_no_folds_model_has_seen_its_own_photos(crossed):
    everything = {*load_inspection_dataset(DATA)["train"]["image_id"]}
    assert len(crossed.own) == 2
    for learned, own in zip(crossed.learned, crossed.own, strict=True):
        assert not {*learned["image_id"]} & {*own["image_id"]}
        assert {*learned["image_id"]} | {*own["image_id"]} == everything
    assert not {*crossed.own[0]["image_id"]} & {*crossed.own[1]["image_id"]}


def test_every_folds_model_judges_by_the_choices_of_the_one_that_ships(crossed):
    shipped = load_model(crossed.folder)[0]
    assert shipped.whole_part.weight.item() > 0
    assert Choices.of(shipped)[:2] == COARSE
    for model in crossed.models:
        assert Choices.of(model) == Choices.of(shipped)
        own, other = (next(one.decoder.parameters()) for one in (model, shipped))
        assert not torch.equal(own, other)


def test_the_pooled_scores_are_those_of_the_folds_models(crossed, held_out):
    scores = [*calibration_in(held_out)["normal_scores"]]
    for model, own in zip(crossed.models, crossed.own, strict=True):
        scores += model.fit_good_parts(DataLoader(PreparedPhotos(own, PROCESSOR), 3))
    found = calibration_in(crossed.folder)
    assert found["normal_scores"] == pytest.approx(sorted(scores), rel=1e-5)
    conformal = Calibration.fit(found["normal_scores"], found["false_alarm_rate"])
    assert found["promised_false_alarm_rate"] == conformal.promised_false_alarm_rate
    assert found["raw_threshold"] >= conformal.raw_threshold


def test_the_card_says_how_the_threshold_was_made(crossed, held_out):
    card = (crossed.folder / "README.md").read_text()
    assert f"From all {PHOTOS} good photos, each scored by a model" in card
    assert "(3 folds)" in card and "at worst about twice that" in card
    assert "twice" not in (held_out / "README.md").read_text()


def test_choices_are_imposed_whatever_the_model_would_choose(crossed):
    model = load_model(crossed.folder)[0]
    choices = Choices(*COARSE, "channel+location", [0.25], [True])
    assert Choices.of(model) != choices
    choices.impose_on(model)
    assert Choices.of(model) == choices
    Choices(*COARSE, "channel", [3.0], [False]).impose_on(model)
    assert Choices.of(model) == Choices(
        *COARSE, "channel", [3.0], [True]
    )  # a ground is learned, not chosen


def test_a_whole_part_that_knows_nothing_gets_no_weight(crossed):
    words = [*SMALL, "--output_dir", str(crossed.folder)]
    model, _ = build_model(parse_recipe(words), ["flange_nut"])
    Choices(*COARSE, "channel", [0.25], [False]).impose_on(model)
    assert model.whole_part.weight.tolist() == [0]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert main([*SMALL, *CROSS, *ON_PIXELS, "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Killed by `kill -9` in the last epoch of the last fold."""
    folder = tmp_path_factory.mktemp("killed")
    words = [*SMALL, *CROSS, *ON_PIXELS, "--output_dir", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "training/train.py", *words],
        cwd=ROOT,
        env=os.environ | {"TQDM_MININTERVAL": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said = b""
    while chunk := os.read(process.stderr.fileno(), 4096):
        said += chunk
        steps = re.findall(rf"fold 2 of 3: .*?(\d+)/{2 * STEPS} ", said.decode(errors="replace"))
        if steps and int(steps[-1]) > STEPS:
            process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, said.decode()
    assert not (folder / "config.json").exists()
    return folder


def test_killed_in_a_fold_and_resumed_it_ends_as_if_nothing_had_been(unbroken, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "resumed")
    assert sorted(os.listdir(folder / "folds" / "1")) == ["key.txt", "scores.json", "tensorboard"]
    assert os.listdir(folder / "folds" / "2" / "checkpoints") == ["epoch-00001"]
    words = (*SMALL, *CROSS, *ON_PIXELS, "--output_dir", folder)
    resumed = run_command("training/train.py", *words, "--resume_from_checkpoint", "latest")
    assert resumed.returncode == 0, resumed.stderr
    assert "fold 1 of 3" not in resumed.stderr  # its scores are on the disk
    assert "fold 2 of 3: " in resumed.stderr
    assert not re.search(r"(training|fold 2 of 3): +0%", resumed.stderr)  # they go on
    assert (folder / "config.json").read_bytes() == (unbroken / "config.json").read_bytes()
    assert not (folder / "folds").exists()


def test_started_anew_it_learns_every_fold_again(unbroken, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "anew")
    scores = folder / "folds" / "1" / "scores.json"
    found = json.loads(scores.read_text())
    found["scores"]["flange_nut"] = [9.0] * len(found["scores"]["flange_nut"])
    scores.write_text(json.dumps(found))
    assert main([*SMALL, *CROSS, *ON_PIXELS, "--output_dir", str(folder)]) == 0
    assert calibration_in(folder) == calibration_in(unbroken)


@pytest.fixture
def fold() -> Fold:
    photos = load_inspection_dataset(DATA)["train"]
    recipe = Recipe(data=DATA, output_dir="out", image_size=SIDE)
    return Fold(1, photos.select(range(8)), photos.select(range(8, 12)), recipe, ["flange_nut"])


def test_scores_on_the_disk_are_of_these_photos_choices_and_recipe(fold):
    choices = Choices(*COARSE, "channel", [0.5], [False])
    key = fold.key(choices)
    assert key == fold.key(Choices(*COARSE, "channel", [0.5], [False]))
    assert key != fold.key(choices._replace(weights=[0.25]))
    assert key != replace(fold, learned=fold.learned.select(range(7))).key(choices)
    assert key != replace(fold, own=fold.own.select([1, 0, 2, 3])).key(choices)
    slower = replace(fold.recipe, learning_rate=1e-4)
    assert key != replace(fold, recipe=slower).key(choices)
    moved = replace(fold.recipe, data="parts", output_dir="other", num_workers=2)
    assert key == replace(fold, recipe=moved).key(choices)


def test_finished_folds_are_read_and_others_of_another_key_are_not(fold, tmp_path):
    fold = replace(fold, recipe=replace(fold.recipe, output_dir=str(tmp_path / "folds" / "1")))
    choices, found = (
        Choices(*COARSE, "none", None, None),
        {"scores": {"flange_nut": [1.0]}, "cost": {}},
    )
    assert cross_fitting._before(fold, choices) == (None, False)
    (fold.folder / "checkpoints" / "epoch-00002").mkdir(parents=True)
    assert cross_fitting._before(fold, choices) == (None, True)
    cross_fitting._write(fold, found)
    assert not (fold.folder / "checkpoints").exists()
    assert cross_fitting._before(fold, choices) == (found, False)
    assert cross_fitting._before(fold, Choices(*COARSE, "location", None, None)) == (None, False)
    assert [path.name for path in fold.folder.iterdir()] == ["key.txt"]


def test_a_model_of_several_categories_pools_each_of_them(tmp_path):
    words = (*SMALL, *CROSS, *ON_PIXELS, "--epochs", "1", "--checkpoint_every", "5")
    words = [word.replace("flange_nut", "all") for word in words]
    words += ["--category", "key", "flange_nut", "--leave_out", "key/train/good/00003"]
    assert main([*words, "--output_dir", str(tmp_path)]) == 0
    calibrations = json.loads((tmp_path / "config.json").read_text())["calibrations"]
    counts = {name: len(one["normal_scores"]) for name, one in calibrations.items()}
    assert counts == {"key": PHOTOS - 1, "flange_nut": PHOTOS}
    # It was not due, but a kill while the folds learned would have cost what came before them.
    assert os.listdir(tmp_path / "checkpoints") == ["epoch-00001"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--calibration", "crossed"), "calibration must be one of held_out, cross"),
        (("--folds", "1"), "folds must be a whole number from 2 to 20"),
        (
            (*CROSS, "--folds", "9"),
            "Fold 4 of 9 has 1 of the good photos of flange_nut, expected 2 at least to calibrate "
            "by; ask for fewer --folds",
        ),
        (
            (*CROSS, "--folds", "7", "--residual_normalisation", "location"),
            "Fold 1 of 7 has 2 of the good photos of flange_nut, expected 3 at least",
        ),
        (
            ("--leave_out", "flange_nut/train/goood/00003"),
            "did you mean flange_nut/train/good/00003?",
        ),
        (
            ("--leave_out", *(f"{n:05}" for n in range(PHOTOS))),
            "The held-out part has 0 of the good photos",
        ),
    ],
)
def test_what_can_not_be_calibrated_is_one_sentence_before_training(
    words, sentence, tmp_path, capsys
):
    assert main([*SMALL, *ON_PIXELS, "--output_dir", str(tmp_path), *words]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("train.py: ") == 1
    assert "training:" not in said


def test_statistics_by_place_that_may_be_chosen_need_one_more_photo():
    photos = load_inspection_dataset(DATA)["train"]
    model = Autoencoder(
        AutoencoderConfig(image_size=SIDE, target="pixels", categories=["flange_nut"])
    )
    split = split_good(photos, 0.5, 0, folds=5)  # 8 choose, and 2 are in each other fold
    with pytest.raises(ValueError, match="has 2 of the good photos of flange_nut, expected 3"):
        cross_fitting.check_counts(photos, split, model, Recipe(target="pixels", folds=5))
    recipe = Recipe(target="pixels", folds=5, augmentation={"rotation": 180})
    cross_fitting.check_counts(photos, split, model, recipe)


@pytest.fixture(scope="module")
def with_a_bad_one(tmp_path_factory) -> Path:
    """Photos of brackets, one of which is no good part."""
    folder = tmp_path_factory.mktemp("photos") / "bracket" / "train" / "good"
    folder.mkdir(parents=True)
    for seed in range(PHOTOS):
        photo = render("flange_nut", seed=seed, size=SIDE).image.convert("RGB")
        photo = ImageOps.invert(photo) if seed == 7 else photo
        photo.save(folder / f"{seed:03}.png")
    return folder.parents[2]


def test_a_good_photo_that_looks_defective_is_named_until_a_person_leaves_it_out(
    with_a_bad_one, tmp_path
):
    words = ("training/train.py", *SMALL, *CROSS, *ON_PIXELS, "--data", with_a_bad_one)
    name = "bracket/train/good/007"
    for out, expected in (((), [name]), (("--leave_out", "007"), [])):
        folder = tmp_path / str(len(out))
        finished = run_command(*words, *out, "--output_dir", folder)
        assert finished.returncode == 0, finished.stderr
        assert json.loads((folder / "training.json").read_text())["look_defective"] == expected
        told = f"look defective: {name}; look at them" in finished.stdout
        assert told == bool(expected)
        calibrations = json.loads((folder / "config.json").read_text())["calibrations"]
        assert len(calibrations["bracket"]["normal_scores"]) == PHOTOS - bool(out)
        card = (folder / "README.md").read_text()
        assert f"{len(expected) or 'none'} looks defective" in card
        assert ("as a person said: 1" in card) == bool(out)
        assert parse_recipe([str(folder / "recipe.yaml")]).leave_out == (["007"] if out else None)
