"""What a visitor takes home: the table as CSV, and a zip with marked pictures and masks."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from page.inspection.results import JPEG_QUALITY, Result
from page.inspection.temporary_folder import TemporaryFolder, writing
from page.views.marking import mark_photo, scores_and_mask

COLUMNS = (
    *("file", "category", "model", "verdict", "score", "threshold", "regions", "strongest"),
    "beside",
    *("doubt", "error", "decision", "note", "final", "time"),
)
CSV_ENCODING = "utf-8-sig"  # without the mark, Excel shows "ü" as "Ã¼"
ZIP_NAME = "inspection.zip"
MAX_NAME = 80  # characters of a folder or file in the zip; Windows takes 260 for the whole path
# What begins a formula in Excel; the wide ones do in Japanese.
FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')  # in a file's name on Windows


def csv_text(results: Sequence[Result]) -> str:
    """The results as CSV, a row each; words are English and numbers have a point, for machines.

    `final` is what the operator decided, as PASS or FAIL, or else the model's verdict. A photo that
    could not be inspected has no verdict, and `error` says why.
    """
    from modeling.regions import describe, describe_beside

    buffer = io.StringIO()
    # All quoted: where a semicolon separates cells, a name that holds one would begin a formula.
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for result in results:
        record = result.record
        has_failed = record.error is not None
        row = {
            "file": result.file,
            "category": result.category,
            "model": result.model,
            "verdict": "" if has_failed else record.verdict,
            "score": "" if has_failed else repr(record.score),
            "threshold": repr(record.threshold),
            "regions": "" if has_failed else str(len(record.regions)),
            "strongest": describe(record.finding) if record.finding else "",
            "beside": describe_beside(record.beside) if record.beside else "",
            "doubt": record.doubt or "",
            "error": record.error or "",
            "decision": result.decision,
            "note": result.note,
            "final": "" if has_failed and not result.decision else result.final_verdict,
            "time": result.time,
        }
        cells = (row[column] for column in COLUMNS)
        # What a spreadsheet would run as a formula is made text.
        writer.writerow([f"'{cell}" if cell[:1] in FORMULAS else cell for cell in cells])
    return buffer.getvalue()


def write_zip(results: Sequence[Result], folder: TemporaryFolder) -> Path:
    """Write `results.csv`, and of each photo that passes or fails the marked picture and the mask.

    `overlays/NAME.jpg` shows the deviation and its numbered regions at the photo's own resolution,
    with the verdict below; `masks/NAME.png` is white where the score exceeds the threshold. NAME
    is the photo's, with its folders in an uploaded zip; of equal ones the second is "NAME (2)".
    No model runs, and one photo at a time is in memory. The zip, whose path is returned, takes the
    place of the last one in the folder; `NoRoomError` when the disk is full.
    """
    judged = [result for result in results if result.record.is_judged]
    finished = folder.path / ZIP_NAME
    # Who is downloading the last one still gets it whole. JPEG and PNG are compressed already.
    with (
        writing(finished) as unfinished,
        zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive,
    ):
        table = csv_text(results).encode(CSV_ENCODING)
        archive.writestr("results.csv", table, zipfile.ZIP_DEFLATED)
        for result, name in zip(judged, _names(judged), strict=True):
            overlay, mask = _pictures(result)
            archive.writestr(f"overlays/{name}.jpg", _encoded(overlay, "JPEG"))
            archive.writestr(f"masks/{name}.png", _encoded(mask, "PNG"))
    return finished


def _names(results: Sequence[Result]) -> Iterator[str]:
    """A name for each result's pictures, without suffix, that every system can unpack."""
    taken: set[str] = set()
    for result in results:
        path = PurePosixPath(result.file)
        parts = [*path.parent.parts, path.stem]
        safe = [FORBIDDEN.sub("_", part)[:MAX_NAME].strip(" .") or "_" for part in parts]
        base = name = "/".join(safe)
        count = 1
        while name.casefold() in taken:  # Windows and Mac take "A" and "a" for the same file
            count += 1
            name = f"{base} ({count})"
        taken.add(name.casefold())
        yield name


def _pictures(result: Result) -> tuple[Image.Image, Image.Image]:
    """The marked picture and the mask of one photo, from what was kept of its inspection."""
    from modeling import open_photo

    photo = open_photo(result.photo)
    size = (photo.height, photo.width)
    scores, mask = scores_and_mask(result.read_maps()[0], size, result.record.threshold)
    return mark_photo(photo, scores, mask, result), Image.fromarray(mask).convert("L")


def _encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=JPEG_QUALITY)
    return buffer.getvalue()
