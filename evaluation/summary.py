"""All figures of one evaluation: predictions in, one nested dictionary out, and it as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from evaluation.metrics import (
    PixelRanks,
    aupro,
    average_precision,
    image_auroc,
    pixel_auroc,
    rank_pixels,
    verdict_metrics,
)
from evaluation.prediction import MadeOnDemand, Prediction
from modeling import THRESHOLD, Calibration, Rate, rate

SCORE_DIGITS = 6  # significant ones of a raw score in `scores`; float32 has seven


def summarise(
    predictions: Sequence[Prediction],
    anomaly_maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    calibration: Calibration | None,
) -> dict[str, Any]:
    """All metrics of a test set, as nested plain values; what is undefined is NaN.

    A kind of defect is measured against all the good photos, its pixels against all the normal
    pixels. Anomalous photos without a mask, or with an empty one, take no part in pixel metrics.

    `scores` holds the raw score of every test photo, by its label ("good", "anomalous"), ascending
    and rounded to `SCORE_DIGITS` significant digits: with a calibration they tell what any other
    threshold would do.

    Args:
        predictions: N of them.
        anomaly_maps: N maps, (H, W) at the size of their photos.
        masks: N masks, (H, W) bool, or None.
        calibration: the model's, None while uncalibrated.
    """
    ranking = _measure_ranking(predictions)
    truthful = [
        index
        for index, prediction in enumerate(predictions)
        if prediction.label == 0 or (masks[index] is not None and masks[index].any())
    ]
    with_mask = [index for index in truthful if predictions[index].label == 1]
    ranked = truthful if with_mask else []  # without any truth there is nothing to rank
    ranks = rank_pixels(
        MadeOnDemand(lambda position: anomaly_maps[ranked[position]], len(ranked)),
        MadeOnDemand(lambda position: masks[ranked[position]], len(ranked)),
        [predictions[index].image_id for index in ranked],
    )
    good = [prediction for prediction in predictions if prediction.label == 0]
    anomalous = [prediction for prediction in predictions if prediction.label == 1]
    per_defect = {}
    for defect in sorted({prediction.defect for prediction in anomalous}):
        members = [prediction for prediction in anomalous if prediction.defect == defect]
        positions = [
            position
            for position, index in enumerate(ranked)
            if predictions[index].label == 1 and predictions[index].defect == defect
        ]
        per_defect[defect] = _measure_defect(good, members, ranks.of_images(positions))
    return {
        **ranking,
        "pixel_auroc": pixel_auroc(ranks),
        "aupro": aupro(ranks),
        **_measure_verdicts(predictions),
        **_operating_point(calibration),
        "n_normal": len(good),
        "n_anomalous": len(anomalous),
        "n_with_mask": len(with_mask),
        "per_defect": per_defect,
        "scores": {"good": _rounded_scores(good), "anomalous": _rounded_scores(anomalous)},
        "notes": _notes(len(good), len(anomalous), len(with_mask), calibration),
    }


def format_table(metrics: dict[str, Any]) -> str:
    """The metrics as text for a terminal: kinds of defect, total, and what the threshold does."""
    total = {**metrics, "n": metrics["n_anomalous"]}
    rows = {**metrics["per_defect"], "all anomalous": total}
    name_width = max(len(name) for name in rows)
    lines = [f"{'defect':<{name_width}}  photos  image AUROC  pixel AUROC  AUPRO  missed"]
    for name, row in rows.items():
        missed = "-" if row["misses"] is None else str(row["misses"])
        lines.append(
            f"{name:<{name_width}}  {row['n']:>6}  {_digits(row['image_auroc']):>11}  "
            f"{_digits(row['pixel_auroc']):>11}  {_digits(row['aupro']):>5}  {missed:>6}"
        )
    if metrics["raw_threshold"] is not None:
        lines += ["", *_threshold_sentences(metrics)]
    return "\n".join(lines + [f"Note: {note}" for note in metrics["notes"]])


def _rounded_scores(predictions: Sequence[Prediction]) -> list[float]:
    return sorted(float(f"{one.raw_score:.{SCORE_DIGITS}g}") for one in predictions)


def _measure_ranking(predictions: Sequence[Prediction]) -> dict[str, float]:
    labels = [prediction.label for prediction in predictions]
    raw_scores = [prediction.raw_score for prediction in predictions]
    image_ids = [prediction.image_id for prediction in predictions]
    return {
        "image_auroc": image_auroc(labels, raw_scores, image_ids),
        "average_precision": average_precision(labels, raw_scores, image_ids),
    }


def _measure_verdicts(predictions: Sequence[Prediction]) -> dict[str, Any]:
    judged = [prediction for prediction in predictions if prediction.failed is not None]
    metrics = verdict_metrics(
        [prediction.label for prediction in judged], [prediction.failed for prediction in judged]
    )
    return {
        "f1": metrics.f1,
        "precision": metrics.precision,
        "recall": metrics.recall,
        **_spell_out("false_alarm_rate", "false_alarms", metrics.false_alarm_rate),
        **_spell_out("miss_rate", "misses", metrics.miss_rate),
    }


def _measure_defect(
    good: Sequence[Prediction], members: Sequence[Prediction], ranks: PixelRanks
) -> dict[str, Any]:
    """One kind of defect against all the good photos."""
    missed = [not member.failed for member in members if member.failed is not None]
    misses = rate(sum(missed), len(missed))
    return {
        "n": len(members),
        **_measure_ranking([*good, *members]),
        "pixel_auroc": pixel_auroc(ranks),
        "aupro": aupro(ranks),
        "recall": 1.0 - misses.value,
        **_spell_out("miss_rate", "misses", misses),
    }


def _spell_out(name: str, count_name: str, share: Rate) -> dict[str, Any]:
    return {
        name: share.value,
        f"{name}_interval": [share.low, share.high],
        count_name: share.count if share.total else None,
    }


def _operating_point(calibration: Calibration | None) -> dict[str, Any]:
    if calibration is None:
        names = ("threshold", "raw_threshold", "asked_false_alarm_rate")
        return dict.fromkeys((*names, "promised_false_alarm_rate", "n_calibration"))
    return {
        "threshold": THRESHOLD,
        "raw_threshold": calibration.raw_threshold,
        "asked_false_alarm_rate": calibration.false_alarm_rate,
        "promised_false_alarm_rate": calibration.promised_false_alarm_rate,
        "n_calibration": len(calibration.normal_scores),
    }


def _notes(
    n_normal: int, n_anomalous: int, n_with_mask: int, calibration: Calibration | None
) -> list[str]:
    """One sentence for everything that limits what the metrics say."""
    notes = []
    if calibration is None:
        notes.append(
            "The model is not calibrated, so threshold, F1, false-alarm and miss rate are "
            "undefined; train it with training/train.py or call model.calibrate with good photos "
            "that it was not trained on."
        )
    if n_anomalous == 0:
        notes.append("No test photo is anomalous, so AUROC, AUPRO, F1 and miss rate are undefined.")
    if n_normal == 0:
        notes.append(
            "No test photo is good, so image AUROC, F1 and false-alarm rate are undefined."
        )
    if 0 == n_with_mask < n_anomalous:
        notes.append("No anomalous photo has a mask, so pixel AUROC and AUPRO are undefined.")
    elif n_with_mask < n_anomalous:
        notes.append(
            f"{n_anomalous - n_with_mask} of {n_anomalous} anomalous photos have no mask and take "
            "no part in pixel AUROC and AUPRO."
        )
    return notes


def _threshold_sentences(metrics: dict[str, Any]) -> list[str]:
    """What the threshold promised and what it did."""
    promised = (
        f"Threshold {metrics['threshold']} (raw {metrics['raw_threshold']:.4g}) from "
        f"{metrics['n_calibration']} held-out good photos, promised false-alarm rate "
        f"{_percent(metrics['promised_false_alarm_rate'])}"
    )
    alarms, misses = metrics["false_alarms"], metrics["misses"]
    if alarms is not None:
        promised += (
            f", realised {_percent(metrics['false_alarm_rate'])} ({alarms} of "
            f"{metrics['n_normal']}; {_interval(metrics['false_alarm_rate_interval'])})"
        )
    sentences = [promised + "."]
    if misses is not None:
        sentences.append(
            f"Missed {_percent(metrics['miss_rate'])} of the anomalous photos ({misses} of "
            f"{metrics['n_anomalous']}; {_interval(metrics['miss_rate_interval'])})."
        )
    if not math.isnan(metrics["f1"]):
        sentences.append(
            f"F1 {_digits(metrics['f1'])}, precision {_digits(metrics['precision'])}, "
            f"recall {_digits(metrics['recall'])}."
        )
    return sentences


def _digits(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(ends: Sequence[float]) -> str:
    return f"95 % interval {100 * ends[0]:.1f} to {_percent(ends[1])}"
