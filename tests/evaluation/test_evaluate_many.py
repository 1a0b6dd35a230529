"""evaluate.py on several models, categories and processes, and what it leaves in its folder."""

from __future__ import annotations

import csv
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from commands import commands, run_command
from conftest import ROOT, TINY_DATA
from PIL import Image

from data.dataset import load_inspection_dataset
from evaluation.evaluate.baselines import BASELINES
from evaluation.evaluate.command import main
from evaluation.stored import read_evaluations
from modeling import load_pipeline

SMALL = "train=4&test_good=5&test_per_defect=1&size=96"
NUT, EVERY = f"synthetic:flange_nut?{SMALL}", f"synthetic:all?{SMALL}"
TWO_PROCESSES = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
# What says when and how the evaluation was made, and not what it found.
OF_THE_RUN = ("date", "command", "cost")


def arguments_for(models: list, data: Path | str, output_dir: Path, *more: str) -> list[str]:
    words = [*("--model", *map(str, models)), *("--data", str(data))]
    return [*words, *("--output_dir", str(output_dir)), *more]


def findings(folder: Path) -> dict:
    metrics = json.loads((folder / "metrics.json").read_text())
    for baseline in metrics["baselines"].values():
        del baseline["seconds"]
    return {key: value for key, value in metrics.items() if key not in OF_THE_RUN}


def read_predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def models(trained_model: Path, tmp_path: Path) -> Path:
    """A folder of two models: one knows the flange nut, the other takes itself for a key's."""
    for category in ("flange_nut", "key"):
        folder = tmp_path / "models" / category
        shutil.copytree(trained_model, folder)
        config = (folder / "config.json").read_text()
        (folder / "config.json").write_text(config.replace('"flange_nut"', f'"{category}"'))
    return tmp_path / "models"


# Several processes


