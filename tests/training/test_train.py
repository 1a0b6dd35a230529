from __future__ import annotations

import itertools
import json
import re
import shutil

import pytest
import torch
import yaml
from commands import run_command
from conftest import ROOT
from safetensors.torch import load_file
from transformers import Dinov2WithRegistersConfig
from transformers.models.dinov2_with_registers import Dinov2WithRegistersBackbone

from data.dataset import load_inspection_dataset
from data.licences import license_of
from data.synthetic import render
from modeling import ARCHITECTURES, load_pipeline
from modeling.backbones import LITE_SCALES, whole_part_layers
from modeling.configuration import TARGETS
from modeling.whole_part import HALVES
from training.recipe import Recipe, parse_recipe
from training.train import main

SMALL_DATA = "synthetic:flange_nut?train=12&test_good=1&test_per_defect=1&size=64"


def test_the_folder_holds_all_that_a_user_expects(trained_model):
    names = {path.name for path in trained_model.iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "README.md",
        "recipe.yaml",
        "learning_curve.csv",
        "learning_curve.png",
        "part.png",
    } <= names
    assert not [name for name in names if name.startswith(".writing")]
    assert list(trained_model.rglob("events.out.tfevents.*"))  # the tracker's log


def test_the_weights_are_half_and_learned(trained_model):
    state = load_file(trained_model / "model.safetensors")
    statistics = ("residual_statistics.", "target.mean", "target.deviation", "familiarity.")
    statistics += ("ground.",)
    whole_part = [name for name in state if name.startswith("whole_part.")]
    small = {name for name in whole_part if name.removeprefix("whole_part.") not in HALVES}
    full = {name for name in state if name.startswith(statistics)} | small
    assert len(whole_part) > len(small) > 0
    assert {state[name].dtype for name in full} == {torch.float32}
    assert {state[name].dtype for name in state.keys() - full} == {torch.float16}
    rows = (trained_model / "learning_curve.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[1]) < 0.7 * float(rows[1].split(",")[1])


def test_the_calibration_comes_from_the_held_out_part_of_the_good_photos(trained_model):
    config = json.loads((trained_model / "config.json").read_text())
    calibration = config["calibrations"]["flange_nut"]
    n = len(calibration["normal_scores"])
    assert n == round(0.2 * 48)
    assert calibration["promised_false_alarm_rate"] >= 1 / (n + 1)


def test_accelerate_launch_trains_too(tmp_path):
    finished = run_command(
        *("-m", "accelerate.commands.launch", "--cpu", "training/train.py"),
        ROOT / "training/configs/default.yaml",
        *("--data", SMALL_DATA),
        *("--category", "flange_nut", "--output_dir", tmp_path, "--image_size", "64"),
        *("--epochs", "1", "--calibration_fraction", "0.3"),
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "/no/such/folder", "--category", "x"), "/no/such/folder"),
        (("--data", "synthetic:teapot"), "teapot"),
        (("--data", SMALL_DATA.replace("train=12", "train=0"), "--image_size", "64"), "are none;"),
        (("--category", "bottle"), "--data is missing"),
        (("--data", "synthetic:flange_nut", "--epochs", "0"), "epochs must be a whole number"),
        (("no_such.yaml", "--data", "x"), "no_such.yaml can't be read"),
        (("--data", "synthetic:flange_nut", "--image_size", "100"), "multiple of 8"),
        (("--data", "synthetic:flange_nut", "--image_size", "72"), "multiple of 32"),
        (("--data", "synthetic:flange_nut", "--architecture", "gan"), "architecture must be one"),
        (("--data", "synthetic:flange_nut", "--augmentation", "rotatoin=9"), "knows rotation"),
        (("--data", "synthetic:flange_nut", "--backbone", "./nowhere"), "./nowhere could not be"),
        (("--data", "synthetic:flange_nut", "--backbone_layers", "9,4"), "ascending"),
        (
            ("--data", "x", "--no-whole_part", "--whole_part_layers", "4,7"),
            "whole_part_layers only mean something with whole_part",
        ),
        (
            ("--data", "x", "--damage_probability", "0.8", "--structural_probability", "0.3"),
            "must be at most 1 together",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, message, tmp_path, capsys):
    assert main([*arguments, "--output_dir", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("train.py: ") == 1


def test_help_explains_every_field_with_its_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    for name in Recipe.__dataclass_fields__:
        assert f"--{name} " in text
    assert text.count("(default:") == len(Recipe.__dataclass_fields__) + 1


def test_a_flag_overrides_the_file_and_the_file_the_default(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epochs: 7\nlearning_rate: 1e-3\nloss_weights: {ssim: 1}\n")
    recipe = parse_recipe([str(path), "--epochs", "3", "--residual_weights", "l1=2,ssim=0.5"])
    assert (recipe.epochs, recipe.learning_rate) == (3, 1e-3)
    assert recipe.loss_weights == {"ssim": 1}
    assert recipe.residual_weights == {"l1": 2.0, "ssim": 0.5}
    assert recipe.batch_size == Recipe().batch_size


def test_a_misspelt_field_in_the_file_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("epoch: 7\n")
    with pytest.raises(ValueError, match="unknown field 'epoch'; did you mean epochs"):
        parse_recipe([str(path)])


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("category: bottle", "category", ["bottle"]),
        ("category: 7", "category", ["7"]),
        ("category: [7, nut]", "category", ["7", "nut"]),
        ("data: 12", "data", "12"),
        ("backbone_layers: 4", "backbone_layers", [4]),
        ("learning_rate: 1e-3", "learning_rate", 1e-3),
        ("gradient_clip: 1", "gradient_clip", 1.0),
        ("epochs: null", "epochs", None),
    ],
)
def test_a_value_in_the_file_means_what_the_field_asks_for(line, field, value, tmp_path):
    (tmp_path / "mine.yaml").write_text(line)
    found = getattr(parse_recipe([str(tmp_path / "mine.yaml")]), field)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("trunk", LITE_SCALES)
def test_layers_of_the_whole_part_are_those_of_the_trunk(trunk):
    words = ["--backbone", trunk]
    expected = whole_part_layers(trunk, None)
    assert parse_recipe(words).model_fields()["whole_part_layers"] == expected
    assert "whole_part_layers" not in parse_recipe([*words, "--no-whole_part"]).model_fields()
    own = parse_recipe(["--backbone", "org/vit", "--backbone_layers", "3,9"]).model_fields()
    assert own["whole_part_layers"] == [3, 9]
    assert "whole_part_layers" not in parse_recipe(["--target", "pixels"]).model_fields()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("category: {a: b}", "category must be text, .* (or a list of it), found {'a': 'b'}"),
        ("category: [yes]", "category must be text, .*, found [True]"),
        ("backbone_layers: 4,7", "backbone_layers must be a whole number (or a list of it), found"),
        ("data: [12]", "data must be text, .*, found [12]"),
        ("data: 2026-11-28", "data must be text, in quotes .*, found datetime.date"),
        ("mixed_precision: no", "mixed_precision must be text, .*, found False"),
        ("augmentation: rotation", "augmentation must be `name: value` pairs"),
        ("loss_weights: [l1]", "loss_weights must be `name: value` pairs"),
        ('push_to_hub: "no"', "push_to_hub must be true or false, found 'no'"),
        ("image_size: big", "image_size must be a whole number, found 'big'"),
        ("seed: null", "seed must be a whole number, found None"),
        ("map_sigma: yes", "map_sigma must be a number, found True"),
        (f"map_sigma: 1{'0' * 400}", "map_sigma must be a number, found 1000"),
    ],
)
def test_a_value_of_another_kind_in_the_file_is_one_sentence(line, sentence, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(line)
    assert main([str(tmp_path / "mine.yaml")]) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(".*".join(map(re.escape, sentence.split(".*"))), said)
    assert said.endswith(f"in the recipe {tmp_path / 'mine.yaml'}.")


def test_the_saved_recipe_repeats_the_run(trained_model):
    saved = parse_recipe([str(trained_model / "recipe.yaml")])
    assert yaml.safe_load(saved.to_yaml()) == yaml.safe_load(
        (trained_model / "recipe.yaml").read_text()
    )


RECIPES = sorted((ROOT / "training" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_ships_makes_a_valid_model(path):
    recipe = parse_recipe([str(path)])
    ARCHITECTURES[recipe.architecture].config_class(**recipe.model_fields())


def test_there_is_a_recipe_for_every_architecture_and_target():
    recipes = [parse_recipe([str(path)]) for path in RECIPES]
    combinations = {(recipe.architecture, recipe.target) for recipe in recipes}
    assert combinations == set(itertools.product(ARCHITECTURES, TARGETS))


@pytest.mark.parametrize(
    ("architecture", "target"),
    [
        ("variational-autoencoder", "features"),
        ("masked-autoencoder", "features"),
        ("masked-autoencoder", "pixels"),
    ],
)
def test_every_family_trains_and_judges(architecture, target, tmp_path):
    finished = run_command(
        *("training/train.py", "--data", SMALL_DATA, "--output_dir", tmp_path),
        *("--architecture", architecture, "--target", target, "--image_size", "64"),
        *("--epochs", "1", "--calibration_fraction", "0.3"),
    )
    assert finished.returncode == 0, finished.stderr
    inspection = load_pipeline(tmp_path)(render("flange_nut", seed=3, size=64).image)
    assert 0 <= inspection.score <= 1


def test_a_model_carries_its_hub_backbone_and_needs_no_second_download(tmp_path):
    torch.manual_seed(0)
    config = Dinov2WithRegistersConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28
    )
    Dinov2WithRegistersBackbone(config).save_pretrained(tmp_path / "backbone")
    finished = run_command(
        *("training/train.py", "--data", SMALL_DATA, "--output_dir", tmp_path / "model"),
        *("--backbone", tmp_path / "backbone", "--backbone_layers", "1,2"),
        *("--image_size", "64", "--epochs", "1", "--calibration_fraction", "0.3"),
    )
    assert finished.returncode == 0, finished.stderr
    published = [tmp_path / "model" / name for name in ("README.md", "recipe.yaml", "config.json")]
    assert not any(str(tmp_path / "backbone") in path.read_text() for path in published)
    photo = render("flange_nut", seed=3, size=64).image
    before = load_pipeline(tmp_path / "model")(photo).raw_score
    shutil.rmtree(tmp_path / "backbone")
    assert load_pipeline(tmp_path / "model")(photo).raw_score == before


def test_one_model_learns_several_categories(tmp_path):
    finished = run_command(
        *("training/train.py", "--data", SMALL_DATA.replace("flange_nut", "all")),
        *("--category", "key", "flange_nut", "--output_dir", tmp_path / "both"),
        *("--image_size", "64", "--epochs", "1", "--calibration_fraction", "0.3"),
    )
    assert finished.returncode == 0, finished.stderr
    inspect = load_pipeline(tmp_path / "both")
    assert inspect.model.config.categories == ["key", "flange_nut"]
    assert {*inspect.model.calibrations} == {"key", "flange_nut"}
    assert inspect(render("key", seed=3, size=64).image, category="key").verdict
    evaluated = run_command(
        *("evaluation/evaluate.py", "--model", tmp_path / "both"),
        *("--data", SMALL_DATA, "--output_dir", tmp_path / "evaluation", "--num_pictures", "0"),
    )
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    calibration = inspect.model.calibration_of("flange_nut")
    assert metrics["raw_threshold"] == calibration.raw_threshold


@pytest.mark.parametrize(
    ("data", "category", "given", "expected"),
    [
        ("synthetic:flange_nut", "flange_nut", None, "apache-2.0"),
        ("photos", "bottle", None, "cc-by-nc-sa-4.0"),
        ("photos", "my_bracket", None, "other"),
        ("photos", "my_bracket", "mit", "mit"),
    ],
)
def test_the_models_licence_follows_its_data(data, category, given, expected):
    assert license_of(data, given, [category]) == expected


def test_the_card_names_data_command_and_limit(trained_model):
    card = (trained_model / "README.md").read_text()
    assert "python training/train.py" in card
    assert "license: apache-2.0" in card
    assert "library_name: transformers" in card
    assert "held-out good photos" in card


def test_a_model_can_be_trained_on_tiles(tmp_path):
    words = ("--image_size", "96", "--tile_size", "64", "--epochs", "2")  # four tiles
    folder = tmp_path / "tiled"
    finished = run_command(
        *("training/train.py", "--data", SMALL_DATA, "--output_dir", folder, *words),
        *("--checkpoint_every", "0", "--calibration_fraction", "0.3"),
    )
    assert finished.returncode == 0, finished.stderr
    config = json.loads((folder / "config.json").read_text())
    assert (config["image_size"], config["tile_size"]) == (96, 64)
    inspect = load_pipeline(folder)
    photo = load_inspection_dataset(SMALL_DATA)["test"][0]["image"]
    inspection = inspect(photo)
    assert inspection.score_map.shape == (96, 96)
    assert 0 <= inspection.score <= 1
    finished = run_command(
        *("training/train.py", "--data", SMALL_DATA, "--output_dir", tmp_path / "no"),
        *("--image_size", "160", "--tile_size", "60"),
    )
    assert finished.returncode == 2
    assert "tile_size must be" in finished.stderr
