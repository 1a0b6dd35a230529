"""The benchmark times the way that every inspection goes, and nothing else."""

from __future__ import annotations

import csv
import time

import pytest
from commands import run_command
from PIL import Image

from data.synthetic import render
from evaluation.studies.benchmark.command import SIDE, draw_photo, main
from evaluation.studies.benchmark.floor import count_operations
from evaluation.studies.benchmark.stages import DECODE, MODEL, REST, STAGES, Stopwatch, watching
from modeling import load_pipeline

RUNS = 3


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    render("flange_nut", seed=3, defect="scratch", size=192).image.save(path)
    return path


def test_a_stage_within_another_is_counted_once():
    watch = Stopwatch()
    inner = watch.watched(MODEL, lambda: time.sleep(0.02))

    def outer():
        time.sleep(0.01)
        inner()
        inner()

    start = time.perf_counter()
    watch.watched(REST, outer)()
    whole = time.perf_counter() - start
    seconds = watch.take()
    assert seconds[MODEL] >= 0.04 and seconds[REST] >= 0.01
    assert sum(seconds.values()) <= whole
    assert set(watch.take().values()) == {0.0}


def test_a_watched_pipeline_says_the_same_and_is_left_as_it_was(trained_model, photo):
    inspect = load_pipeline(trained_model)
    expected = inspect(photo)
    before = {name: getattr(inspect, name) for name in ("image_processor", "detector")}
    with watching(inspect) as (watch, judge):
        found = judge(photo)
        seconds = watch.take()
        assert all(seconds[stage] > 0 for stage in STAGES)
        judge([photo] * 4, batch_size=2)
        assert all(more > 0 for more in watch.take().values())
    assert found.score == expected.score and found.verdict == expected.verdict
    assert (found.anomaly_map == expected.anomaly_map).all()
    assert "preprocess" not in vars(inspect)
    assert before == {name: getattr(inspect, name) for name in before}
    inspect(photo)
    assert set(watch.take().values()) == {0.0}


def test_operations_are_those_of_the_layers(trained_model):
    model = load_pipeline(trained_model).model
    counted = count_operations(model)
    side = model.config.image_size // 2
    stem = 2 * 3 * 32 * 9 * side**2  # the trunk's first convolution, 3 to 32 channels, stride 2
    assert stem < counted["trunk"] < counted["whole"]


def test_the_command_writes_a_table_and_rows(trained_model, photo, tmp_path):
    folder = tmp_path / "out"
    finished = run_command(
        *("-m", "evaluation.studies.benchmark", "--model", trained_model, "--photo", photo),
        *("--runs", str(RUNS), "--batch_sizes", "1", "2", "--output_dir", folder),
    )
    assert finished.returncode == 0, finished.stderr
    report = (folder / "benchmark.md").read_text()
    assert finished.stdout.strip() == report.strip()
    assert "A photo of 192 x 192 pixels, a model of 128 x 128" in report
    assert str(tmp_path) not in report
    rows = list(csv.DictReader((folder / "benchmark.csv").open()))
    assert [row["batch_size"] for row in rows] == ["1"] * (len(STAGES) + 1) + ["2"] * (
        len(STAGES) + 1
    )
    for row in rows:
        assert 0 < float(row["p50_ms"]) <= float(row["p95_ms"]) <= float(row["p99_ms"])
    one = {row["stage"]: float(row["p50_ms"]) for row in rows if row["batch_size"] == "1"}
    assert one[DECODE] < one["whole"] and one[MODEL] < one["whole"]


def test_what_cannot_be_measured_is_one_sentence(trained_model, tmp_path, capsys):
    words = ["--model", str(trained_model), "--runs", "1"]
    assert main([*words, "--backends", "onnxruntime"]) == 2  # found by the process that it starts
    said = capsys.readouterr().err
    assert "has no model.onnx" in said and "Traceback" not in said
    broken = tmp_path / "photo.png"
    broken.write_bytes(b"no picture")
    assert main([*words, "--photo", str(broken)]) == 2
    assert "photo.png is not a picture" in capsys.readouterr().err


def test_a_photo_is_drawn_where_the_model_knows_the_part(trained_model, tmp_path):
    path = draw_photo(str(trained_model), tmp_path)
    with Image.open(path) as drawn:
        assert drawn.size == (SIDE, SIDE)
