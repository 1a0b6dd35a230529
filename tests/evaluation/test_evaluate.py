from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run_command
from conftest import TINY_DATA
from PIL import Image
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import f1_score, roc_auc_score

from data.dataset import load_inspection_dataset
from evaluation.documents.document import Paragraph
from evaluation.evaluate.cases import most_telling, of_every_kind
from evaluation.evaluate.command import evaluate, main
from evaluation.evaluate.prediction import Prediction, predict
from evaluation.evaluate.summary import format_table
from evaluation.metrics import MetricError, image_auroc
from evaluation.report.overview import at_a_glance
from evaluation.stored import read_evaluation
from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor, load_pipeline


def arguments_for(model: Path | str, data: Path | str, output_dir: Path, *more: str) -> list[str]:
    return [*("--model", str(model), "--data", str(data), "--output_dir", str(output_dir)), *more]


def read_metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def read_predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def results(trained_model: Path, tmp_path_factory) -> Path:
    """Output folder of the script, run as a user runs it."""
    folder = tmp_path_factory.mktemp("evaluation") / "new" / "folder"
    arguments = arguments_for(trained_model, TINY_DATA, folder, "--num_pictures", "3")
    finished = run_command("evaluation/evaluate.py", *arguments)
    assert finished.returncode == 0, finished.stderr
    (folder / "stdout.txt").write_text(finished.stdout)
    return folder


@pytest.fixture(scope="module")
def test_photos():
    return load_inspection_dataset(TINY_DATA)["test"]


def write_photos(folder: Path, count: int, side: int = 40) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(count)
    for index in range(count):
        pixels = rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")


@pytest.fixture
def noise_data(tmp_path: Path) -> Path:
    """A category of noise in the layout of MVTec AD: 2 defects, neither with masks."""
    part = tmp_path / "data" / "noise"
    write_photos(part / "train" / "good", 3)
    write_photos(part / "test" / "good", 4)
    write_photos(part / "test" / "dent", 2)
    write_photos(part / "test" / "scratch", 5)
    return tmp_path / "data"


# Files


def test_metrics_can_be_recomputed_from_the_predictions(results):
    metrics, rows = read_metrics(results), read_predictions(results)
    labels = np.array([row["label"] == "anomalous" for row in rows])
    raw = np.array([float(row["raw_score"]) for row in rows])
    failed = np.array([float(row["score"]) > float(row["threshold"]) for row in rows])
    assert metrics["image_auroc"] == pytest.approx(roc_auc_score(labels, raw), abs=1e-12)
    assert metrics["f1"] == pytest.approx(f1_score(labels, failed), abs=1e-12)
    assert metrics["recall"] == pytest.approx(failed[labels].mean(), abs=1e-12)
    assert metrics["miss_rate"] == pytest.approx(1 - failed[labels].mean(), abs=1e-12)
    assert metrics["false_alarm_rate"] == pytest.approx(failed[~labels].mean(), abs=1e-12)
    assert (metrics["n_normal"], metrics["n_anomalous"]) == ((~labels).sum(), labels.sum())
    defects = np.array([row["defect"] for row in rows])
    assert set(metrics["per_defect"]) == set(defects[labels])
    for name, part in metrics["per_defect"].items():
        of_defect = defects == name
        chosen = of_defect | ~labels
        area = roc_auc_score(labels[chosen], raw[chosen])
        assert part["n"] == of_defect.sum()
        assert part["image_auroc"] == pytest.approx(area, abs=1e-12)
        assert part["recall"] == pytest.approx(failed[of_defect].mean(), abs=1e-12)


def test_the_scores_of_the_metrics_are_those_of_the_predictions(results):
    metrics, rows = read_metrics(results), read_predictions(results)
    for name, label in (("good", "normal"), ("anomalous", "anomalous")):
        raw = sorted(float(row["raw_score"]) for row in rows if row["label"] == label)
        assert metrics["scores"][name] == pytest.approx(raw, rel=1e-5)
        assert metrics["scores"][name] == sorted(metrics["scores"][name])
    good, anomalous = metrics["scores"]["good"], metrics["scores"]["anomalous"]
    labels = [0] * len(good) + [1] * len(anomalous)
    assert roc_auc_score(labels, good + anomalous) == pytest.approx(
        metrics["image_auroc"], abs=1e-3
    )
    assert all(len(repr(score).replace(".", "").lstrip("0")) <= 6 for score in good + anomalous)


def test_the_verdict_says_whether_the_score_exceeds_the_threshold(results):
    for row in read_predictions(results):
        exceeds = float(row["score"]) > float(row["threshold"])
        assert row["verdict"] == ("CHECK" if row["doubt"] else "FAIL" if exceeds else "PASS")


