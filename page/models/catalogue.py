"""Which models the page offers now.

Folders are read once, at the start. The Hub is asked in a thread under a time limit, so that a
slow Hub holds nobody; what it said last stays on offer when it does not answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

from huggingface_hub.errors import HfHubHTTPError

from hub_models import PROJECT_TAG
from page.models.downloads import DownloadProgress
from page.models.entries import ModelEntry, name_models
from page.models.memory import ModelMemory
from page.models.requested import RequestedModels

if TYPE_CHECKING:  # torch and transformers take seconds to import; a list of models needs neither
    from modeling import InspectionPipeline

LISTING_SECONDS = 5.0  # a visitor waits no longer for the Hub's list of models
LISTING_AGE = 60.0  # seconds for which page loads take the last list, or the last failure


class Catalogue:
    """The models on offer now; thread safe, and shared by all visitors.

    Those `given`, such as those that ship, are always there, in the order of the list; the Hub is
    asked for those on it by name. The models of a user or organisation on the Hub (`namespace`) are
    offered too, at a branch, tag or commit (`revision`), the newest of each if None.
    """

    def __init__(
        self,
        given: Sequence[ModelEntry],
        *,
        namespace: str | None = None,
        revision: str | None = None,
    ) -> None:
        named = tuple(entry for entry in given if entry.on_hub)
        self._requested = RequestedModels(namespace, revision, named)
        self.notice = ""  # one sentence for the page while the Hub's models are not on offer
        self._given = tuple(given)
        self.entries = self._given  # all models on offer, as known now
        self._memory = ModelMemory()
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._asked_at = 0.0  # of the latest question to the Hub, on the monotonic clock
        self._answered: float | None = None  # when the question was asked that the list answers

    @property
    def asks_hub(self) -> bool:
        """Whether models of the Hub are wanted, so that the list may change."""
        return bool(self._requested)

    @property
    def categories(self) -> list[str]:
        """The products that can be inspected, in the order of the list."""
        return list(dict.fromkeys(entry.category for entry in self.entries))

    @property
    def named(self) -> dict[tuple[str, str], ModelEntry]:
        """The models on offer, by category and the name by which page and programs ask for them."""
        return name_models(self.entries)

    def find(self, category: str | None, model: str | None) -> ModelEntry | None:
        """The model of a name; None when it is no longer on offer."""
        return self.named.get((category, model))

    def load(self, entry: ModelEntry) -> InspectionPipeline:
        """The model, from memory if it is there; `ModelLoadError` says why it can't be loaded."""
        return self._memory.start(entry).outcome.result()

    def load_with_progress(
        self, entry: ModelEntry
    ) -> Generator[DownloadProgress, None, InspectionPipeline]:
        """The model, and until it is in memory how far it is, whenever that changes.

        The work goes on in a thread that all who ask for the model share, so a visitor who leaves
        harms nobody, and one who comes later sees the same bar. Raises as `load` does.
        """
        return self._memory.start(entry).follow()

    def refresh(self, *, force: bool = False) -> None:
        """Ask the Hub for its models and wait for the answer, up to the time limit.

        What can't be had is said in `notice`, and nothing is raised. An answer that comes later
        is still taken, so a slow Hub's models are there at the next look. Unless it is forced,
        nobody is asked while the last answer, or failure, is less than `LISTING_AGE` old.
        """
        if not self._requested:
            return
        with self._lock:
            age = time.monotonic() - self._asked_at
            if self._asking is None or force or age > LISTING_AGE:
                self._asked_at = time.monotonic()
                asked = (self._asked_at,)
                self._asking = threading.Thread(target=self._ask, args=asked, daemon=True)
                self._asking.start()
            asking, asked_at = self._asking, self._asked_at
        asking.join(max(0.0, asked_at + LISTING_SECONDS - time.monotonic()))
        if asking.is_alive():
            self._take_failure(asked_at, f"did not answer within {LISTING_SECONDS:g} s")

    def _ask(self, asked_at: float) -> None:
        try:
            found = self._requested.ask()
        except Exception as error:  # this thread has nobody else to tell it to
            self._take_failure(asked_at, _reason(error))
        else:
            self._take_answer(asked_at, found)

    def _take_answer(self, asked_at: float, found: Sequence[ModelEntry]) -> None:
        with self._lock:
            if self._is_answered_since(asked_at):
                return
            self._answered = asked_at
            self.entries = tuple(merge(self._given, found))
            self.notice = "" if found else f"{self._nothing_found()}; showing the models that ship."

    def _take_failure(self, asked_at: float, reason: str) -> None:
        """Keep the last good list; without one, offer what was downloaded earlier."""
        downloaded = [] if self._answered is not None else self._requested.find_downloaded()
        with self._lock:
            if self._is_answered_since(asked_at):
                return
            if self._answered is None:
                self.entries = tuple(merge(self._given, downloaded))
                shown = "the models that ship and those downloaded earlier"
            else:
                shown = "what it listed before"
            self.notice = f"The model Hub {reason}; showing {shown}."

    def _is_answered_since(self, asked_at: float) -> bool:
        """Whether this question, or one asked after it, has its answer already."""
        return self._answered is not None and self._answered >= asked_at

    def _nothing_found(self) -> str:
        if namespace := self._requested.namespace:
            return f"The model Hub lists no model of {namespace} with the tag {PROJECT_TAG}"
        return "The model Hub knows none of the models that were named"


def _reason(error: Exception) -> str:
    """Why the Hub's list could not be had, to follow the words "The model Hub"."""
    if not isinstance(error, HfHubHTTPError):
        return "could not be reached"
    status = error.response.status_code
    advice = " (check HF_TOKEN)" if status in (401, 403) else ""
    return f"refused with HTTP status {status}{advice}"


def merge(given: Iterable[ModelEntry], found: Sequence[ModelEntry]) -> list[ModelEntry]:
    """Put what the Hub said in the place of the names that were given, and the rest after them.

    Given are folders, and models on the Hub as they were named; found, those on the Hub with their
    commits and categories. Of two entries of the same category and key, the first stays.
    """
    merged: list[ModelEntry] = []
    for entry in given:
        told = [other for other in found if entry.on_hub and other.key == entry.key]
        merged += told or [entry]
    first: dict[tuple[str, str], ModelEntry] = {}
    for entry in [*merged, *found]:
        first.setdefault((entry.category, entry.key), entry)
    return list(first.values())
