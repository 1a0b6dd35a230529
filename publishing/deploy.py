"""Deploy the app as a Space of the Hub, which then offers the models of a namespace.

    python -m publishing.deploy ORG/SPACE
    python -m publishing.deploy ORG/SPACE --namespace ORG --revision v1 --private

What the app needs to run goes up in one commit, and what an earlier deployment left there and
this one no longer has is removed. No secret is uploaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    SpaceCard,
    constants,
)
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from hub_models import MODEL_FILES, PROJECT_TAG, HubModel, list_hub_models
from model_files import CARD
from system.command_line import run_command
from system.errors import UploadError, check_upload, first_line

ROOT = Path(__file__).resolve().parents[1]
# What runs; the models and photos under assets/ carry their licences in their own cards.
PARTS = (
    "*.py",
    "modeling/*.py",
    "system/*.py",
    *(f"page/**/*.{suffix}" for suffix in ("py", "yaml", "css", "js", "html")),
    "assets/**/*",
    "docs/*.md",  # to which the README leads
    "CONTRIBUTING.md",
    "requirements.txt",
    "LICENSE",
)
KEPT = {".gitattributes"}  # the Hub's own, without which it does not know the large files


@dataclass(frozen=True)
class Deployment:
    """What to deploy where."""

    space: str  # ORG/SPACE, created where it does not exist
    namespace: str  # user or organisation whose models the Space offers
    revision: str | None = None  # branch, tag or commit of those models; None for the newest
    private: bool = False  # a new Space is seen by its owners only

    @property
    def address(self) -> str:
        """The Space's page."""
        return f"{constants.ENDPOINT}/spaces/{self.space}"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the app."""
        revision = {"MODEL_REVISION": self.revision} if self.revision else {}
        return {"MODEL_NAMESPACE": self.namespace} | revision


def space_files() -> dict[str, Path]:
    """The files that the app runs with, by their path in the Space; its README is made anew."""
    found = {path for pattern in PARTS for path in ROOT.glob(pattern) if path.is_file()}
    return {
        path.relative_to(ROOT).as_posix(): path
        for path in sorted(found)
        if path.suffix != ".sh"  # how the pictures and models under assets/ were made
    }


def deploy(deployment: Deployment) -> list[HubModel]:
    """Create or update a Space; returns the models that it offers beside those that ship.

    Raises:
        ValueError: when the token may not write there, or the Space is public and was asked to be
            private.
        UploadError: when the Hub can't be reached, or breaks off.
    """
    api = HfApi()
    try:
        _create_space(api, deployment)
        models = list_hub_models(deployment.namespace)
        _set_variables(api, deployment)
        _upload(api, deployment, models)
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            raise ValueError(
                f"{deployment.space} at {constants.ENDPOINT} can't be written "
                f"({first_line(error)}); give a token that may write there (`hf auth login` or "
                "HF_TOKEN)."
            ) from error
        raise UploadError(
            f"The deployment to {deployment.space} at {constants.ENDPOINT} failed "
            f"({first_line(error)}); nothing is lost: check the network and give the same "
            "command again."
        ) from error
    return models


def _create_space(api: HfApi, deployment: Deployment) -> None:
    api.create_repo(
        deployment.space,
        repo_type="space",
        space_sdk="gradio",
        private=deployment.private or None,
        exist_ok=True,
    )
    if deployment.private and not api.space_info(deployment.space).private:
        raise ValueError(
            f"The Space {deployment.space} exists and is public, expected a private one; make it "
            "private in its settings, or choose another name."
        )


def _set_variables(api: HfApi, deployment: Deployment) -> None:
    """Before the upload, so that the first start has them already."""
    present = api.get_space_variables(deployment.space)
    if "MODEL_REVISION" in present and deployment.revision is None:
        api.delete_space_variable(deployment.space, "MODEL_REVISION")
    for name, value in deployment.variables.items():
        if name not in present or present[name].value != value:  # each change restarts the Space
            api.add_space_variable(deployment.space, name, value)


def _upload(api: HfApi, deployment: Deployment, models: Sequence[HubModel]) -> None:
    """Make the Space hold exactly the app, in one commit; its card names what it preloads."""
    preloaded = {
        model.repo: line
        for model in models
        # Only what anybody may read: a build has no token, and a page should name no private model.
        if not model.private and (line := _preload_line(api, model.repo, deployment.revision))
    }
    card = SpaceCard((ROOT / CARD).read_text())
    card.data["thumbnail"] = f"{deployment.address}/resolve/main/{card.data.thumbnail}"
    if preloaded:
        card.data["models"] = list(preloaded)
        card.data["preload_from_hub"] = list(preloaded.values())
    files = {**space_files(), CARD: str(card).encode()}
    stale = set(api.list_repo_files(deployment.space, repo_type="space")) - {*files} - KEPT
    api.create_commit(
        deployment.space,
        [
            *(CommitOperationDelete(path) for path in sorted(stale)),
            *(CommitOperationAdd(path, content) for path, content in files.items()),
        ],
        repo_type="space",
        commit_message="Deploy the app",
    )


def _preload_line(api: HfApi, repo: str, revision: str | None) -> str | None:
    """One line of `preload_from_hub`; None for what would break the build: a file is missing."""
    try:
        present = api.list_repo_files(repo, revision=revision)
    except RevisionNotFoundError:
        return None
    if not {*MODEL_FILES} <= {*present}:
        return None
    return " ".join([repo, ",".join(MODEL_FILES), *([revision] if revision else [])])


def _report(deployment: Deployment, models: Sequence[HubModel]) -> str:
    """What was done, and what is left to the person."""
    lines = [f"The app is at {deployment.address}; the Hub builds it now, which takes minutes."]
    if models:
        names = ", ".join(model.repo for model in models)
        lines.append(f"It offers {names} beside the models that ship.")
    else:
        lines.append(
            f"{deployment.namespace} has no model with the tag {PROJECT_TAG} yet; the Space shows "
            "the models that ship, and others once they are pushed and Refresh is pressed."
        )
    if private := [model.repo for model in models if model.private]:
        lines.append(
            f"To let it read what is private ({', '.join(private)}), add a secret named HF_TOKEN "
            f"with a token that may read it under {deployment.address}/settings."
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input, 1 when the upload failed."""
    parser = argparse.ArgumentParser(
        prog="python -m publishing.deploy", description="Deploy the app as a Space of the Hub."
    )
    parser.add_argument("space", help="the Space's id ORG/SPACE, created where it does not exist")
    parser.add_argument("--namespace", help="whose models it offers (default: the Space's own ORG)")
    parser.add_argument("--revision", help="branch or tag of those models (default: the newest)")
    parser.add_argument("--private", action="store_true", help="create it for its owners only")
    options = parser.parse_args(arguments)

    def work() -> None:
        check_upload(options.space)
        namespace = options.namespace or options.space.split("/")[0]
        deployment = Deployment(options.space, namespace, options.revision, options.private)
        print(_report(deployment, deploy(deployment)))

    return run_command("deploy.py", work, bad_input=(ValueError,), failed=(UploadError,))


if __name__ == "__main__":
    sys.exit(main())
