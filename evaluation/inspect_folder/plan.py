"""What a run has to do: the photos that have no row yet, batch by batch."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from evaluation.documents.wording import plural
from evaluation.inspect_folder.errors import FolderError
from evaluation.inspect_folder.photos import FORMATS_IN_WORDS, as_text, list_photos
from evaluation.inspect_folder.run import Identity, fingerprint, take_up
from evaluation.model_source import ModelSource
from modeling import InspectionPipeline
from system.batches import batches_of
from system.command_line import public_path

GPU_BATCH_SIZE = 8
LIBRARIES = ("torch", "transformers", "numpy", "pillow", "pyarrow")


@dataclass(frozen=True)
class Plan:
    """What is to be done, the same in all processes.

    Attributes:
        identity: the run.
        start: how often the run was started, this time included.
        batches: paths of photos that have no row yet, some at a time.
    """

    identity: Identity
    start: int
    batches: list[list[str]]


def make_plan(
    pipe: InspectionPipeline,
    source: ModelSource,
    photos: Path,
    output_dir: Path,
    *,
    category: str | None,
    threshold: float,
    batch_size: int | None,
    command: str,
) -> Plan:
    """Look through the photos and through what earlier starts left, and say what was found.

    Args:
        pipe: the model.
        source: where it was loaded from.
        photos: the folder to inspect.
        output_dir: gets the results; no other process may write there.
        category: whose calibration scores; the model's only one if None.
        threshold: operating threshold on the score, 0..1.
        batch_size: photos at a time; None: what suits the device.
        command: the command line, for run.json.

    Raises:
        FolderError: when there are no photos, or the results are those of another run.
        OSError: when a folder can't be read or written.
    """
    identity = Identity(
        model=_name_of(source),
        model_sha256=fingerprint(pipe),
        category=category or pipe.model.config.categories[0],
        threshold=threshold,
        photos=str(photos.resolve()),
    )
    listing = list_photos(photos, output_dir)
    if not listing.paths:
        raise FolderError(
            f"{photos} holds no {FORMATS_IN_WORDS} file; give the folder of the photos."
        )
    versions = {library: version(library) for library in LIBRARIES}
    start, done = take_up(output_dir, identity, {"command": command, "versions": versions})
    if listing.passed_over:
        _warn_of(listing.passed_over)
    if done:
        print(f"{plural(len(done), 'photo')} done before; going on.", flush=True)
    size = batch_size or (1 if pipe.device.type == "cpu" else GPU_BATCH_SIZE)
    left = [path for path in listing.paths if as_text(path) not in done]
    batches = [left[batch.start : batch.stop] for batch in batches_of(len(left), size)]
    return Plan(identity, start, batches)


def _name_of(source: ModelSource) -> str:
    """The folder as others may read it, or the Hub id and its commit."""
    if Path(source.name).is_dir():
        return public_path(source.name)
    return f"{source.name}@{source.commit()}"


def _warn_of(passed_over: Counter[str]) -> None:
    endings = ", ".join(
        f"{count} {as_text(ending) or 'without ending'}"
        for ending, count in sorted(passed_over.items())
    )
    print(
        f"inspect_folder.py: warning: what is no {FORMATS_IN_WORDS} file is passed over: "
        f"{endings}.",
        file=sys.stderr,
    )
