"""The loopback Hub, as the real client finds it."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2 as httpx
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from loopback_hub import OWNER_TOKEN, READER_TOKEN, LoopbackHub, serve

CARD = "---\nlicense: mit\nlibrary_name: transformers\ntags:\n- golden-sample\n---\n\n# A model\n"
WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def hub():
    with serve() as hub:
        yield hub


@pytest.fixture(autouse=True)
def plain_client_in_a_hurry(monkeypatch):
    """In this process: without Xet, and without seconds of waiting before it tries again."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.05)))


def client(hub: LoopbackHub, token: str | bool = OWNER_TOKEN) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def write_model(folder: Path) -> Path:
    (folder / "notes").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    (folder / "notes" / "größe.txt").write_text("klein")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".cache" not in path.parts
    }


def test_a_model_is_pushed_tagged_found_and_loaded_back(hub, tmp_path):
    folder, api = write_model(tmp_path / "model"), client(hub)
    assert api.create_repo("org/bottle").repo_id == "org/bottle"
    api.upload_folder(repo_id="org/bottle", folder_path=folder, commit_message="Push it")
    api.create_tag("org/bottle", tag="v1")
    assert [commit.title for commit in hub.commits("org/bottle")] == ["Push it", "initial commit"]
    assert hub.tags("org/bottle") == {"v1": hub.commits("org/bottle")[0].oid}
    found = api.list_models(author="org", filter=["golden-sample", "license:mit"])
    assert [model.id for model in found] == ["org/bottle"]

    api.upload_file(repo_id="org/bottle", path_in_repo="README.md", path_or_fileobj=b"# Later")
    info = api.model_info("org/bottle", revision="v1")
    assert info.sha == hub.tags("org/bottle")["v1"]
    assert {"golden-sample", "license:mit", "transformers"} <= {*info.tags}
    got = api.snapshot_download("org/bottle", revision="v1", cache_dir=tmp_path / "cache")
    assert contents(Path(got)) == contents(folder) | {
        ".gitattributes": hub.files("org/bottle")[".gitattributes"]
    }
    assert "org/bottle/model.safetensors" in hub.downloaded


def test_models_are_found_by_author_tag_and_name(hub):
    for name in ("bottle", "screw"):
        hub.add_repo(f"org/{name}", {"README.md": CARD.encode()})
    hub.add_repo("other/bottle", {"README.md": b"# Nothing said"})
    api = client(hub)

    def found(**wanted):
        return [model.id for model in api.list_models(**wanted)]

    assert found(author="org", filter=["golden-sample", "transformers"]) == [
        "org/bottle",
        "org/screw",
    ]
    assert found(search="bottle") == ["org/bottle", "other/bottle"]
    assert found(filter="golden-sample", limit=1) == ["org/bottle"]
    assert list(api.list_datasets(author="org")) == []


def test_a_folder_is_listed_and_files_are_replaced_and_deleted(hub, tmp_path):
    hub.add_repo("org/parts", write_model(tmp_path / "model"), kind="dataset")
    api = client(hub)
    where = {"repo_id": "org/parts", "repo_type": "dataset"}
    top = {entry.path for entry in api.list_repo_tree(**where)}
    assert top == {"README.md", "model.safetensors", "notes"}
    (weights,) = api.get_paths_info(**where, paths="model.safetensors")
    assert weights.size == weights.lfs.size == len(WEIGHTS)
    api.create_branch(**where, branch="try")
    api.delete_folder("notes", **where, revision="try")
    assert {*hub.files("org/parts", "dataset", "try")} == {"README.md", "model.safetensors"}
    assert "notes/größe.txt" in hub.files("org/parts", "dataset")
    assert {*hub.branches("org/parts", "dataset")} == {"main", "try"}
    with pytest.raises(HfHubHTTPError, match="412"):
        api.upload_file(path_in_repo="x.txt", path_or_fileobj=b"x", **where, parent_commit="0" * 40)


