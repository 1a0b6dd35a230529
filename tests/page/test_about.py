"""What the page says of a model is what its files say, and hostile files do no harm."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from huggingface_hub import HfApi

from hub_models import read_hub_model
from model_files import MOST_BYTES, Metrics
from modeling import Calibration
from page.languages import Translation
from page.models import facts as model_facts
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry, find_models
from page.models.facts import (
    LONGEST_CARD,
    MOST_SCORES,
    ModelFacts,
    defect_scores,
    good_test_scores,
    normal_scores,
    read_facts,
)
from page.views.about import about_html
from page.views.charts import charts_html

KEY = ROOT / "assets" / "models" / "key"
FILES = ("README.md", "config.json", "training.json", "evaluation/metrics.json")
TEXT = Translation("en")
CALIBRATION = Calibration.fit([1.0, 2.0, 3.0, 4.0], 0.25)
TAGS = {
    *("section", "div", "dl", "dt", "dd", "p", "h4", "table", "thead", "tbody", "tr", "th", "td"),
    *("span", "details", "summary", "pre", "code", "a", "figure", "figcaption", "svg", "defs"),
    *("pattern", "clippath", "path", "g", "rect", "text", "desc", "circle"),
}


def panel(facts, calibration) -> str:
    """All that the page shows about a model; no charts while it is not loaded."""
    charts = "" if calibration is None else charts_html(facts, calibration, 0.5, TEXT)
    return about_html(facts, TEXT) + charts


@pytest.fixture(autouse=True)
def forget():
    """The Hub's answers of another test are not remembered."""
    model_facts._read_from_hub.cache_clear()


def metrics(**changed) -> dict:
    """The key's metrics.json with test scores, the defective ones above the good ones."""
    stored = json.loads((KEY / "evaluation" / "metrics.json").read_text())
    scores = {"good": [1.5] * 33 + [4.5] * 7, "anomalous": [2.5] * 8 + [9.0] * 64}
    return stored | {"scores": scores} | changed


