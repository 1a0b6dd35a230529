"""One inspected photo as the page keeps it: light enough that a visitor may have a thousand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from page.inspection.temporary_folder import writing
from page.languages import Translation

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration, Inspection, InspectionRecord
    from modeling.regions import Surroundings
    from page.models.entries import ModelEntry

JPEG_QUALITY = 92  # of every photo that is shown or taken home
ACCEPT, REJECT, UNDECIDED = "accept", "reject", ""
ATTENTION = ("ERROR", "FAIL", "CHECK", "PASS")  # what a person looks at first


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


@dataclass(frozen=True)
class Result:
    """What the page knows of one photo."""

    file: str  # its name as the visitor gave it
    photo: Path | None  # on the server, kept until the visitor leaves; None where nothing was kept
    category: str  # the product that it was inspected as
    model: str  # which model judged, on the Hub with its commit (`ModelEntry.identity`)
    key: str  # `ModelEntry.key` of that model
    record: InspectionRecord  # what the model says of it, or why it could not be inspected
    time: str = field(default_factory=_now)  # when, ISO 8601 with the zone
    trouble: str = ""  # key of the page's own words for the error; "" where it has none
    # .npz file: `score_map` (h, w) and, where known, `part` (h, w) bool and the `Surroundings`.
    maps: Path | None = None
    calibration: Calibration | None = None  # None where the photo could not be inspected
    decision: str = UNDECIDED
    note: str = ""  # the operator's own words

    @classmethod
    def of(
        cls, file: str, photo: Path | None, entry: ModelEntry, record: InspectionRecord
    ) -> Result:
        """What a model says of a photo now."""
        return cls(file, photo, entry.category, entry.identity, entry.key, record)

    @property
    def urgency(self) -> tuple[int, float]:
        """Sorts results by what a person looks at first: failures by score, then the rest."""
        return ATTENTION.index(self.record.verdict), -(self.record.score or 0.0)

    @property
    def final_verdict(self) -> str:
        """What the operator decided, as "PASS" or "FAIL"; where nothing is, the model's verdict."""
        return {ACCEPT: "PASS", REJECT: "FAIL"}.get(self.decision, self.record.verdict)

    def why_not(self, text: Translation) -> str:
        """Why the photo could not be inspected, in the visitor's language; "" where it was."""
        if not self.trouble:
            return self.record.error or ""
        from modeling.image_processing import MAX_PHOTO_PIXELS

        return text(self.trouble, file=self.file, limit=MAX_PHOTO_PIXELS // 10**6)

    def with_maps(self, inspection: Inspection, calibration: Calibration, folder: Path) -> Result:
        """The same with what judging at another threshold takes; the maps are kept in `folder`.

        A full disk raises NoRoomError.
        """
        known = {} if inspection.part is None else {"part": inspection.part}
        if inspection.surroundings is not None:
            known |= inspection.surroundings._asdict()
        maps = folder / f"{self.photo.stem}.npz"
        with writing(maps) as file:
            np.savez(file, score_map=inspection.score_map, **known)
        return replace(self, maps=maps, calibration=calibration)

    def at_threshold(self, threshold: float) -> Result:
        """The same photo judged at another threshold; no model runs."""
        record = self.record
        if self.maps is None:
            return replace(self, record=replace(record, threshold=threshold))
        from modeling import judge

        score_map, part = self.read_maps()
        known = (part, record.doubt, self.read_surroundings())
        judged = judge(record.score, score_map, record.photo_size, threshold, *known)
        record = replace(
            record,
            threshold=judged.threshold,
            verdict=judged.verdict,
            finding=judged.finding,
            regions=tuple(judged.regions),
            beside=judged.beside,
            note=judged.notes,
        )
        return replace(self, record=record)

    def read_maps(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The score map, (h, w), and where the part lies, (h, w) bool, if it is known."""
        with np.load(self.maps) as stored:
            return stored["score_map"], stored.get("part")

    def read_surroundings(self) -> Surroundings | None:
        """What is known of the ground; None where all of the photo is judged."""
        from modeling.regions import Surroundings

        with np.load(self.maps) as stored:
            if "scores" not in stored:
                return None
            return Surroundings(stored["scores"], stored["things"])
