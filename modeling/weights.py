"""The file of weights before it is read: safetensors alone, whole, and what the Hub announced.

A pickle can run any code when it is opened, so none ever is, whatever else a repository holds.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError, safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
SHA256 = re.compile(r"[0-9a-f]{64}")
# Of what `from_pretrained` takes, that which says where a file lies.
WHERE = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


class WeightsError(OSError):
    """A file of weights must not or can't be read; the message is one sentence for a person."""


def find_file(model: str | os.PathLike, name: str, **where: Any) -> Path | None:
    """A file of a model folder or Hub repository, downloaded unless the cache has it, or None."""
    path = cached_file(model, name, **where, _raise_exceptions_for_missing_entries=False)
    return None if path is None else Path(path)


def check_weights_file(
    model: str | os.PathLike, *, variant: str | None = None, **where: Any
) -> None:
    """Make sure that the weights of a folder or Hub repository may be read.

    `variant`, such as "fp16" for model.fp16.safetensors, and what `WHERE` names are as
    `from_pretrained` takes them. Raises `WeightsError` when there is no such file, when it is cut
    off, or when its content is not what the Hub announced; `OSError`, as transformers, when the
    repository can't be reached.
    """
    name, index = (_of_variant(n, variant) for n in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME))
    path = find_file(model, name, **where)
    if path is None:
        if find_file(model, index, **where) is None:
            raise WeightsError(_nothing_to_read(model, name, where))
        return  # in parts: transformers checks that each one is there
    _check_hash(path, model)
    try:
        with safe_open(path, framework="pt"):
            pass  # the header says how long the file must be, and opening compares
    except SafetensorError as error:
        raise WeightsError(
            f"The weights of {model} are damaged or cut off ({error}); download or train "
            "the model again."
        ) from error


def _check_hash(path: Path, model: str | os.PathLike) -> None:
    """The Hub's cache names a large file by the SHA-256 that the Hub announced, but trusts it."""
    announced = path.resolve().name
    if not SHA256.fullmatch(announced):
        return  # a folder, or a cache without links
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != announced:
        raise WeightsError(
            f"The weights of {model} are not what the Hub announced (SHA-256 {found[:12]}..., "
            f"expected {announced[:12]}...); load them again with force_download=True."
        )


def _of_variant(name: str, variant: str | None) -> str:
    return name.replace(".safetensors", f".{variant}.safetensors") if variant else name


def _nothing_to_read(model: str | os.PathLike, name: str, where: dict[str, Any]) -> str:
    pickles = [file for file in _files(model, where) if file.endswith(PICKLE_SUFFIXES)]
    if pickles:
        return (
            f"{model} holds its weights as a pickle ({', '.join(pickles)}), which may run any code "
            f"and is refused; expected {name}: save the model with save_pretrained."
        )
    return (
        f"{model} has no {name}; expected a folder that training/train.py wrote or a "
        "repository that publishing.push filled."
    )


def _files(model: str | os.PathLike, where: dict[str, Any]) -> list[str]:
    if os.path.isdir(model):
        return sorted(os.listdir(model))
    if where.get("local_files_only"):
        return []
    try:
        return HfApi(token=where.get("token")).list_repo_files(
            str(model), revision=where.get("revision")
        )
    except (HfHubHTTPError, OSError):
        return []  # what is missing is said anyway
