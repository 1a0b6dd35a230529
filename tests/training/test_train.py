from __future__ import annotations

import json

import pytest
import torch
import yaml
from conftest import ROOT, TINY_DATA, TINY_RECIPE, run_script
from safetensors.torch import load_file

from modeling import AutoencoderConfig
from training.model_card import license_of
from training.recipe import Recipe, parse_recipe


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
    } <= names
    assert not [name for name in names if name.startswith(".writing")]
    assert list(trained_model.rglob("events.out.tfevents.*"))  # the tracker's log


def test_the_weights_are_half_and_learned(trained_model):
    state = load_file(trained_model / "model.safetensors")
    assert {tensor.dtype for name, tensor in state.items() if "residual_" not in name} == {
        torch.float16
    }
    assert state["residual_mean"].dtype == torch.float32
    rows = (trained_model / "learning_curve.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[1]) < 0.7 * float(rows[1].split(",")[1])


def test_the_calibration_comes_from_the_held_out_part_of_the_good_photos(trained_model):
    calibration = json.loads((trained_model / "config.json").read_text())["calibration"]
    n = len(calibration["normal_scores"])
    assert n == round(0.2 * 48)
    assert calibration["promised_false_alarm_rate"] >= 1 / (n + 1)


def test_resuming_from_a_checkpoint_gives_the_weights_of_an_unbroken_run(trained_model, tmp_path):
    checkpoint = trained_model / "checkpoints" / "epoch-00005"
    finished = run_script(
        "training/train.py",
        *("--data", TINY_DATA, "--output_dir", tmp_path / "resumed", *TINY_RECIPE),
        *("--resume_from_checkpoint", checkpoint),
    )
    assert finished.returncode == 0, finished.stderr
    unbroken = load_file(trained_model / "model.safetensors")
    resumed = load_file(tmp_path / "resumed" / "model.safetensors")
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_accelerate_launch_trains_too(tmp_path):
    finished = run_script(
        *("-m", "accelerate.commands.launch", "--cpu", "training/train.py"),
        ROOT / "training/configs/default.yaml",
        *("--data", "synthetic:flange_nut?train=12&test_good=1&test_per_defect=1&size=64"),
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
        (("--category", "bottle"), "--data is missing"),
        (("--data", "synthetic:flange_nut", "--epochs", "0"), "epochs must be a whole number"),
        (("no_such.yaml", "--data", "x"), "no_such.yaml can't be read"),
        (("--data", "synthetic:flange_nut", "--image_size", "100"), "multiple of 32"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, message, tmp_path):
    finished = run_script("training/train.py", *arguments, "--output_dir", tmp_path / "out")
    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr


def test_help_explains_every_field_with_its_default():
    text = run_script("training/train.py", "--help").stdout
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


def test_the_saved_recipe_repeats_the_run(trained_model):
    saved = parse_recipe([str(trained_model / "recipe.yaml")])
    assert yaml.safe_load(saved.to_yaml()) == yaml.safe_load(
        (trained_model / "recipe.yaml").read_text()
    )


def test_default_recipe_makes_a_valid_model():
    recipe = parse_recipe([])
    AutoencoderConfig(**recipe.model_fields())


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
    assert license_of(Recipe(data=data, data_license=given), category) == expected


def test_the_card_names_data_command_and_limit(trained_model):
    card = (trained_model / "README.md").read_text()
    assert "python training/train.py" in card
    assert "license: apache-2.0" in card
    assert "library_name: transformers" in card
    assert "held-out good photos" in card