def test_two_processes_find_to_the_last_bit_what_one_finds(trained_model, tmp_path):
    more = ("--num_pictures", "0", "--baseline", "--maps", "npz", "--batch_size", "3")
    one, two = (
        arguments_for([trained_model], NUT, tmp_path / name, *more) for name in ("one", "two")
    )
    assert main(one) == 0
    finished = run_command(*TWO_PROCESSES, "evaluation/evaluate.py", *two)
    assert finished.returncode == 0, finished.stderr
    assert findings(tmp_path / "one") == findings(tmp_path / "two")
    for name in ("predictions.csv", "maps/maps.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    for path in (tmp_path / "one" / "maps").glob("*.npz"):
        twin = tmp_path / "two" / "maps" / path.name
        assert np.array_equal(np.load(path)["anomaly_map"], np.load(twin)["anomaly_map"])
    costs = [
        json.loads((tmp_path / name / "metrics.json").read_text())["cost"]
        for name in ("one", "two")
    ]
    assert [cost["processes"] for cost in costs] == [1, 2]
    assert finished.stdout.count("Results are in") == 1


def test_an_error_in_one_process_ends_all_of_them_with_one_sentence(trained_model, tmp_path):
    part = tmp_path / "data" / "flange_nut"
    rows = load_inspection_dataset(NUT)
    for folder, row in (("train", rows["train"][0]), *(("test", row) for row in rows["test"])):
        path = part / folder / row["defect"] / f"{row['image_id'].rpartition('/')[2]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        row["image"].save(path)
    last = sorted((part / "test").rglob("*.png"))[1]  # the second batch: that of the other process
    last.write_bytes(_png_whose_pixels_are_missing())
    arguments = arguments_for(
        [trained_model], tmp_path / "data", tmp_path / "out", "--batch_size", "1"
    )
    finished = run_command(*TWO_PROCESSES, "evaluation/evaluate.py", *arguments, timeout=240)
    assert finished.returncode != 0
    said = [line for line in finished.stderr.splitlines() if line.startswith("evaluate.py: ")]
    assert len(said) == 1, finished.stderr
    assert f"{last.parent.name}/{last.stem} is damaged" in said[0]
    assert "exitcode  : 2" in finished.stderr  # of the process that failed first
    assert not (tmp_path / "out" / "metrics.json").exists()


def _png_whose_pixels_are_missing() -> bytes:
    """A PNG whose checksums are right, so that only decoding finds out."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 96, 96, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", b"no pixels"), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Several models and categories


def test_every_model_of_a_folder_is_evaluated_on_its_own_category(models, tmp_path, capsys):
    more = ("--category", "all", "--num_pictures", "0")
    assert main(arguments_for([models], EVERY, tmp_path / "out", *more)) == 0
    found = {
        one.folder.relative_to(tmp_path / "out").as_posix(): one.category
        for one in read_evaluations([tmp_path / "out"])
    }
    assert found == {"flange_nut/flange_nut": "flange_nut", "key/key": "key"}
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    assert printed.out.splitlines()[-3].split()[:3] == ["results", "image", "AUROC"]


def test_a_model_that_knows_nothing_of_the_data_is_left_out_with_a_word(models, tmp_path, capsys):
    more = ("--category", "all", "--num_pictures", "0")
    assert main(arguments_for([models], NUT, tmp_path / "out", *more)) == 0
    assert f"warning: {models / 'key'} knows nothing that {NUT} has" in capsys.readouterr().err
    assert (tmp_path / "out" / "metrics.json").is_file()  # of the only pair


def test_a_model_that_is_broken_is_told_before_anything_is_evaluated(models, tmp_path, capsys):
    weights = models / "key" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    arguments = arguments_for([models], EVERY, tmp_path / "out", "--category", "all")
    assert main(arguments) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert errors[-1].startswith("evaluate.py: ")
    assert str(models / "key") in errors[-1]
    assert not (tmp_path / "out").exists()


def test_what_fails_on_the_way_is_told_and_the_others_go_on(models, tmp_path, capsys):
    (tmp_path / "out" / "flange_nut").mkdir(parents=True)
    (tmp_path / "out" / "flange_nut" / "flange_nut").write_text("in the way")
    more = ("--category", "all", "--num_pictures", "0")
    assert main(arguments_for([models], EVERY, tmp_path / "out", *more)) == 2
    (error,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("evaluate.py: ")
    ]
    assert "flange_nut/flange_nut can't be read or written" in error
    assert [one.category for one in read_evaluations([tmp_path / "out" / "key"])] == ["key"]


def test_a_model_on_the_hub_is_measured_and_weighed_as_its_folder_is(
    hub, hub_home, trained_model, tmp_path
):
    run = commands(hub.environment(hub_home))
    for script, *words in (
        ("publishing.push", trained_model, "org/nut"),
        ("evaluation.evaluate", *arguments_for(["org/nut"], NUT, tmp_path / "hub")),
    ):
        finished = run(["python", "-m", script, *map(str, words)], ROOT)
        assert finished.returncode == 0, finished.stderr
    assert main(arguments_for([trained_model], NUT, tmp_path / "folder")) == 0
    remote, local = findings(tmp_path / "hub"), findings(tmp_path / "folder")
    assert remote["model"] == "org/nut"
    assert len(remote["model_revision"]) == 40
    for one in (remote, local):
        del one["model"], one["model_revision"]
    assert remote == local
    costs = [
        json.loads((tmp_path / name / "metrics.json").read_text())["cost"]
        for name in ("hub", "folder")
    ]
    for key in ("weights_bytes", "parameters", "training_seconds", "photos"):
        assert costs[0][key] == costs[1][key] > 0
    curves = [tmp_path / "hub" / "learning_curve.csv", trained_model / "learning_curve.csv"]
    assert curves[0].read_bytes() == curves[1].read_bytes()


# What is left in the folder


@pytest.fixture(scope="module")
def results(trained_model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    more = ("--baseline", "--maps", "png16")
    assert main(arguments_for([trained_model], TINY_DATA, folder, *more)) == 0
    return folder


def test_the_cost_is_that_of_the_model(results, trained_model):
    cost = json.loads((results / "metrics.json").read_text())["cost"]
    assert cost["photos"] == 26
    assert cost["seconds_per_photo"] == pytest.approx(cost["inference_seconds"] / 26, abs=1e-3)
    assert cost["weights_bytes"] == (trained_model / "model.safetensors").stat().st_size
    training = json.loads((trained_model / "training.json").read_text())
    assert cost["training_seconds"] == training["wall_seconds"]
    assert cost["parameters"] == training["n_weights"]
    assert cost["processes"] == 1


def test_baselines_stand_beside_the_model(results):
    baselines = json.loads((results / "metrics.json").read_text())["baselines"]
    assert {*baselines} == {*BASELINES}


def test_the_learning_curve_lies_beside_the_figures(results, trained_model):
    name = "learning_curve.csv"
    assert (results / name).read_bytes() == (trained_model / name).read_bytes()


def test_maps_are_read_back_as_close_as_sixteen_bits_allow(results, trained_model):
    listed = json.loads((results / "maps" / "maps.json").read_text())
    photos = load_inspection_dataset(TINY_DATA)["test"]
    assert [one["image_id"] for one in listed["maps"]] == photos["image_id"][:]
    pipe = load_pipeline(trained_model)
    for index in range(0, len(photos), 6):
        with Image.open(results / "maps" / listed["maps"][index]["file"]) as picture:
            assert picture.mode == "I;16"
            read = np.asarray(picture) * listed["scale"]
        expected = pipe(photos[index]["image"]).anomaly_map
        assert read.shape == expected.shape
        assert np.abs(read - expected).max() <= listed["scale"] / 2 + 1e-4
    assert 0 < listed["scale"] < 1e-2


def test_cases_are_the_wrong_verdicts_with_their_pictures(results):
    wrong = {
        row["image_id"]: row
        for row in read_predictions(results)
        if (float(row["score"]) > float(row["threshold"])) != (row["label"] == "anomalous")
    }
    cases = json.loads((results / "cases" / "cases.json").read_text())
    assert 0 < len(cases) <= 20
    for case in cases:
        row = wrong[case["image_id"]]
        assert case["error"] == ("miss" if row["label"] == "anomalous" else "false alarm")
        for key in ("defect", "label", "verdict"):
            assert case[key] == row[key]
        assert case["raw_score"] == float(row["raw_score"])
        assert case["score"] == float(row["score"])
        for what in ("photo", "reconstruction", "heatmap"):
            with Image.open(results / "cases" / case[what]) as picture:
                assert (picture.format, max(picture.size)) == ("JPEG", 192)
        assert (case["truth"] is None) == (row["label"] == "normal")
        if case["truth"]:
            with Image.open(results / "cases" / case["truth"]) as truth:
                assert (truth.format, np.asarray(truth).max()) == ("PNG", 255)
    misses = [case["raw_score"] for case in cases if case["error"] == "miss"]
    alarms = [case["raw_score"] for case in cases if case["error"] == "false alarm"]
    assert [case["raw_score"] for case in cases] == sorted(misses) + sorted(alarms, reverse=True)


def test_what_an_earlier_evaluation_left_is_not_mixed_in(trained_model, tmp_path):
    words = arguments_for([trained_model], NUT, tmp_path)
    assert main([*words, "--maps", "npz"]) == 0
    (stored,) = (tmp_path / "maps").glob("00000-*")
    assert np.load(stored)["anomaly_map"].shape == (96, 96)
    assert main([*words, "--num_pictures", "0"]) == 0
    assert not (tmp_path / "maps").exists()
    assert not (tmp_path / "cases").exists()


def test_a_folder_of_somebody_else_is_left_alone(trained_model, tmp_path):
    treasure = tmp_path / "maps" / "treasure.txt"
    treasure.parent.mkdir()
    treasure.write_text("X")
    assert main(arguments_for([trained_model], NUT, tmp_path, "--num_pictures", "0")) == 0
    assert treasure.read_text() == "X"
