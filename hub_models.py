"""How models of this project are found on the Hub, and among those downloaded from it.

At the top level and not in modeling/, because importing that package takes seconds of torch and
transformers: the app lists models before it needs either, and deployment needs neither at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    CachedRevisionInfo,
    HfApi,
    ModelInfo,
    constants,
    get_session,
    scan_cache_dir,
)
from huggingface_hub.errors import CacheNotFound
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

PROJECT_TAG = "golden-sample"  # in the card of every model of this project
CATEGORY_PREFIX = "category:"  # one such tag for each category that a model knows
MODEL_TYPE_PREFIX = "golden-sample"  # of every `model_type` in modeling/configuration.py
MAX_CATEGORIES, MAX_NAME = 1_000, 100  # of a model, and characters of a name that is shown
SILENCE_SECONDS = 30.0  # after which a question to the Hub is given up
# What loading a model needs; preloaded into a Space, and looked for among downloads.
MODEL_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


@dataclass(frozen=True)
class HubModel:
    """A model on the Hub at one commit, known without downloading its weights."""

    repo: str  # ORG/NAME
    commit: str  # the full hash
    categories: tuple[str, ...]  # its own name where its card does not say
    revisions: frozenset[str] = frozenset()  # of a downloaded one: commit, branches and tags
    private: bool = False  # a token is needed to read it


def list_hub_models(namespace: str) -> list[HubModel]:
    """Ask the Hub for the models of a user or an organisation with the project's tag, by name.

    Private ones are among them where HF_TOKEN may read them.

    Raises:
        huggingface_hub.errors.HfHubHTTPError: when the Hub refuses, for instance a wrong token.
        httpx2.HTTPError: when it can't be reached, or is silent for `SILENCE_SECONDS`.
    """
    # Not HfApi.list_models: it waits without end, and while it can't connect it tries again for
    # half a minute and closes each time the connections that other visitors' downloads go over.
    address: str | None = f"{constants.ENDPOINT}/api/models"
    wanted = {"author": namespace, "filter": PROJECT_TAG, "expand": ["sha", "tags", "private"]}
    found = []
    while address:
        page = get_session().get(
            address, params=wanted, headers=build_hf_headers(), timeout=SILENCE_SECONDS
        )
        hf_raise_for_status(page)
        found += page.json()
        # The address of the next page, if the Hub gives one, repeats what is wanted.
        address, wanted = page.links.get("next", {}).get("url"), None
    return sorted((_hub_model(ModelInfo(**info)) for info in found), key=lambda model: model.repo)


def read_hub_model(repo: str, revision: str | None = None) -> HubModel:
    """Ask the Hub for one model at a branch, tag or commit, by default the newest.

    Raises as `list_hub_models` does, and where there is no such model.
    """
    return _hub_model(HfApi().model_info(repo, revision=revision, timeout=SILENCE_SECONDS))


def list_downloaded_models() -> list[HubModel]:
    """Models of this project that the Hub's client keeps on this disk, latest download first."""
    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, OSError, ValueError):  # none yet, or nothing that can be read
        return []
    snapshots = [
        (repo.repo_id, snapshot)
        for repo in repos
        if repo.repo_type == "model"
        for snapshot in repo.revisions
    ]
    snapshots.sort(key=lambda pair: pair[1].last_modified, reverse=True)
    return [model for pair in snapshots if (model := _from_snapshot(*pair))]


def read_config(path: Path) -> dict[str, Any] | None:
    """The config.json of a model of this project; None for any other file, or a damaged one."""
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    model_type = config.get("model_type") if isinstance(config, dict) else None
    return config if str(model_type).startswith(MODEL_TYPE_PREFIX) else None


def readable_names(categories: Any) -> tuple[str, ...]:
    """What a list shows of the categories that a stranger's file names; of other values, nothing.

    Example:
        >>> readable_names(["key", "key", 7, ""])
        ('key',)
    """
    if not isinstance(categories, list):
        return ()
    names = (name for name in categories if isinstance(name, str) and name.isprintable())
    fitting = dict.fromkeys(name for name in names if 0 < len(name) <= MAX_NAME)
    return tuple(fitting)[:MAX_CATEGORIES]


def _hub_model(info: ModelInfo) -> HubModel:
    tags = [tag for tag in info.tags or [] if tag.startswith(CATEGORY_PREFIX)]
    names = [tag.removeprefix(CATEGORY_PREFIX) for tag in tags]
    return HubModel(info.id, info.sha, _categories(names, info.id), private=bool(info.private))


def _from_snapshot(repo: str, snapshot: CachedRevisionInfo) -> HubModel | None:
    """The model of a downloaded snapshot; None where a file is missing, or it is not of ours."""
    folder = snapshot.snapshot_path
    config = read_config(folder / "config.json")
    if config is None or not all((folder / name).is_file() for name in MODEL_FILES):
        return None
    commit, categories = snapshot.commit_hash, _categories(config.get("categories"), repo)
    return HubModel(repo, commit, categories, frozenset({commit, *snapshot.refs}))


def _categories(names: Any, repo: str) -> tuple[str, ...]:
    return readable_names(names) or (repo.split("/")[-1],)
