"""What is said of a photo: the verdict card, sentences in its place, the cost of a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from page.inspection.results import ACCEPT, REJECT, Result
from page.languages import Translation
from page.markup import render

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration

RARE = 0.2  # a share up to this is said as "1 in n", a larger one in percent
# By what the operator decided: its word, and the verdict that it overrides.
DECISIONS = {ACCEPT: ("accepted", "FAIL"), REJECT: ("rejected", "PASS")}


def verdict_card(result: Result, text: Translation, keeps_threshold: bool = False) -> str:
    """The verdict by word, shape and colour; the score on its scale; what was found, how sure.

    All three badges are there and CSS shows the one of `data-verdict`, so that page.js can flip
    the verdict with the slider while the server's answer is on its way; not of a part that
    `keeps_threshold`, in which the slider has no say.
    """
    if result.record.error:
        return message_card(result.why_not(text), "error")
    stamp, _ = DECISIONS.get(result.decision, ("", ""))
    return render(
        "result/verdict.html",
        text=text,
        result=result,
        keeps_threshold=keeps_threshold,
        stamp=stamp,
        note=doubt_sentence(result, text) or _finding(result, text) + _beside(result, text),
        decision=_decision(result, text),
        how_sure=_how_sure(result, text),
    )


def message_card(message: str, kind: str = "empty") -> str:
    """A sentence in place of a verdict; `kind` is "empty", "error" or "busy"."""
    return render("message.html", message=message, kind=kind)


def notice_html(notice: str) -> str:
    """One sentence about the models on offer; nothing where there is nothing to say."""
    return render("sentences.html", kind="notice", sentences=[notice] if notice else [])


def doubt_sentence(result: Result, text: Translation) -> str:
    """Why the photo can't be judged; "" where it can."""
    if result.record.doubt is None:
        return ""
    return text(f"verdict.{result.record.doubt}", category=result.category.replace("_", " "))


def threshold_cost(
    calibration: Calibration,
    threshold: float,
    defect_scores: Sequence[float] | None,
    text: Translation,
) -> str:
    """What an operating threshold, 0..1, costs: good parts rejected, known defects let through.

    `defect_scores`, 0..1, are those of the model's test set; None if unknown.
    """
    lines = [_rejected(calibration, threshold, text)]
    if defect_scores:
        from modeling.scoring import exceeds

        missed = sum(not exceeds(score, threshold) for score in defect_scores)
        key = {0: "none", 1: "one"}.get(missed, "many")
        lines.append(text(f"threshold.slip_{key}", missed=missed, total=len(defect_scores)))
    return render("sentences.html", kind="cost", sentences=lines)


def _decision(result: Result, text: Translation) -> list[str]:
    """Sentences: what the operator decided, and the note."""
    sentences = []
    if result.decision in DECISIONS:
        word, opposite = DECISIONS[result.decision]
        over = "_over" if result.record.verdict == opposite else ""
        verdict = text(f"verdict.{opposite.lower()}")
        sentences.append(text(f"verdict.{word}{over}", verdict=verdict))
    if result.note:
        sentences.append(text("verdict.note", note=result.note))
    return sentences


def _finding(result: Result, text: Translation) -> str:
    """One sentence: where, how large, how strong, of what shape."""
    finding = result.record.finding
    if finding is None:
        return text("verdict.no_deviation")
    number = "one" if finding.count == 1 else "many"
    shape = "at_outline" if finding.at_outline else finding.shape
    shape = "apart" if finding.apart else shape
    return text(
        f"verdict.{finding.strength}_{number}",
        place=text(f"regions.in_{finding.row}_{finding.column}"),
        count=finding.count,
        share=_share(finding.area, text),
        shape=text(f"verdict.{shape}"),
    )


def _beside(result: Result, text: Translation) -> str:
    """What differs on the ground and fails nothing, as one more sentence; "" where nothing does."""
    beside = result.record.beside
    if beside is None:
        return ""
    number = "one" if beside.count == 1 else "many"
    place = text(f"regions.in_{beside.row}_{beside.column}")
    return " " + text(f"verdict.beside_{number}", place=place, count=beside.count)


def _how_sure(result: Result, text: Translation) -> str:
    """How unusual the score is among good parts; nothing where the photo can't be judged."""
    if result.record.doubt is not None or result.calibration is None:
        return ""
    rate = result.calibration.at_least(result.record.score)
    share = (rate.count + 1) / (rate.total + 1)
    if rate.count == 0:
        sentence = text("verdict.rarer", n=rate.total)
    elif share > 0.5:
        sentence = text("verdict.usual")
    else:
        sentence = text("verdict.as_rare", n=round(1 / share))
    compared = "verdict.compared_one" if rate.total == 1 else "verdict.compared"
    return f"{sentence} {text(compared, total=rate.total)}"


def _rejected(calibration: Calibration, threshold: float, text: Translation) -> str:
    """How many good parts a threshold rejects, with its uncertainty, in one sentence."""
    rate = calibration.rejected_at(threshold)
    total = rate.total
    if rate.count == 0:
        worst = _one_in(rate.high)
        return text("threshold.rejected_fewer", n=total, total=total, worst=worst)
    share = (rate.count + 1) / (total + 1)  # of the next good part: conformal, as the calibration
    if share <= RARE:
        best, worst = _one_in(rate.low), _one_in(rate.high)
        n = round(1 / share)
        return text("threshold.rejected_about", n=n, best=best, worst=worst, total=total)
    percent, best, worst = (round(100 * value) for value in (share, rate.low, rate.high))
    return text("threshold.rejected_percent", percent=percent, best=best, worst=worst, total=total)


def _one_in(share: float) -> int:
    """A share in (0, 1] as n of "1 in n", in two digits: more would be a pretence."""
    return max(1, int(float(f"{1 / share:.2g}")))


def _share(area: float, text: Translation) -> str:
    """A share of the picture, 0..1, as a person says it."""
    percent = 100 * area
    if percent < 0.1:
        return text("regions.share_tiny", percent=text.number(0.1, ".1f"))
    return text("regions.share", percent=text.number(percent, ".1f" if percent < 1 else ".0f"))
