"""Writing where a process may be killed and a disk may be full: the whole thing, or what was there.

A folder is written under a hidden name beside its own and renamed once all of its bytes are on the
disk, so whoever looks for it finds a whole one or none. What a kill leaves lying under a hidden
name is removed the next time.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from system.hub_access import first_line
from system.processes import ElsewhereError

UNFINISHED, DISCARDED = ".unfinished-", ".discarded-"
# The last two are what safetensors and torch make of the system's errors; safetensors says which
# one it was, torch that a file is shorter than it should be.
WRITE_ERRORS = (OSError, SafetensorError, RuntimeError)
OS_ERROR = re.compile(r"\(os error (\d+)\)")
TORCH_WRITER = "inline_container"


class DiskError(RuntimeError):
    """Something could not be written; the message is one sentence for a person."""


def draft_of(folder: Path) -> Path:
    """Where a folder is written before it takes its name."""
    return folder.with_name(UNFINISHED + folder.name)


@contextmanager
def disk_errors_told(what: str, folder: Path, remedy: str) -> Iterator[None]:
    """Tell in one sentence what can't be written.

    Args:
        what: begins the sentence, such as "The checkpoint".
        folder: what is written.
        remedy: ends the sentence.

    Raises:
        DiskError: for whatever goes wrong while writing.
    """
    try:
        yield
    except ElsewhereError:
        raise  # it says so itself
    except WRITE_ERRORS as error:
        free = shutil.disk_usage(_existing(folder)).free // 2**20
        raise DiskError(
            f"{what} {folder} could not be written ({_reason(error)}; {free} MB are free there); "
            f"{remedy}."
        ) from error


@contextmanager
def writing_threads_quiet() -> Iterator[None]:
    """Let no thread print a traceback when it can't write: who waits for it raises the error."""
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def publish(draft: Path, folder: Path) -> None:
    """Give a finished draft its name, once its bytes are on the disk.

    Args:
        draft: a folder whose files are all written.
        folder: its name from now on, on the same disk; what is there is replaced.
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


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill has left half written or half removed in a folder that may not exist."""
    for prefix in (UNFINISHED, DISCARDED):
        for path in folder.glob(f"{prefix}*"):
            shutil.rmtree(path)


def move_files(source: Path, folder: Path, last: str) -> None:
    """Move the files of one folder into another on the same disk, over those of the same names.

    Until the last one is there, none of its name is: a kill in the middle leaves a folder that
    nobody takes for a whole one, and the rest in `source`, from where another call goes on.

    Args:
        source: is removed.
        folder: gets the files.
        last: name of the file by which the folder is known.
    """
    if (source / last).exists():
        (folder / last).unlink(missing_ok=True)
        _flush(folder)
    for path in sorted(source.iterdir(), key=lambda path: path.name == last):
        path.replace(folder / path.name)
    _flush(folder)
    source.rmdir()


def _reason(error: Exception) -> str:
    """Why something can't be written, in the system's words where they can be had."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    number = OS_ERROR.search(str(error))
    if number:
        return os.strerror(int(number[1]))
    return "a file was cut short" if TORCH_WRITER in str(error) else first_line(error)


def _existing(path: Path) -> Path:
    """The path, or the first of its parents that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _flush(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
