"""A model of strangers is looked at before anything is built from it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from fresh_process import run_code
from PIL import Image
from safetensors.torch import load_file, save_file

from modeling import ModelLoadError, load_model, load_pipeline

EVIL = "from pathlib import Path\nPath('ran').touch()\nclass Config: pass\nclass Model: pass\n"


@pytest.fixture
def folder(trained_model, tmp_path) -> Path:
    return Path(shutil.copytree(trained_model, tmp_path / "nut"))


def change(file: Path, *place: str | int, value: Any) -> None:
    """Write another value at a place of a JSON file."""
    content = inner = json.loads(file.read_text())
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    file.write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    """The one sentence why a model is not loaded."""
    with pytest.raises(ModelLoadError) as caught:
        load_pipeline(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 800
    return sentence


def backbone(**config: Any) -> dict[str, Any]:
    return {"model_type": "dinov2", **config}


HOSTILE = [
    ("image_size", 10**9, "image_size 1000000000, expected at most 100000"),
    ("image_size", 10**1000, "image_size 0x"),
    ("image_size", -448, "image_size must be a whole number from 32 to 2048, found -448"),
    ("image_size", "448", "image_size must be a whole number"),
    ("num_labels", 10**7, "num_labels 10000000, expected at most 100000"),  # transformers names all
    ("hidden_sizes", [4096] * 3, "weights that do not fit config.json: decoder."),
    ("hidden_sizes", [8] * 10**5, "hidden_sizes must be a list of 1 to 8 values, found 100000"),
    ("hidden_sizes", "8", "hidden_sizes must be a list of 1 to 8 values, found '8'"),
    ("latent_channels", 4096, "weights that do not fit config.json"),
    ("feature_stride", 1, "could not be loaded"),
    ("map_sigma", float("inf"), "map_sigma inf, expected a finite number"),
    ("categories", [str(number) for number in range(10**6)], "config.json of"),
    ("categories", [str(number) for number in range(2000)], "a list of 1 to 1000 values"),
    ("categories", ["nut", "nut"], "categories must differ"),
    ("categories", ["a\nb"], "printable characters"),
    ("categories", ["<script>alert(1)</script>"], "calibrations must be one of <script>"),
    ("categories", 7, "categories must be a list"),
    ("calibrations", [], "calibrations must be by category"),
    ("calibrations", {"screw": {}}, "calibrations must be one of flange_nut, found 'screw'"),
    ("calibrations", {"flange_nut": "x"}, "The calibration in config.json must have"),
    ("calibrations", {}, "is not calibrated"),
    ("model_type", ["x"], "model_type ['x'], which is none of this project's"),
    ("model_type", "bert", "is a bert, not a reconstruction model of this project"),
    ("dtype", "load", "dtype 'load', expected one of float16"),
    ("dtype", "int8", "dtype 'int8', expected one of float16"),
    ("_attn_implementation", "org/kernel", "expected one of eager, sdpa"),  # code from the Hub
    ("quantization_config", {"quant_method": "x"}, "has no field 'quantization_config'"),
    ("backbone_config", backbone(num_hidden_layers=10**5), "a network of more than 5000 parts"),
    ("backbone_config", backbone(attn_implementation="org/kernel"), "expected one of eager, sdpa"),
    ("backbone_config", backbone(num_labels=10**6), "num_labels 1000000, expected at most"),
    ("backbone_config", {"model_type": "bert"}, "a bert, which is no backbone"),
    ("backbone_config", {"model_type": "timm_backbone", "backbone": "resnet18"}, "timm_backbone"),
]


@pytest.mark.parametrize(("field", "value", "words"), HOSTILE)
def test_a_hostile_value_in_a_config_is_one_sentence(folder, field, value, words):
    if field == "backbone_config":
        change(folder / "config.json", "backbone", value="org/backbone")
    change(folder / "config.json", field, value=value)
    assert words in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("normal_scores", [], "normal_scores must be a list of 1 to 100000 values, found 0"),
        ("normal_scores", [1.0] * 100_001, "found 100001"),
        ("normal_scores", [float("nan")], "normal_scores nan, expected a finite number"),
        ("normal_scores", ["1"], "The calibration in config.json must have"),
        ("raw_threshold", 1e300, "raw_threshold must be a number from -1e+30 to 1e+30"),
        ("scale", 0, "a scale above 0"),
        ("scale", 1e-300, "scale must be a number from 1e-30 to 1e+30"),  # 0 in 32 bits
        ("promised_false_alarm_rate", 7, "must be a number from 0 to 1, found 7"),
        ("unheard_of", 1, "The calibration in config.json must have"),
    ],
)
def test_a_hostile_calibration_is_one_sentence(folder, field, value, words):
    change(folder / "config.json", "calibrations", "flange_nut", field, value=value)
    assert words in refusal(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", {"height": 100_000, "width": 100_000}),
        ("size", {"height": 128, "width": 64}),
        ("size", None),
        ("crop_size", 100_000),
        ("do_center_crop", True),
        ("do_pad", True),
        ("do_resize", False),
        ("do_rescale", False),
        ("rescale_factor", 1.0),
        ("do_normalize", True),
        ("resample", 99),
        ("image_processor_type", "BertProcessor"),
    ],
)
def test_an_image_processor_that_gives_something_else_is_refused(folder, field, value):
    change(folder / "preprocessor_config.json", field, value=value)
    if field == "crop_size":
        change(folder / "preprocessor_config.json", "do_center_crop", value=True)
    assert "could not be loaded" in refusal(folder)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 10**5, '{"a": 1e999}', "{}"])
def test_a_config_that_is_none_is_one_sentence(folder, content):
    (folder / "config.json").write_text(content)
    assert "could not be loaded" in refusal(folder)


def test_a_folder_without_a_config_is_one_sentence(folder):
    (folder / "config.json").unlink()
    assert refusal(folder).endswith("found: no config.json there.")


def test_no_tensor_may_be_missing_left_over_or_of_another_shape(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    for changed, words in (
        ({other: tensors[other] for other in tensors if other != name}, "none, it is missing"),
        ({**tensors, "more": torch.zeros(2)}, "more has the shape (2,), not any"),
        ({**tensors, name: torch.zeros(3, 3)}, "has the shape (3, 3), not"),
    ):
        save_file(changed, path, {"format": "pt"})
        assert words in refusal(folder)


def test_a_file_in_parts_is_looked_at_part_by_part(folder):
    model, _ = load_model(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="2MB")
    assert len([*folder.glob("model-*.safetensors")]) > 1
    load_model(folder)
    change(folder / "config.json", "latent_channels", value=32)
    assert "weights that do not fit" in refusal(folder)


def test_weights_that_are_no_numbers_give_no_verdict(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    poisoned = {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items()}
    save_file(poisoned, path, {"format": "pt"})
    with pytest.raises(ModelLoadError, match="gives no score for this photo"):
        load_pipeline(folder)(Image.new("RGB", (64, 64), "gray"))


def test_pictures_that_are_no_numbers_are_refused(trained_model):
    model, _ = load_model(trained_model)
    side = model.config.image_size
    for value in (torch.nan, torch.inf, -torch.inf):
        pixel_values = torch.full((1, 3, side, side), 0.5)
        pixel_values[0, 1, 2, 3] = value
        with pytest.raises(ValueError, match="must be finite numbers"):
            model.detect(pixel_values)


def test_code_that_a_folder_brings_along_is_never_run(folder, tmp_path):
    evil = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    evil |= {"AutoImageProcessor": "evil.Model", "AutoProcessor": "evil.Model"}
    folders = []
    for file in ("config.json", "preprocessor_config.json"):
        folders.append(str(shutil.copytree(folder, tmp_path / file / "nut")))
        Path(folders[-1], "evil.py").write_text(EVIL)
        change(Path(folders[-1], file), "auto_map", value=evil)
    code = f"""
import json
from modeling import load_pipeline
modules = []
for folder in {folders}:
    inspect = load_pipeline(folder)
    modules += [type(inspect.model).__module__, type(inspect.image_processor).__module__]
print(json.dumps(modules))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "home")}
    modules = run_code(code, environment, tmp_path)
    assert modules == ["modeling.autoencoder", "modeling.image_processing"] * 2
    assert not [*tmp_path.rglob("ran")]
    assert not [*(tmp_path / "home").rglob("*.py")]
