"""The record of one inspected photo, and the verdict in it: what every file and program is told.

CSV, JSON, Parquet, evaluation and page say the same of a photo because they all write this record;
how a column is called, or how a photo that can't be read is shown, is a matter of each format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .regions import Finding, Region

PASS, FAIL, CHECK, ERROR = "PASS", "FAIL", "CHECK", "ERROR"


def verdict_of(fails: bool | None, doubt: str | None = None) -> str | None:
    """The verdict on a photo that could be read: `CHECK` with a doubt, else `FAIL` or `PASS`.

    `fails` is whether the score exceeds the threshold (`scoring.exceeds`); None while the model is
    uncalibrated, which has no verdict: None. `doubt` is why the photo can't be judged, if it can't.
    """
    if fails is None:
        return None
    if doubt is not None:
        return CHECK
    return FAIL if fails else PASS


@dataclass(frozen=True)
class InspectionRecord:
    """What is known of one photo after its inspection; plain values, no pictures.

    After an error there are neither scores nor regions, note and size.
    """

    verdict: str  # `PASS`, `FAIL`, `CHECK` (see `doubt`) or `ERROR` (see `error`)
    threshold: float  # the operating threshold on the score, 0..1
    score: float | None = None  # 0..1
    raw_score: float | None = None  # unbounded, >= 0
    doubt: str | None = None  # why the photo can't be judged; None where it can
    finding: Finding | None = None  # place, size, strength and shape; None without a region
    regions: tuple[Region, ...] = ()  # areas above the threshold, strongest first
    beside: Finding | None = None  # what differs on the ground and fails nothing; None without
    note: str | None = None  # the finding and what lies beside, or the doubt, in words
    photo_size: tuple[int, int] | None = None  # (height, width) of the upright photo
    error: str | None = None  # one sentence why the photo could not be inspected; None where it was

    @classmethod
    def failed(cls, error: str, threshold: float) -> InspectionRecord:
        """The record of a photo that could not be inspected, with one sentence why."""
        return cls(ERROR, threshold, error=error)

    @property
    def is_judged(self) -> bool:
        """Whether the model gave a verdict on the part: `PASS` or `FAIL`."""
        return self.verdict in (PASS, FAIL)

    def region_facts(self) -> list[dict[str, Any]]:
        """The regions as plain values, strongest first; fields as in `Region`, the box a list."""
        return [{**region._asdict(), "box": list(region.box)} for region in self.regions]
