"""Which models the app offers, where they come from, and which of them are in memory.

Folders are read once, at the start. The Hub is asked in a thread under a time limit, so that a
slow Hub holds nobody; what it said last stays on offer when it does not answer.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from hub_models import (
    PROJECT_TAG,
    HubModel,
    list_downloaded_models,
    list_hub_models,
    read_hub_model,
    readable_names,
)
from page.models.downloads import Progress, download
from page.models.memory import Loading, ModelMemory

if TYPE_CHECKING:  # torch and transformers take seconds to import; a list of models needs neither
    from modeling import InspectionPipeline

ASSETS = Path(__file__).parents[2] / "assets"
MODELS_IN_MEMORY = 4  # least recently used first out; one more while a model loads; 30 MB each
LISTING_SECONDS = 5.0  # a visitor waits no longer for the Hub's list of models
FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/'\"]+/)+")  # of an absolute path
LISTING_AGE = 60.0  # seconds for which page loads take the last list, or the last failure


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be chosen for a category, known without loading it.

    Attributes:
        name: the folder's, or the repository's without its namespace.
        category: the product that it inspects.
        source: a folder, or ORG/NAME on the Hub.
        revision: commit, tag or branch on the Hub; None for a folder, and for a model on the Hub
            that was named without one before the Hub said which commit is the newest.
        on_hub: whether `source` is on the Hub.
    """

    name: str
    category: str
    source: str
    revision: str | None = None
    on_hub: bool = False

    @property
    def key(self) -> str:
        """What the choice is remembered by; a newer commit of the same model keeps it."""
        return self.source if self._named_revision is None else f"{self.source}@{self.revision}"

    @property
    def label(self) -> str:
        """What a person reads in the list, such as "bottle-vae (org)"."""
        if not self.on_hub:
            return self.name
        origin = [self.source.split("/")[0], self._named_revision]
        return f"{self.name} ({', '.join(filter(None, origin))})"

    @property
    def identity(self) -> str:
        """What a record of an inspection says: the name, on the Hub with namespace and commit."""
        if not self.on_hub:
            return self.name
        return f"{self.source}@{self.revision}" if self.revision else self.source

    @property
    def _named_revision(self) -> str | None:
        """The revision if a person gave it; a commit's hash means the newest one."""
        is_commit = self.revision is not None and len(self.revision) == 40
        return None if is_commit else self.revision


def find_models(sources: Sequence[str]) -> list[ModelEntry]:
    """List the models in folders (a model's own or one that holds several) and Hub ids.

    Args:
        sources: folders, and Hub ids as ORG/NAME or ORG/NAME@REVISION.

    Returns:
        One entry a model and category, in the order given, by name within a folder. A model on
        the Hub stands under its own name until the Hub says what its categories are.

    Raises:
        ValueError: when a folder holds no model, or a source is neither folder nor Hub id.
    """
    entries = []
    for source in sources:
        entries += _in_folder(Path(source)) if Path(source).is_dir() else [_on_hub(source)]
    return entries


def examples_of(category: str) -> list[str]:
    """Paths of the example photos of a category that ship with the project."""
    folders = [folder for folder in (ASSETS / "examples").iterdir() if folder.name == category]
    return [str(path) for folder in folders for path in sorted(folder.glob("*.jpg"))]


def shipped_models() -> list[ModelEntry]:
    """The models under assets/, those with example photos first: a visitor can try them at once."""
    entries = find_models([str(ASSETS / "models")])
    return sorted(entries, key=lambda entry: not examples_of(entry.category))


def _in_folder(folder: Path) -> list[ModelEntry]:
    configs = [folder / "config.json", *sorted(folder.glob("*/config.json"))]
    found = [entry for path in configs if path.is_file() for entry in _entries(path)]
    if not found:
        raise ValueError(
            f"The folder {folder} holds no model (no config.json in it or one level below); "
            "give a folder that training/train.py wrote."
        )
    return found


def _entries(config: Path) -> list[ModelEntry]:
    """One entry for each category of the model beside its config.json."""
    name = config.parent.resolve().name
    try:
        categories = json.loads(config.read_text()).get("categories")
    except (OSError, ValueError, AttributeError, RecursionError):
        categories = None  # the reason is shown when the model is chosen; the others stay usable
    return [
        ModelEntry(name, category, str(config.parent))
        for category in readable_names(categories) or [name]
    ]


