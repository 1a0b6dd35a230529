"""Push a folder of photos to the Hub: a parquet dataset with one configuration a category.

    python -m data.prepare_data mvtec_ad ORG/NAME
    python -m data.prepare_data parts ORG/NAME --category bolt nut --private --license mit

The folder has the layout of MVTec AD, as training takes it, and `--data ORG/NAME --category C` is
then the same to training and evaluation as `--data FOLDER --category C`. Categories go one after
another, each in one commit: what an interruption leaves is whole, and the same command goes on.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import httpx2
from huggingface_hub import HfApi, constants, metadata_load
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError

from data.dataset import load_inspection_dataset
from data.dataset_card import dataset_card
from data.folder import categories_in
from data.rows import FEATURES, DatasetError
from system.command_line import run_command
from system.errors import UploadError, check_upload, first_line

CATEGORY_NAME = re.compile(r"\w[\w .-]*")
PHOTOS_AT_ONCE = 8  # that are held in memory; a photo may be tens of megabytes
# The Hub understood and says no, which trying again won't change.
REFUSALS = (400, 401, 403, 404, 422)


def read_categories(
    folder: Path, categories: Sequence[str] = ()
) -> dict[str, datasets.DatasetDict]:
    """Find and check the photos of some or, without any named, all categories of a folder.

    The splits of each are as `load_inspection_dataset` reads them, the pictures paths. What is
    missing, damaged, or named as the Hub allows no configuration to be named is a `DatasetError`.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise DatasetError(
            f"The folder {folder} does not exist; give the folder that holds your categories "
            "(CATEGORY/train/good/...)."
        )
    found = {}
    # A category's own folder is named by None, and a folder without any is told by what reads it.
    every = [None] if (folder / "train").is_dir() else categories_in(folder) or [None]
    for name in dict.fromkeys(categories) or every:
        photos = load_inspection_dataset(folder, name)
        category = photos["train"]["category"][0]
        if category == "data" or not CATEGORY_NAME.fullmatch(category):
            raise DatasetError(
                f"The category {category!r} can't be a configuration on the Hub; rename its folder "
                "to letters, digits, spaces, and _ . - within, other than data."
            )
        found[category] = photos
    return found


def push_categories(
    photos: dict[str, datasets.DatasetDict],
    repo: str,
    private: bool,
    license_id: str | None,
    revision: str | None,
) -> None:
    """Push categories, one after another, and the card, whose licence is as in `dataset_card`.

    The repository, ORG/NAME, and its branch are created where they do not exist. A private one is
    readable with a token only. Where the Hub refuses the name, the token, the licence or the branch
    that is a `DatasetError`; where it can't be reached, fails or breaks off, an `UploadError`.
    """
    try:
        _open_repository(repo, private, revision)
        # The first card has the licence: no photo is there without it, not even for a minute.
        _push_card(repo, revision, list(photos), license_id)
        for category, splits in photos.items():
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                _embedded(category, splits, Path(folder)).push_to_hub(
                    repo,
                    config_name=category,
                    revision=revision,
                    commit_message=f"Push {category}",
                    embed_external_files=False,  # they are in already
                )
            _push_card(repo, revision, list(photos), license_id)
    except (httpx2.HTTPError, OSError, RuntimeError, KeyboardInterrupt) as error:
        raise _in_one_sentence(error, repo) from error


def _open_repository(repo: str, private: bool, revision: str | None) -> None:
    """Create repository and branch where they are missing."""
    hub = HfApi()
    # None and not False: an organisation may have set that its repositories begin as private.
    hub.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True)
    if private and not hub.dataset_info(repo).private:
        raise DatasetError(
            f"{repo} exists and is public, expected a private one; make it private on its page, "
            "or choose another name."
        )
    if revision:
        hub.create_branch(repo, branch=revision, repo_type="dataset", exist_ok=True)


def _push_card(
    repo: str, revision: str | None, categories: Sequence[str], license_id: str | None
) -> None:
    where = {"repo_id": repo, "repo_type": "dataset", "revision": revision}
    hub = HfApi()
    try:
        path = Path(hub.hf_hub_download(filename="README.md", **where))
        present, metadata = path.read_text("utf-8"), metadata_load(path) or {}
    except RemoteEntryNotFoundError:
        present, metadata = "", {}
    card = dataset_card(repo, metadata, categories, license_id)
    if card == present:
        return
    try:
        hub.upload_file(
            path_or_fileobj=card.encode(),
            path_in_repo="README.md",
            commit_message="Write the card",
            **where,
        )
    except ValueError as error:  # the Hub reads the front matter before it takes it
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"The Hub refuses the card of {repo} ({reason}); check --license."
        ) from error


def _embedded(category: str, splits: datasets.DatasetDict, folder: Path) -> datasets.DatasetDict:
    """The same rows with the pictures' files in them, on disk under `folder`."""
    stored = datasets.Image(decode=False)
    return datasets.DatasetDict(
        {
            split: photos.cast_column("image", stored)
            .cast_column("mask", stored)
            .map(
                _with_files,
                features=FEATURES,
                cache_file_name=str(folder / f"{split}.arrow"),
                writer_batch_size=PHOTOS_AT_ONCE,
                desc=f"Reading {category}, {split}",
            )
            for split, photos in splits.items()
            if len(photos)
        }
    )


def _with_files(photo: dict[str, Any]) -> dict[str, Any]:
    """A photo with its pictures' bytes and names, which alone say nothing of this machine."""
    paths = {name: Path(photo[name]["path"]) for name in ("image", "mask") if photo[name]}
    return {name: {"bytes": path.read_bytes(), "path": path.name} for name, path in paths.items()}


def _in_one_sentence(error: BaseException, repo: str) -> Exception:
    # A large file's error comes wrapped in a RuntimeError that says nothing.
    answer = next((e for e in (error, error.__cause__) if isinstance(e, HfHubHTTPError)), None)
    reason = first_line((answer and answer.server_message) or error).rstrip(".")
    if answer and answer.response.status_code in REFUSALS:
        return DatasetError(
            f"{repo} at {constants.ENDPOINT} can't be written ({reason}); check the name, and that "
            "the token may write to it."
        )
    return UploadError(
        f"The upload to {repo} at {constants.ENDPOINT} failed ({reason}); nothing is lost, and "
        "categories that were pushed are whole: give the same command again."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input, 1 when the upload failed."""
    options = _read(arguments)
    datasets.utils.logging.set_verbosity_error()

    def work() -> None:
        check_upload(options.repo)
        photos = read_categories(options.folder, options.category)
        push_categories(photos, options.repo, options.private, options.license, options.revision)
        first = shlex.quote(next(iter(photos)))
        print(
            f"{', '.join(photos)}: {constants.ENDPOINT}/datasets/{options.repo}\n"
            f"python training/train.py --data {options.repo} --category {first} "
            f"--output_dir runs/{first}"
        )

    return run_command("prepare_data.py", work, bad_input=(ValueError,), failed=(UploadError,))


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m data.prepare_data",
        description="Push photos in the layout of MVTec AD to the Hub, one configuration each.",
    )
    add = parser.add_argument
    add("folder", type=Path, help="folder that holds the categories, or one category's own")
    add("repo", help="Hub id ORG/NAME, created where it does not exist")
    add("--category", nargs="+", default=[], help="which categories (default: all)")
    add("--private", action="store_true", help="readable with a token only")
    add("--license", help="of the photos, such as cc-by-4.0 (default: MVTec AD's, or other)")
    add("--revision", help="branch to push to, created where it does not exist (default: main)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
