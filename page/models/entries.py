"""A model that can be chosen, known without loading it, and which such models there are on disk."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hub_models import readable_names

ASSETS = Path(__file__).parents[2] / "assets"


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be chosen for a category, known without loading it."""

    name: str  # the folder's, or the repository's without its namespace
    category: str  # the product that it inspects
    source: str  # a folder, or ORG/NAME on the Hub
    # Commit, tag or branch on the Hub; None for a folder, and for a model on the Hub that was named
    # without one before the Hub said which commit is the newest.
    revision: str | None = None
    on_hub: bool = False  # whether `source` is

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
    """List the models in folders (a model's own or one that holds several) and of Hub ids.

    The ids are ORG/NAME or ORG/NAME@REVISION. One entry a model and category, in the order given,
    by name within a folder; a model on the Hub stands under its own name until the Hub says what
    its categories are. `ValueError` when a folder holds no model, or a source is neither.
    """
    entries = []
    for source in sources:
        entries += _in_folder(Path(source)) if Path(source).is_dir() else [_on_hub(source)]
    return entries


def name_models(entries: Iterable[ModelEntry]) -> dict[tuple[str, str], ModelEntry]:
    """The models by category and a name that stays while the app runs.

    A model on the Hub is called as there. The key of a folder is a path of the server, so it goes
    by its own name, with a number where an earlier model of the category has that name.
    """
    named: dict[tuple[str, str], ModelEntry] = {}
    for entry in entries:
        plain = entry.key if entry.on_hub else entry.name
        names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
        name = next(name for name in names if (entry.category, name) not in named)
        named[entry.category, name] = entry
    return named


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
