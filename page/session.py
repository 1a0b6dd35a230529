"""What one visitor has on the page: the result that is shown, the batch, the thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page.inspection.batch import Batch
from page.inspection.results import Result
from page.inspection.temporary_folder import TemporaryFolder
from page.models.facts import ModelFacts
from page.views.result_pictures import ResultPictures

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import Calibration

CALIBRATED_THRESHOLD = 0.5  # `modeling.THRESHOLD`, which takes seconds to import


@dataclass
class Session:
    """One visitor's things, kept by Gradio's session; changed in place by the page's answers."""

    root: Path  # folder in which the visitor gets folders of their own
    result: Result | None = None  # what is shown
    number: int | None = None  # its number in the batch; None for a single photo
    # The single photo that the visitor looks at, as the page gave it; None while they look at none,
    # or at one of the batch.
    photo: str | None = None
    batch: Batch | None = None  # the latest
    is_waiting: bool = False  # whether a batch was started that has not begun, for others go first
    stop_asked: bool = False  # whether the batch started last is to end, or not to begin
    # The operating threshold of each model that was moved from the calibrated one, by category and
    # model.
    thresholds: dict[tuple[str, str], float] = field(default_factory=dict)
    # Pictures that were made already, by number in the batch.
    pictures: dict[int, ResultPictures] = field(default_factory=dict)
    choice: tuple[str, str | None] | None = None  # category and model that were chosen last
    # Of the chosen model; scores are those of the known defects of its test set, 0..1, if known.
    facts: ModelFacts | None = None
    calibration: Calibration | None = None  # once it is loaded
    defect_scores: tuple[float, ...] | None = None
    _folder: TemporaryFolder | None = None
    _photo_folder: TemporaryFolder | None = None  # of the single photo that is shown
    _last_photo_folder: TemporaryFolder | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        """A session of its own for every visitor: Gradio copies the first value of a state."""
        del memo
        return Session(self.root)

    @property
    def folder(self) -> TemporaryFolder:
        """The visitor's folder, for all but batches; made when it is first needed."""
        if self._folder is None:
            self._folder = TemporaryFolder(self.root)
        return self._folder

    def threshold_of(self, category: str, model: str) -> float:
        """The operating threshold that the visitor chose for a model, else the calibrated one."""
        return self.thresholds.get((category, model), CALIBRATED_THRESHOLD)

    def turn_to(self, category: str, model: str | None) -> None:
        """Choose a model; of another one, what it judged and what was known of it is forgotten."""
        if self.choice == (category, model):
            return
        self.choice = category, model
        self.facts = self.calibration = self.defect_scores = None
        self.clear()

    def looks_at(self, photo: str | None, choice: tuple[str, str]) -> bool:
        """Whether an answer about a single photo is still about what the visitor looks at."""
        return (self.photo, self.choice) == (photo, choice)

    @property
    def keeps_threshold(self) -> bool:
        """Whether the photo that is shown is one of a batch that another model judged.

        The slider, which stands at the threshold of the chosen model, has no say in it.
        """
        return self.number is not None and self.batch.choice not in (None, self.choice)

    @property
    def photo_folder(self) -> TemporaryFolder:
        """The folder for what is made of the photo that is shown."""
        return self.folder if self._photo_folder is None else self._photo_folder

    def show(
        self,
        result: Result | None,
        number: int | None = None,
        folder: TemporaryFolder | None = None,
    ) -> None:
        """Show a result in the place of the last one; of a batch, it has a number.

        The files of a single photo, in its `folder`, are deleted not when the next result is shown
        but one later: a picture of it may be on its way to the browser.
        """
        if self._last_photo_folder is not None:
            self._last_photo_folder.close()
        self._last_photo_folder, self._photo_folder = self._photo_folder, folder
        self.result, self.number = result, number

    def clear(self) -> None:
        """Show no result any more; a batch stays."""
        self.show(None)
        self.photo = None
        if self.batch is not None:
            self.batch.selected = None

    def start_batch(self, batch: Batch) -> None:
        """Put a batch in the place of the last one, whose files are deleted."""
        self.end_batch()
        self.batch = batch

    def end_batch(self) -> None:
        """Stop the batch and delete its files."""
        if self.batch is not None:
            self.batch.cancel()
            self.batch.folder.close()
        if self.number is not None:
            self.clear()
        self.batch = None
        self.pictures.clear()

    def end(self) -> None:
        """The visitor has left: delete everything."""
        self.end_batch()
        if self._folder is not None:
            self._folder.close()