def folder_with(folder: Path, files: dict[str, str | bytes]) -> ModelEntry:
    """A copy of the key's folder in which these files are other ones."""
    shutil.copytree(KEY, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.png", "*.jpg"))
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(content)
    return ModelEntry("key", "key", str(folder))


class Seen(HTMLParser):
    """What a person would read of HTML, and which tags and attributes it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= set(attrs)

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_a_shipped_models_facts_are_those_of_its_files():
    entry = find_models([str(KEY)])[0]
    facts = read_facts(entry)
    training = json.loads((KEY / "training.json").read_text())
    stored = json.loads((KEY / "evaluation" / "metrics.json").read_text())
    assert facts.missing == ()
    assert facts.licence == "apache-2.0"
    assert facts.training.n_training == training["n_training"]
    assert facts.training.command == training["command"]
    assert facts.training.versions == training["versions"]
    assert facts.measured.image_auroc == stored["image_auroc"]
    assert facts.measured.misses == stored["misses"]
    assert facts.measured.miss_rate_interval == tuple(stored["miss_rate_interval"])
    assert list(facts.measured.per_defect) == list(stored["per_defect"])
    worst = min(stored["per_defect"], key=lambda name: stored["per_defect"][name]["image_auroc"])
    assert facts.measured.weakest == worst


def test_the_panel_tells_origin_figures_weak_spot_licence_and_limits(tmp_path):
    stored = metrics(misses=8, n_anomalous=72, false_alarms=7, n_normal=40)
    entry = folder_with(tmp_path / "key", {"evaluation/metrics.json": json.dumps(stored)})
    page = panel(read_facts(entry), CALIBRATION)
    seen = Seen(page)
    for words in (
        "160 photos of good parts (key)",
        "apache-2.0",
        "64 of 72 (88.9 %)",
        "7 of 40 (17.5 %)",
        "8.7 to 31.9 %",
        "foreign body",
        "For photos of key taken as the training photos were",
        "python training/train.py",
        "At this threshold 89 % of the known defects are found and 18 % of the good test parts",
    ):
        assert words in seen.text, words
    rows = re.findall(r"<tr.*?</tr>", page)
    assert [row for row in rows if "weakest" in row] == [row for row in rows if "misprint" in row]
    assert seen.tags <= TAGS
    assert ("data-follows-threshold", None) in seen.attributes


def test_nothing_is_asked_of_another_server(tmp_path):
    entry = folder_with(tmp_path / "key", {"evaluation/metrics.json": json.dumps(metrics())})
    seen = Seen(panel(read_facts(entry), CALIBRATION))
    assert not {name for name, _ in seen.attributes} & {"src", "srcset", "href", "xlink:href"}
    assert "![" not in seen.text


def test_the_scores_are_calibrated_as_photos_are():
    facts = ModelFacts("m", "c", measured=Metrics.parse(json.dumps(metrics())))
    expected = CALIBRATION.score(torch.tensor(facts.measured.scores.anomalous)).tolist()
    assert defect_scores(facts, CALIBRATION) == tuple(expected)
    failing = [score > 0.5 for score in good_test_scores(facts, CALIBRATION)]
    assert sum(failing) == 7  # those with 4.5, above the raw threshold of 4
    assert max(normal_scores(CALIBRATION)) == 0.5
    assert defect_scores(replace(facts, measured=None), CALIBRATION) is None


def test_an_evaluated_models_scores_give_its_own_misses_and_false_alarms(evaluated_model):
    entry = find_models([str(evaluated_model)])[0]
    facts = read_facts(entry)
    calibration = Catalogue([entry]).load(entry).model.calibration_of()
    good, defective = good_test_scores(facts, calibration), defect_scores(facts, calibration)
    measured = facts.measured
    assert (len(good), len(defective)) == (measured.n_normal, measured.n_anomalous)
    assert sum(score > 0.5 for score in good) == measured.false_alarms
    assert sum(not score > 0.5 for score in defective) == measured.misses
    assert "<svg" in charts_html(facts, calibration, 0.5, TEXT)


def test_each_category_of_a_model_has_the_figures_of_its_own(tmp_path):
    config = json.dumps({"categories": ["key", "lock"]})
    of_lock = json.dumps(metrics(category="lock", image_auroc=0.75))
    entry = folder_with(tmp_path / "both", {"config.json": config})
    for category in ("key", "lock"):
        path = tmp_path / "both" / "evaluation" / category / "metrics.json"
        path.parent.mkdir()
        path.write_text(of_lock if category == "lock" else json.dumps(metrics()))
    (tmp_path / "both" / "evaluation" / "metrics.json").unlink()
    assert read_facts(replace(entry, category="lock")).measured.image_auroc == 0.75
    assert read_facts(entry).measured.image_auroc == metrics()["image_auroc"]


def test_figures_of_another_product_are_not_the_models(tmp_path):
    other = json.dumps(metrics(category="lock"))
    facts = read_facts(folder_with(tmp_path / "key", {"evaluation/metrics.json": other}))
    assert facts.measured is None
    assert facts.missing == ("evaluation/metrics.json",)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_and_the_rest_is_shown(name, tmp_path):
    entry = folder_with(tmp_path / "key", {})
    (tmp_path / "key" / name).unlink()
    facts = read_facts(entry)
    seen = Seen(panel(facts, CALIBRATION))
    assert facts.missing == (name,)
    assert f"missing or not readable: {name}." in seen.text
    assert ("apache-2.0" in seen.text) is (name != "README.md")
    assert ("160 photos of good parts (key)" in seen.text) is (name != "training.json")
    assert ("64 of 72" in seen.text) is (name != "evaluation/metrics.json")


def test_without_files_and_calibration_there_is_still_a_panel(tmp_path):
    entry = ModelEntry("gone", "gone", str(tmp_path / "gone"))
    seen = Seen(panel(read_facts(entry), None))
    assert "Not measured on labelled photos" in seen.text
    assert "svg" not in seen.tags


def test_a_model_in_which_no_kind_of_defect_stands_out_has_no_weakest_one():
    stored = metrics()
    for kind in stored["per_defect"].values():
        kind |= {"image_auroc": 1.0, "misses": 0}
    assert Metrics.parse(json.dumps(stored)).weakest is None


# The Hub


def test_the_hubs_facts_are_those_of_the_entrys_commit(hub, hub_client):
    files = {name: (KEY / name).read_bytes() for name in FILES}
    first = hub.add_repo("org/key", files)
    newer = json.dumps(metrics(image_auroc=0.5)).encode()
    HfApi().upload_file(
        repo_id="org/key", path_in_repo="evaluation/metrics.json", path_or_fileobj=newer
    )
    entry = ModelEntry("key", "key", "org/key", first, on_hub=True)
    facts = read_facts(entry)
    assert facts.measured.image_auroc == metrics()["image_auroc"]
    newest = replace(entry, revision=read_hub_model("org/key").commit)
    assert read_facts(newest).measured.image_auroc == 0.5
    page = panel(facts, None)
    assert f'href="{hub.endpoint}/org/key"' in page
    assert 'rel="noopener noreferrer"' in page


def test_a_commit_is_asked_for_once(hub, hub_client):
    commit = hub.add_repo("org/key", {name: (KEY / name).read_bytes() for name in FILES})
    entry = ModelEntry("key", "key", "org/key", commit, on_hub=True)
    read_facts(entry)
    asked = len(hub.requests)
    assert read_facts(entry).measured
    assert len(hub.requests) == asked


def test_what_the_hub_lacks_is_missing(hub, hub_client):
    hub.add_repo("org/bare", {"config.json": (KEY / "config.json").read_bytes()})
    facts = read_facts(ModelEntry("bare", "key", "org/bare", on_hub=True))
    assert facts.reached
    assert facts.missing == ("README.md", "training.json", "evaluation/metrics.json")


def test_a_hub_that_is_down_leaves_what_was_downloaded_and_says_so(hub, hub_client):
    commit = hub.add_repo("org/key", {name: (KEY / name).read_bytes() for name in FILES})
    entry = ModelEntry("key", "key", "org/key", commit, on_hub=True)
    read_facts(entry)
    model_facts._read_from_hub.cache_clear()
    hub.stop()
    facts = read_facts(entry)
    assert not facts.reached
    assert facts.licence == "apache-2.0"
    assert facts.measured
    unseen = read_facts(ModelEntry("x", "x", "org/never-seen", on_hub=True))
    assert unseen.missing == FILES
    assert "The Hub did not answer" in Seen(panel(unseen, None)).text


def test_a_hub_that_is_silent_holds_nobody_long(hub, hub_client, monkeypatch):
    monkeypatch.setattr(model_facts, "ANSWER_SECONDS", 0.3)
    hub.add_repo("org/key", {"README.md": b"# A model"})
    hub.delay("/api/models", 3.0)
    # With more patience it would be reached, after three seconds.
    assert not read_facts(ModelEntry("key", "key", "org/key", on_hub=True)).reached


def test_a_file_that_is_far_too_large_is_not_even_downloaded(hub, hub_client):
    huge = b"# A model\n" + b"x" * MOST_BYTES
    hub.add_repo(
        "org/key", {"README.md": huge, "training.json": (KEY / "training.json").read_bytes()}
    )
    facts = read_facts(ModelEntry("key", "key", "org/key", on_hub=True))
    assert "README.md" in facts.missing
    assert facts.training.n_training == 160
    assert "org/key/README.md" not in hub.downloaded


# Hostile files

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'`&{0}{name}\u202e\ud800\x00"
HOSTILE = {
    "a list": "[]",
    "a number": "7",
    "not JSON": "{",
    "deep": "[" * 100_000,
    "not UTF-8": b"\xff\xfe\x00{",
    "huge numbers": json.dumps(metrics(image_auroc=10**400, n_normal=10**400, misses=-1)),
    "NaN": json.dumps(metrics(image_auroc=float("nan"), scores={"good": [float("inf")]})),
    "truth": json.dumps(metrics(misses=True, n_normal=True, image_auroc=False)),
    "words": json.dumps(
        metrics(per_defect={ATTACK: {"n": 3, "misses": "3"}}, date=ATTACK, command=ATTACK)
    ),
    "wrong kinds": json.dumps(
        metrics(per_defect=[1], scores=[2], miss_rate_interval={"a": 1}, date=[3], command={})
    ),
    "wrong kinds inside": json.dumps(
        metrics(per_defect={"a": 1, "b": {"n": "2"}}, scores={"good": {"a": 1}, "anomalous": "x"})
    ),
    "too many": json.dumps(
        metrics(
            per_defect={f"kind {number}": {"n": 1} for number in range(1000)},
            scores={"good": [1] * (MOST_SCORES + 1), "anomalous": [1, "2"]},
        )
    ),
    "intervals": json.dumps(
        metrics(miss_rate_interval=[0.9, 0.1], false_alarm_rate_interval=[-1, 7])
    ),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("name", FILES)
def test_hostile_files_do_no_harm(name, content, tmp_path):
    entry = folder_with(tmp_path / "key", {name: content})
    page = panel(read_facts(entry), CALIBRATION)
    seen = Seen(page)
    assert seen.tags <= TAGS
    assert not [attribute for attribute, _ in seen.attributes if attribute.startswith("on")]
    assert not re.search(r"\bnan\b|\binf\b|Traceback", page)
    assert len(page) < 200_000
    page.encode()  # no half characters


def test_a_hostile_card_is_shown_as_its_own_text(tmp_path):
    card = (
        f"---\nlicense: {ATTACK[:60]}\n---\n# T\n\n## For and not for\n\n{ATTACK[:60]}\n\n"
        "![x](http://127.0.0.1:9/a.png) [y](javascript:alert(1)) `<b>`\n\n## Data and licence\n\n"
        '<a href="javascript:alert(1)">z</a>\n'
    )
    entry = folder_with(tmp_path / "key", {"README.md": card})
    seen = Seen(panel(read_facts(entry), CALIBRATION))
    assert seen.tags <= TAGS
    assert "a" not in seen.tags
    assert "a.png" not in seen.text
    assert "<script>alert(1)</script>" in seen.text  # to be read, not to be run


@pytest.mark.parametrize(
    "card",
    [
        *("![" * 400_000, "![a](" * 100_000, "`" * 500_000, "#" * 500_000, "\n" * 500_000),
        *("---\n" + "[" * 500_000 + "\n---\n", "---\n" * 200_000, "## For and not for\n" * 40_000),
    ],
    ids=range(8),
)
def test_of_a_hostile_card_no_more_is_shown_than_of_a_long_one(card, tmp_path):
    entry = folder_with(tmp_path / "key", {"README.md": card})
    facts = read_facts(entry)
    assert len(facts.card or "") <= LONGEST_CARD
    assert len(panel(facts, CALIBRATION)) < 5 * LONGEST_CARD  # "#" becomes "&#35;"


def test_a_category_is_no_way_out_of_the_folder(tmp_path):
    outside = tmp_path / "metrics.json"
    outside.write_text(json.dumps(metrics(category="../..")))
    entry = folder_with(tmp_path / "key", {})
    (tmp_path / "key" / "config.json").unlink()
    assert read_facts(replace(entry, category="../..")).measured is None
