"""The part of a report about one evaluation: its curves, its promise, its errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from evaluation.documents.charts import (
    calibration_chart,
    learning_curve_chart,
    precision_recall_chart,
    roc_chart,
    scores_chart,
)
from evaluation.documents.document import (
    Block,
    Charts,
    Heading,
    Paragraph,
    Pictures,
    Section,
    Table,
)
from evaluation.documents.wording import counted, figure, percent, plural
from evaluation.metrics import false_alarm_curve
from evaluation.report.overview import name_of
from evaluation.stored import Case, StoredEvaluation
from model_files import Metrics

MOST_CASES = 10  # of each error
ASKED_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
CHART_WIDTH = 5.2  # inches; what two charts beside one another leave each
SHOWN = {
    "photo": "photo",
    "reconstruction": "how it should look",
    "heatmap": "where it deviates",
    "truth": "where the defect is",
}
CURVES = yaml.safe_load(Path(__file__).with_name("curves.yaml").read_text(encoding="utf-8"))
# Title, key of their number in metrics.json, what they are, and in which order they stand.
ERRORS = {
    "miss": ("Missed", "misses", "anomalous photo", "passed, the weakest score first"),
    "false alarm": (
        "False alarms",
        "false_alarms",
        "good photo",
        "failed, the strongest score first",
    ),
}


def details_of(evaluation: StoredEvaluation, among: Sequence[StoredEvaluation]) -> Section:
    """Curves, promise and errors of one evaluation, named so that it differs from all `among`."""
    blocks = [*_curves(evaluation), *_promise(evaluation), *_errors(evaluation)]
    return Section(name_of(evaluation, among), blocks)


def _curves(evaluation: StoredEvaluation) -> list[Block]:
    metrics, labels, scores = evaluation.metrics, evaluation.labels, evaluation.raw_scores
    both_classes = len(set(labels)) > 1
    area, precision = metrics.image_auroc, metrics.average_precision
    drawn = {}
    if area is not None and both_classes:
        point = _point(metrics.false_alarm_rate, metrics.recall)
        drawn["roc"] = roc_chart(labels, scores, area, point, "ROC curve")
    if precision is not None and both_classes:
        point, title = _point(metrics.recall, metrics.precision), "Precision and recall"
        drawn["precision"] = precision_recall_chart(labels, scores, precision, point, title)
    if scores:
        drawn["scores"] = scores_chart(labels, scores, metrics.raw_threshold, "Scores", CHART_WIDTH)
    if evaluation.learning_curve:
        drawn["learning"] = learning_curve_chart(*evaluation.learning_curve, "Learning curve")
    charts = [(drawn[name], CURVES[name]["seen"]) for name in CURVES if name in drawn]
    missing = [CURVES[name]["missing"] for name in CURVES if name not in drawn]
    return [Charts(charts), *(Paragraph(sentence, "note") for sentence in missing)]


def _point(x: float | None, y: float | None) -> tuple[float, float] | None:
    return None if x is None or y is None else (x, y)


def _promise(evaluation: StoredEvaluation) -> list[Block]:
    """Promised against realised false-alarm rate."""
    heading = Heading("Does it keep its promise?")
    promised, good = evaluation.metrics.promised_false_alarm_rate, evaluation.good_scores
    if promised is None:
        return [heading, Paragraph("The model is not calibrated, so it promises nothing.", "note")]
    if not good:
        return [heading, Paragraph("No good test photo can say whether the promise holds.", "note")]
    blocks: list[Block] = [heading, Paragraph(_kept(evaluation.metrics, promised))]
    held_out = evaluation.metrics.calibration_scores
    if not held_out:
        unknown = (
            "Other rates than that of the threshold can't be told: the scores of the held-out "
            "good parts were not kept in this evaluation."
        )
        return [*blocks, Paragraph(unknown, "note")]
    chart = calibration_chart(held_out, promised, good, "Promised and realised false alarms")
    sentence = (
        "On the dotted line as many good parts fail as were promised, above it more; the band is "
        "what so few photos leave open."
    )
    return [*blocks, _promise_table(held_out, good), Charts([(chart, sentence)])]


def _kept(metrics: Metrics, promised: float) -> str:
    """What the threshold promised and what it did."""
    count, total, ends = metrics.false_alarms, metrics.n_normal, metrics.false_alarm_rate_interval
    n = metrics.n_calibration
    source = f" from {n} held-out good parts" if n is not None else ""
    begin = f"At the threshold a false-alarm rate of {percent(promised)} was promised{source}"
    if count is None or not total or ends is None:
        return f"{begin}; no good test photo was judged."
    verdict = "The promise lies within the interval, so these photos do not speak against it."
    if ends[0] > promised:
        verdict = (
            "That is more than the chance of these photos explains: the held-out parts were a "
            "lucky draw, or the test photos differ from them."
        )
    elif ends[1] < promised:
        verdict = "That is less than promised, and less than the chance of these photos explains."
    return f"{begin}; realised: {counted(count, total, ends)}. {verdict}"


def _promise_table(held_out: Sequence[float], good: Sequence[float]) -> Table:
    """The promise at some rates a factory may ask for."""
    promised, realised = false_alarm_curve(held_out, good)
    rows, exceeded = [], set()
    for asked in ASKED_RATES:
        # The calibration promises the largest rate that does not exceed what was asked for.
        reached = [pair for pair in zip(promised, realised, strict=True) if pair[0] <= asked]
        if not reached:
            least = f"not with {len(held_out)} parts, {percent(promised[0])} at least"
            rows.append([percent(asked), least, "", ""])
            continue
        rate, share = reached[-1]
        if share.low > rate:
            exceeded.add(len(rows))
        verdict = "more" if share.low > rate else "fewer" if share.high < rate else "as promised"
        realised_words = counted(share.count, share.total, (share.low, share.high))
        rows.append([percent(asked), percent(rate), realised_words, verdict])
    head = ("asked for", "promised", "realised on the good test photos", "beyond chance")
    return Table(head, rows, marked=exceeded, mark="exceeded")


def _errors(evaluation: StoredEvaluation) -> list[Block]:
    metrics, heading = evaluation.metrics, Heading("Where it is wrong")
    if evaluation.cases is None:
        if metrics.misses is not None and not metrics.misses + (metrics.false_alarms or 0):
            return [heading, Paragraph("No verdict on these photos is wrong.")]
        return [heading, Paragraph("Pictures of the wrong verdicts were not kept.", "note")]
    blocks: list[Block] = [heading]
    for error, (title, key, noun, order) in ERRORS.items():
        cases = [case for case in evaluation.cases if case.error == error][:MOST_CASES]
        shown, total = plural(len(cases), noun), getattr(metrics, key) or 0
        if total > len(cases):
            shown = f"the worst {len(cases)} of {plural(total, noun)}"
        blocks.append(Paragraph(f"{title}: {shown} that {order}." if cases else f"{title}: none."))
        blocks += [_pictures(case, number) for number, case in enumerate(cases, 1)]
    return blocks


def _pictures(case: Case, number: int) -> Pictures:
    raw = "" if case.raw_score is None else f", raw score {case.raw_score:.4g}"
    score = figure(case.score) + raw
    title = f"{number}. {case.image_id}: {case.error} ({case.defect}), score {score}"
    pictures = []
    for name, words in SHOWN.items():
        path = case.pictures[name]
        if name == "truth" and path is None:
            words = "no defect" if case.error == "false alarm" else "no mask was drawn"
        elif path is None:
            words = f"{words}: not kept"
        pictures.append((path, words))
    return Pictures(title, pictures)
