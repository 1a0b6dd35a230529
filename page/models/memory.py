"""Which models are in memory; each is loaded once, however many visitors ask for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from page.models.downloads import Progress

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import InspectionPipeline
    from page.models.catalogue import ModelEntry

Report = Callable[[Progress], None]
Load = Callable[["ModelEntry", Report], "InspectionPipeline"]


class Loading:
    """A model on its way into memory, or there; thread safe.

    Attributes:
        progress: how far it is.
    """

    def __init__(self, entry: ModelEntry) -> None:
        self.progress = Progress(entry.source if entry.on_hub else entry.name)
        self.outcome: Future[InspectionPipeline] = Future()

    @property
    def is_done(self) -> bool:
        """Whether it is there, or has failed."""
        return self.outcome.done()

    def wait(self, seconds: float) -> None:
        """Wait until it is done, or so long."""
        wait([self.outcome], timeout=seconds)

    def result(self) -> InspectionPipeline:
        """The model, waited for.

        Raises:
            modeling.ModelLoadError: with the reason, when it can't be loaded.
        """
        return self.outcome.result()


class ModelMemory:
    """Models in memory, the least recently used first out; thread safe.

    Args:
        load: loads a model and reports how far it is.
        size: how many are kept; those that are being loaded come on top.
    """

    def __init__(self, load: Load, size: int) -> None:
        self._load = load
        self._size = size
        self._lock = threading.Lock()
        # By source and revision, the most recently used last: a dictionary keeps its order.
        self._models: dict[tuple[str, str | None], Loading] = {}

    def start(self, entry: ModelEntry) -> Loading:
        """The model, or its loading, which begins unless it is under way; never waits."""
        key = (entry.source, entry.revision)
        with self._lock:
            loading = self._models.pop(key, None)
            is_new = loading is None
            self._models[key] = loading = loading or Loading(entry)
        if is_new:
            threading.Thread(target=self._run, args=(entry, loading), daemon=True).start()
        return loading

    def _run(self, entry: ModelEntry, loading: Loading) -> None:
        def report(progress: Progress) -> None:
            loading.progress = progress

        try:
            model = self._load(entry, report)
        except BaseException as error:  # of whatever kind: those who wait are told, not left alone
            with self._lock:
                del self._models[entry.source, entry.revision]  # the next to ask tries again
            loading.outcome.set_exception(error)
        else:
            with self._lock:
                self._make_room()
            loading.outcome.set_result(model)

    def _make_room(self) -> None:
        """Forget those beyond the bound; called when one more is about to be there."""
        there = [key for key, loading in self._models.items() if loading.is_done]
        for key in there[: max(0, len(there) + 1 - self._size)]:
            del self._models[key]
