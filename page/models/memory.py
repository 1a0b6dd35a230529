"""Which models are in memory; each is loaded once, however many visitors ask for it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from page.models.downloads import DownloadProgress, download
from page.models.entries import ModelEntry

if TYPE_CHECKING:  # torch and transformers take seconds to import; the first page needs neither
    from modeling import InspectionPipeline

MODELS_IN_MEMORY = 4  # least recently used first out; one more while a model loads; 30 MB each
POLL_SECONDS = 0.2  # between two looks at how far a model is
FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")  # of an absolute path


class Loading:
    """A model on its way into memory, or there; thread safe."""

    def __init__(self, entry: ModelEntry) -> None:
        self.progress = DownloadProgress(entry.source if entry.on_hub else entry.name)
        self.outcome: Future[InspectionPipeline] = Future()  # or a `ModelLoadError` with the reason

    def follow(self) -> Generator[DownloadProgress, None, InspectionPipeline]:
        """How far it is, whenever that changes, until it is done; nothing if it is already there.

        At the end the model, or `modeling.ModelLoadError` with the reason why it can't be loaded.
        """
        shown = None
        while not self.outcome.done():
            if self.progress != shown:
                shown = self.progress
                yield shown
            wait([self.outcome], timeout=POLL_SECONDS)
        return self.outcome.result()


class ModelMemory:
    """Models in memory, the least recently used first out; thread safe."""

    def __init__(self) -> None:
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
        try:
            model = load_model(entry, partial(setattr, loading, "progress"))
        except BaseException as error:  # of whatever kind: those who wait are told, not left alone
            with self._lock:
                del self._models[entry.source, entry.revision]  # the next to ask tries again
            loading.outcome.set_exception(error)
        else:
            with self._lock:  # one more is about to be there: forget those beyond the bound
                there = [key for key, other in self._models.items() if other.outcome.done()]
                for key in there[: max(0, len(there) + 1 - MODELS_IN_MEMORY)]:
                    del self._models[key]
            loading.outcome.set_result(model)


def load_model(entry: ModelEntry, report: Callable[[DownloadProgress], None]) -> InspectionPipeline:
    """Load a model, reporting what is downloaded; HF_TOKEN is taken by the Hub's client.

    `modeling.ModelLoadError` has the reason why it can't be, which names no folder of the server.
    """
    if entry.on_hub:
        with suppress(Exception):  # loading meets the same, and has a sentence for it
            download(entry.source, entry.revision, report)
        report(DownloadProgress(entry.source))
    from modeling import ModelLoadError, load_pipeline

    # A graph is a program: that of a repository is not run, whatever its weights are.
    backend = "torch" if entry.on_hub else "auto"
    try:
        return load_pipeline(entry.source, revision=entry.revision, backend=backend)
    except ModelLoadError as error:
        sentence = str(error).replace(entry.source, entry.source if entry.on_hub else entry.name)
        raise ModelLoadError(FOLDERS.sub("", sentence)) from error
