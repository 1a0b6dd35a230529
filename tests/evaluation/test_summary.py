from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation.evaluate import baselines, summary
from evaluation.evaluate.prediction import MadeOnDemand, Prediction
from evaluation.evaluate.summary import format_table, summarise
from evaluation.metrics import MetricError
from evaluation.pixel_metrics import EXACT_PIXELS, MANTISSA_BITS, count_pixels
from modeling import Calibration, rate
from tests.conftest import ROOT

# Keys of metrics.json whose own keys are names: of libraries, of kinds of defect, of baselines.
NAMED = {"versions": "LIBRARY", "per_defect": "DEFECT", "baselines": "BASELINE"}


def photo(number: int, defect: str, raw_score: float, failed: bool | None) -> Prediction:
    nothing = np.zeros((1, 1), np.float32)
    label = int(defect != "good")
    name = f"test/{defect}/{number:03d}"
    return Prediction(name, "part", defect, label, raw_score, 0.5, failed, None, nothing, (30, 40))


@pytest.fixture
def predictions() -> list[Prediction]:
    return [
        photo(0, "good", 1.0, False),
        photo(1, "good", 2.5, False),
        photo(2, "good", 4.0, True),
        photo(0, "dent", 3.0, False),
        photo(1, "dent", 6.0, True),
        photo(0, "cut", 5.0, True),
        photo(1, "cut", 2.0, False),
    ]


@pytest.fixture
def maps() -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((7, 30, 40), dtype=np.float32))


@pytest.fixture
def masks(maps: list[np.ndarray]) -> list[np.ndarray | None]:
    """Two dents and one cut; the other cut has a mask that marks nothing."""
    found = np.zeros((7, 30, 40), bool)
    found[3, 4:9, 5:20] = found[4, 20:25, 1:4] = found[5, :3, :3] = True
    for index in range(3, 6):
        maps[index] += 0.5 * found[index].astype(np.float32)
    return [None, None, None, *found[3:]]


@pytest.fixture
def calibration() -> Calibration:
    return Calibration.fit([3.0, 1.0, 2.00000049], 0.3)


