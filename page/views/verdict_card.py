"""What is said of a photo: the verdict card, sentences in its place, the cost of a threshold."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from page.inspection.results import ACCEPT, UNDECIDED, Result
from page.languages import Translation
from page.markup import decimal, icon, said

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration

RARE = 0.2  # a share up to this is said as "1 in n", a larger one in percent


def verdict_card(result: Result, text: Translation) -> str:
    """The verdict by word, shape and colour; the score on its scale; what was found, how sure.

    All three badges are there and CSS shows the one of `data-verdict`, so that page.js can flip
    the verdict with the slider while the server's answer is on its way.
    """
    if result.error:
        return message_card(result.why_not(text), "error")
    score, limit = f"{result.score:.3f}", f"{result.threshold:.2f}"
    scale = said(text, "verdict.scale", score=decimal(score, text), limit=decimal(limit, text))
    return f"""
<section class="verdict" role="status" data-score="{result.score!r}"
         data-verdict="{result.verdict}" data-decision="{result.decision}"
         style="--score:{result.score:.4f}; --threshold:{result.threshold:.4f}">
  <div class="judgement">{_badges(text)}{_stamp(result, text)}</div>
  <div class="reading">
    <p class="note">{html.escape(_note(result, text))}</p>
    <div class="numbers">
      <span class="score">{said(text, "verdict.score")} <b>{decimal(score, text)}</b></span>
      <span>{said(text, "verdict.limit")}
        <b class="limit-value" data-mark="{said(text, "verdict.decimal_mark")}"
        >{decimal(limit, text)}</b></span>
    </div>
    <div class="scale" role="img" aria-label="{scale}">
      <i class="limit"></i><i class="mark"></i></div>
    {_decision(result, text)}
    <p class="meaning">{html.escape(_how_sure(result, text))}
      <span class="who">{said(text, "verdict.operator_judges")}</span></p>
  </div>
</section>"""


def message_card(message: str, kind: str = "empty") -> str:
    """A sentence in place of a verdict; `kind` is "empty", "error" or "busy"."""
    role = "alert" if kind == "error" else "status"
    return (
        f'<section class="verdict message {kind}" role="{role}">'
        f"<p>{html.escape(message)}</p></section>"
    )


def notice_html(notice: str) -> str:
    """One sentence about the models on offer; nothing where there is nothing to say."""
    return f'<p class="notice">{html.escape(notice)}</p>' if notice else ""


def threshold_cost(
    calibration: Calibration,
    threshold: float,
    defect_scores: Sequence[float] | None,
    text: Translation,
) -> str:
    """What an operating threshold costs: good parts rejected, known defects let through.

    Args:
        calibration: of the model for this category.
        threshold: on the score, 0..1.
        defect_scores: scores, 0..1, of the known defects of the model's test set; None if unknown.
        text: the visitor's language.
    """
    lines = [_rejected(calibration, threshold, text)]
    if defect_scores:
        from modeling.scoring import exceeds

        missed = sum(not exceeds(score, threshold) for score in defect_scores)
        key = {0: "none", 1: "one"}.get(missed, "many")
        lines.append(text(f"threshold.slip_{key}", missed=missed, total=len(defect_scores)))
    return "".join(f'<p class="cost">{html.escape(line)}</p>' for line in lines)


def _badges(text: Translation) -> str:
    """PASS, FAIL and CHECK, of which CSS shows one."""
    return "".join(
        f'<div class="badge {name}"><span class="shape">{icon(name)}</span> '
        f'<span class="word">{said(text, f"verdict.{name}")}</span></div>'
        for name in ("pass", "fail", "check")
    )


def _stamp(result: Result, text: Translation) -> str:
    """The operator's decision as a word beside the badge; nothing while there is none."""
    if result.decision == UNDECIDED:
        return ""
    word = "accepted" if result.decision == ACCEPT else "rejected"
    return f'<div class="stamp {word}">{said(text, f"verdict.stamp_{word}")}</div>'


def _decision(result: Result, text: Translation) -> str:
    """The operator's decision as a sentence, with the note; nothing while there is neither."""
    sentences = []
    if result.decision != UNDECIDED:
        key = "accepted" if result.decision == ACCEPT else "rejected"
        opposite = {"accepted": "FAIL", "rejected": "PASS"}[key]
        over = "_over" if result.verdict == opposite else ""
        word = text(f"verdict.{opposite.lower()}")
        sentences.append(text(f"verdict.{key}{over}", verdict=word))
    if result.note:
        sentences.append(text("verdict.note", note=result.note))
    return "".join(f'<p class="decision">{html.escape(line)}</p>' for line in sentences)


def _note(result: Result, text: Translation) -> str:
    """One sentence: why it can't be judged, or where, how large, how strong, of what shape."""
    if result.doubt is not None:
        return text(f"verdict.{result.doubt}", category=result.category.replace("_", " "))
    if result.finding is None:
        return text("verdict.no_deviation")
    finding = result.finding
    number = "one" if finding.count == 1 else "many"
    shape = "at_outline" if finding.at_outline else finding.shape
    return text(
        f"verdict.{finding.strength}_{number}",
        place=text(f"regions.in_{finding.row}_{finding.column}"),
        count=finding.count,
        share=_share(finding.area, text),
        shape=text(f"verdict.{shape}"),
    )


def _how_sure(result: Result, text: Translation) -> str:
    """How unusual the score is among good parts; nothing where the photo can't be judged."""
    if result.doubt is not None or result.calibration is None:
        return ""
    rate = result.calibration.at_least(result.score)
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
        return text("regions.share_tiny", percent=decimal("0.1", text))
    digits = 1 if percent < 1 else 0
    return text("regions.share", percent=decimal(f"{percent:.{digits}f}", text))
