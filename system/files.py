"""Files and folders that are written whole or not at all, even if the process is killed.

Each is written under a hidden name beside its own and renamed once all of its bytes are on the
disk. What a kill leaves under a hidden name is removed the next time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED, DISCARDED = ".unfinished-", ".discarded-"


def draft_of(path: Path) -> Path:
    """Where a file or folder is written before it takes its name; the suffix stays."""
    return path.with_name(UNFINISHED + path.name)


@contextmanager
def whole_file(path: Path, outlives_machine: bool = True) -> Iterator[Path]:
    """A file that is there as a whole or not at all; an older one stays until then.

    Yields where to write it: in the same folder, which exists, and with the same suffix. An error
    deletes what was begun. One that `outlives_machine` takes its name when its bytes are on the
    disk, which takes milliseconds.
    """
    draft = draft_of(path)
    try:
        yield draft
        if outlives_machine:
            _flush(draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if outlives_machine:
        with suppress(OSError):  # some network disks can't flush a folder, and need not
            _flush(path.parent)


def put_in_place(draft: Path, folder: Path) -> None:
    """Give a folder whose files are all written its name, once its bytes are on the disk.

    The name is on the same disk; what is there is replaced.
    """
    for path in draft.rglob("*"):
        _flush(path)
    _flush(draft)
    if folder.exists():
        discard(folder)
    draft.rename(folder)
    _flush(folder.parent)


def discard(folder: Path) -> None:
    """Remove a folder; from the first moment on nobody finds a part of it under its name."""
    doomed = folder.with_name(DISCARDED + folder.name)
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def remove_unfinished(folder: Path) -> None:
    """Remove what a kill has left half written or half removed in a folder that may not exist."""
    for prefix in (UNFINISHED, DISCARDED):
        for path in folder.glob(f"{prefix}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def move_files(source: Path, folder: Path, last: str) -> None:
    """Move the files of one folder into another on the same disk, over those of the same names.

    Until the last one is there, none of its name is: a kill in the middle leaves a folder that
    nobody takes for a whole one, and the rest in `source`, from where another call goes on. In the
    end `source` is removed.
    """
    if (source / last).exists():
        (folder / last).unlink(missing_ok=True)
        _flush(folder)
    for path in sorted(source.iterdir(), key=lambda path: path.name == last):
        path.replace(folder / path.name)
    _flush(folder)
    source.rmdir()


def _flush(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
