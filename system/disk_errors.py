"""What can't be written, told in one sentence: the system's reason and the room that is left."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from system.errors import first_line
from system.processes import ElsewhereError

# The last two are what safetensors and torch make of the system's errors; safetensors says which
# one it was, torch that a file is shorter than it should be.
WRITE_ERRORS = (OSError, SafetensorError, RuntimeError)
OS_ERROR = re.compile(r"\(os error (\d+)\)")
TORCH_WRITER = "inline_container"


class DiskError(RuntimeError):
    """Something could not be written; the message is one sentence for a person."""


@contextmanager
def disk_errors_told(what: str, path: Path, remedy: str) -> Iterator[None]:
    """Tell in one sentence what can't be written.

    Args:
        what: begins the sentence, such as "The checkpoint".
        path: what is written.
        remedy: ends the sentence.

    Raises:
        DiskError: for whatever goes wrong while writing.
    """
    try:
        yield
    except ElsewhereError:
        raise  # its message is a sentence already
    except WRITE_ERRORS as error:
        existing = next(place for place in (path, *path.absolute().parents) if place.exists())
        free = shutil.disk_usage(existing).free // 2**20
        raise DiskError(
            f"{what} {path} could not be written ({_reason(error)}; {free} MB are free there); "
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


def _reason(error: Exception) -> str:
    """Why something can't be written, in the system's words where they can be had."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    number = OS_ERROR.search(str(error))
    if number:
        return os.strerror(int(number[1]))
    return "a file was cut short" if TORCH_WRITER in str(error) else first_line(error)
