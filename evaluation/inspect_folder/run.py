"""A run: what is inspected, by which model, and how one that was interrupted is taken up again."""

from __future__ import annotations

import fcntl
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from evaluation.inspect_folder.errors import FolderError
from evaluation.inspect_folder.parts import PATTERN, next_start, read_column
from modeling import InspectionPipeline
from modeling.graph import digest_of
from system.files import remove_unfinished, whole_file

RECORD = "run.json"
LOCK = ".lock"
# What preprocessing says of where it lies and of who loads it; publishing a model changes it.
OF_LOADING = ("_name_or_path", "auto_map", "custom_pipelines", "transformers_version")
# What must be the same when a run is taken up again, what it is called and how it is shown.
IDENTITY = {
    "model_sha256": ("the model", "{model} ({model_sha256:.12})"),
    "category": ("the category", "{category}"),
    "threshold": ("the threshold", "{threshold}"),
    "photos": ("the folder of photos", "{photos}"),
}


@dataclass(frozen=True)
class Identity:
    """What decides a run's rows."""

    model: str  # its folder, or its Hub id and commit
    model_sha256: str  # of its weights and settings; see `fingerprint`
    category: str  # whose calibration scores
    threshold: float  # operating threshold on the score, 0..1
    photos: str  # the folder, absolute


def take_lock(lock: IO[str], alone: bool) -> None:
    """Take the right to write into the folder of a `LOCK`; however the process ends, it ends too.

    Alone, no process of another run is there; then the processes of this run share it. Were only
    one of them killed and the run taken up at once, the others would still write rows, and photos
    would have two.

    Raises:
        FolderError: when a process of another run has it.
    """
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderError(
            f"Another run still writes to {Path(lock.name).parent}; wait for its end or stop it, "
            "or give another --output_dir."
        ) from error


def take_up(folder: Path, identity: Identity, about: dict[str, Any]) -> tuple[int, set[str]]:
    """How often a run was started, this time included, and the photos that have a row.

    Its folder of results belongs to no other process. run.json gets further facts `about` the run,
    which a later start need not share.

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
    return next_start(folder), set(read_column(folder, "path"))


def fingerprint(pipe: InspectionPipeline) -> str:
    """SHA-256 of what decides a model's results: the model, its precision and preprocessing."""
    prepared = pipe.image_processor.to_dict()
    for name in OF_LOADING:
        prepared.pop(name, None)
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
    for name, (words, shown) in IDENTITY.items():
        if before[name] != now[name]:
            raise FolderError(
                f"{record.parent} holds results of {words} {shown.format_map(before)}, found "
                f"{shown.format_map(now)}; give what they were begun with, or another --output_dir."
            )
