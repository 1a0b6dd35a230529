"""Where a model was loaded from: a folder, or a repository on the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers.utils import CONFIG_NAME, cached_file
from transformers.utils.hub import extract_commit_hash

from system.command_line import public_path


@dataclass(frozen=True)
class ModelSource:
    """A model's folder or Hub id, and the branch, tag or commit of the Hub that was asked for."""

    name: str
    revision: str | None = None

    def file(self, name: str) -> Path | None:
        """A file of the folder or repository, None where it has none."""
        path = cached_file(
            self.name,
            name,
            revision=self.revision,
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return Path(path) if path else None

    def commit(self) -> str | None:
        """The commit of the Hub repository that the cache holds; None of a folder."""
        config = self.file(CONFIG_NAME)
        return extract_commit_hash(str(config), None) if config else None

    @property
    def public_name(self) -> str:
        """The folder as others may read it, or the Hub id and its commit."""
        if Path(self.name).is_dir():
            return public_path(self.name)
        return f"{self.name}@{self.commit()}"
