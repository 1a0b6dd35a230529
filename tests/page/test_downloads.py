"""Loading a model of the Hub tells what is downloaded and how far, against a loopback Hub."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT
from huggingface_hub import HfApi

from modeling import InspectionPipeline, ModelLoadError, load_pipeline
from page.languages import Translation
from page.models.catalogue import Catalogue
from page.models.downloads import DownloadProgress, _Bar
from page.models.entries import ModelEntry, find_models
from page.views.downloads import download_html

FABRIC = ROOT / "assets" / "models" / "fabric"
WEIGHTS = (FABRIC / "model.safetensors").stat().st_size

pytestmark = pytest.mark.usefixtures("hub_client")


@pytest.fixture
def cloth(hub) -> ModelEntry:
    """The fabric's model on the Hub, named by its commit, as the Hub's list names it."""
    commit = hub.add_repo("org/cloth", FABRIC)
    return ModelEntry("cloth", "fabric", "org/cloth", commit, on_hub=True)


def load(
    catalogue: Catalogue, entry: ModelEntry
) -> tuple[list[DownloadProgress], InspectionPipeline]:
    """All that a visitor is told, and the model."""
    told: list[DownloadProgress] = []
    steps = catalogue.load_with_progress(entry)
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return told, end.value


def test_a_download_tells_its_file_and_how_far_it_is(hub, cloth):
    hub.cut("model.safetensors", after=WEIGHTS // 2)  # the client waits a second, and goes on
    told, pipeline = load(Catalogue([cloth]), cloth)
    assert pipeline.model.config.categories == ["fabric"]
    assert told[0] == DownloadProgress("org/cloth")
    of_weights = [progress for progress in told if progress.file == "model.safetensors"]
    assert {(progress.model, progress.total) for progress in of_weights} == {("org/cloth", WEIGHTS)}
    done = [progress.done for progress in of_weights]
    assert done == sorted(done)
    assert any(WEIGHTS / 4 < count < WEIGHTS * 3 / 4 for count in done)


def test_a_folder_is_loaded_without_a_download_and_what_is_in_memory_without_a_word():
    entry = find_models([str(FABRIC)])[0]
    catalogue = Catalogue([entry])
    told, pipeline = load(catalogue, entry)
    assert told == [DownloadProgress("fabric")]
    assert load(catalogue, entry) == ([], pipeline)
    assert catalogue.load(entry) is pipeline


def test_visitors_who_ask_for_the_same_model_share_one_download(hub, cloth):
    hub.delay("model.safetensors", 0.5)
    catalogue = Catalogue([cloth])
    with ThreadPoolExecutor(4) as visitors:
        seen = [*visitors.map(lambda _: load(catalogue, cloth), range(4))]
    assert len({id(pipeline) for _, pipeline in seen}) == 1
    assert hub.downloaded.count("org/cloth/model.safetensors") == 1
    for told, _ in seen:
        assert told  # each has something to show while waiting


def test_a_visitor_who_leaves_does_not_stop_the_download_of_another(hub, cloth):
    hub.delay("model.safetensors", 0.5)
    catalogue = Catalogue([cloth])
    leaving = catalogue.load_with_progress(cloth)
    next(leaving)
    leaving.close()
    assert catalogue.load(cloth).model.config.categories == ["fabric"]
    assert hub.downloaded.count("org/cloth/model.safetensors") == 1


def test_a_model_that_is_on_the_disk_is_not_asked_for_again(hub, cloth):
    catalogue = Catalogue([cloth])
    catalogue.load(cloth)
    hub.stop()
    told, _ = load(Catalogue([cloth]), cloth)
    assert {progress.file for progress in told} == {""}


def test_a_release_that_is_on_the_disk_loads_while_the_hub_is_down(hub, cloth):
    HfApi().create_tag("org/cloth", tag="v1")
    release = ModelEntry("cloth", "fabric", "org/cloth", "v1", on_hub=True)
    Catalogue([release]).load(release)
    hub.stop()
    told, pipeline = load(Catalogue([release]), release)
    assert {progress.file for progress in told} == {""}
    assert pipeline.model.config.categories == ["fabric"]


def test_all_files_are_those_of_one_commit(hub, cloth):
    named = ModelEntry("cloth", "cloth", "org/cloth", on_hub=True)
    load(Catalogue([named]), named)
    of_files = [request for request in hub.requests if "model.safetensors" in request]
    assert of_files
    assert all(cloth.revision in request for request in of_files)


@pytest.mark.parametrize("fault", ["missing", "gone", "pickle", "cut off"])
def test_what_is_wrong_is_said_as_loading_says_it(hub, cloth, fault):
    files = {path.name: path.read_bytes() for path in FABRIC.iterdir() if path.is_file()}
    weights = files.pop("model.safetensors")
    hub.add_repo("org/pickled", {**files, "pytorch_model.bin": b"pickle"})
    hub.add_repo("org/cut", {**files, "model.safetensors": weights[:1000]})
    repo, revision = {
        "missing": ("org/missing", None),
        "gone": ("org/cloth", "v9"),
        "pickle": ("org/pickled", None),
        "cut off": ("org/cut", None),
    }[fault]
    entry = ModelEntry("a", "a", repo, revision, on_hub=True)
    with pytest.raises(ModelLoadError) as raised:
        load(Catalogue([entry]), entry)
    with pytest.raises(ModelLoadError) as expected:
        load_pipeline(repo, revision=revision)
    assert str(raised.value) == str(expected.value)
    assert repo in str(raised.value)


def test_a_hub_that_is_down_is_named(hub, cloth):
    hub.stop()
    with pytest.raises(
        ModelLoadError, match=f"org/cloth could not be downloaded from {hub.endpoint}"
    ):
        load(Catalogue([cloth]), cloth)


def test_a_failure_is_forgotten_and_the_next_visitor_succeeds(hub, cloth):
    catalogue = Catalogue([cloth])
    hub.fail("org/cloth", status=404, times=100)
    with pytest.raises(ModelLoadError):
        load(catalogue, cloth)
    hub.recover()
    assert load(catalogue, cloth)[1].model.config.categories == ["fabric"]


def test_weights_of_another_kind_of_model_are_not_downloaded(hub):
    hub.add_repo("org/bert", {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"})
    entry = ModelEntry("bert", "bert", "org/bert", on_hub=True)
    with pytest.raises(ModelLoadError, match="is a bert"):
        load(Catalogue([entry]), entry)
    assert "org/bert/model.safetensors" not in hub.downloaded


def test_one_visitor_can_load_while_another_model_is_downloaded(hub, cloth, tmp_path):
    hub.delay("model.safetensors", 2.0)
    folder = ModelEntry("felt", "fabric", str(shutil.copytree(FABRIC, tmp_path / "felt")))
    catalogue = Catalogue([cloth, folder])
    waiting = threading.Thread(target=catalogue.load, args=(cloth,))
    waiting.start()
    assert catalogue.load(folder).model.config.categories == ["fabric"]
    assert waiting.is_alive()
    waiting.join()


def test_the_words_name_model_and_file_and_the_bar_its_bytes():
    progress = DownloadProgress("org/cloth", "model.safetensors", 3_200_000, 6_000_000)
    shown = download_html(progress, Translation("en"))
    assert "Downloading org/cloth: model.safetensors, 3.2 of 6.0 MB" in shown
    assert 'value="3200000" max="6000000"' in shown
    small = download_html(
        DownloadProgress("org/cloth", "config.json", 100, 2_000), Translation("en")
    )
    assert "Downloading org/cloth: config.json" in small
    assert "MB" not in small
    assert "Loading key …" in download_html(DownloadProgress("key"), Translation("en"))
    assert "value=" not in download_html(DownloadProgress("key"), Translation("en"))


def test_a_name_is_no_html():
    shown = download_html(
        DownloadProgress("<script>", '"><img src=x>', 1, 10**7), Translation("en")
    )
    assert "<script" not in shown
    assert "<img" not in shown


def test_the_bar_counts_what_is_received_where_that_is_ahead_of_the_disk():
    told: list[DownloadProgress] = []
    with _Bar(told.append, DownloadProgress("m", "f"), total=100, desc="x", unit="B") as bar:
        bar.update_transfer(60)
        bar.set_transfer_postfix_str("1 MB/s", refresh=False)
        bar.update(40)
        bar.update_transfer(60)
        bar.update(60)
    assert told == [DownloadProgress("m", "f", done, 100) for done in (0, 60, 60, 100, 100)]


def test_a_download_that_begins_anew_is_counted_anew():
    told: list[DownloadProgress] = []
    bar = _Bar(told.append, DownloadProgress("m", "f"), total=100, initial=0)
    for count in (50, -50, 30):
        bar.update(count)
        bar.update_transfer(count)
    assert told[-1] == DownloadProgress("m", "f", 30, 100)