def test_what_is_missing_is_said_as_the_hub_says_it(hub, tmp_path):
    hub.add_repo("org/bottle", {"README.md": CARD.encode()})
    api = client(hub)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/screw")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("org/bottle", revision="v9")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("org/bottle", "config.json", cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("org/bottle")
    assert api.create_repo("org/bottle", exist_ok=True).repo_id == "org/bottle"


def test_a_private_repo_is_its_owners(hub):
    client(hub).create_repo("org/secret", private=True)
    assert hub.is_private("org/secret")
    for token in (READER_TOKEN, False):
        with pytest.raises(RepositoryNotFoundError):
            client(hub, token).model_info("org/secret")
        assert list(client(hub, token).list_models()) == []
    client(hub).update_repo_settings("org/secret", private=False)
    reader = client(hub, READER_TOKEN)
    assert reader.model_info("org/secret").id == "org/secret"
    with pytest.raises(HfHubHTTPError, match="403"):
        reader.upload_file(repo_id="org/secret", path_in_repo="x", path_or_fileobj=b"x")
    with pytest.raises(HfHubHTTPError, match="403"):
        reader.create_repo("reader/own")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        client(hub, "hf_wrong").whoami()
    assert client(hub).whoami()["name"] == "org"


def test_a_space_keeps_its_sdk_and_variables(hub):
    api = client(hub)
    api.create_repo("org/page", repo_type="space", space_sdk="gradio")
    api.add_space_variable("org/page", "MODELS", "org/bottle")
    assert hub.space_variables("org/page") == {"MODELS": "org/bottle"}
    assert api.get_space_variables("org/page")["MODELS"].value == "org/bottle"
    assert api.space_info("org/page").sdk == "gradio"


def download(hub: LoopbackHub, folder: Path) -> bytes:
    path = client(hub).hf_hub_download("org/bottle", "model.safetensors", cache_dir=folder)
    return Path(path).read_bytes()


def test_a_download_that_breaks_off_is_resumed(hub, tmp_path):
    hub.add_repo("org/bottle", {"model.safetensors": WEIGHTS})
    hub.cut("model.safetensors", after=1000)
    assert download(hub, tmp_path) == WEIGHTS
    assert hub.downloaded == ["org/bottle/model.safetensors"] * 2


def test_a_request_that_fails_is_made_again(hub, tmp_path):
    hub.add_repo("org/bottle", {"model.safetensors": WEIGHTS})
    hub.fail("model.safetensors", status=503, times=2)
    assert download(hub, tmp_path) == WEIGHTS
    hub.fail("/commit/", status=500, method="POST")
    with pytest.raises(HfHubHTTPError, match="500"):
        client(hub).upload_file(repo_id="org/bottle", path_in_repo="x", path_or_fileobj=b"x")


def test_a_corrupt_file_keeps_its_announced_hash(hub, tmp_path):
    hub.add_repo("org/bottle", {"model.safetensors": WEIGHTS})
    before = client(hub).get_paths_info("org/bottle", "model.safetensors")[0].lfs.sha256
    hub.corrupt("org/bottle", "model.safetensors", b"short")
    assert download(hub, tmp_path) == b"short"
    after = client(hub).get_paths_info("org/bottle", "model.safetensors")[0].lfs
    assert (after.sha256, after.size) == (before, 5)


def test_a_stopped_hub_answers_nobody_and_comes_back_on_the_same_port(hub):
    hub.add_repo("org/bottle", {"README.md": CARD.encode()})
    endpoint, api = hub.endpoint, client(hub)
    api.model_info("org/bottle")  # leaves a connection open
    hub.stop()
    with pytest.raises(httpx.HTTPError):
        api.model_info("org/bottle")
    hub.start()
    assert hub.endpoint == endpoint
    assert api.model_info("org/bottle").id == "org/bottle"


def test_a_delay_lets_requests_wait(hub, monkeypatch):
    monkeypatch.undo()
    hub.add_repo("org/bottle", {"README.md": CARD.encode()})
    hub.delay("/api/models/", seconds=0.3)
    start = time.monotonic()
    client(hub).model_info("org/bottle")
    assert time.monotonic() - start >= 0.3
    assert hub.requests == ["GET /api/models/org/bottle"]
