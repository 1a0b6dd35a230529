from __future__ import annotations

import copy

import pytest
import yaml

from evaluation.leaderboard.command import ORDERS, main, rows_of
from evaluation.leaderboard.published import MEAN, PUBLISHED, PublishedError, read_published
from evaluation.stored import read_evaluations
from tests.evaluation.made_evaluations import make_evaluation

ENTRY = {
    "method": "PatchNet",
    "source": "https://example.org",
    "protocol": {
        "resolution": 256,
        "crop": "none",
        "checkpoint": "last",
        "mask_threshold": "not stated",
        "models": "one per category",
    },
    "results": {"nut": {"image_auroc": 0.96, "aupro": None}, MEAN: {"image_auroc": 0.97}},
    "latency": {"seconds": 0.5, "measured": "elsewhere"},
}


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump([ENTRY]))
    return path


@pytest.fixture
def runs(tmp_path):
    """Two models on nut, the second of which also knows key."""
    folder = tmp_path / "runs"
    make_evaluation(folder / "a" / "nut", "nut", model="runs/a")
    make_evaluation(folder / "b" / "nut", "nut", model="runs/b", image_auroc=0.99, aupro=0.5)
    make_evaluation(
        folder / "b" / "key",
        "key",
        model="runs/b",
        image_auroc=0.9,
        cost={"seconds_per_photo": 2.0},
    )
    return folder


def order(rows, category):
    return [row.model for row in rows if row.category == category]


def test_rows_are_sorted_within_their_category(runs, published):
    evaluations, quoted = read_evaluations([runs]), read_published(published)
    by_auroc = rows_of(evaluations, quoted, "image_auroc")
    assert [row.category for row in by_auroc] == ["key", *["nut"] * 3, "mean of 2: key, nut", MEAN]
    assert order(by_auroc, "nut") == ["runs/b", "PatchNet", "runs/a"]
    # What has no such figure comes last, whichever way it is sorted.
    assert order(rows_of(evaluations, quoted, "aupro"), "nut") == ["runs/a", "runs/b", "PatchNet"]
    assert order(rows_of(evaluations, quoted, "size"), "nut")[-1] == "PatchNet"


def test_published_rows_are_marked_and_say_what_they_rest_on(runs, published, tmp_path, capsys):
    arguments = [str(runs), "--published", str(published), "--output_dir", str(tmp_path / "out")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert (
        "| PatchNet (published) | nut | 0.960 | - | - | 500 ms (measured here) | - | - |" in printed
    )
    assert "image AUROC, highest first" in printed
    assert (
        "| PatchNet | 256 | none | last | not stated | one per category | time measured elsewhere "
        "| https://example.org |" in printed
    )
    measured = [line for line in printed.splitlines() if line.startswith("| runs/")]
    assert len(measured) == 4 and not any("published" in line for line in measured)
    assert (tmp_path / "out" / "leaderboard.md").read_text() == printed.rstrip("\n") + "\n"
    page = (tmp_path / "out" / "leaderboard.html").read_text()
    assert page.count('<tr class="faint">') == 2 and "PatchNet" in page


def test_measured_rows_hold_figures_time_size_and_training(runs, published, capsys):
    assert main([str(runs), "--published", str(published)]) == 0
    assert (
        "| runs/a (golden-sample-autoencoder) | nut | 0.950 | 0.987 | 0.893 | 100 ms | 6.2 MB | "
        "11 min 30 s |" in capsys.readouterr().out
    )


def test_the_mean_of_a_model_is_over_its_own_categories(runs, published):
    rows = rows_of(read_evaluations([runs]), read_published(published), "image_auroc")
    (mean,) = [row for row in rows if row.category.startswith("mean of 2")]
    assert mean.image_auroc == pytest.approx((0.99 + 0.9) / 2) and not mean.published


@pytest.mark.parametrize("sort_by", ORDERS)
def test_every_order_says_its_name(runs, published, capsys, sort_by):
    assert main([str(runs), "--published", str(published), "--sort_by", sort_by]) == 0
    assert f"then by {ORDERS[sort_by][0]}" in capsys.readouterr().out


def test_the_shipped_file_names_source_and_protocol_of_every_method():
    entries = read_published(PUBLISHED)
    names = " ".join(entry.method for entry in entries)
    for method in (
        *("EfficientAD", "PatchCore", "PaDiM", "RD4AD", "DRAEM", "UniAD", "Dinomaly"),
        *("AE-SSIM", "AE-L2"),
    ):
        assert method in names
    assert all("http" in entry.source or "CVPR" in entry.source for entry in entries)
    assert len({entry.method for entry in entries}) == len(entries)


def test_an_entry_without_source_or_protocol_is_refused(published):
    for key in ("source", "protocol"):
        entry = {name: value for name, value in ENTRY.items() if name != key}
        published.write_text(yaml.safe_dump([entry]))
        with pytest.raises(PublishedError, match=f"entry 1: {key} is missing"):
            read_published(published)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("source",), None, "expected text as source"),
        (("source",), "  ", "expected text as source"),
        (("protocol", "crop"), None, "crop is empty"),
        (("protocol",), "as usual", "expected names with values"),
        (("results", "nut", "image_auroc"), 96, "in 0..1"),
        (("results", "nut", "image_auroc"), "0.96", "in 0..1"),
        (("results", "nut", "auroc"), 0.96, "auroc is unknown"),
        (("resolution",), 256, "resolution is unknown"),
        (("latency", "seconds"), -1, "from 0 up"),
    ],
)
def test_an_entry_of_another_form_is_refused_by_name(runs, published, capsys, path, value, words):
    entry = copy.deepcopy(ENTRY)
    *outer, last = path
    inner = entry
    for key in outer:
        inner = inner[key]
    inner[last] = value
    published.write_text(yaml.safe_dump([entry]))
    with pytest.raises(PublishedError, match="entry 1"):
        read_published(published)
    assert main([str(runs), "--published", str(published)]) == 2
    assert words in capsys.readouterr().err


def test_a_run_without_evaluation_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("leaderboard.py: ")
