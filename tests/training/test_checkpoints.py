"""Checkpoints are whole whenever they can be seen, and the right ones stay."""

from __future__ import annotations

import itertools
import os
import pickle
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from killing import killed_at_each_change
from torch import nn

from system.processes import state
from training.checkpoints import CheckpointError, Checkpoints
from training.fit import TrainingState


@pytest.fixture(scope="module")
def trained() -> tuple[Accelerator, nn.Module]:
    state()
    accelerator = Accelerator()
    model = nn.Linear(3, 2)
    return accelerator, accelerator.prepare(model, torch.optim.Adam(model.parameters()))[0]


def write(trained, checkpoints: Checkpoints, epoch: int, **settings) -> Path:
    """A checkpoint whose weights say of which epoch it is."""
    accelerator, model = trained
    with torch.no_grad():
        model.weight.fill_(epoch)
    return checkpoints.write(accelerator, epoch, **settings)


def epoch_in(trained, checkpoints: Checkpoints, wanted: str = "latest") -> float:
    accelerator, model = trained
    checkpoints.load(accelerator, wanted)
    return model.weight[0, 0].item()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_the_latest_is_that_of_the_last_epoch(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for epoch in (9, 10, 99_999, 100_000):
        write(trained, checkpoints, epoch)
    assert epoch_in(trained, checkpoints) == 100_000
    assert epoch_in(trained, checkpoints, str(tmp_path / "checkpoints" / "epoch-00009")) == 9


@pytest.mark.parametrize(("kept", "left"), [(0, (1, 2, 3, 4)), (1, (4,)), (3, (2, 3, 4))])
def test_only_the_newest_stay(kept, left, trained, tmp_path):
    for epoch in (1, 2, 3, 4):
        write(trained, Checkpoints(tmp_path, kept), epoch)
    assert names(tmp_path) == [f"epoch-{epoch:05d}" for epoch in left]


def test_one_that_is_being_pushed_stays_until_it_is(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path, kept=1)
    first = write(trained, checkpoints, 1)
    write(trained, checkpoints, 2, in_use=first)
    assert names(tmp_path) == ["epoch-00001", "epoch-00002"]
    write(trained, checkpoints, 3)
    assert names(tmp_path) == ["epoch-00003"]


def test_those_of_an_earlier_training_go_with_the_first_new_one(trained, tmp_path):
    for epoch in (5, 10, 15):
        write(trained, Checkpoints(tmp_path, kept=0), epoch)
    write(trained, Checkpoints(tmp_path, kept=0), 10)
    assert names(tmp_path) == ["epoch-00005", "epoch-00010"]


def test_whatever_else_lies_there_is_no_checkpoint_and_stays(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path, kept=1)
    write(trained, checkpoints, 1)
    (tmp_path / "checkpoints" / "epoch-00007 (copy)").mkdir()
    write(trained, checkpoints, 2)
    assert checkpoints.newest().name == "epoch-00002"
    assert names(tmp_path) == ["epoch-00002", "epoch-00007 (copy)"]


def test_a_kill_at_any_point_of_writing_leaves_a_whole_checkpoint(trained, tmp_path):
    folders = (tmp_path / str(number) for number in itertools.count())
    original = tmp_path / "original"
    for epoch in (1, 2, 3):
        write(trained, Checkpoints(original), epoch)

    def make() -> Path:
        return shutil.copytree(original, next(folders))

    def go_on_from_the_second(folder: Path) -> None:  # removes the first and replaces the third
        write(trained, Checkpoints(folder, kept=2), 3)

    with torch.no_grad():
        trained[1].bias.fill_(7)  # by which the new third epoch is known
    found = []
    for folder in killed_at_each_change(make, go_on_from_the_second):
        latest = epoch_in(trained, Checkpoints(folder))
        found.append((latest, trained[1].bias[0].item() == 7))
        with torch.no_grad():
            trained[1].bias.fill_(7)
        after = write(trained, Checkpoints(folder, kept=2), 4)  # the next one tidies up
        assert names(folder) == [names(folder)[0], after.name]
        shutil.rmtree(folder)
    assert len(found) > 10
    assert {latest for latest, _ in found} <= {2, 3}
    assert found[0] == (3, False)
    assert found[-1] == (3, True)


def test_every_byte_is_on_the_disk_before_the_checkpoint_has_its_name(
    trained, tmp_path, monkeypatch
):
    done = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(descriptor):
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def noted_rename(path, target):
        done.append("renamed")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    checkpoint = write(trained, Checkpoints(tmp_path), 1)
    before = done[: done.index("renamed")]
    assert {path.name for path in checkpoint.iterdir()} < {*before}
    assert done[-1] == "checkpoints"  # and then the name itself


@pytest.mark.parametrize(
    ("wanted", "message"), [("latest", "no checkpoint under"), ("nowhere", "not a folder")]
)
def test_what_is_not_there_is_one_sentence(wanted, message, trained, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        epoch_in(trained, Checkpoints(tmp_path), wanted)


def test_a_damaged_one_or_one_of_another_model_is_one_sentence(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    weights = write(trained, checkpoints, 1) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match="can't be read or is of another model"):
        epoch_in(trained, checkpoints)


def test_what_a_stranger_wrote_into_one_is_not_run(trained, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    checkpoints = Checkpoints(tmp_path)
    checkpoint = write(trained, checkpoints, 1)
    trap = pickle.dumps(Trap())
    for name in ("custom_checkpoint_0.pkl", "optimizer.bin", "random_states_0.pkl"):
        (checkpoint / name).write_bytes(trap)
    with suppress(CheckpointError):
        epoch_in(trained, checkpoints)
    assert not (tmp_path / "sprung").exists()


def test_states_come_back_as_they_were(trained, tmp_path):
    state = TrainingState("abc", 2, [{"epoch": 1, "loss": 0.1 + 0.2}])
    write(trained, Checkpoints(tmp_path, states={"progress": state}), 1)
    assert not [*tmp_path.rglob("custom_checkpoint*")]
    found = TrainingState("other")
    epoch_in(trained, Checkpoints(tmp_path, states={"progress": found}))
    assert found == state
