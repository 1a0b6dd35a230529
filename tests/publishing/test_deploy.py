"""Deploying the app as a Space, with the real client against a loopback Hub."""

from __future__ import annotations

import ast
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT
from huggingface_hub import HfApi, SpaceCard
from loopback_hub import OWNER_TOKEN, READER_TOKEN, LoopbackHub
from running_app import running_app

SPACE = "org/inspection"
CARD = "---\ntags:\n- golden-sample\n- category:bottle\n---\n"
MODEL = {
    "README.md": CARD.encode(),
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"weights",
}


def deploy(
    hub: LoopbackHub, home: Path, *options: str, space: str = SPACE, token: str | None = OWNER_TOKEN
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "publishing.deploy", space, *options],
        cwd=ROOT,
        env=hub.environment(home, token),
        capture_output=True,
        text=True,
        timeout=300,
    )


def deployed(hub: LoopbackHub, home: Path, *options: str) -> str:
    """Deploy, which must succeed; returns what it printed."""
    finished = deploy(hub, home, *options)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def card_of(hub: LoopbackHub) -> dict:
    return SpaceCard(hub.files(SPACE, "space")["README.md"].decode()).data.to_dict()


def refusal(finished: subprocess.CompletedProcess[str], status: int) -> str:
    """The one sentence of a run that ended with this status."""
    assert finished.returncode == status, finished.stderr
    (sentence,) = [line for line in finished.stderr.splitlines() if line.startswith("deploy.py: ")]
    assert "Traceback" not in finished.stderr
    return sentence


def test_the_space_holds_what_runs_and_nothing_else(hub, tmp_path):
    printed = deployed(hub, tmp_path)
    assert f"{hub.endpoint}/spaces/{SPACE}" in printed
    files = hub.files(SPACE, "space")
    for needed in (
        "app.py",
        "page/models/catalogue.py",
        "page/languages/de.yaml",
        "modeling/pipeline.py",
        "page/static/page.css",
        "assets/models/key/model.safetensors",
        "assets/examples/key/good.jpg",
        "requirements.txt",
        "LICENSE",
    ):
        assert needed in files
    for path, content in files.items():
        if path not in (".gitattributes", "README.md"):
            assert content == (ROOT / path).read_bytes(), path
    assert {path.split("/")[0] for path in files if "/" in path} == {
        "assets",
        "docs",
        "modeling",
        "page",
        "system",
    }
    assert not [path for path in files if path.endswith((".sh", ".pyc"))]
    assert [commit.title for commit in hub.commits(SPACE, "space")][:-1] == ["Deploy the app"]
    assert not hub.is_private(SPACE, "space")


def test_the_space_holds_every_module_that_its_files_import_and_every_template(hub, tmp_path):
    deployed(hub, tmp_path)
    files = hub.files(SPACE, "space")
    modules = [path for path in files if path.endswith(".py")]
    nodes = [node for path in modules for node in ast.walk(ast.parse(files[path]))]
    imported = {
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level
    }
    imported |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    ours = {module.replace(".", "/") for module in imported if module and is_ours(module)}
    assert {"page/models/facts", "model_files", "modeling"} <= ours
    assert [name for name in ours if not {f"{name}.py", f"{name}/__init__.py"} & {*files}] == []
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "page").rglob("*.html")}
    assert templates and templates <= {*files}


def is_ours(module: str) -> bool:
    room = module.split(".")[0]
    return (ROOT / f"{room}.py").exists() or (ROOT / room / "__init__.py").exists()


def test_no_secret_leaves_this_machine(hub, tmp_path):
    deployed(hub, tmp_path)
    assert OWNER_TOKEN not in str(hub.space_variables(SPACE))
    assert not [path for path, text in hub.files(SPACE, "space").items() if b"hf_owner" in text]


def test_the_card_says_what_ours_says_and_names_the_models_of_the_namespace(hub, tmp_path):
    hub.add_repo("org/bottle", MODEL)
    hub.add_repo("org/chatbot", {"README.md": b"---\ntags:\n- text-generation\n---\n"})
    printed = deployed(hub, tmp_path)
    card, ours = card_of(hub), SpaceCard((ROOT / "README.md").read_text())
    assert card["models"] == ["org/bottle"]
    assert card["preload_from_hub"] == [
        "org/bottle config.json,preprocessor_config.json,model.safetensors"
    ]
    assert card["thumbnail"] == f"{hub.endpoint}/spaces/{SPACE}/resolve/main/assets/screenshot.png"
    completed = {"models", "preload_from_hub", "thumbnail"}
    assert {name: value for name, value in card.items() if name not in completed} == {
        name: value for name, value in ours.data.to_dict().items() if name not in completed
    }
    assert hub.files(SPACE, "space")["README.md"].decode().endswith(ours.text)
    assert "org/bottle" in printed
    assert "org/chatbot" not in printed


