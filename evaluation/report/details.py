"""The part of a report about one evaluation: its curves, its promise, its errors."""

from __future__ import annotations

from collections.abc import Sequence

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
from modeling import Rate

MOST_CASES = 10  # of each error
ASKED_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
CHART_WIDTH = 5.2  # inches; what two charts beside one another leave each
SHOWN = {
    "photo": "photo",
    "reconstruction": "how it should look",
    "heatmap": "where it deviates",
    "truth": "where the defect is",
}
# What to see in a chart, and what is said where it can't be drawn.
CURVES = {
    "roc": (
        "The closer the line keeps to the upper left corner, the fewer good parts fail for the "
        "anomalous ones that are found; the dot is where the threshold stands.",
        "No ROC curve: it needs the scores of good and of anomalous photos.",
    ),
    "precision": (
        "As long as the line stays at the top, a FAIL can be believed; where it drops, finding "
        "the last anomalous parts costs good ones.",
        "No precision-recall curve: it needs good and anomalous photos.",
    ),
    "scores": (
        "Good photos (smooth) should lie left of the dashed threshold and anomalous ones (hatched) "
        "right of it; what lies on the other side is a false alarm or a miss.",
        "No score histogram: the scores were not kept.",
    ),
    "learning": (
        "Both lines fall and then level out when the training was long enough; if the dashed "
        "one rose again, the model would be learning its photos by heart.",
        "The learning curve was not kept beside this evaluation.",
    ),
}
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
    """Curves, promise and errors of one evaluation.

    Args:
        evaluation: the one.
        among: all of the report, so that it has a name of its own.
    """
    return Section(
        name_of(evaluation, among),
        [*_curves(evaluation), *_promise(evaluation), *_errors(evaluation)],
    )


def _curves(evaluation: StoredEvaluation) -> list[Block]:
    metrics, labels, scores = evaluation.metrics, evaluation.labels, evaluation.raw_scores
    both_classes, curve = len(set(labels)) > 1, evaluation.learning_curve
    area, precision = metrics.image_auroc, metrics.average_precision
    roc_point = _point(metrics.false_alarm_rate, metrics.recall)
    precision_point = _point(metrics.recall, metrics.precision)
    drawn = {
        "roc": roc_chart(labels, scores, area, roc_point, "ROC curve")
        if area is not None and both_classes
        else None,
        "precision": precision_recall_chart(
            labels, scores, precision, precision_point, "Precision and recall"
        )
        if precision is not None and both_classes
        else None,
        "scores": scores_chart(labels, scores, metrics.raw_threshold, "Scores", CHART_WIDTH)
        if scores
        else None,
        "learning": learning_curve_chart(
            curve.epochs, curve.loss, curve.held_out_loss, "Learning curve"
        )
        if curve
        else None,
    }
    charts = [(chart, CURVES[name][0]) for name, chart in drawn.items() if chart]
    missing = [Paragraph(CURVES[name][1], "note") for name, chart in drawn.items() if not chart]
    return [Charts(charts), *missing]


def _point(x: float | None, y: float | None) -> tuple[float, float] | None:
    return None if x is None or y is None else (x, y)


def _promise(evaluation: StoredEvaluation) -> list[Block]:
    """Promised against realised false-alarm rate."""
    heading = Heading("Does it keep its promise?")
    promised = evaluation.metrics.promised_false_alarm_rate
    if promised is None:
        return [heading, Paragraph("The model is not calibrated, so it promises nothing.", "note")]
    good = evaluation.good_scores
    held_out = evaluation.metrics.calibration_scores
    blocks: list[Block] = [heading, Paragraph(_kept(evaluation, promised))]
    if not good:
        return [heading, Paragraph("No good test photo can say whether the promise holds.", "note")]
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


def _kept(evaluation: StoredEvaluation, promised: float) -> str:
    """What the threshold promised and what it did."""
    count, total = evaluation.metrics.false_alarms, evaluation.metrics.n_normal
    ends = evaluation.metrics.false_alarm_rate_interval
    n = evaluation.metrics.n_calibration
    source = f" from {n:.0f} held-out good parts" if n is not None else ""
    begin = f"At the threshold a false-alarm rate of {percent(promised)} was promised{source}"
    if count is None or not total or not ends or None in ends:
        return f"{begin}; no good test photo was judged."
    share = Rate(count / total, ends[0], ends[1], int(count), int(total))
    return (
        f"{begin}; realised: {counted(int(count), int(total), ends)}. {_verdict(promised, share)}"
    )


def _verdict(promised: float, share: Rate) -> str:
    if share.low > promised:
        return (
            "That is more than the chance of these photos explains: the held-out parts were a "
            "lucky draw, or the test photos differ from them."
        )
    if share.high < promised:
        return "That is less than promised, and less than the chance of these photos explains."
    return "The promise lies within the interval, so these photos do not speak against it."


def _promise_table(held_out: Sequence[float], good: Sequence[float]) -> Table:
    """The promise at some rates a factory may ask for."""
    promised, realised = false_alarm_curve(held_out, good)
    rows, exceeded = [], set()
    for asked in ASKED_RATES:
        # The calibration promises the largest rate that does not exceed what was asked for.
        reached = [index for index, rate in enumerate(promised) if rate <= asked]
        if not reached:
            least = f"not with {len(held_out)} parts, {percent(promised[0])} at least"
            rows.append([percent(asked), least, "", ""])
            continue
        rate, share = promised[reached[-1]], realised[reached[-1]]
        if share.low > rate:
            exceeded.add(len(rows))
        verdict = "more" if share.low > rate else "fewer" if share.high < rate else "as promised"
        realised_words = counted(share.count, share.total, (share.low, share.high))
        rows.append([percent(asked), percent(rate), realised_words, verdict])
    head = ("asked for", "promised", "realised on the good test photos", "beyond chance")
    return Table(head, rows, marked=exceeded, mark="exceeded")


def _errors(evaluation: StoredEvaluation) -> list[Block]:
    heading = Heading("Where it is wrong")
    wrong = (evaluation.metrics.misses or 0) + (evaluation.metrics.false_alarms or 0)
    if evaluation.cases is None:
        if evaluation.metrics.misses is not None and not wrong:
            return [heading, Paragraph("No verdict on these photos is wrong.")]
        return [heading, Paragraph("Pictures of the wrong verdicts were not kept.", "note")]
    blocks: list[Block] = [heading]
    for error, (title, key, noun, order) in ERRORS.items():
        cases = [case for case in evaluation.cases if case.error == error]
        shown, total = len(cases[:MOST_CASES]), getattr(evaluation.metrics, key) or 0
        number = (
            f"the worst {shown} of {plural(total, noun)}" if total > shown else plural(shown, noun)
        )
        blocks.append(Paragraph(f"{title}: {number} that {order}." if shown else f"{title}: none."))
        blocks += [_pictures(case, number) for number, case in enumerate(cases[:MOST_CASES], 1)]
    return blocks


def _pictures(case: Case, number: int) -> Pictures:
    raw = "" if case.raw_score is None else f", raw score {case.raw_score:.4g}"
    title = (
        f"{number}. {case.image_id}: {case.error} ({case.defect}), score {figure(case.score)}{raw}"
    )
    pictures = []
    for name, words in SHOWN.items():
        path = case.pictures[name]
        if name == "truth" and path is None:
            words = "no defect" if case.error == "false alarm" else "no mask was drawn"
        elif path is None:
            words = f"{words}: not kept"
        pictures.append((path, words))
    return Pictures(title, pictures)