def _on_hub(source: str) -> ModelEntry:
    repo, _, revision = source.partition("@")
    try:
        validate_repo_id(repo)
        _, name = repo.split("/")
    except (HFValidationError, ValueError) as error:
        raise ValueError(
            f"The model {source} is neither a folder that exists nor a Hub id ORG/NAME or "
            "ORG/NAME@REVISION; check its spelling."
        ) from error
    return ModelEntry(name, name, repo, revision or None, on_hub=True)


@dataclass(frozen=True)
class HubWish:
    """What the app wants of the Hub: the models of a namespace, and some by their names."""

    namespace: str | None = None
    revision: str | None = None  # of the namespace's models; None for the newest commit of each
    named: tuple[ModelEntry, ...] = ()

    def __bool__(self) -> bool:
        """Whether it wants anything."""
        return bool(self.namespace or self.named)

    def ask(self) -> list[ModelEntry]:
        """What the Hub has of it, in one request for the namespace and one for each name.

        Raises:
            Exception: when the Hub can't be reached or refuses; many libraries take part.
        """
        found = []
        for entry in self.named:
            try:
                model = read_hub_model(entry.source, entry.revision)
            except (RepositoryNotFoundError, RevisionNotFoundError, GatedRepoError):
                continue  # the reason is shown when the model is chosen; the others stay usable
            found += _entries_of(model, entry.revision)
        for model in list_hub_models(self.namespace) if self.namespace else ():
            found += _entries_of(model, self.revision)
        return found

    def find_downloaded(self) -> list[ModelEntry]:
        """What earlier sessions downloaded of it: usable while the Hub can't be reached."""
        downloaded = list_downloaded_models()
        wanted = [(entry.source, entry.revision) for entry in self.named]
        repos = sorted({model.repo for model in downloaded})
        wanted += [(repo, self.revision) for repo in repos if repo.split("/")[0] == self.namespace]
        found = []
        for repo, revision in wanted:
            fitting = (
                model
                for model in downloaded
                if model.repo == repo and (revision is None or revision in model.revisions)
            )
            if latest := next(fitting, None):
                found += _entries_of(latest, revision)
        return found


def _entries_of(model: HubModel, revision: str | None) -> list[ModelEntry]:
    """One entry for each category, pinned to the commit unless a person gave the revision."""
    name = model.repo.split("/")[-1]
    return [
        ModelEntry(name, category, model.repo, revision or model.commit, on_hub=True)
        for category in model.categories
    ]


def merge(given: Iterable[ModelEntry], found: Sequence[ModelEntry]) -> list[ModelEntry]:
    """Put what the Hub said in the place of the names that were given, and the rest after them.

    Args:
        given: folders, and models on the Hub as they were named.
        found: models on the Hub with their commits and categories.

    Returns:
        Entries that differ in category or key; of two that do not, the first.
    """
    merged: list[ModelEntry] = []
    for entry in given:
        told = [other for other in found if entry.on_hub and other.key == entry.key]
        merged += told or [entry]
    first: dict[tuple[str, str], ModelEntry] = {}
    for entry in [*merged, *found]:
        first.setdefault((entry.category, entry.key), entry)
    return list(first.values())


def load(entry: ModelEntry, report: Callable[[Progress], None]) -> InspectionPipeline:
    """Load a model, reporting what is downloaded; HF_TOKEN is taken by the Hub's client.

    Raises:
        modeling.ModelLoadError: with the reason, which names no folder of the server.
    """
    if entry.on_hub:
        with suppress(Exception):  # loading meets the same, and has a sentence for it
            download(entry.source, entry.revision, report)
        report(Progress(entry.source))
    from modeling import ModelLoadError, load_pipeline

    # A graph is a program: that of a repository is not run, whatever its weights are.
    backend = "torch" if entry.on_hub else "auto"
    try:
        return load_pipeline(entry.source, revision=entry.revision, backend=backend)
    except ModelLoadError as error:
        sentence = str(error).replace(entry.source, entry.source if entry.on_hub else entry.name)
        raise ModelLoadError(FOLDERS.sub("", sentence)) from error


