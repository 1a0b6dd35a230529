"""Training survives a kill, a full disk and a loss that is no number: real runs of train.py."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from commands import run_command
from conftest import ROOT
from safetensors.torch import load_file

from training.train import main

# Its noise, its warm-up, its momentum and its learning rate all have to come back.
RECIPE = (
    *(str(ROOT / "training/configs/variational_autoencoder_features.yaml"), "--image_size", "64"),
    *("--data", "synthetic:flange_nut?train=25&test_good=1&test_per_defect=1&size=64"),
    *("--epochs", "4", "--batch_size", "2", "--checkpoint_every", "1", "--checkpoints_kept", "2"),
)
STEPS = 10  # an epoch: 20 photos, the other 5 held out
GOES_ON = ("--resume_from_checkpoint", "latest")


def train_and_kill(folder: Path, kill_at: int) -> tuple[int, str]:
    """Run train.py as a user does, and `kill -9` it once it says that it has taken so many steps.

    Returns:
        Its exit code and what it said on stderr.
    """
    process = subprocess.Popen(
        [sys.executable, "training/train.py", *RECIPE, "--output_dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"TQDM_MININTERVAL": "0"},  # tell of every step
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said = b""
    while chunk := os.read(process.stderr.fileno(), 4096):
        said += chunk
        if steps_in(said.decode(errors="replace"))[-1] >= kill_at:
            process.send_signal(signal.SIGKILL)
    return process.wait(), said.decode()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The disk takes no file that is larger, as if it were full by then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def steps_in(said: str) -> list[int]:
    """How many steps the training's bar has told of, time after time."""
    return [0, *(int(step) for step in re.findall(rf"(\d+)/{4 * STEPS} ", said))]


def sentences(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("train.py: ")]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def checkpoints(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / "checkpoints"))  # hidden ones too


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert main([*RECIPE, "--output_dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    code, said = train_and_kill(folder, 2 * STEPS + STEPS // 2)
    assert code == -signal.SIGKILL, said
    assert not (folder / "config.json").exists()
    assert checkpoints(folder) == ["epoch-00001", "epoch-00002"]
    assert not [*folder.rglob("custom_checkpoint*")]  # accelerate would run what it says
    return folder


def test_killed_in_mid_epoch_and_resumed_it_ends_as_if_nothing_had_been(unbroken, killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "resumed")
    resumed = run_command("training/train.py", *RECIPE, "--output_dir", folder, *GOES_ON)
    assert resumed.returncode == 0, resumed.stderr
    expected, found = weights(unbroken), weights(folder)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    name = "learning_curve.csv"
    assert (folder / name).read_bytes() == (unbroken / name).read_bytes()
    assert checkpoints(folder) == ["epoch-00003", "epoch-00004"]


def test_a_full_disk_ends_it_with_one_sentence_and_the_last_checkpoint_whole(
    killed, tmp_path, capsys
):
    folder = shutil.copytree(killed, tmp_path / "full")
    last = content(folder / "checkpoints" / "epoch-00002")
    with largest_file(max(map(len, last.values())) - 4096):
        assert main([*RECIPE, "--output_dir", str(folder), *GOES_ON]) == 1
    said = capsys.readouterr().err
    (sentence,) = sentences(said)
    assert "epoch-00003 could not be written (File too large; " in sentence
    assert "epoch-00002, which is whole." in sentence
    assert "Traceback" not in said
    assert checkpoints(folder) == ["epoch-00001", "epoch-00002"]
    assert content(folder / "checkpoints" / "epoch-00002") == last
    assert not (folder / "config.json").exists()


def test_a_loss_that_is_no_number_ends_it_and_leaves_the_last_checkpoint(killed, tmp_path, capsys):
    folder = shutil.copytree(killed, tmp_path / "nan")
    path = folder / "checkpoints" / "epoch-00002" / "optimizer.bin"
    state = torch.load(path, weights_only=True)
    state["state"][0]["momentum"].fill_(torch.inf)  # the next step takes the weights out of bounds
    torch.save(state, path)
    last = content(path.parent)
    assert main([*RECIPE, "--output_dir", str(folder), *GOES_ON]) == 2
    said = capsys.readouterr().err
    (sentence,) = sentences(said)
    assert "The loss is nan in epoch 3, expected a finite number" in sentence
    assert steps_in(said)[-1] < 2 * STEPS + 4  # it stops there
    assert "epoch-00002, which is whole." in sentence
    assert checkpoints(folder) == ["epoch-00001", "epoch-00002"]
    assert content(path.parent) == last


def test_weights_that_give_no_number_replace_no_checkpoint(killed, tmp_path, capsys):
    folder = shutil.copytree(killed, tmp_path / "last_step")
    path = folder / "checkpoints" / "epoch-00002" / "optimizer.bin"
    state = torch.load(path, weights_only=True)
    state["state"][0]["momentum"].fill_(torch.inf)
    torch.save(state, path)
    # One step an epoch: its loss is finite still, and only what it leaves behind is not.
    assert main([*RECIPE, "--output_dir", str(folder), *GOES_ON, "--batch_size", "20"]) == 2
    assert "The loss is nan in epoch 3" in capsys.readouterr().err
    assert checkpoints(folder) == ["epoch-00001", "epoch-00002"]


def test_it_goes_on_at_another_learning_rate_as_its_sentence_advises(killed, tmp_path):
    folder = shutil.copytree(killed, tmp_path / "slower")
    words = ("--output_dir", str(folder), *GOES_ON, "--learning_rate", "1e-8")
    words += ("--checkpoints_kept", "0")
    assert main([*RECIPE, *words]) == 0
    curve = (folder / "learning_curve.csv").read_text().splitlines()[1:]
    rates = [float(row.split(",")[3]) for row in curve]
    assert rates[1] > 1e-4 > 1e-8 > rates[2] > rates[3]
    before, after = (
        load_file(folder / "checkpoints" / name / "model.safetensors")
        for name in ("epoch-00002", "epoch-00003")
    )
    for name in before:  # from the first step on
        assert "warmup_step" in name or torch.allclose(before[name], after[name], atol=1e-6)


def test_photos_that_were_held_out_are_not_learned_after_a_resumption(killed, tmp_path, capsys):
    words = ("--output_dir", str(tmp_path), "--resume_from_checkpoint")
    checkpoint = str(killed / "checkpoints" / "epoch-00002")
    assert main([*RECIPE, *words, checkpoint, "--seed", "1"]) == 2
    assert "has learned from other photos" in capsys.readouterr().err


def test_starting_anew_over_checkpoints_warns(killed, tmp_path, capsys):
    folder = shutil.copytree(killed, tmp_path / "anew")
    assert main([*RECIPE, "--output_dir", str(folder), "--epochs", "1"]) == 0
    assert "epoch-00002 is of an earlier training" in capsys.readouterr().err
    assert checkpoints(folder) == ["epoch-00001"]


def test_an_output_folder_that_can_not_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main([*RECIPE, "--output_dir", str(tmp_path / "file" / "model")]) == 2
    (sentence,) = sentences(capsys.readouterr().err)
    assert "give another --output_dir" in sentence
