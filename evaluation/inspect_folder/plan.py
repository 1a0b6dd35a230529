"""What a run has to do: the photos that have no row yet, batch by batch."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from evaluation.documents.wording import plural
from evaluation.inspect_folder.errors import FolderError
from evaluation.inspect_folder.photos import FORMATS_IN_WORDS, as_text, list_photos
from evaluation.inspect_folder.run import Identity, take_up
from system.batches import batches_of

LIBRARIES = ("torch", "transformers", "numpy", "pillow", "pyarrow")


class Plan(NamedTuple):
    """What is to be done, the same in all processes."""

    identity: Identity
    start: int  # how often the run was started, this time included
    batches: list[list[str]]  # paths of photos that have no row yet, some at a time


def make_plan(identity: Identity, output_dir: Path, batch_size: int, command: str) -> Plan:
    """Look through the photos and through what earlier starts left, and say what was found.

    No other process may write into the output folder. Raises as `list_photos` and `take_up` do, and
    a FolderError when there are no photos.
    """
    listing = list_photos(Path(identity.photos), output_dir)
    if not listing.paths:
        raise FolderError(
            f"{identity.photos} holds no {FORMATS_IN_WORDS} file; give the folder of the photos."
        )
    versions = {library: version(library) for library in LIBRARIES}
    start, done = take_up(output_dir, identity, {"command": command, "versions": versions})
    endings = ", ".join(
        f"{count} {as_text(ending) or 'without ending'}"
        for ending, count in sorted(listing.passed_over.items())
    )
    if endings:
        print(
            f"inspect_folder.py: warning: what is no {FORMATS_IN_WORDS} file is passed over: "
            f"{endings}.",
            file=sys.stderr,
        )
    if done:
        print(f"{plural(len(done), 'photo')} done before; going on.", flush=True)
    left = [path for path in listing.paths if as_text(path) not in done]
    batches = [left[batch.start : batch.stop] for batch in batches_of(len(left), batch_size)]
    return Plan(identity, start, batches)