class Catalogue:
    """The models on offer now; thread safe, and shared by all visitors.

    Args:
        given: models that are always there, such as those that ship, in the order of the list;
            those on the Hub are asked for by name.
        namespace: user or organisation on the Hub whose models are offered too.
        revision: branch, tag or commit of the namespace's models; the newest of each if None.
        time_limit: seconds that `refresh` waits for the Hub.
    """

    def __init__(
        self,
        given: Sequence[ModelEntry],
        *,
        namespace: str | None = None,
        revision: str | None = None,
        time_limit: float = LISTING_SECONDS,
    ) -> None:
        named = tuple(entry for entry in given if entry.on_hub)
        self.wish = HubWish(namespace, revision, named)
        self.notice = ""  # one sentence for the page while the Hub's models are not on offer
        self._given = tuple(given)
        self._entries = tuple(given)
        self._time_limit = time_limit
        self._memory = ModelMemory(load, MODELS_IN_MEMORY)
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._asked_at = 0.0  # of the latest question to the Hub, on the monotonic clock
        self._answered: float | None = None  # when the question was asked that the list answers

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        """All models on offer, as known now; never waits."""
        return self._entries

    @property
    def categories(self) -> list[str]:
        """The products that can be inspected, in the order of the list."""
        return list(dict.fromkeys(entry.category for entry in self._entries))

    def entries_of(self, category: str) -> list[ModelEntry]:
        """The models of a category."""
        return [entry for entry in self._entries if entry.category == category]

    def find(self, category: str | None, key: str | None) -> ModelEntry | None:
        """The model that a visitor chose; None when it is no longer on offer."""
        wanted = (category, key)
        return next(
            (entry for entry in self._entries if (entry.category, entry.key) == wanted), None
        )

    def closest(self, category: str | None, key: str | None) -> ModelEntry:
        """The model that a visitor chose, else the same for another category, else a first one."""
        return min(
            self._entries,
            key=lambda entry: (
                (entry.category, entry.key) != (category, key),
                entry.key != key,
                entry.category != category,
            ),
        )

    def load(self, entry: ModelEntry) -> InspectionPipeline:
        """The model, from memory if it is there.

        Raises:
            modeling.ModelLoadError: with the reason, when it can't be loaded.
        """
        return self._memory.start(entry).result()

    def start_loading(self, entry: ModelEntry) -> Loading:
        """The model on its way into memory, or there; several visitors share one. Never waits."""
        return self._memory.start(entry)

    def refresh(self, *, force: bool = False) -> None:
        """Ask the Hub for its models and wait for the answer, up to the time limit.

        What can't be had is said in `notice`, and nothing is raised. An answer that comes later
        is still taken, so a slow Hub's models are there at the next look.

        Args:
            force: ask even if the last answer, or failure, is less than `LISTING_AGE` old.
        """
        if not self.wish:
            return
        with self._lock:
            age = time.monotonic() - self._asked_at
            if self._asking is None or force or age > LISTING_AGE:
                self._asked_at = time.monotonic()
                self._asking = threading.Thread(
                    target=self._ask, args=(self._asked_at,), daemon=True
                )
                self._asking.start()
            asking, asked_at = self._asking, self._asked_at
        asking.join(max(0.0, asked_at + self._time_limit - time.monotonic()))
        if asking.is_alive():
            self._take_failure(asked_at, f"did not answer within {self._time_limit:g} s")

    def _ask(self, asked_at: float) -> None:
        try:
            found = self.wish.ask()
        except Exception as error:  # this thread has nobody else to tell it to
            self._take_failure(asked_at, _reason(error))
        else:
            self._take_answer(asked_at, found)

    def _take_answer(self, asked_at: float, found: Sequence[ModelEntry]) -> None:
        with self._lock:
            if self._is_answered_since(asked_at):
                return
            self._answered = asked_at
            self._entries = tuple(merge(self._given, found))
            self.notice = "" if found else f"{self._nothing_found()}; showing the models that ship."

    def _take_failure(self, asked_at: float, reason: str) -> None:
        """Keep the last good list; without one, offer what was downloaded earlier."""
        downloaded = [] if self._answered is not None else self.wish.find_downloaded()
        with self._lock:
            if self._is_answered_since(asked_at):
                return
            if self._answered is None:
                self._entries = tuple(merge(self._given, downloaded))
                shown = "the models that ship and those downloaded earlier"
            else:
                shown = "what it listed before"
            self.notice = f"The model Hub {reason}; showing {shown}."

    def _is_answered_since(self, asked_at: float) -> bool:
        """Whether this question, or one asked after it, has its answer already."""
        return self._answered is not None and self._answered >= asked_at

    def _nothing_found(self) -> str:
        if not self.wish.namespace:
            return "The model Hub knows none of the models that were named"
        return f"The model Hub lists no model of {self.wish.namespace} with the tag {PROJECT_TAG}"


def _reason(error: Exception) -> str:
    """Why the Hub's list could not be had, to follow the words "The model Hub"."""
    if not isinstance(error, HfHubHTTPError):
        return "could not be reached"
    status = error.response.status_code
    advice = " (check HF_TOKEN)" if status in (401, 403) else ""
    return f"refused with HTTP status {status}{advice}"
