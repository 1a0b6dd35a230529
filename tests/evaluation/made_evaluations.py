"""Evaluation folders made by hand: small, whole, and different wherever a test asks for it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from PIL import Image

GOOD = [1.0, 1.5, 2.0, 4.5]
ANOMALOUS = [3.0, 5.0, 6.0, 7.0, 8.0]
PICTURES = ("photo", "reconstruction", "heatmap", "truth")


def metrics_of(category: str = "nut", **changes: Any) -> dict[str, Any]:
    """The content of a metrics.json with all keys; `changes` replace some, None removes one."""
    defect = {
        "n": 3,
        "image_auroc": 1.0,
        "average_precision": 1.0,
        "pixel_auroc": 0.991,
        "aupro": 0.95,
        "recall": 1.0,
        "miss_rate": 0.0,
        "miss_rate_interval": [0.0, 0.561],
        "misses": 0,
    }
    weak = {**defect, "n": 2, "image_auroc": 0.875, "misses": 1, "miss_rate": 0.5, "aupro": 0.81}
    metrics = {
        "category": category,
        "model": f"runs/{category}",
        "architecture": "golden-sample-autoencoder",
        "data": f"synthetic:{category}",
        "seed": 7,
        "date": "2026-11-25T10:00:00+00:00",
        "command": f"python evaluation/evaluate.py --model runs/{category}",
        "versions": {"torch": "2.13.0"},
        "device": "cpu",
        "image_auroc": 0.95,
        "image_auroc_interval": [0.812, 1.0],
        "average_precision": 0.961,
        "image_f1_max": 0.923,
        "pixel_auroc": 0.987,
        "pixel_average_precision": 0.654,
        "pixel_f1_max": 0.612,
        "aupro": 0.893,
        "aupro_5": 0.712,
        "pointing": 0.8,
        "pointing_of_fails": 1.0,
        "image_auroc_at_defects": 0.9,
        "f1": 0.8,
        "precision": 0.8,
        "recall": 0.8,
        "false_alarm_rate": 0.25,
        "false_alarm_rate_interval": [0.046, 0.699],
        "false_alarms": 1,
        "miss_rate": 0.2,
        "miss_rate_interval": [0.036, 0.624],
        "misses": 1,
        "threshold": 0.5,
        "raw_threshold": 4.0,
        "asked_false_alarm_rate": 0.25,
        "promised_false_alarm_rate": 0.2,
        "n_calibration": 4,
        "n_normal": 4,
        "n_anomalous": 5,
        "n_with_mask": 5,
        "per_defect": {"dent": defect, "scratch": weak},
        "scores": {"good": GOOD, "anomalous": ANOMALOUS},
        "calibration_scores": [1.0, 2.0, 3.0, 4.0],
        "cost": {
            "photos": 9,
            "inference_seconds": 0.9,
            "seconds_per_photo": 0.1,
            "weights_bytes": 6_200_000,
            "parameters": 2_900_000,
            "training_seconds": 690.4,
            "cores": 2,
            "processes": 1,
        },
        "baselines": {
            "mean_image": {"image_auroc": 0.7, "aupro": 0.4, "seconds": 0.2},
            "nearest_neighbours": {"image_auroc": 0.9, "aupro": 0.8, "seconds": 4.0},
        },
        "notes": [],
        **changes,
    }
    return {key: value for key, value in metrics.items() if value is not None}


def make_evaluation(
    folder: Path, category: str = "nut", *, cases: bool = True, whole: bool = True, **changes: Any
) -> Path:
    """Write an evaluation folder.

    Args:
        folder: to make.
        category: of the photos.
        cases: with pictures of a miss and a false alarm.
        whole: with predictions.csv and learning_curve.csv as well.
        changes: see `metrics_of`.
    """
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics_of(category, **changes)))
    if whole:
        with (folder / "predictions.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ("image_id", "label", "raw_score"))
            writer.writeheader()
            for label, scores in (("normal", GOOD), ("anomalous", ANOMALOUS)):
                for score in scores:
                    row = {"image_id": f"{label}/{score}", "label": label, "raw_score": score}
                    writer.writerow(row)
        (folder / "learning_curve.csv").write_text(
            "epoch,loss,held_out_loss,learning_rate\n1,1.0,1.1,0.1\n2,0.5,0.6,0.1\n"
        )
    if cases:
        make_cases(folder / "cases")
    return folder


def make_cases(folder: Path) -> None:
    """A miss with a mask and a false alarm without one."""
    folder.mkdir()
    cases = []
    for number, (error, defect) in enumerate((("miss", "scratch"), ("false alarm", "good"))):
        files = {name: f"{number}_{name}.jpg" for name in PICTURES}
        for file in files.values():
            Image.new("RGB", (32, 24), (90, 120, 150)).save(folder / file)
        if error == "false alarm":
            (folder / files["truth"]).unlink()
            files["truth"] = None
        cases.append(
            {
                "image_id": f"test/{defect}/00{number}.png",
                "defect": defect,
                "label": "normal" if error == "false alarm" else "anomalous",
                "verdict": "FAIL" if error == "false alarm" else "PASS",
                "error": error,
                "raw_score": 3.0 + number,
                "score": 0.4 + 0.2 * number,
                **files,
            }
        )
    (folder / "cases.json").write_text(json.dumps(cases))
