"""Pushing with the real client to a loopback Hub."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile

import pytest
from commands import commands
from conftest import ROOT, TINY_DATA
from huggingface_hub import ModelCard
from loopback_hub import OWNER_TOKEN, READER_TOKEN

from modeling import load_model, load_pipeline
from publishing.export import export_model
from publishing.model_card import FIGURES
from publishing.push import main

TINY_RUN = ("--image_size", "64", "--epochs", "2", "--checkpoint_every", "0")
FEW_PHOTOS = "synthetic:flange_nut?train=12&test_good=1&test_per_defect=1&size=64"
PHOTO = ROOT / "assets/examples/flange_nut/dent.jpg"
PUSHING = ("--push_to_hub", "--hub_model_id", "org/nut", "--push_every", "1")


@pytest.fixture
def run(hub, hub_home):
    """Runs Python from the root, as a user who may write unless a token says otherwise."""
    start = commands(hub.environment(hub_home))
    return lambda *words, token=OWNER_TOKEN: start(
        ["python", *map(str, words)], ROOT, {"HF_TOKEN": token}
    )


@pytest.fixture
def push(run):
    return functools.partial(run, "-m", "publishing.push")


@pytest.fixture
def train(run):
    where = ("training/train.py", "--data", FEW_PHOTOS, *TINY_RUN, "--output_dir")
    return functools.partial(run, *where)


def test_one_commit_holds_all_and_a_tag_names_it(hub, push, evaluated_model, tmp_path):
    first = push(evaluated_model, "org/nut")
    assert first.returncode == 0, first.stderr
    assert "release v1" in first.stdout
    files = hub.files("org/nut")
    expected = {
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "recipe.yaml",
        "training.json",
        "learning_curve.csv",
        "learning_curve.png",
        "part.png",
        "autoencoder.py",
        "image_processing.py",
        "pipeline.py",
        "evaluation/metrics.json",
        "evaluation/roc.png",
        "evaluation/calibration.png",
        "evaluation/examples.jpg",
    }
    assert expected <= {*files}
    assert "allocator.py" not in files  # a module that no model needs
    assert files["model.safetensors"] == (evaluated_model / "model.safetensors").read_bytes()
    assert [commit.title for commit in hub.commits("org/nut")] == [
        "Push flange_nut as v1",
        "initial commit",
    ]
    assert hub.tags("org/nut") == {"v1": hub.commits("org/nut")[0].oid}
    for path, content in files.items():
        assert str(evaluated_model).encode() not in content, path
        assert str(ROOT).encode() not in content, path


def test_the_card_says_what_was_measured(hub, push, evaluated_model, tmp_path):
    assert push(evaluated_model, "org/nut").returncode == 0
    files = hub.files("org/nut")
    (tmp_path / "card.md").write_bytes(files["README.md"])
    card = ModelCard.load(tmp_path / "card.md")
    measured = json.loads(files["evaluation/metrics.json"])
    index = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert index == {name: measured[name] for name in FIGURES}
    assert {result.dataset_config for result in card.data.eval_results} == {"flange_nut"}
    assert card.data.library_name == "transformers"
    assert card.data.license == "apache-2.0"
    assert {"golden-sample", "anomaly-detection", "category:flange_nut"} <= {*card.data.tags}
    assert 'model="org/nut"' in card.text
    for heading in ("Use", "For and not for", "Results", "Examples", "Threshold", "Training"):
        assert f"## {heading}" in card.text
    for picture in ("roc.png", "calibration.png", "examples.jpg"):
        assert f"](evaluation/{picture})" in card.text
    assert f"{measured['false_alarms']} of {measured['n_normal']}" in card.text


@pytest.mark.parametrize("data", ["parts", "mvtec_ad"])
def test_pictures_of_other_peoples_parts_stay_at_home(data, hub, push, evaluated_model, tmp_path):
    shutil.copytree(evaluated_model, tmp_path / "model")
    recipe = tmp_path / "model" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(f"data: {TINY_DATA}", f"data: {data}"))
    assert push(tmp_path / "model", "org/nut").returncode == 0
    files = hub.files("org/nut")
    assert "evaluation/roc.png" in files
    assert "evaluation/examples.jpg" not in files
    assert b"examples.jpg" not in files["README.md"]


def test_a_second_push_is_the_next_release_and_leaves_no_stale_file(
    hub, push, evaluated_model, trained_model, tmp_path
):
    assert push(evaluated_model, "org/nut").returncode == 0
    second = push(trained_model, "org/nut")
    assert "release v2" in second.stdout, second.stderr
    assert not [path for path in hub.files("org/nut") if path.startswith("evaluation/")]
    assert "evaluation/metrics.json" in hub.files("org/nut", revision="v1")
    taken = push(trained_model, "org/nut", "--tag", "v1")
    assert taken.returncode == 2
    assert "has a release v1 already" in taken.stderr


def test_a_graph_goes_along_and_runs_the_model_that_is_loaded_from_the_hub(
    hub, push, run, trained_model, tmp_path
):
    folder = shutil.copytree(trained_model, tmp_path / "nut")
    export_model(folder, "onnx")
    assert push(folder, "org/nut").returncode == 0
    code = (
        "from modeling import load_pipeline\n"
        "inspect = load_pipeline('org/nut', backend='onnxruntime')\n"
        f"print(inspect({str(PHOTO)!r}).score)"
    )
    loaded = run("-c", code)
    assert float(loaded.stdout) == pytest.approx(
        load_pipeline(trained_model)(PHOTO).score, abs=1e-4
    ), loaded.stderr
    (folder / "model.onnx").unlink()
    assert push(folder, "org/nut").returncode == 0
    assert "model.onnx" in hub.files("org/nut", revision="v1")
    assert "model.onnx" not in hub.files("org/nut")


def test_a_failed_upload_loses_nothing_and_the_same_command_goes_on(
    hub, push, run, trained_model, tmp_path
):
    hub.fail("/commit/", status=500, times=100)
    failed = push(trained_model, "org/nut")
    assert failed.returncode == 1
    (sentence,) = failed.stderr.strip().splitlines()
    command = sentence.split("`")[1]
    assert command == f"python -m publishing.push {trained_model} org/nut"
    assert "nothing is lost" in sentence
    assert hub.tags("org/nut") == {}
    load_model(trained_model)
    hub.recover()
    again = run(*command.split()[1:])
    assert again.returncode == 0, again.stderr
    assert hub.tags("org/nut") == {"v1": hub.commits("org/nut")[0].oid}


def test_the_hub_being_down_is_one_sentence(hub, push, trained_model, tmp_path):
    hub.stop()
    failed = push(trained_model, "org/nut")
    assert failed.returncode == 1
    (sentence,) = failed.stderr.strip().splitlines()
    assert hub.endpoint in sentence and "nothing is lost" in sentence


def test_bad_input_is_one_sentence_and_exit_code_2(hub, push, trained_model, tmp_path):
    hub.add_repo("org/public", {"README.md": b"# here already"})
    half = tmp_path / "half"
    shutil.copytree(trained_model, half)
    (half / "model.safetensors").unlink()
    nameless = push(trained_model, "nut")
    assert nameless.returncode == 2 and "must be ORG/NAME" in nameless.stderr
    cases = (
        ((half, "org/nut"), OWNER_TOKEN, "no model.safetensors"),
        ((tmp_path / "nowhere", "org/nut"), OWNER_TOKEN, "does not exist"),
        ((trained_model, "org/public", "--private"), OWNER_TOKEN, "exists and is public"),
        ((trained_model, "org/nut"), "", "no access token"),
    )
    for words, token, part in cases:
        refused = push(*words, token=token)
        assert refused.returncode == 2
        (sentence,) = refused.stderr.strip().splitlines()
        assert part in sentence
    assert [*hub.files("org/public")] == ["README.md"]


def test_a_disk_that_takes_no_draft_is_one_sentence(trained_model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert main([str(trained_model), "org/nut"]) == 1
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith(f"push.py: {tmp_path / 'gone'}")
    assert "can't be read or written (No such file or directory)" in sentence


def test_training_pushes_by_itself_with_its_checkpoints(hub, train, tmp_path):
    finished = train(tmp_path / "nut", *PUSHING, "--hub_private")
    assert finished.returncode == 0, finished.stderr
    assert f"{hub.endpoint}/org/nut, release v1" in finished.stdout
    assert hub.is_private("org/nut")
    assert "model.safetensors" in hub.files("org/nut")
    assert not [path for path in hub.files("org/nut") if path.startswith("checkpoints/")]
    checkpoint = hub.files("org/nut", revision="checkpoints")
    assert {path.split("/")[1] for path in checkpoint if path.startswith("checkpoints/")} == {
        "epoch-00002"
    }
    written = tmp_path / "nut" / "checkpoints" / "epoch-00002" / "model.safetensors"
    assert checkpoint["checkpoints/epoch-00002/model.safetensors"] == written.read_bytes()
    recipe = hub.files("org/nut")["recipe.yaml"].decode()
    assert "org/nut" not in recipe and str(tmp_path) not in recipe


def test_training_finds_out_at_once_that_it_may_not_push(hub, train, tmp_path):
    failed = train(tmp_path / "nut", *PUSHING, token=READER_TOKEN)
    assert failed.returncode == 1
    assert "org/nut" in failed.stderr.splitlines()[-1]
    assert not (tmp_path / "nut" / "config.json").exists()
    missing = train(tmp_path / "nut", "--push_to_hub")
    assert missing.returncode == 2
    assert "push_to_hub needs hub_model_id" in missing.stderr


def test_a_push_that_fails_after_training_keeps_the_model(hub, train, tmp_path):
    hub.fail("/commit/", status=500, times=100)
    failed = train(tmp_path / "nut", *PUSHING)
    assert failed.returncode == 1
    assert "The checkpoint could not be pushed" in failed.stderr
    assert f"python -m publishing.push {tmp_path / 'nut'} org/nut" in failed.stderr
    load_model(tmp_path / "nut")
