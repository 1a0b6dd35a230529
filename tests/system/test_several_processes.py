"""One process and several, started as a user starts them, learn the same."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import pytest
from commands import run_command

from training.train import main

TWO_PROCESSES = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
# 15 photos learn, so that the last batch of an epoch does not come out even.
DATA = "synthetic:flange_nut?train=19&test_good=1&test_per_defect=1&size=64"
SHORT = ("--data", DATA, "--image_size", "64", "--epochs", "3")
# The same sums in another order; measured 2e-7.
TOLERANCE = 1e-5


def learning_curve(folder: Path) -> list[dict[str, float]]:
    with (folder / "learning_curve.csv").open(newline="") as file:
        return [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]


def launched(*words: str):
    return run_command(*TWO_PROCESSES, "training/train.py", *words, timeout=300)


def sentences(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("train.py: ")]


@pytest.mark.parametrize("target", ["pixels", "features"])
def test_two_processes_have_the_learning_curve_of_one(target, tmp_path):
    words = (*SHORT, "--target", target, "--batch_size", "4")
    finished = launched(*words, "--output_dir", str(tmp_path / "two"))
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("The model is in") == 1
    assert json.loads((tmp_path / "two" / "training.json").read_text())["processes"] == 2
    assert main([*words, "--output_dir", str(tmp_path / "one")]) == 0
    one, two = (learning_curve(tmp_path / name) for name in ("one", "two"))
    assert len(one) == 3
    for alone, together in zip(one, two, strict=True):
        assert together == pytest.approx(alone, rel=TOLERANCE)
    assert not any(first == second for first, second in itertools.pairwise(one))
    thresholds = [
        json.loads((tmp_path / name / "config.json").read_text())["calibrations"]["flange_nut"]
        for name in ("one", "two")
    ]
    assert thresholds[1]["raw_threshold"] == pytest.approx(thresholds[0]["raw_threshold"], rel=0.02)


def test_two_processes_pool_the_scores_of_the_folds_of_one(tmp_path):
    words = (*SHORT, "--target", "pixels", "--calibration", "cross", "--folds", "3")
    finished = launched(*words, "--output_dir", str(tmp_path / "two"))
    assert finished.returncode == 0, finished.stderr
    assert main([*words, "--output_dir", str(tmp_path / "one")]) == 0
    one, two = (
        json.loads((tmp_path / name / "config.json").read_text())["calibrations"]["flange_nut"]
        for name in ("one", "two")
    )
    assert len(one["normal_scores"]) == 19
    assert two["normal_scores"] == pytest.approx(one["normal_scores"], rel=0.02)
    assert not (tmp_path / "two" / "folds").exists()


def test_what_is_wrong_is_said_once_and_ends_all_processes(tmp_path):
    words = ("--batch_size", "1", "--target", "pixels", "--output_dir", str(tmp_path))
    finished = launched(*SHORT, *words)
    assert finished.returncode != 0
    (sentence,) = sentences(finished.stderr)
    assert "batch_size is 1 for 2 processes" in sentence
    assert "exitcode  : 2" in finished.stderr
    assert not (tmp_path / "config.json").exists()


def test_photos_that_can_not_be_read_are_said_once(tmp_path):
    words = ("--data", "./nowhere", "--category", "bottle", "--output_dir", str(tmp_path))
    finished = launched(*words)
    assert len(sentences(finished.stderr)) == 1, finished.stderr


# The main process alone tells what went wrong, and takes its time.
SLOW_TO_TELL = """
import os, sys, time
sys.path.insert(0, os.getcwd())
from system.command_line import run_command
from system.errors import ElsewhereError
from system.processes import end, on_main, state

def fail():
    raise ValueError("the photo is damaged.")

def speaks(error):
    time.sleep(2 if state().is_main_process else 0)
    return state().is_main_process

bad_input = (ValueError, ElsewhereError)
end(run_command("train.py", lambda: on_main(fail), bad_input=bad_input, speaks=speaks))
"""


def test_who_has_nothing_to_tell_does_not_end_before_who_has(tmp_path):
    script = tmp_path / "slow_to_tell.py"
    script.write_text(SLOW_TO_TELL)
    finished = run_command(*TWO_PROCESSES, script, timeout=120)
    assert sentences(finished.stderr) == ["train.py: the photo is damaged."], finished.stderr
    assert "exitcode  : 2" in finished.stderr
