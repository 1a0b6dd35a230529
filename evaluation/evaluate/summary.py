"""All figures of one evaluation: predictions in, one nested dictionary out, and it as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.documents.wording import percent
from evaluation.evaluate.prediction import MadeOnDemand, Prediction
from evaluation.metrics import (
    average_precision,
    image_auroc,
    image_auroc_interval,
    image_f1_max,
    verdict_metrics,
)
from evaluation.pixel_metrics import (
    PixelRanks,
    aupro,
    count_pixels,
    pixel_auroc,
    pixel_average_precision,
    pixel_f1_max,
)
from evaluation.pointing import Pointed, of_pointing, point
from modeling import THRESHOLD, Calibration, Rate, rate

SCORE_DIGITS = 6  # significant ones of a raw score in `scores`; float32 has seven


def summarise(
    predictions: Sequence[Prediction],
    anomaly_maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray | None],
    calibration: Calibration | None,
) -> dict[str, Any]:
    """All metrics of a test set, as nested plain values; what is undefined is NaN.

    docs/metrics.md says what each key holds. A kind of defect is measured against all the good
    photos, its pixels against all the normal pixels. Anomalous photos without a mask, or with an
    empty one, take no part in pixel metrics. A photo that the model refuses to judge counts by its
    score, as every other one. Each photo has a map, (H, W) at its size, and a mask, (H, W) bool or
    None; both are asked for once, one photo at a time.

    Raises:
        MetricError: a score or map is not finite, or a mask does not fit; the message names it.
    """
    kinds = [one.defect if one.label else None for one in predictions]
    image_ids = [one.image_id for one in predictions]
    pointed: list[Pointed | None] = [None] * len(predictions)

    def read(number: int) -> np.ndarray | None:
        """A mask, which is read once, and on the way is pointed at."""
        one, mask = predictions[number], masks[number]
        pointed[number] = point(one.anomaly_map, mask) if one.label else None
        return mask

    seen = MadeOnDemand(read, len(predictions))
    counts = count_pixels(anomaly_maps, seen, image_ids, kinds)
    good = [one for one in predictions if one.label == 0]
    anomalous = [one for one in predictions if one.label == 1]
    per_defect = {
        defect: _of_defect(
            good, [one for one in anomalous if one.defect == defect], counts.ranks(defect)
        )
        | _of_pointing(predictions, pointed, defect)
        for defect in sorted({one.defect for one in anomalous})
    }
    judged = [one for one in predictions if one.failed is not None]
    checks = rate(sum(one.doubt is not None for one in judged), len(judged))
    return {
        **_of_ranking(predictions),
        **_of_pixels(counts.ranks()),
        **of_pointing(predictions, pointed),
        **_of_verdicts(judged),
        **_spell_out("check_rate", "checks", checks),
        **_operating_point(calibration),
        "n_normal": len(good),
        "n_anomalous": len(anomalous),
        "n_with_mask": counts.photos,
        "per_defect": per_defect,
        "scores": {
            "good": _rounded(one.raw_score for one in good),
            "anomalous": _rounded(one.raw_score for one in anomalous),
        },
        "calibration_scores": None if calibration is None else _rounded(calibration.normal_scores),
        "notes": _notes(len(good), len(anomalous), counts.photos, calibration is None, checks),
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
    sentences = _ranking_sentences(metrics)
    if metrics["raw_threshold"] is not None:
        sentences += _threshold_sentences(metrics)
    sentences += [f"Note: {note}" for note in metrics["notes"]]
    return "\n".join([*lines, "", *sentences])


def short_table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Three figures of each row, metrics by name, as text for a terminal, such as of baselines."""
    width = max(map(len, rows))
    lines = [f"{title:<{width}}  image AUROC  pixel AUROC  AUPRO"]
    lines += [
        f"{name:<{width}}  {metrics['image_auroc']:>11.3f}  {metrics['pixel_auroc']:>11.3f}  "
        f"{metrics['aupro']:>5.3f}"
        for name, metrics in rows.items()
    ]
    return "\n".join(lines)


def _rounded(raw_scores: Iterable[float]) -> list[float]:
    """Ascending, with `SCORE_DIGITS` significant digits."""
    return sorted(float(f"{score:.{SCORE_DIGITS}g}") for score in raw_scores)


def _of_ranking(predictions: Sequence[Prediction]) -> dict[str, Any]:
    photos = [(one.label, one.raw_score, one.image_id) for one in predictions]
    labels, raw_scores, image_ids = zip(*photos, strict=True)
    return {
        "image_auroc": image_auroc(labels, raw_scores, image_ids),
        "image_auroc_interval": list(image_auroc_interval(labels, raw_scores, image_ids)),
        "average_precision": average_precision(labels, raw_scores, image_ids),
        "image_f1_max": image_f1_max(labels, raw_scores, image_ids),
    }


def _of_pixels(ranks: PixelRanks) -> dict[str, float]:
    estimates = {
        "pixel_auroc": pixel_auroc(ranks),
        "pixel_average_precision": pixel_average_precision(ranks),
        "pixel_f1_max": pixel_f1_max(ranks),
        "aupro": aupro(ranks),
        "aupro_5": aupro(ranks, 0.05),
    }
    return {
        **{name: estimate.value for name, estimate in estimates.items()},
        "pixel_error_bound": max(estimate.error_bound for estimate in estimates.values()),
    }


def _of_verdicts(judged: Sequence[Prediction]) -> dict[str, Any]:
    metrics = verdict_metrics([one.label for one in judged], [one.failed for one in judged])
    return {
        "f1": metrics.f1,
        "precision": metrics.precision,
        "recall": metrics.recall,
        **_spell_out("false_alarm_rate", "false_alarms", metrics.false_alarm_rate),
        **_spell_out("miss_rate", "misses", metrics.miss_rate),
    }


