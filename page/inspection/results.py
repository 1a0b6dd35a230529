"""One inspected photo as the page keeps it: light enough that a visitor may have a thousand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from page.inspection.temporary_folder import writing
from page.languages import Translation

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration, Finding, Inspection, Region

JPEG_QUALITY = 92  # of every photo that is shown or taken home
ACCEPT, REJECT, UNDECIDED = "accept", "reject", ""
ATTENTION = {"": 0, "FAIL": 1, "CHECK": 2, "PASS": 3}  # what a person looks at first


@dataclass(frozen=True)
class Result:
    """What the page knows of one photo.

    Attributes:
        file: its name as the visitor gave it.
        photo: the file on the server, kept until the visitor leaves; None where nothing was kept.
        category: the product that it was inspected as.
        model: which model judged, on the Hub with its commit (`ModelEntry.identity`).
        key: `ModelEntry.key` of that model.
        time: when, ISO 8601 with the zone.
        error: one sentence why it could not be inspected; all below but `trouble` is then empty.
        trouble: key of the page's own words for `error`, see `why_not`; "" where it has none.
        score: 0..1; NaN after an error.
        threshold: the operating threshold of the verdict, 0..1.
        verdict: "PASS", "FAIL", "CHECK" (see `doubt`), or "" after an error.
        doubt: why the photo can't be judged, one of `modeling.out_of_distribution.DOUBTS`, or None.
        finding: where, how large, how strong and of what shape; None without a region.
        regions: areas above the threshold, strongest first.
        photo_size: (height, width) of the upright photo.
        maps: .npz file with `score_map` (h, w) and, where it is known, `part` (h, w) bool.
        calibration: of the model for this category.
        decision: what the operator decided: `ACCEPT`, `REJECT` or `UNDECIDED`.
        note: the operator's own words.
    """

    file: str
    photo: Path | None
    category: str
    model: str
    key: str
    time: str
    error: str = ""
    trouble: str = ""
    score: float = float("nan")
    threshold: float = 0.5
    verdict: str = ""
    doubt: str | None = None
    finding: Finding | None = None
    regions: tuple[Region, ...] = ()
    photo_size: tuple[int, int] = (0, 0)
    maps: Path | None = None
    calibration: Calibration | None = None
    decision: str = UNDECIDED
    note: str = ""

    @property
    def urgency(self) -> tuple[int, float]:
        """Sorts results by what a person looks at first: failures by score, then the rest."""
        return ATTENTION[self.verdict], -self.score if self.score == self.score else 0.0

    def why_not(self, text: Translation) -> str:
        """Why the photo could not be inspected, in the visitor's language; "" where it was."""
        if not self.trouble:
            return self.error
        from modeling.image_processing import MAX_PHOTO_PIXELS

        return text(self.trouble, file=self.file, limit=MAX_PHOTO_PIXELS // 10**6)

    def completed(self, inspection: Inspection, calibration: Calibration, folder: Path) -> Result:
        """The same photo with what the model says of it; the maps are kept in `folder`.

        Raises:
            NoRoomError: when the disk is full.
        """
        part = {} if inspection.part is None else {"part": inspection.part}
        maps = folder / f"{self.photo.stem}.npz"
        with writing(maps) as file:
            np.savez(file, score_map=inspection.score_map, **part)
        return replace(
            self,
            score=inspection.score,
            threshold=inspection.threshold,
            verdict=inspection.verdict,
            doubt=inspection.doubt,
            finding=inspection.finding,
            regions=tuple(inspection.regions),
            photo_size=(inspection.photo.height, inspection.photo.width),
            maps=maps,
            calibration=calibration,
        )

    def at_threshold(self, threshold: float) -> Result:
        """The same photo judged at another threshold; no model runs."""
        from modeling import judge

        if self.maps is None:
            return replace(self, threshold=threshold)
        score_map, part = self.read_maps()
        judgement = judge(self.score, score_map, self.photo_size, threshold, part, self.doubt)
        return replace(
            self,
            threshold=judgement.threshold,
            verdict=judgement.verdict,
            finding=judgement.finding,
            regions=tuple(judgement.regions),
        )

    def read_maps(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The score map, (h, w), and where the part lies, (h, w) bool, if it is known."""
        with np.load(self.maps) as stored:
            return stored["score_map"], stored.get("part")


def now() -> str:
    """The time as results record it."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