def test_score_and_raw_score_tell_the_same_side_of_the_threshold(results):
    metrics = read_metrics(results)
    for row in read_predictions(results):
        by_raw = float(row["raw_score"]) > metrics["raw_threshold"]
        assert by_raw == (float(row["score"]) > metrics["threshold"])


def test_scores_are_those_of_the_pipeline(results, trained_model, test_photos):
    pipe = load_pipeline(trained_model)
    rows = read_predictions(results)
    assert [row["image_id"] for row in rows] == test_photos["image_id"][:]
    for index in range(0, len(rows), 3):
        inspection = pipe(test_photos[index]["image"])
        assert float(rows[index]["score"]) == pytest.approx(inspection.score, abs=1e-5)
        assert float(rows[index]["raw_score"]) == pytest.approx(inspection.raw_score, rel=1e-5)
        assert rows[index]["verdict"] == inspection.verdict
        assert rows[index]["doubt"] == (inspection.doubt or "")


def test_pixel_auroc_is_that_of_the_pipelines_maps_against_the_masks(
    results, trained_model, test_photos
):
    pipe = load_pipeline(trained_model)
    truth, values = [], []
    for row in test_photos:
        mask = row["mask"]
        size = row["image"].size[::-1]
        truth.append(np.zeros(size, bool) if mask is None else np.asarray(mask) > 127)
        values.append(pipe(row["image"]).anomaly_map)
    area = roc_auc_score(np.ravel(truth), np.ravel(values))
    assert read_metrics(results)["pixel_auroc"] == pytest.approx(area, abs=1e-6)


def test_the_model_finds_defects(results):
    # Guards against labels or masks the wrong way round: then both would lie below a half.
    metrics = read_metrics(results)
    assert metrics["image_auroc"] > 0.6
    assert metrics["pixel_auroc"] > 0.6
    assert metrics["aupro"] > 0.15  # chance


def test_metrics_say_what_made_them(results, trained_model):
    metrics = read_metrics(results)
    assert metrics["category"] == "flange_nut"
    assert metrics["model"] == trained_model.name  # no path of this machine
    assert metrics["data"] == TINY_DATA
    assert metrics["seed"] == 0
    assert metrics["versions"]["torch"] == torch.__version__
    assert f"--model {trained_model.name} " in metrics["command"]
    assert str(trained_model) not in (results / "metrics.json").read_text()
    calibration = load_pipeline(trained_model).model.calibration_of()
    assert metrics["threshold"] == 0.5
    assert metrics["raw_threshold"] == calibration.raw_threshold
    assert metrics["promised_false_alarm_rate"] == calibration.promised_false_alarm_rate


def test_intervals_hold_their_rates(results):
    metrics = read_metrics(results)
    for part in (metrics, *metrics["per_defect"].values()):
        low, high = part["miss_rate_interval"]
        assert 0 <= low <= part["miss_rate"] <= high <= 1


def test_pictures_are_written(results):
    sizes = {}
    names = ("pictures.png", "restorations.png", "examples.jpg", "roc.png", "scores.png")
    for name in (*names, "calibration.png"):
        with Image.open(results / name) as picture:
            picture.load()
            sizes[name] = picture.size
    assert sizes["pictures.png"][1] > 2 * 200  # three rows


def test_the_painted_parts_show_every_kind_of_defect(trained_model):
    folder = load_pipeline(trained_model)
    dataset = load_inspection_dataset(TINY_DATA)["test"]
    predictions = predict(folder.model, folder.image_processor, dataset)
    anomalous = [index for index, prediction in enumerate(predictions) if prediction.label]
    chosen = of_every_kind(predictions, anomalous)
    assert len(chosen) == len({*chosen}) == 10
    kinds = {prediction.defect for prediction in predictions} - {"good"}
    assert {predictions[index].defect for index in chosen} == kinds


def test_the_table_shows_what_the_metrics_say(results):
    printed = (results / "stdout.txt").read_text()
    metrics = read_metrics(results)
    assert format_table(metrics) in printed
    for name in metrics["per_defect"]:
        assert name in printed
    assert f"{metrics['image_auroc']:.3f}" in printed
    assert f"{metrics['n_calibration']} held-out good photos" in printed


def test_it_runs_as_a_module_and_on_another_category(trained_model, noise_data, tmp_path):
    more = ("--category", "noise", "--batch_size", "3")
    arguments = arguments_for(trained_model, noise_data, tmp_path / "out", *more)
    finished = run_command("-m", "evaluation.evaluate", *arguments)
    assert finished.returncode == 0, finished.stderr
    assert "trained on flange_nut but is evaluated on noise" in finished.stderr
    assert "No anomalous photo has a mask" in finished.stdout
    metrics = read_metrics(tmp_path / "out")
    assert metrics["pixel_auroc"] is None
    assert metrics["per_defect"]["dent"]["pixel_auroc"] is None
    assert metrics["per_defect"]["dent"]["n"] == 2
    assert 0 <= metrics["image_auroc"] <= 1


