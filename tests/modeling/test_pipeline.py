from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from commands import run_command

from data.synthetic import render
from modeling import ModelLoadError, PhotoError, load_pipeline


@pytest.fixture(scope="module")
def inspect(trained_model):
    return load_pipeline(trained_model)


@pytest.fixture(scope="module")
def defective():
    return render("flange_nut", seed=900_001, defect="missing_part", size=192).image


def test_an_inspection_is_complete_and_at_the_photos_size(inspect, defective):
    photo = defective.resize((300, 200))
    result = inspect(photo)
    assert result["heatmap"].size == result["reconstruction"].size == (300, 200)
    assert result["anomaly_map"].shape == (200, 300)
    assert 0 <= result["score"] <= 1
    assert result["threshold"] == 0.5
    assert result["verdict"] in ("PASS", "FAIL")
    assert result["notes"].endswith(".")


def test_a_gross_defect_fails_where_it_is_and_the_region_says_so(inspect):
    part = render("flange_nut", seed=900_002, defect="missing_part", size=192)
    result = inspect(part.image)
    assert result.verdict == "FAIL"
    left, top, right, bottom = result.regions[0].box
    truth = np.asarray(part.mask) > 127
    assert truth[top:bottom, left:right].any()
    assert result.regions[0].peak == pytest.approx(result.score)


def test_another_threshold_needs_no_model(inspect, defective):
    result = inspect(defective)
    for threshold in np.linspace(0, 1, 21):
        judged = result.at_threshold(float(threshold))
        assert judged.verdict == ("FAIL" if result.score > threshold else "PASS")
        assert bool(judged.regions) == (judged.verdict == "FAIL")
        assert judged.verdict == inspect(defective, threshold=float(threshold)).verdict
    with pytest.raises(ValueError, match="threshold must be a number from 0"):
        result.at_threshold(1.5)


def test_path_picture_and_batch_agree(inspect, defective, tmp_path):
    path = tmp_path / "part.png"
    defective.save(path)
    from_path, from_picture = inspect(str(path)), inspect(defective)
    assert from_path.score == from_picture.score
    batch = inspect([defective, path, defective], batch_size=2)
    assert [round(result.score, 5) for result in batch] == [round(from_path.score, 5)] * 3


def test_a_good_part_stays_clean_in_the_heatmap(inspect):
    scores = []
    for seed in range(910_000, 910_008):
        result = inspect(render("flange_nut", seed=seed, size=192).image)
        scores.append(result.score)
    assert np.median(scores) < 0.5


def test_a_file_that_is_no_photo_is_one_sentence(inspect, tmp_path):
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(PhotoError, match=r"x\.png is not a picture"):
        inspect(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["no/such/folder", "./nowhere"])
def test_a_missing_model_is_one_sentence(name):
    with pytest.raises(ModelLoadError, match=f"The model folder {name} does not exist"):
        load_pipeline(name)


def test_a_fresh_process_loads_by_auto_class_and_scores_bit_equal(trained_model, inspect):
    pixels = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(5))
    expected = inspect.model.detect(pixels).anomaly_score.tolist()
    code = (
        "import json, sys, torch, modeling\n"
        "from transformers import AutoModel, pipeline\n"
        "model = AutoModel.from_pretrained(sys.argv[1])\n"
        "pixels = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(5))\n"
        "pipeline('anomaly-detection', model=sys.argv[1])\n"
        "print(json.dumps(model.detect(pixels).anomaly_score.tolist()))\n"
    )
    finished = run_command("-c", code, trained_model)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout.splitlines()[-1]) == expected
