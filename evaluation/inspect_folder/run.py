"""A run: what is inspected, by which model, and how one that was interrupted is taken up again."""

from __future__ import annotations

import fcntl
import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation.inspect_folder.errors import FolderError
from evaluation.inspect_folder.parts import (
    PATTERN,
    done_paths,
    next_start,
)
from modeling import InspectionPipeline
from modeling.graph import digest_of
from system.files import remove_unfinished, whole_file

RECORD = "run.json"
LOCK = ".lock"
# What preprocessing says of where it lies and of who loads it; publishing a model changes it.
OF_LOADING = ("_name_or_path", "auto_map", "custom_pipelines", "transformers_version")
# What must be the same when a run is taken up again, and what it is called.
IDENTITY = {
    "model_sha256": "the model",
    "category": "the category",
    "threshold": "the threshold",
    "photos": "the folder of photos",
}


@dataclass(frozen=True)
class Identity:
    """What decides a run's rows.

    Attributes:
        model: its folder, or its Hub id and commit.
        model_sha256: of its weights and settings; see `fingerprint`.
        category: whose calibration scores.
        threshold: operating threshold on the score, 0..1.
        photos: the folder, absolute.
    """

    model: str
    model_sha256: str
    category: str
    threshold: float
    photos: str


class Lock(AbstractContextManager):
    """The right to write into a folder of results; it ends with the process, however that ends.

    The processes of a run share it. Were only one of them killed and the run taken up at once, the
    others would still write rows, and photos would have two.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / LOCK).open("a")

    def take_alone(self) -> None:
        """Make sure that no process of another run is there.

        Raises:
            FolderError: when there is one.
        """
        self._take(fcntl.LOCK_EX)

    def share(self) -> None:
        """Let the other processes of this run take it too; raises as `take_alone` does."""
        self._take(fcntl.LOCK_SH)

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _take(self, kind: int) -> None:
        try:
            fcntl.flock(self._file, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderError(
                f"Another run still writes to {self._folder}; wait for its end or stop it, or give "
                "another --output_dir."
            ) from error


def take_up(folder: Path, identity: Identity, about: dict[str, Any]) -> tuple[int, set[str]]:
    """Begin a run in its folder of results, or go on with it.

    Args:
        folder: is there and belongs to no other process.
        identity: what the run is.
        about: further facts for who reads run.json, which a later start need not share.

    Returns:
        How often the run was started, this time included, and the photos that have a row.

    Raises:
        FolderError: when the folder holds the results of another run, or damaged ones.
        OSError: when it can't be written to.
    """
    remove_unfinished(folder)
    record = folder / RECORD
    if record.exists():
        _compare(record, identity)
    elif any(folder.glob(PATTERN)):
        raise FolderError(
            f"{folder} holds results but no {RECORD} that says what made them; give another "
            "--output_dir."
        )
    else:
        text = json.dumps({**asdict(identity), **about}, indent=2, ensure_ascii=False)
        with whole_file(record) as draft:
            draft.write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))
    return next_start(folder), done_paths(folder)


def fingerprint(pipe: InspectionPipeline) -> str:
    """SHA-256 of what decides a model's results: the model, its precision and preprocessing."""
    prepared = {
        name: value
        for name, value in pipe.image_processor.to_dict().items()
        if name not in OF_LOADING
    }
    stored = [digest_of(pipe.model), str(pipe.model.dtype), prepared]
    return hashlib.sha256(json.dumps(stored, sort_keys=True, default=str).encode()).hexdigest()


def _compare(record: Path, identity: Identity) -> None:
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
        before = {name: stored[name] for name in ("model", *IDENTITY)}
    except (ValueError, KeyError, TypeError) as error:
        raise FolderError(
            f"{record} is damaged, so nobody knows what made the results beside it; give another "
            "--output_dir."
        ) from error
    now = asdict(identity)
    for name, words in IDENTITY.items():
        if before[name] != now[name]:
            raise FolderError(
                f"{record.parent} holds results of {words} {_in_words(name, before)}, found "
                f"{_in_words(name, now)}; give what they were begun with, or another --output_dir."
            )


def _in_words(name: str, facts: dict[str, Any]) -> str:
    if name == "model_sha256":
        return f"{facts['model']} ({facts[name][:12]})"
    return str(facts[name])
