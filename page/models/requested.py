"""The models that the page asks the Hub for."""

from __future__ import annotations

from dataclasses import dataclass

from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from hub_models import HubModel, list_downloaded_models, list_hub_models, read_hub_model
from page.models.entries import ModelEntry


@dataclass(frozen=True)
class RequestedModels:
    """What the app wants of the Hub: the models of a namespace, and some by their names."""

    namespace: str | None = None
    revision: str | None = None  # of the namespace's models; None for the newest commit of each
    named: tuple[ModelEntry, ...] = ()

    def __bool__(self) -> bool:
        """Whether it wants anything."""
        return bool(self.namespace or self.named)

    def ask(self) -> list[ModelEntry]:
        """What the Hub has of it, in one request for the namespace and one for each name.

        Raises what its client does when the Hub can't be reached or refuses.
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
            of_repo = (model for model in downloaded if model.repo == repo)
            fitting = (model for model in of_repo if revision in (None, *model.revisions))
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
