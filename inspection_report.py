"""How an inspection is shown: the verdict card, the table of regions, the CSV."""

from __future__ import annotations

import csv
import html
import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration, Inspection

CSV_COLUMNS = ("file", "category", "model", "score", "threshold", "verdict", "note", "time")
REGION_COLUMNS = ("No.", "Left, top, right, bottom (pixels)", "Share", "Peak score")
WHO_JUDGES = "Decision support: the operator judges."


def verdict_html(inspection: Inspection, calibration: Calibration) -> str:
    """The verdict card: word, shape and colour, score on its scale, note, what the score means."""
    n, rate = len(calibration.normal_scores), calibration.promised_false_alarm_rate
    meaning = (
        f"0.5 is the limit: calibrated on {n} good parts it was not trained on, so that at most "
        f"about 1 good part in {round(1 / rate)} is rejected."
    )
    return f"""
<div class="verdict" data-score="{inspection.score!r}" data-verdict="{inspection.verdict}"
     style="--score:{inspection.score:.4f}; --threshold:{inspection.threshold:.4f}">
  <div class="badge pass"><span class="shape">✓</span> PASS</div>
  <div class="badge fail"><span class="shape">✕</span> FAIL</div>
  <div class="reading">
    <div class="score">Score <b>{inspection.score:.3f}</b></div>
    <div class="scale"><i class="limit"></i><i class="mark"></i></div>
    <p class="note">{html.escape(inspection.notes)}</p>
    <p class="meaning">{meaning} {WHO_JUDGES}</p>
  </div>
</div>"""


def message_html(message: str, kind: str = "empty") -> str:
    """A sentence in place of a verdict; `kind` is "empty" or "error"."""
    return f'<div class="verdict message {kind}">{html.escape(message)}</div>'


def region_table(inspection: Inspection) -> str:
    """The regions as an HTML table, strongest first; nothing where there is none."""
    if not inspection.regions:
        return ""
    head = "".join(f"<th>{name}</th>" for name in REGION_COLUMNS)
    rows = "".join(
        f"<tr><td>{number}</td><td>{', '.join(map(str, region.box))}</td>"
        f"<td>{100 * region.area:.2f} %</td><td>{region.peak:.3f}</td></tr>"
        for number, region in enumerate(inspection.regions, start=1)
    )
    return f"<table class='regions'><tr>{head}</tr>{rows}</table>"


def notice_html(notice: str) -> str:
    """One sentence about the models on offer; nothing where there is nothing to say."""
    return f'<p class="notice">{html.escape(notice)}</p>' if notice else ""


def csv_text(inspection: Inspection, photo: str, category: str, model: str) -> str:
    """The result as CSV; cells that a spreadsheet would run as a formula are quoted off.

    Args:
        inspection: what the model says of the photo.
        photo: its path, of which the file's name is recorded.
        category: the product.
        model: which model judged, on the Hub with its commit.
    """
    values = (
        Path(photo).name,
        category,
        model,
        repr(inspection.score),
        repr(inspection.threshold),
        inspection.verdict,
        inspection.notes,
        datetime.now().astimezone().isoformat(timespec="seconds"),
    )
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(CSV_COLUMNS)
    writer.writerow([f"'{cell}" if cell[:1] in "=+-@\t\r" else cell for cell in values])
    return buffer.getvalue()
