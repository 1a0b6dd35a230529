"""A model folder holds a whole model or none, whenever its writing ends."""

from __future__ import annotations

import itertools
import resource
import shutil
from pathlib import Path

import pytest
import torch
from killing import killed_at_each_change

from model_files import TrainingRun
from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor, load_model
from system.errors import DiskError
from training import model_folder as room
from training.model_folder import complete_model_folder, round_to_half, write_model_folder
from training.recipe import Recipe

SIDE = 32
FACTS = {"date": "2026-11-25", "versions": {}, "n_training": 1, "n_weights": 1, "device": "none"}
RUN = TrainingRun(command="", processes=1, wall_seconds=1.0, cpu_seconds=1.0, **FACTS)
CURVE = [{"epoch": 1, "loss": 1.0, "held_out_loss": 1.0, "learning_rate": 0.1}]


@pytest.fixture(scope="module", autouse=True)
def quick_plot():
    """The curve takes most of the time, and is a file like the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "plot_learning_curve", lambda path, history: path.write_text("curve"))
        yield


def write(folder: Path, seed: int) -> None:
    """A model folder in which every file tells the models apart that matters."""
    torch.manual_seed(seed)
    config = AutoencoderConfig(
        image_size=SIDE,
        target="pixels",
        categories=["flange_nut"],
        hidden_sizes=[8],
        latent_channels=8,
        map_sigma=1.0 + seed,
    )
    model = Autoencoder(config).eval()
    round_to_half(model)
    processor = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})
    recipe = Recipe(data="synthetic:flange_nut", target="pixels", image_size=SIDE, seed=seed)
    write_model_folder(folder, model, processor, recipe, RUN, CURVE)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> tuple[Path, Path]:
    """A folder with an old model, and one with the new that is to take its place."""
    folders = tuple(tmp_path_factory.mktemp(name) for name in ("old", "new"))
    for seed, folder in enumerate(folders):
        write(folder, seed)
        (folder / "checkpoints").mkdir()
    return folders


def test_a_new_model_takes_the_place_of_an_old_one(models, tmp_path):
    old, new = map(files, models)
    assert {name for name in old if old[name] != new[name]} >= {"config.json", "model.safetensors"}
    folder = shutil.copytree(models[0], tmp_path / "model")
    write(folder, 1)
    assert files(folder) == new
    assert sorted(path.name for path in folder.iterdir()) == sorted([*new, "checkpoints"])


def test_a_kill_at_any_point_leaves_the_old_model_or_the_new_one(models, tmp_path):
    old, new = map(files, models)
    numbers = itertools.count()
    outcomes = []

    def make() -> Path:
        return shutil.copytree(models[0], tmp_path / str(next(numbers)))

    for folder in killed_at_each_change(make, lambda folder: write(folder, 1)):
        seen = files(folder)
        assert "config.json" not in seen or seen in (old, new)  # nobody takes a mixture for one
        complete_model_folder(folder)  # as the next training in this folder does first
        assert files(folder) in (old, new)
        assert {path.name for path in folder.iterdir() if path.is_dir()} == {"checkpoints"}
        load_model(folder)
        outcomes.append("old" if files(folder) == old else "new")
        shutil.rmtree(folder)
    assert outcomes == ["old"] * outcomes.count("old") + ["new"] * outcomes.count("new")
    assert outcomes.count("old") > 10
    assert outcomes.count("new") > 10


def test_a_kill_while_a_broken_off_one_is_completed_does_no_harm(models, tmp_path):
    numbers = itertools.count()

    def make() -> Path:
        folder = shutil.copytree(models[0], tmp_path / str(next(numbers)))
        shutil.copytree(models[1], folder / room.FINISHED)
        (folder / room.FINISHED / "checkpoints").rmdir()
        return folder

    for folder in killed_at_each_change(make, complete_model_folder):
        complete_model_folder(folder)
        assert files(folder) == files(models[1])
        shutil.rmtree(folder)


def test_a_full_disk_leaves_the_old_model_and_says_so(models, tmp_path):
    folder = shutil.copytree(models[0], tmp_path / "model")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (folder / "model.safetensors").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limit[1]))
    try:
        with pytest.raises(DiskError, match=r"The model .*/model could not be written \(File too"):
            write(folder, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert files(folder) == files(models[0])
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["checkpoints"]