def test_the_figures_are_those_of_the_library_on_all_photos_and_pixels_at_once(
    predictions, maps, masks, calibration
):
    metrics = summarise(predictions, maps, masks, calibration)
    labels = [one.label for one in predictions]
    scores = [one.raw_score for one in predictions]
    assert metrics["image_auroc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    low, high = metrics["image_auroc_interval"]
    assert 0 <= low < metrics["image_auroc"] < high <= 1
    assert metrics["image_f1_max"] == pytest.approx(2 * 4 / (6 + 4))
    values = np.ravel(maps[:6])  # the last one is anomalous, but nobody said where
    truth = np.concatenate([np.zeros(3 * 1200, bool), np.ravel(masks[3:6])])
    assert metrics["pixel_auroc"] == pytest.approx(roc_auc_score(truth, values), abs=1e-12)
    area = average_precision_score(truth, values)
    assert metrics["pixel_average_precision"] == pytest.approx(area, abs=1e-12)
    assert 0 < metrics["aupro_5"] < metrics["aupro"] < 1
    assert metrics["pixel_error_bound"] == 0.0
    assert (metrics["n_normal"], metrics["n_anomalous"], metrics["n_with_mask"]) == (3, 4, 3)
    assert metrics["calibration_scores"] == [1.0, 2.0, 3.0]
    assert "1 of 4 anomalous photos have no mask" in metrics["notes"][0]


def test_a_kind_of_defect_stands_against_all_good_photos(predictions, maps, masks, calibration):
    metrics = summarise(predictions, maps, masks, calibration)
    part = metrics["per_defect"]["dent"]
    assert part["image_auroc"] == pytest.approx(5 / 6)
    values = np.ravel(maps[:5])
    truth = np.concatenate([np.zeros(3 * 1200, bool), np.ravel(masks[3:5])])
    # The normal pixels of the cut take part as well.
    normal = np.append(values[~truth], maps[5][~masks[5]])
    labels = np.repeat([0, 1], [normal.size, truth.sum()])
    area = roc_auc_score(labels, np.append(normal, values[truth]))
    assert part["pixel_auroc"] == pytest.approx(area, abs=1e-12)
    assert part["misses"] == 1
    assert set(metrics["per_defect"]) == {"cut", "dent"}


def test_photos_that_are_refused_are_counted_and_change_no_other_figure(
    predictions, maps, masks, calibration
):
    judged = summarise(predictions, maps, masks, calibration)
    assert (judged["checks"], judged["check_rate"]) == (0, 0.0)
    for index in (2, 6):  # a false alarm and a miss
        predictions[index] = dataclasses.replace(predictions[index], doubt="blurred")
    refused = summarise(predictions, maps, masks, calibration)
    share = rate(2, 7)
    assert refused["checks"] == 2
    assert refused["check_rate"] == share.value
    assert refused["check_rate_interval"] == [share.low, share.high]
    *notes, sentence = refused["notes"]
    assert sentence.startswith("2 of 7 photos would be CHECK in the app")
    assert format_table(refused).endswith(f"\nNote: {sentence}")
    changed = ("checks", "check_rate", "check_rate_interval", "notes")
    for name in changed:
        del refused[name]
    assert refused == {key: value for key, value in judged.items() if key not in changed}
    assert notes == judged["notes"]


def test_maps_and_masks_are_made_once_a_photo(predictions, maps, masks, calibration):
    asked = {"map": [], "mask": []}

    def made(what: str, things: list) -> MadeOnDemand:
        return MadeOnDemand(lambda index: asked[what].append(index) or things[index], len(things))

    summarise(predictions, made("map", maps), made("mask", masks), calibration)
    assert asked == {"map": [*range(6)], "mask": [*range(7)]}


def test_more_pixels_than_can_be_told_apart_have_a_bound_and_the_table_says_so(
    predictions, maps, masks, calibration, monkeypatch
):
    exact = summarise(predictions, maps, masks, calibration)
    few = functools.partial(count_pixels, exact_pixels=3000)
    monkeypatch.setattr(summary, "count_pixels", few)
    streamed = summarise(predictions, maps, masks, calibration)
    assert 0 < streamed["pixel_error_bound"] < 1e-3
    for name in ("pixel_auroc", "pixel_average_precision", "pixel_f1_max", "aupro", "aupro_5"):
        assert abs(streamed[name] - exact[name]) <= streamed["pixel_error_bound"]
    assert "; exact." in format_table(exact)
    assert re.search(r"; off by \S+ at most\.", format_table(streamed))


def test_the_table_shows_interval_and_largest_f1(predictions, maps, masks, calibration):
    metrics = summarise(predictions, maps, masks, calibration)
    low, high = metrics["image_auroc_interval"]
    table = format_table(metrics)
    assert f"(95 % interval {low:.3f} to {high:.3f})" in table
    assert f"largest F1 {metrics['image_f1_max']:.3f}" in table
    assert f"largest F1 {metrics['pixel_f1_max']:.3f}" in table
    assert f"{metrics['aupro_5']:.3f} up to 0.05" in table


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only_leaves_what_needs_both_undefined(label, predictions, maps, masks):
    chosen = [index for index, one in enumerate(predictions) if one.label == label]
    with pytest.warns(UndefinedMetricWarning):
        metrics = summarise(
            [predictions[index] for index in chosen],
            [maps[index] for index in chosen],
            [masks[index] for index in chosen],
            None,
        )
    undefined = ("image_auroc", "average_precision", "image_f1_max", "f1", "precision")
    assert np.isnan([metrics[name] for name in undefined]).all()
    assert np.isnan(metrics["image_auroc_interval"]).all()
    # The normal pixels of defective photos are enough for pixel metrics.
    for name in ("pixel_auroc", "aupro", "pixel_error_bound"):
        assert np.isnan(metrics[name]) == (label == 0)
    assert metrics["calibration_scores"] is None
    assert f"No test photo is {'good' if label else 'anomalous'}" in metrics["notes"][1]
    format_table(metrics)


def test_no_photo_has_a_mask(predictions, maps, calibration):
    with pytest.warns(UndefinedMetricWarning, match="no anomalous pixel"):
        metrics = summarise(predictions, maps, [None] * 7, calibration)
    names = ("pixel_auroc", "pixel_average_precision", "pixel_f1_max", "aupro", "aupro_5")
    assert np.isnan([metrics[name] for name in names]).all()
    assert metrics["notes"] == [
        "No anomalous photo has a mask, so pixel AUROC and AUPRO are undefined."
    ]
    assert "Pixels:" not in format_table(metrics)


def test_what_is_not_finite_names_the_photo(predictions, maps, masks, calibration):
    maps[5][2, 2] = np.nan
    with pytest.raises(MetricError, match="test/cut/000"):
        summarise(predictions, maps, masks, calibration)
    predictions[4] = dataclasses.replace(predictions[4], raw_score=np.inf)
    maps[5][2, 2] = 0.0
    with pytest.raises(MetricError, match="test/dent/001"):
        summarise(predictions, maps, masks, calibration)


def keys_of(metrics: dict, path: str = "") -> Iterator[str]:
    """Paths of all values, with names in capitals where docs/metrics.md has them."""
    for key, value in metrics.items():
        if not isinstance(value, dict):
            yield path + key
        elif key in NAMED:
            for entry in value.values():
                named = f"{key}.{NAMED[key]}"
                yield from keys_of(entry, f"{named}.") if isinstance(entry, dict) else [named]
        else:
            yield from keys_of(value, f"{path}{key}.")


def documented_keys() -> list[str]:
    text = (ROOT / "docs" / "metrics.md").read_text()
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def test_the_document_names_every_key_of_the_file_and_no_other(evaluated_model: Path):
    metrics = json.loads((evaluated_model / "evaluation" / "metrics.json").read_text())
    if not metrics["baselines"]:
        metrics["baselines"] = {"mean_image": dict.fromkeys((*baselines.METRICS, "seconds"))}
    documented = documented_keys()
    assert len(documented) == len({*documented})
    assert {*documented} == {*keys_of(metrics)}


def test_the_document_says_how_many_pixels_and_bits_are_told_apart():
    text = (ROOT / "docs" / "metrics.md").read_text()
    assert f"up to {EXACT_PIXELS:,} pixels" in text
    assert f"the first {MANTISSA_BITS} bits" in text