def test_photos_of_another_product_are_what_the_pipeline_says_of_them(
    trained_model, tmp_path, capsys
):
    data = "synthetic:key?train=3&test_good=2&test_per_defect=1&size=96"
    assert main(arguments_for(trained_model, data, tmp_path, "--num_pictures", "0")) == 0
    photos, rows = load_inspection_dataset(data)["test"], read_predictions(tmp_path)
    inspections = load_pipeline(trained_model)(photos["image"][:])
    assert [(row["verdict"], row["doubt"]) for row in rows] == [
        (inspection.verdict, inspection.doubt) for inspection in inspections
    ]
    assert {row["verdict"] for row in rows} == {"CHECK"}
    metrics = read_metrics(tmp_path)
    assert (metrics["checks"], metrics["check_rate"]) == (len(photos), 1.0)
    assert 0 < metrics["check_rate_interval"][0] < metrics["check_rate_interval"][1] == 1.0
    passed = [float(row["score"]) <= float(row["threshold"]) for row in rows]
    labels = [row["label"] for row in rows]
    assert metrics["misses"] == sum(np.array(passed) & (np.array(labels) == "anomalous"))
    sentence = f"{len(photos)} of {len(photos)} photos would be CHECK in the app"
    assert capsys.readouterr().out.count(sentence) == 1
    blocks = at_a_glance([read_evaluation(tmp_path)]).blocks
    assert [sentence in block.text for block in blocks if isinstance(block, Paragraph)].count(
        True
    ) == 1


def test_without_anomalous_photos_what_remains_is_measured(
    trained_model, noise_data, tmp_path, capsys, recwarn
):
    for defect in ("dent", "scratch"):
        shutil.rmtree(noise_data / "noise" / "test" / defect)
    stale = tmp_path / "out" / "roc.png"
    stale.parent.mkdir()
    stale.write_text("of an earlier run")
    assert main(arguments_for(trained_model, noise_data, stale.parent)) == 0
    assert "No test photo is anomalous" in capsys.readouterr().out
    assert not [w for w in recwarn if issubclass(w.category, UndefinedMetricWarning)]
    metrics = read_metrics(stale.parent)
    undefined = ("image_auroc", "pixel_auroc", "f1", "recall", "miss_rate")
    assert [metrics[name] for name in undefined] == [None] * len(undefined)
    assert 0 <= metrics["false_alarm_rate"] <= 1
    assert metrics["per_defect"] == {}
    assert (len(metrics["scores"]["good"]), metrics["scores"]["anomalous"]) == (4, [])
    assert not stale.exists()


# Bad input


def assert_one_sentence(stderr: str, *words: str) -> None:
    assert "Traceback" not in stderr
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("evaluate.py: ")
    for word in words:
        assert word in last


def test_an_unknown_model_is_told_in_one_sentence(noise_data, tmp_path):
    arguments = arguments_for(tmp_path / "no_model", noise_data, tmp_path / "out")
    finished = run_command("evaluation/evaluate.py", *arguments)
    assert finished.returncode == 2
    assert_one_sentence(finished.stderr, "no_model")
    assert not (tmp_path / "out").exists()


def test_a_missing_folder_is_told_in_one_sentence(trained_model, tmp_path, capsys):
    assert main(arguments_for(trained_model, tmp_path / "nowhere", tmp_path / "out")) == 2
    assert_one_sentence(capsys.readouterr().err, "nowhere")
    assert not (tmp_path / "out").exists()


def test_no_test_photos_are_told_in_one_sentence(trained_model, noise_data, tmp_path, capsys):
    shutil.rmtree(noise_data / "noise" / "test")
    assert main(arguments_for(trained_model, noise_data, tmp_path / "out")) == 2
    assert_one_sentence(capsys.readouterr().err, str(noise_data), "no test photos")


def test_test_photos_alone_are_enough(trained_model, tmp_path):
    data = "synthetic:flange_nut?train=0&test_good=2&test_per_defect=1&size=64"
    assert main(arguments_for(trained_model, data, tmp_path, "--num_pictures", "0")) == 0


def test_a_damaged_photo_is_named(trained_model, noise_data, tmp_path, capsys):
    cut = noise_data / "noise" / "test" / "dent" / "cut.jpg"
    Image.effect_noise((400, 400), 90).save(cut)
    cut.write_bytes(cut.read_bytes()[:20_000])
    assert main(arguments_for(trained_model, noise_data, tmp_path / "out")) == 2
    assert_one_sentence(capsys.readouterr().err, str(cut), "can't be read as a picture")


