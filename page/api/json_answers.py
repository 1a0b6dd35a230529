"""The JSON that programs get: its fields, and how they are filled.

Gradio describes them in the API's documentation by these types. It can't read annotations that
are strings, so there is no `from __future__ import annotations` here.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from gradio.data_classes import FileDataMeta
from gradio.utils import get_upload_folder
from PIL import Image

from hub_models import MODEL_TYPE_PREFIX, read_config
from page.inspection.batch import count_verdicts
from page.inspection.results import JPEG_QUALITY, Result
from page.inspection.temporary_folder import needing_room, writing
from page.models.entries import ModelEntry
from page.views.marking import scores_and_mask

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Inspection


class PhotoFile(TypedDict):
    """A file as Gradio describes it and `gradio_client.handle_file` makes it."""

    path: str
    meta: FileDataMeta


class ModelAnswer(TypedDict):
    """A model on offer; `category` and `model` are what the other functions take."""

    category: str
    model: str
    label: str  # what the page shows
    architecture: str | None  # None for a model on the Hub: its card says it
    revision: str | None  # commit, tag or branch on the Hub
    default: bool  # whether it is taken for the category where no model is named


class RegionAnswer(TypedDict):
    """One area above the threshold."""

    number: int  # from 1, strongest first
    box: list[int]  # left, top, right, bottom in pixels of the photo; right and bottom excluded
    area: float  # share of the picture, 0..1
    peak: float  # largest score, 0..1
    shape: Literal["line", "spot", "area"]
    at_outline: bool
    apart: bool  # whether it is something large beside the part


class CountAnswer(TypedDict):
    """How many of how many."""

    count: int
    total: int


class SizeAnswer(TypedDict):
    """Of the upright photo, in pixels."""

    width: int
    height: int


class InspectionAnswer(TypedDict, total=False):
    """What there is to say of one photo; of one that can't be read, `error` and no verdict."""

    file: str
    category: str
    model: str
    revision: str | None
    time: str  # ISO 8601 with the zone
    error: str  # one sentence
    score: float  # 0..1
    threshold: float  # 0..1; a score above it fails
    verdict: Literal["PASS", "FAIL", "CHECK"]
    doubt: str | None  # why the photo can't be judged, with the verdict CHECK
    note: str  # one sentence
    regions: list[RegionAnswer]
    good_parts_at_least: CountAnswer  # held-out good parts with this score or more
    photo_size: SizeAnswer
    heatmap: PhotoFile  # JPEG: the photo with the deviation painted over it
    reconstruction: PhotoFile  # JPEG: how the part should look
    mask: PhotoFile  # PNG: white where the score exceeds the threshold


TotalsAnswer = TypedDict(
    "TotalsAnswer",
    {
        "photos": int,
        "passed": int,
        "failed": int,
        "to_check": int,
        "unreadable": int,
        "yield": float | None,  # passed of those that passed or failed, 0..1
    },
)


class BatchAnswer(TypedDict):
    """A batch; its results are in the order of the photos."""

    results: list[InspectionAnswer]
    totals: TotalsAnswer


def model_answer(entry: ModelEntry, name: str, default: bool) -> ModelAnswer:
    """A model as `/models` lists it; it is not loaded."""
    config = None if entry.on_hub else read_config(Path(entry.source) / "config.json")
    return {
        "category": entry.category,
        "model": name,
        "label": entry.label,
        "architecture": config and config["model_type"].removeprefix(f"{MODEL_TYPE_PREFIX}-"),
        "revision": entry.revision,
        "default": default,
    }


def inspection_answer(result: Result, name: str, revision: str | None) -> InspectionAnswer:
    """One photo as `/inspect` answers it; the model's name is that of `/models`."""
    record = result.record
    answer: InspectionAnswer = {
        "file": result.file,
        "category": result.category,
        "model": name,
        "revision": revision,
        "time": result.time,
    }
    if record.error is not None:
        return {**answer, "error": record.error}
    height, width = record.photo_size
    as_different = result.calibration.at_least(record.score)
    return {
        **answer,
        "score": record.score,
        "threshold": record.threshold,
        "verdict": record.verdict,
        "doubt": record.doubt,
        "note": record.note,
        "regions": [
            {"number": number, **region}
            for number, region in enumerate(record.region_facts(), start=1)
        ],
        "good_parts_at_least": {"count": as_different.count, "total": as_different.total},
        "photo_size": {"width": width, "height": height},
    }


def batch_answer(answers: Sequence[InspectionAnswer]) -> BatchAnswer:
    """The photos of a batch and how many came out how."""
    totals = count_verdicts(answer.get("verdict", "ERROR") for answer in answers)
    return {
        "results": list(answers),
        "totals": {
            "photos": len(answers),
            **totals._asdict(),
            "yield": totals.good_share if totals.judged else None,
        },
    }


def picture_files(inspection: "Inspection") -> dict[str, PhotoFile]:
    """Heatmap, reconstruction and mask of the photo's size, as files that Gradio serves.

    They lie in its folder of uploads, which it tidies up; in a folder of their own, because two
    calls with the same photo would write the same files. A full disk raises NoRoomError.
    """
    uploads = Path(get_upload_folder())
    with needing_room():
        uploads.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=uploads))
    # White where the score exceeds the threshold; black all over if there is no region, also where
    # a doubt forbids to judge.
    mask = Image.new("L", inspection.photo.size)
    if inspection.regions:
        size = (inspection.photo.height, inspection.photo.width)
        _, exceeding = scores_and_mask(inspection.score_map, size, inspection.threshold)
        mask = Image.fromarray(exceeding).convert("L")
    files = {}
    for name, picture in (
        ("heatmap.jpg", inspection.heatmap),
        ("reconstruction.jpg", inspection.reconstruction),
        ("mask.png", mask),
    ):
        path = folder / name
        with writing(path) as file:
            picture.save(file, quality=JPEG_QUALITY)
        files[path.stem] = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    return files
