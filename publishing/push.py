"""Publish a model folder on the Hub, so that anybody can load it with nothing but its id.

    python -m publishing.push runs/bottle ORG/bottle
    python -m publishing.push runs/bottle ORG/bottle --private --tag v2

Weights, configs, the code that they need, card, recipe, learning curve and the figures of
`DIR/evaluation` go up in one commit, which then gets a tag.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx2  # the Hub's client lets its errors through
from huggingface_hub import HfApi, constants
from transformers.dynamic_module_utils import get_relative_import_files

import modeling
from model_files import (
    CARD,
    EVALUATION,
    EXAMPLES,
    LEARNING_CURVE,
    LEARNING_CURVE_PLOT,
    METRICS,
    PART_PICTURE,
    PLOTS,
    RECIPE,
    TRAINING,
)
from modeling import TASK, InspectionImageProcessor, InspectionPipeline, load_model
from modeling.backends import RUNTIMES
from publishing.model_card import CardFacts, model_card
from system.command_line import run_command
from system.errors import UploadError, check_upload, first_line

CODE = Path(modeling.__file__).parent
COPIED = (
    *("model.safetensors", RECIPE, TRAINING, LEARNING_CURVE, LEARNING_CURVE_PLOT),
    PART_PICTURE,  # of a model that knows one
)
# What publishing/export.py wrote, if it did: whoever loads the model runs it as fast as here.
GRAPH_FILES = tuple(
    name for runtime in RUNTIMES.values() for name in (runtime.file, *runtime.more_files)
)
# What an earlier push put there and this one no longer has is removed; what a person added stays.
OURS = ["*.py", f"{EVALUATION}/*", *GRAPH_FILES, PART_PICTURE]
RELEASE = re.compile(r"v(\d+)")


def push_model(
    folder: Path, repo: str, *, private: bool = False, tag: str | None = None
) -> tuple[str, str]:
    """Publish a model folder; returns the address of its page and the tag.

    Args:
        folder: what training/train.py wrote, with what evaluation/evaluate.py found, if it did.
        repo: ORG/NAME, created where it does not exist.
        private: whether a new repository is readable with a token only.
        tag: name of the release; None takes the next free of v1, v2, ...

    Raises:
        ModelLoadError: when the folder is no whole model of this project.
        ValueError: when it is not calibrated or has no facts of its training, the tag is taken, or
            the repository is public and was asked to be private.
        UploadError: when the Hub can't be reached, refuses, or breaks off.
    """
    with tempfile.TemporaryDirectory() as draft:
        categories = _stage(folder, Path(draft), repo)
        api = HfApi()
        try:
            _create_repository(api, repo, private)
            tag = _free_tag(api, repo, tag)
            commit = api.upload_folder(
                repo_id=repo,
                folder_path=draft,
                commit_message=f"Push {', '.join(categories)} as {tag}",
                delete_patterns=OURS,
            )
            api.create_tag(repo, tag=tag, revision=commit.oid)
        except (httpx2.HTTPError, OSError, RuntimeError) as error:
            raise UploadError(
                f"The upload to {repo} at {constants.ENDPOINT} failed ({first_line(error)}); the "
                f"model is whole in {folder}, and nothing is lost: check network and token, then "
                f"run `python -m publishing.push {folder} {repo}`."
            ) from error
    return f"{constants.ENDPOINT}/{repo}", tag


def check_access(repo: str, private: bool) -> None:
    """Make sure that a repository can be written, before hours of training are spent on it.

    Raises:
        ValueError: as `check_upload` raises it, or when it is public and was asked to be private.
        UploadError: when the Hub refuses or can't be reached.
    """
    check_upload(repo)
    try:
        _create_repository(HfApi(), repo, private)
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        raise UploadError(
            f"{repo} at {constants.ENDPOINT} can't be written ({first_line(error)}); check the "
            "name, the network and that the token may write, or train without --push_to_hub."
        ) from error


def _create_repository(api: HfApi, repo: str, private: bool) -> None:
    """Create the repository, or make sure that the one there is as private as was asked."""
    api.create_repo(repo, private=private, exist_ok=True)
    if private and not api.repo_info(repo).private:
        raise ValueError(
            f"{repo} exists and is public, expected a private one; make it private on its page, "
            "or choose another name."
        )


def _stage(folder: Path, draft: Path, repo: str) -> list[str]:
    """Lay out in an empty folder what the repository will hold; returns what the model inspects."""
    model, _ = load_model(folder)
    if not model.calibrations:
        raise ValueError(f"The model {folder} is not calibrated; train it with training/train.py.")
    facts = CardFacts.read(folder)
    shown = (EXAMPLES,) if facts.shows_pictures else ()
    of_evaluations = [
        f"{place}/{file}" for place in facts.evaluations for file in (METRICS, *PLOTS, *shown)
    ]
    for name in (*COPIED, *GRAPH_FILES, *of_evaluations):
        if (folder / name).is_file():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, draft / name)
    auto_map = _copy_code(type(model), draft)
    _write_config(folder / "config.json", draft, auto_map)
    _write_config(folder / "preprocessor_config.json", draft, auto_map)
    (draft / CARD).write_text(model_card(draft, repo))
    return model.config.categories


def _copy_code(model_class: type[modeling.ReconstructionModel], draft: Path) -> dict[str, str]:
    """Copy the modules that the classes need; returns where transformers finds the classes."""
    classes = {
        "AutoConfig": model_class.config_class,
        "AutoModel": model_class,
        "AutoImageProcessor": InspectionImageProcessor,
        "Pipeline": InspectionPipeline,
    }
    modules = {name: wanted.__module__.rpartition(".")[2] for name, wanted in classes.items()}
    for module in modules.values():
        path = CODE / f"{module}.py"
        for needed in (path, *map(Path, get_relative_import_files(path))):
            shutil.copyfile(needed, draft / needed.name)
    return {name: f"{modules[name]}.{wanted.__name__}" for name, wanted in classes.items()}


def _write_config(source: Path, draft: Path, references: dict[str, str]) -> None:
    """A copy of a config that says where in the repository its classes are."""
    config = json.loads(source.read_text())
    if source.name == "config.json":
        names = ("AutoConfig", "AutoModel")
        config["custom_pipelines"] = {
            TASK: {"impl": references["Pipeline"], "pt": ["AutoModel"], "type": "image"}
        }
    else:
        names = ("AutoImageProcessor",)
    config["auto_map"] = {name: references[name] for name in names}
    (draft / source.name).write_text(json.dumps(config, indent=2) + "\n")


def _free_tag(api: HfApi, repo: str, wanted: str | None) -> str:
    taken = [tag.name for tag in api.list_repo_refs(repo).tags]
    if wanted in taken:
        raise ValueError(
            f"{repo} has a release {wanted} already, which stays as it is; give another --tag."
        )
    numbers = [int(match[1]) for match in map(RELEASE.fullmatch, taken) if match]
    return wanted or f"v{max(numbers, default=0) + 1}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input, 1 when the upload failed."""
    parser = argparse.ArgumentParser(
        prog="python -m publishing.push", description="Publish a model folder on the Hub."
    )
    parser.add_argument("folder", type=Path, help="folder that training/train.py wrote")
    parser.add_argument("repo", help="Hub id ORG/NAME, created where it does not exist")
    parser.add_argument("--private", action="store_true", help="readable with a token only")
    parser.add_argument("--tag", help="name of the release (default: the next of v1, v2, ...)")
    options = parser.parse_args(arguments)
    folder = options.folder

    def push() -> None:
        check_upload(options.repo)
        try:
            address, tag = push_model(**vars(options))
        except OSError as error:
            raise UploadError(
                f"{error.filename or folder} can't be read or written ({error.strerror or error})."
            ) from error
        print(f"{folder} is at {address}, release {tag}.")

    return run_command("push.py", push, bad_input=(ValueError,), failed=(UploadError,))


if __name__ == "__main__":
    sys.exit(main())