def test_an_output_that_is_no_folder_is_named(trained_model, noise_data, tmp_path, capsys):
    out = tmp_path / "out"
    out.write_text("a file")
    assert main(arguments_for(trained_model, noise_data, out)) == 2
    assert_one_sentence(capsys.readouterr().err, str(out), "--output_dir")


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--batch_size", "0"), ("--num_pictures", "-1"), ("--device", "toaster")],
)
def test_a_bad_flag_is_told_in_one_sentence(flag, value, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments_for("model", TINY_DATA, tmp_path / "out", f"{flag}={value}"))
    assert exit_info.value.code == 2
    assert_one_sentence(capsys.readouterr().err, flag, value)


# As a library


@pytest.fixture(scope="module")
def uncalibrated() -> tuple[Autoencoder, InspectionImageProcessor]:
    torch.manual_seed(0)
    config = AutoencoderConfig(image_size=32, hidden_sizes=[8, 8], latent_channels=8)
    return Autoencoder(config).eval(), InspectionImageProcessor(size={"height": 32, "width": 32})


def test_an_uncalibrated_model_is_ranked_but_not_judged(uncalibrated, test_photos):
    with pytest.warns(UndefinedMetricWarning):
        evaluation = evaluate(*uncalibrated, test_photos)
    metrics = evaluation.metrics
    assert 0 <= metrics["image_auroc"] <= 1
    assert 0 <= metrics["pixel_auroc"] <= 1
    assert metrics["threshold"] is None
    assert np.isnan([metrics["f1"], metrics["false_alarm_rate"], metrics["miss_rate"]]).all()
    assert "not calibrated" in metrics["notes"][0]
    assert {prediction.verdict for prediction in evaluation.predictions} == {""}
    format_table(metrics)


def test_the_batch_size_changes_nothing(uncalibrated, test_photos):
    some = test_photos.select(range(7))
    with pytest.warns(UndefinedMetricWarning):
        one, many = (evaluate(*uncalibrated, some, batch_size=size) for size in (1, 5))
    for a, b in zip(one.predictions, many.predictions, strict=True):
        assert a.image_id == b.image_id
        assert a.raw_score == pytest.approx(b.raw_score, rel=1e-5)


def test_anomalous_photos_without_a_mask_are_no_normal_pixels(uncalibrated, test_photos):
    def without_mask(row, index):
        return {"mask": None} if index in hidden else {}

    anomalous = np.flatnonzero(np.array(test_photos["label"]) == 1)
    hidden = set(anomalous[::2].tolist())
    partly = test_photos.map(without_mask, with_indices=True, features=test_photos.features)
    shown = test_photos.select([i for i in range(len(test_photos)) if i not in hidden])
    with pytest.warns(UndefinedMetricWarning):
        a, b = (evaluate(*uncalibrated, photos, batch_size=1).metrics for photos in (partly, shown))
    assert a["pixel_auroc"] == pytest.approx(b["pixel_auroc"], abs=1e-12)
    assert a["aupro"] == pytest.approx(b["aupro"], abs=1e-12)
    assert f"{len(hidden)} of {len(anomalous)} anomalous photos have no mask" in a["notes"][-1]


def test_a_model_that_gives_nan_names_the_photo(uncalibrated, test_photos):
    model, processor = uncalibrated
    broken = Autoencoder(model.config)
    torch.nn.init.constant_(broken.decoder.to_patches.bias, torch.nan)
    with pytest.raises(MetricError, match=test_photos[0]["image_id"]):
        evaluate(broken, processor, test_photos)


def test_misses_and_false_alarms_come_first():
    def prediction(label: int, raw_score: float) -> Prediction:
        failed = raw_score > 5
        nothing = np.zeros((1, 1))
        return Prediction("", "", "", label, raw_score, 0.0, failed, None, nothing, (1, 1))

    predictions = [prediction(*case) for case in [(1, 9), (0, 1), (1, 4), (0, 8), (1, 2), (1, 7)]]
    assert most_telling(predictions, 6) == [4, 3, 2, 0, 5, 1]
    assert most_telling(predictions, 2) == [4, 3]
    assert most_telling(predictions, 0) == []


def test_metrics_of_the_library_and_of_the_script_agree(results, trained_model, test_photos):
    pipe = load_pipeline(trained_model)
    evaluation = evaluate(pipe.model, pipe.image_processor, test_photos)
    written = read_metrics(results)
    for name in ("image_auroc", "average_precision", "pixel_auroc", "aupro", "f1"):
        assert evaluation.metrics[name] == pytest.approx(written[name], abs=1e-6)
    labels = [prediction.label for prediction in evaluation.predictions]
    raw_scores = [prediction.raw_score for prediction in evaluation.predictions]
    assert evaluation.metrics["image_auroc"] == image_auroc(labels, raw_scores)
