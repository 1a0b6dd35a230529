"""The recipe for a GPU and the Hub, on a CPU with a random trunk of the shape that the Hub has."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from commands import run_command
from conftest import ROOT
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from data.dataset import load_inspection_dataset
from modeling import Autoencoder, InspectionImageProcessor
from training.initial_model import build_model
from training.recipe import parse_recipe

RECIPE = str(ROOT / "training" / "configs" / "gpu.yaml")
DATA = "synthetic:flange_nut?train=12&test_good=1&test_per_defect=1&size=112"
SIDE = 112  # 8 x 8 patches


@pytest.fixture(scope="module")
def trunk(tmp_path_factory) -> Path:
    """facebook/dinov2-with-registers-small, but for what it has learned."""
    folder = tmp_path_factory.mktemp("trunk")
    torch.manual_seed(0)
    shape = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    pictures = {"patch_size": 14, "image_size": 518, "num_register_tokens": 4}
    Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**shape, **pictures)).save_pretrained(folder)
    processor = {
        "image_processor_type": "BitImageProcessor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_the_features_lie_on_the_grid_as_the_trunk_gives_them(trunk):
    model, _ = build_model(parse_recipe([RECIPE, "--backbone", str(trunk)]))
    side = model.config.image_size
    features = model.target.extract(torch.rand(1, 3, side, side))
    assert {tuple(layer.shape) for layer in features} == {(1, 384, *[model.target.grid] * 2)}
    assert model.target.grid % model.config.whole_part_side == 0
    assert model.target.paint(torch.rand(1, 1152, 2, 2)).shape == (1, 3, 28, 28)


def test_the_first_run_trains_judges_and_reloads(trunk, tmp_path):
    backbone = shutil.copytree(trunk, tmp_path / "trunk")
    folder = tmp_path / "model"
    finished = run_command(
        *("training/train.py", RECIPE, "--backbone", backbone, "--data", DATA),
        *("--output_dir", folder, "--image_size", str(SIDE), "--steps", "2", "--batch_size", "4"),
        *("--variants", "1", "--calibration_fraction", "0.3", "--checkpoint_every", "0"),
    )
    assert finished.returncode == 0, finished.stderr
    shutil.rmtree(backbone)  # the model carries it
    photo = load_inspection_dataset(DATA)["test"][0]["image"]
    processor = InspectionImageProcessor.from_pretrained(folder)
    pictures = processor(photo, return_tensors="pt")["pixel_values"]
    models = [Autoencoder.from_pretrained(folder).eval() for _ in range(2)]
    found, again = (model.detect(pictures) for model in models)
    assert found.anomaly_map.shape == (1, SIDE, SIDE)
    assert found.anomaly_map.isfinite().all()
    assert 0 <= found.anomaly_score <= 1
    assert torch.equal(found.anomaly_map, again.anomaly_map)
    assert torch.equal(found.anomaly_score, again.anomaly_score)
    models[0].save_pretrained(tmp_path / "copy")
    copy = Autoencoder.from_pretrained(tmp_path / "copy").eval()
    # Bit by bit what was saved; where it lies in memory decides the last bit of a product.
    state, copied = models[0].state_dict(), copy.state_dict()
    assert all(torch.equal(state[name], copied[name]) for name in state)
    torch.testing.assert_close(copy.detect(pictures).raw_score, found.raw_score)