def test_without_models_of_ours_the_card_names_none_and_the_person_is_told(hub, tmp_path):
    printed = deployed(hub, tmp_path)
    assert not {"models", "preload_from_hub"} & {*card_of(hub)}
    assert "org has no model with the tag golden-sample yet" in printed


def test_what_would_break_the_build_is_not_preloaded(hub, tmp_path):
    hub.add_repo("org/untagged", MODEL)
    hub.add_repo("org/unfinished", {"README.md": CARD.encode(), "config.json": b"{}"})
    hub.add_repo("org/released", MODEL)
    for repo in ("org/unfinished", "org/released"):
        HfApi(hub.endpoint, token=OWNER_TOKEN).create_tag(repo, tag="v1")
    deployed(hub, tmp_path, "--revision", "v1")
    assert card_of(hub)["preload_from_hub"] == [
        "org/released config.json,preprocessor_config.json,model.safetensors v1"
    ]


def test_a_private_model_is_named_to_the_person_alone_who_is_told_of_the_secret(hub, tmp_path):
    hub.add_repo("org/secret", MODEL, private=True)
    printed = deployed(hub, tmp_path)
    assert "org/secret" in printed
    assert "secret named HF_TOKEN" in printed
    assert f"{hub.endpoint}/spaces/{SPACE}/settings" in printed
    assert b"org/secret" not in hub.files(SPACE, "space")["README.md"]


def test_variables_say_where_models_come_from_and_a_second_deployment_changes_them(hub, tmp_path):
    deployed(hub, tmp_path, "--revision", "v1")
    assert hub.space_variables(SPACE) == {"MODEL_NAMESPACE": "org", "MODEL_REVISION": "v1"}
    deployed(hub, tmp_path, "--namespace", "another")
    assert hub.space_variables(SPACE) == {"MODEL_NAMESPACE": "another"}


def test_a_second_deployment_removes_what_is_no_longer_part(hub, tmp_path):
    deployed(hub, tmp_path)
    before = hub.files(SPACE, "space")
    api = HfApi(hub.endpoint, token=OWNER_TOKEN)
    api.upload_file(
        path_or_fileobj=b"old", path_in_repo="modeling/gone.py", repo_id=SPACE, repo_type="space"
    )
    deployed(hub, tmp_path)
    assert hub.files(SPACE, "space") == before
    assert ".gitattributes" in before


def test_private_makes_a_private_space_and_does_not_pass_over_a_public_one(hub, tmp_path):
    deployed(hub, tmp_path, "--private")
    assert hub.is_private(SPACE, "space")
    hub.add_repo("org/open", {}, kind="space")
    sentence = refusal(deploy(hub, tmp_path, "--private", space="org/open"), 2)
    assert "org/open exists and is public" in sentence
    assert hub.files("org/open", "space") == {}


@pytest.mark.parametrize("space", ["inspection", "a/b/c", "org/", "org/in spection"])
def test_a_bad_id_is_refused_before_anything_is_asked(hub, tmp_path, space):
    sentence = refusal(deploy(hub, tmp_path, space=space), 2)
    assert "ORG/NAME" in sentence
    assert repr(space) in sentence
    assert hub.requests == []


def test_without_a_token_the_person_is_told_how_to_get_one(hub, tmp_path):
    sentence = refusal(deploy(hub, tmp_path, token=None), 2)
    assert "hf auth login" in sentence
    assert hub.requests == []


@pytest.mark.parametrize(("token", "status"), [("hf_wrong", "401"), (READER_TOKEN, "403")])
def test_a_token_that_may_not_write_is_refused(hub, tmp_path, token, status):
    sentence = refusal(deploy(hub, tmp_path, token=token), 2)
    assert SPACE in sentence
    assert status in sentence
    assert "HF_TOKEN" in sentence


def test_with_the_hub_down_the_same_command_is_to_be_given_again(hub, tmp_path):
    hub.stop()
    sentence = refusal(deploy(hub, tmp_path), 1)
    assert hub.endpoint in sentence
    assert "give the same command again" in sentence


def test_an_upload_that_breaks_off_leaves_nothing_half_and_the_same_command_ends_it(hub, tmp_path):
    hub.fail("/commit/", status=501)
    sentence = refusal(deploy(hub, tmp_path), 1)
    assert "give the same command again" in sentence
    assert [*hub.files(SPACE, "space")] == [".gitattributes"]
    deployed(hub, tmp_path)
    assert "app.py" in hub.files(SPACE, "space")


def test_the_uploaded_files_serve_the_page_on_their_own(hub, hub_home, tmp_path):
    deployed(hub, hub_home)
    folder = tmp_path / "space"
    for path, content in hub.files(SPACE, "space").items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    environment = hub.environment(hub_home, token=None) | hub.space_variables(SPACE)
    environment.pop("PYTHONPATH", None)
    with (
        running_app(folder, environment=environment) as address,
        urllib.request.urlopen(address) as page,
    ):
        assert "Golden Sample" in page.read().decode()