def _of_defect(
    good: Sequence[Prediction], members: Sequence[Prediction], ranks: PixelRanks
) -> dict[str, Any]:
    """One kind of defect against all the good photos."""
    missed = [not member.failed for member in members if member.failed is not None]
    misses = rate(sum(missed), len(missed))
    return {
        "n": len(members),
        **_of_ranking([*good, *members]),
        **_of_pixels(ranks),
        "recall": 1.0 - misses.value,
        **_spell_out("miss_rate", "misses", misses),
    }


def _of_pointing(
    predictions: Sequence[Prediction], pointed: Sequence[Pointed | None], defect: str
) -> dict[str, float]:
    """The same for the good photos and one kind of defect."""
    photos = zip(predictions, pointed, strict=True)
    chosen = [pair for pair in photos if pair[0].label == 0 or pair[0].defect == defect]
    some, their_places = zip(*chosen, strict=True)
    return of_pointing(some, their_places)


def _spell_out(name: str, count_name: str, share: Rate) -> dict[str, Any]:
    return {
        name: share.value,
        f"{name}_interval": [share.low, share.high],
        count_name: share.count if share.total else None,
    }


def _operating_point(calibration: Calibration | None) -> dict[str, Any]:
    return {
        "threshold": calibration and THRESHOLD,
        "raw_threshold": calibration and calibration.raw_threshold,
        "asked_false_alarm_rate": calibration and calibration.false_alarm_rate,
        "promised_false_alarm_rate": calibration and calibration.promised_false_alarm_rate,
        "n_calibration": calibration and len(calibration.normal_scores),
    }


def _notes(
    n_normal: int, n_anomalous: int, n_with_mask: int, is_uncalibrated: bool, checks: Rate
) -> list[str]:
    """One sentence for everything that limits what the metrics say."""
    limits = {
        "The model is not calibrated, so threshold, F1, false-alarm and miss rate are undefined; "
        "train it with training/train.py or call model.calibrate with good photos that it was not "
        "trained on.": is_uncalibrated,
        "No test photo is anomalous, so AUROC, AUPRO, F1 and miss rate are undefined.": (
            n_anomalous == 0
        ),
        "No test photo is good, so image AUROC, F1 and false-alarm rate are undefined.": (
            n_normal == 0
        ),
        "No anomalous photo has a mask, so pixel AUROC and AUPRO are undefined.": (
            0 == n_with_mask < n_anomalous
        ),
        f"{n_anomalous - n_with_mask} of {n_anomalous} anomalous photos have no mask and take no "
        "part in pixel AUROC and AUPRO.": 0 < n_with_mask < n_anomalous,
        f"{checks.count} of {checks.total} photos would be CHECK in the app, which judges no photo "
        "that does not look like the product; these figures count every photo by its score.": (
            checks.count > 0
        ),
    }
    return [sentence for sentence, applies in limits.items() if applies]


def _ranking_sentences(metrics: dict[str, Any]) -> list[str]:
    """What no threshold takes part in, beyond the table."""
    sentences = []
    if not math.isnan(metrics["image_auroc"]):
        low, high = map(_digits, metrics["image_auroc_interval"])
        sentences.append(
            f"Photos: image AUROC {_digits(metrics['image_auroc'])} (95 % interval {low} to "
            f"{high}), average precision {_digits(metrics['average_precision'])}, largest F1 "
            f"{_digits(metrics['image_f1_max'])}."
        )
    if not math.isnan(metrics["pixel_auroc"]):
        bound = metrics["pixel_error_bound"]
        exactness = f"off by {bound:.1g} at most" if bound else "exact"
        sentences.append(
            f"Pixels: average precision {_digits(metrics['pixel_average_precision'])}, largest F1 "
            f"{_digits(metrics['pixel_f1_max'])}, AUPRO {_digits(metrics['aupro'])} up to 0.3 and "
            f"{_digits(metrics['aupro_5'])} up to 0.05; {exactness}."
        )
    if not math.isnan(metrics["pointing"]):
        of_fails = metrics["pointing_of_fails"]
        failing = "" if math.isnan(of_fails) else f", of those that fail {percent(of_fails)}"
        sentences.append(
            f"Places: the highest lies on the defect of {percent(metrics['pointing'])} of the "
            f"photos{failing}; image AUROC by the defect's own place "
            f"{_digits(metrics['image_auroc_at_defects'])}."
        )
    return sentences


def _threshold_sentences(metrics: dict[str, Any]) -> list[str]:
    """What the threshold promised and what it did."""
    promised = (
        f"Threshold {metrics['threshold']} (raw {metrics['raw_threshold']:.4g}) from "
        f"{metrics['n_calibration']} held-out good photos, promised false-alarm rate "
        f"{percent(metrics['promised_false_alarm_rate'])}"
    )
    alarms, misses = metrics["false_alarms"], metrics["misses"]
    if alarms is not None:
        promised += (
            f", realised {percent(metrics['false_alarm_rate'])} ({alarms} of "
            f"{metrics['n_normal']}; {_interval(metrics['false_alarm_rate_interval'])})"
        )
    sentences = [promised + "."]
    if misses is not None:
        sentences.append(
            f"Missed {percent(metrics['miss_rate'])} of the anomalous photos ({misses} of "
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


def _interval(ends: Sequence[float]) -> str:
    return f"95 % interval {100 * ends[0]:.1f} to {percent(ends[1])}"
