"""The models on offer, with the real client against a loopback Hub."""

from __future__ import annotations

import gc
import os
import shutil
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub.constants
import pytest
from conftest import ROOT
from fresh_process import run_code
from huggingface_hub import HfApi
from loopback_hub import OWNER_TOKEN, READER_TOKEN

from hub_models import CATEGORY_PREFIX, MODEL_FILES, PROJECT_TAG, readable_names
from modeling import ModelLoadError
from page.models import catalogue
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry, examples_of, find_models, shipped_models
from page.models.memory import MODELS_IN_MEMORY

SHIPPED = ROOT / "assets" / "models"
GIVEN = (ModelEntry("flange_nut", "flange_nut", "assets/models/flange_nut"),)
PATIENCE = 5.0  # seconds for which a late answer is waited for


pytestmark = pytest.mark.usefixtures("hub_client")


def card(*categories: str, tags: tuple[str, ...] = (PROJECT_TAG,)) -> bytes:
    lines = [f"- {tag}" for tag in (*tags, *(CATEGORY_PREFIX + name for name in categories))]
    return "\n".join(["---", "tags:", *lines, "---", "", "# A model"]).encode()


def model_files(*categories: str, folder: Path = SHIPPED / "fabric") -> dict[str, bytes]:
    """What a push of a model leaves on the Hub, under a card with these categories."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return files | {"README.md": card(*categories)}


def push(repo: str, path: str, content: bytes) -> str:
    """Put one file on top of a repository; returns the commit."""
    return HfApi().upload_file(repo_id=repo, path_in_repo=path, path_or_fileobj=content).oid


def listed(models: Catalogue) -> set[tuple[str, str]]:
    """(category, label) of what is on offer."""
    return {(entry.category, entry.label) for entry in models.entries}


def of_category(models: Catalogue, category: str) -> list[ModelEntry]:
    return [entry for entry in models.entries if entry.category == category]


def find(models: Catalogue, category: str, key: str) -> ModelEntry:
    (entry,) = (entry for entry in of_category(models, category) if entry.key == key)
    return entry


def asked(**options) -> Catalogue:
    models = Catalogue(GIVEN, namespace="org", **options)
    models.refresh()
    return models


def test_the_hubs_models_are_listed_by_category_beside_those_given(hub):
    hub.add_repo("org/bottle-vae", {"README.md": card("bottle")})
    hub.add_repo("org/both", {"README.md": card("bottle", "flange_nut")})
    models = asked()
    assert models.categories == ["flange_nut", "bottle"]
    assert [entry.label for entry in of_category(models, "flange_nut")] == [
        "flange_nut",
        "both (org)",
    ]
    assert [entry.label for entry in of_category(models, "bottle")] == [
        "both (org)",
        "bottle-vae (org)",
    ]
    assert models.notice == ""


def test_one_request_lists_them_and_a_second_page_load_makes_none(hub):
    for number in range(3):
        hub.add_repo(f"org/model-{number}", {"README.md": card("bottle")})
    models = asked()
    models.refresh()
    assert len(hub.requests) == 1, hub.requests
    models.refresh(force=True)
    assert len(hub.requests) == 2, hub.requests


def test_other_repositories_of_the_namespace_and_other_namespaces_are_left_out(hub):
    hub.add_repo("org/ours", {"README.md": card("bottle")})
    hub.add_repo("org/chatbot", {"README.md": card("bottle", tags=("text-generation",))})
    hub.add_repo("org/no-card", {"config.json": b"{}"})
    hub.add_repo("other/theirs", {"README.md": card("bottle")})
    assert listed(asked()) == {("flange_nut", "flange_nut"), ("bottle", "ours (org)")}


def test_a_model_whose_card_names_no_category_stands_under_its_own_name(hub):
    hub.add_repo("org/bracket", {"README.md": card()})
    assert ("bracket", "bracket (org)") in listed(asked())


def test_a_newer_push_is_offered_after_a_refresh_under_the_same_choice(hub):
    first = hub.add_repo("org/bottle", {"README.md": card("bottle")})
    models = asked()
    before = find(models, "bottle", "org/bottle")
    assert before.revision == first
    second = push("org/bottle", "recipe.yaml", b"epochs: 2")
    models.refresh(force=True)
    after = find(models, "bottle", "org/bottle")
    assert after.revision == second
    assert (after.key, after.label) == (before.key, before.label)
    assert after.identity != before.identity  # the CSV tells them apart


def test_a_revision_for_the_namespace_is_asked_for_and_shown(hub):
    hub.add_repo("org/bottle", {"README.md": card("bottle")})
    models = asked(revision="v1")
    entry = of_category(models, "bottle")[0]
    assert (entry.revision, entry.label) == ("v1", "bottle (org, v1)")


def test_the_revision_is_what_is_loaded(hub):
    hub.add_repo("org/fabric", model_files("fabric"))
    HfApi().create_tag("org/fabric", tag="v1")
    push("org/fabric", "model.safetensors", b"not weights")
    models = asked(revision="v1")
    tagged = find(models, "fabric", "org/fabric@v1")
    assert models.load(tagged).model.config.categories == ["fabric"]
    newest = asked()
    with pytest.raises(ModelLoadError):
        newest.load(find(newest, "fabric", "org/fabric"))


@pytest.mark.parametrize(
    ("token", "seen"), [(OWNER_TOKEN, True), (READER_TOKEN, False), (None, False)]
)
def test_a_private_model_is_listed_and_loaded_with_a_token_that_may_read_it(
    hub, monkeypatch, token, seen
):
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.add_repo("org/secret", model_files("fabric"), private=True)
    models = asked()
    assert (("fabric", "secret (org)") in listed(models)) == seen
    if seen:
        loaded = models.load(find(models, "fabric", "org/secret"))
        assert loaded.model.config.categories == ["fabric"]


def test_a_wrong_token_is_named_in_the_notice(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    models = asked()
    assert "401" in models.notice
    assert "HF_TOKEN" in models.notice
    assert models.entries == GIVEN


def test_an_empty_namespace_shows_the_given_models_and_says_so():
    models = asked()
    assert models.entries == GIVEN
    assert "no model of org" in models.notice
    assert PROJECT_TAG in models.notice


def test_with_the_hub_down_and_nothing_downloaded_the_given_models_stay(hub):
    hub.stop()
    models = asked()
    assert models.entries == GIVEN
    assert models.notice == (
        "The model Hub could not be reached; showing the models that ship and those downloaded "
        "earlier."
    )


def test_with_the_hub_down_what_was_downloaded_earlier_is_offered_and_loads(hub):
    hub.add_repo("org/cloth", model_files("fabric"))
    hub.add_repo("org/seen-only", model_files("fabric"))
    earlier = asked()
    earlier.load(find(earlier, "fabric", "org/cloth"))
    hub.stop()
    models = asked()
    assert listed(models) == {("flange_nut", "flange_nut"), ("fabric", "cloth (org)")}
    entry = find(models, "fabric", "org/cloth")
    assert models.load(entry).model.config.categories == ["fabric"]
    assert entry.revision == find(earlier, "fabric", "org/cloth").revision


@pytest.mark.parametrize("missing", MODEL_FILES)
def test_a_download_that_was_broken_off_is_not_offered(hub, missing):
    hub.add_repo("org/cloth", model_files("fabric"))
    earlier = asked()
    earlier.load(find(earlier, "fabric", "org/cloth"))
    hub.stop()
    assert ("fabric", "cloth (org)") in listed(asked())
    for path in Path(huggingface_hub.constants.HF_HUB_CACHE).rglob(missing):
        path.unlink()
    assert listed(asked()) == {("flange_nut", "flange_nut")}


def test_the_last_list_stays_when_the_hub_goes_down(hub):
    hub.add_repo("org/bottle", {"README.md": card("bottle")})
    models = asked()
    before = models.entries
    hub.stop()
    models.refresh(force=True)
    assert models.entries == before
    assert models.notice == "The model Hub could not be reached; showing what it listed before."
    hub.start()
    models.refresh(force=True)
    assert models.notice == ""


def test_an_error_of_the_hub_is_told_with_its_status(hub):
    hub.fail("/api/models", status=403)
    models = asked()
    assert models.entries == GIVEN
    assert "403" in models.notice


def test_a_slow_hub_holds_nobody_longer_than_the_limit_and_its_late_answer_is_taken(
    hub, monkeypatch
):
    monkeypatch.setattr(catalogue, "LISTING_SECONDS", 0.2)
    hub.add_repo("org/bottle", {"README.md": card("bottle")})
    hub.delay("/api/models", 1.0)
    started = time.monotonic()
    models = Catalogue(GIVEN, namespace="org")
    models.refresh()
    assert time.monotonic() - started < 0.8
    assert "did not answer within 0.2 s" in models.notice
    assert models.entries == GIVEN
    while models.notice and time.monotonic() - started < PATIENCE:
        time.sleep(0.05)
    assert ("bottle", "bottle (org)") in listed(models)


def test_a_late_failure_does_not_undo_the_answer_to_a_later_question(hub, monkeypatch):
    monkeypatch.setattr(catalogue, "LISTING_SECONDS", 0.2)
    hub.add_repo("org/bottle", {"README.md": card("bottle")})
    hub.fail("/api/models", status=500)
    hub.delay("/api/models", 1.0)
    models = asked()
    hub._faults.clear()  # the first question is held up all the same
    models.refresh(force=True)
    time.sleep(1.5)
    assert models.notice == ""
    assert ("bottle", "bottle (org)") in listed(models)


def test_without_a_namespace_and_without_hub_ids_nobody_is_asked(hub):
    models = Catalogue(GIVEN)
    models.refresh(force=True)
    assert not models.asks_hub
    assert hub.requests == []


def test_a_model_named_by_its_id_takes_the_place_of_its_name(hub):
    first = hub.add_repo("org/bottle-vae", {"README.md": card("bottle")})
    HfApi().create_tag("org/bottle-vae", tag="v1")
    given = [*find_models(["org/bottle-vae", "org/bottle-vae@v1"]), *GIVEN]
    models = Catalogue(given)
    assert models.categories == ["bottle-vae", "flange_nut"]  # as long as nobody was asked
    models.refresh()
    assert [(entry.category, entry.label) for entry in models.entries] == [
        ("bottle", "bottle-vae (org)"),
        ("bottle", "bottle-vae (org, v1)"),
        ("flange_nut", "flange_nut"),
    ]
    assert models.entries[0].revision == first


def test_an_id_that_does_not_exist_leaves_the_others_and_says_why_when_chosen(hub):
    hub.add_repo("org/bottle", {"README.md": card("bottle")})
    models = Catalogue([*find_models(["org/botle"]), *GIVEN], namespace="org")
    models.refresh()
    assert listed(models) == {
        ("botle", "botle (org)"),
        ("flange_nut", "flange_nut"),
        ("bottle", "bottle (org)"),
    }
    with pytest.raises(ModelLoadError, match="org/botle"):
        models.load(find(models, "botle", "org/botle"))


@pytest.mark.parametrize("source", ["no-such-folder", "a/b/c", "/no/such/folder", "org/@v1"])
def test_what_is_neither_folder_nor_hub_id_is_refused(source):
    with pytest.raises(ValueError, match="neither a folder"):
        find_models([source])


def test_models_beyond_the_bound_are_dropped_from_memory_the_least_recently_used_first(tmp_path):
    folders = [
        Path(shutil.copytree(SHIPPED / "fabric", tmp_path / f"fabric-{number}"))
        for number in range(MODELS_IN_MEMORY + 1)
    ]
    entries = [ModelEntry(folder.name, "fabric", str(folder)) for folder in folders]
    models = Catalogue(entries)
    in_memory = [weakref.ref(models.load(entry).model) for entry in entries[:-1]]
    models.load(entries[0])  # used again: the second is now the oldest
    models.load(entries[-1])
    gc.collect()
    assert [model() is not None for model in in_memory] == [True, False, True, True]


def test_a_model_of_two_categories_is_loaded_once(tmp_path):
    folder = Path(shutil.copytree(SHIPPED / "fabric", tmp_path / "both"))
    models = Catalogue([ModelEntry("both", name, str(folder)) for name in ("fabric", "felt")])
    first, second = map(models.load, models.entries)
    assert first is second


def test_a_model_that_many_ask_for_at_once_is_loaded_once(hub):
    hub.add_repo("org/cloth", model_files("fabric"))
    hub.delay("org/cloth/resolve", 0.2)
    models = asked()
    entry = find(models, "fabric", "org/cloth")
    with ThreadPoolExecutor(8) as visitors:
        loaded = [*visitors.map(models.load, [entry] * 8)]
    assert len({id(pipeline) for pipeline in loaded}) == 1
    assert hub.downloaded.count("org/cloth/model.safetensors") == 1


def test_a_model_that_failed_to_load_is_tried_again_by_the_next_visitor(tmp_path):
    folder = Path(shutil.copytree(SHIPPED / "fabric", tmp_path / "fabric"))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    models = Catalogue(find_models([str(folder)]))
    with pytest.raises(ModelLoadError, match="damaged or cut off"):
        models.load(models.entries[0])
    (folder / "model.safetensors").write_bytes(weights)
    assert models.load(models.entries[0]).model.config.categories == ["fabric"]


def test_a_damaged_model_says_why_and_the_good_ones_load(hub):
    damaged = model_files("fabric")
    damaged["model.safetensors"] = damaged["model.safetensors"][:1000]
    hub.add_repo("org/damaged", damaged)
    hub.add_repo(
        "org/foreign", {"README.md": card("fabric"), "config.json": b'{"model_type": "x"}'}
    )
    hub.add_repo("org/good", model_files("fabric"))
    models = asked()
    for name in ("damaged", "foreign"):
        with pytest.raises(ModelLoadError, match=f"org/{name}"):
            models.load(find(models, "fabric", f"org/{name}"))
    assert models.load(find(models, "fabric", "org/good")).model.config.categories == ["fabric"]


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_why_a_model_is_damaged_is_said_without_a_folder_of_the_server(hub, file, tmp_path):
    folder = shutil.copytree(SHIPPED / "fabric", tmp_path / "srv" / "fabric")
    (folder / file).write_bytes(b"{")
    hub.add_repo("org/fabric", model_files("fabric", folder=folder))
    for entry in find_models([str(folder), "org/fabric"]):
        with pytest.raises(ModelLoadError) as caught:
            Catalogue([entry]).load(entry)
        assert f"model {entry.source if entry.on_hub else 'fabric'} " in str(caught.value).replace(
            "weights of", "model"
        )
        assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"[" * 10**5, b'{"categories": 7}', b'{"categories": {"a": 1}}']
)
def test_a_hostile_list_of_categories_leaves_the_models_own_name(hub, content, tmp_path):
    (tmp_path / "nut").mkdir()
    (tmp_path / "nut" / "config.json").write_bytes(content)
    assert [entry.category for entry in find_models([str(tmp_path / "nut")])] == ["nut"]
    names = [*map(str, range(5000)), "a\nb", "x" * 101, "", "0"]
    assert readable_names(names) == tuple(map(str, range(1000)))


def test_a_graph_of_the_hub_is_neither_fetched_nor_run(hub):
    """It is a program; that of a folder is the owner's own."""
    hub.add_repo("org/fabric", model_files("fabric") | {"model.onnx": b"evil"})
    (entry,) = find_models(["org/fabric"])
    pipeline = Catalogue([entry]).load(entry)
    assert pipeline.backend == "torch"
    assert "org/fabric/model.safetensors" in hub.downloaded
    assert not [request for request in hub.requests if "model.onnx" in request]


def test_the_shipped_models_with_example_photos_come_first():
    with_examples = [bool(examples_of(entry.category)) for entry in shipped_models()]
    assert with_examples == sorted(with_examples, reverse=True)
    assert {True, False} == set(with_examples)


def test_a_category_from_the_hub_reaches_no_folder_but_the_examples():
    assert examples_of("../examples/key") == []
    assert len(examples_of("key")) > 3


def test_listing_needs_neither_torch_nor_transformers():
    code = (
        "import json, sys; from page.models.catalogue import Catalogue; "
        "from page.models.entries import shipped_models; Catalogue(shipped_models()); "
        "print(json.dumps([name for name in ('torch', 'transformers') if name in sys.modules]))"
    )
    assert run_code(code, os.environ, ROOT) == []
