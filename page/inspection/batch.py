"""Many photos one after the other: progress, cancelling, totals, and the operator's decisions."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from page.inspection.inspector import Inspector
from page.inspection.results import Result
from page.inspection.temporary_folder import NoRoomError, TemporaryFolder, writing
from page.inspection.uploads import Upload
from page.models.entries import ModelEntry

THUMBNAIL_SIDE = 160  # pixels


class Totals(NamedTuple):
    """How many photos came out how."""

    passed: int
    failed: int
    to_check: int  # can't be judged
    unreadable: int  # no picture, or a damaged one

    @property
    def inspected(self) -> int:
        """All but the unreadable."""
        return self.passed + self.failed + self.to_check

    @property
    def judged(self) -> int:
        """Those that pass or fail."""
        return self.passed + self.failed

    @property
    def good_share(self) -> float:
        """The yield: passed of those judged, 0..1; NaN while none is."""
        return self.passed / self.judged if self.judged else float("nan")


def count_verdicts(verdicts: Iterable[str]) -> Totals:
    """Totals of the verdicts of inspections, as in `modeling.InspectionRecord`."""
    counts = Counter(verdicts)
    return Totals(*(counts[verdict] for verdict in ("PASS", "FAIL", "CHECK", "ERROR")))


@dataclass
class Batch:
    """The photos of one batch and what is known of them so far.

    One object for the whole life of a batch: `run` fills it in one thread while the visitor
    cancels, decides and moves the threshold in others. A photo's number, from 1, is its place in
    the batch. Raises ValueError when the threshold is no number from 0 to 1, as `rejudge` does.
    """

    uploads: Sequence[Upload]
    folder: TemporaryFolder  # of photos, maps and thumbnails; closed when the batch is replaced
    threshold: float  # the operating threshold of all verdicts, 0..1
    choice: tuple[str, str] | None = None  # category and model that judge, as the page names them
    results: list[Result] = field(default_factory=list)  # of the photos done, in the order given
    # A small JPEG each; None where there is no picture.
    thumbnails: list[Path | None] = field(default_factory=list)
    selected: int | None = None  # number of the photo whose details are shown
    error: str = ""  # one sentence why the batch ended early: its model can't be loaded
    is_running: bool = False  # whether photos are being inspected
    _first_done: float = float("nan")  # on the monotonic clock
    _last_done: float = float("nan")
    _clicks: int = 0  # the page's count at the latest click that was taken
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        _check(self.threshold)

    def run(self, inspector: Inspector, entry: ModelEntry) -> Iterator[Batch]:
        """Inspect photo after photo; yields the batch after each, and once more at the end.

        It ends early after `cancel`, or with `error` when the model can't be loaded; what is done
        is kept. A file that can't be read is a result that says so.
        """
        from modeling import ModelLoadError

        self.is_running = True
        try:
            for upload in self.uploads:
                if self._cancelled.is_set():
                    break
                self._take(*self._inspect(inspector, upload, entry))
                yield self
        except ModelLoadError as error:
            self.error = str(error)
        except FileNotFoundError:  # the folder was deleted under a photo because the visitor left
            if self.folder.path.is_dir():
                raise
        finally:  # also when the visitor leaves
            self.is_running = False
        yield self

    def cancel(self) -> None:
        """End the batch after the photo that is being inspected."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether it ended, or is about to end, before its last photo because it was told to."""
        return self._cancelled.is_set() and len(self.results) < len(self.uploads)

    def select(self, number: int, clicks: int) -> bool:
        """Take a photo for the one whose details are shown; False where a later click was taken.

        The page counts its clicks, for of two at once the later one may come first.
        """
        with self._changing:
            if clicks < self._clicks:
                return False
            self.selected, self._clicks = number, clicks
            return True

    def rejudge(self, threshold: float) -> None:
        """Judge all photos at another threshold; no model runs.

        A later call takes over from one that is still under way, and none goes on once the batch
        is replaced. Photos that are not done yet will be judged at it too.
        """
        _check(threshold)
        with self._changing:
            self.threshold = threshold
        with self.folder.in_use():
            for index, result in enumerate(self.results):  # photos done meanwhile come along
                if self.folder.is_closed:
                    return
                judged = result.at_threshold(threshold)
                with self._changing:
                    if self.threshold != threshold:
                        return
                    newest = self.results[index]  # a decision may have been made meanwhile
                    kept = {"decision": newest.decision, "note": newest.note}
                    self.results[index] = replace(judged, **kept)

    def decide(self, number: int, decision: str, note: str) -> None:
        """Record what the operator decides of a photo: `ACCEPT`, `REJECT` or `UNDECIDED`."""
        with self._changing:
            decided = replace(self.results[number - 1], decision=decision, note=note)
            self.results[number - 1] = decided

    @property
    def totals(self) -> Totals:
        """By the model's verdicts."""
        return count_verdicts(result.record.verdict for result in self.results)

    @property
    def totals_decided(self) -> Totals | None:
        """By the operator's decisions where there are any; None as long as there is none."""
        results = list(self.results)
        if not any(result.decision for result in results):
            return None
        return count_verdicts(result.final_verdict for result in results)

    @property
    def photos_per_minute(self) -> float:
        """The pace since the first photo was done; NaN before the second."""
        seconds = self._last_done - self._first_done
        return 60 * (len(self.results) - 1) / seconds if seconds else float("nan")

    @property
    def seconds_left(self) -> float:
        """How long the rest takes at this pace; NaN while the pace is not known."""
        return 60 * (len(self.uploads) - len(self.results)) / self.photos_per_minute

    def _inspect(
        self, inspector: Inspector, upload: Upload, entry: ModelEntry
    ) -> tuple[Result, Path | None]:
        """One photo's result and thumbnail; the pictures in full size are dropped at once."""
        if upload.photo is None:
            from modeling import InspectionRecord

            record = InspectionRecord.failed(upload.error, self.threshold)
            return Result.of(upload.file, None, entry, record), None
        result, inspection = inspector.inspect(
            upload.file, upload.photo, entry, self.threshold, self.folder
        )
        if inspection is None:
            return result, None
        return result, _save_thumbnail(inspection.photo, self.folder.new_file(".jpg"))

    def _take(self, result: Result, thumbnail: Path | None) -> None:
        """Add a photo, judged at the threshold that holds by then."""
        while True:
            with self._changing:
                if result.record.threshold == self.threshold:
                    # First, so that there is one for every result that another thread sees.
                    self.thumbnails.append(thumbnail)
                    self.results.append(result)
                    break
            result = result.at_threshold(self.threshold)  # it was moved meanwhile
        self._last_done = time.monotonic()
        if len(self.results) == 1:
            self._first_done = self._last_done


def _check(threshold: float) -> None:
    """NaN is refused too: it differs from itself, so `_take` would judge a photo for ever."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"The threshold must be a number from 0 to 1, found {threshold}.")


def _save_thumbnail(photo: Image.Image, path: Path) -> Path | None:
    """Where it lies; None where the disk is full, which is no reason to lose a verdict."""
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    thumbnail = ImageOps.contain(photo, side, Image.Resampling.BILINEAR)
    try:
        with writing(path) as file:
            thumbnail.save(file, quality=85)
    except NoRoomError:
        return None
    return path
