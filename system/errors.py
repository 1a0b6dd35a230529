"""Errors in one sentence for a person: what another process met, what disk or Hub can't take.

It imports neither torch nor transformers, so that a command tells a wrong word at once.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import get_token, validate_repo_id
from safetensors import SafetensorError

# The last two are what safetensors and torch make of the system's errors; safetensors says which
# one it was, torch that a file is shorter than it should be.
WRITE_ERRORS = (OSError, SafetensorError, RuntimeError)
OS_ERROR = re.compile(r"\(os error (\d+)\)")
TORCH_WRITER = "inline_container"


class ElsewhereError(RuntimeError):
    """Another process failed; the message is what it had to say."""


class DiskError(RuntimeError):
    """Something could not be written; the message is one sentence for a person."""


class UploadError(RuntimeError):
    """An upload failed; the message is one sentence for the person, and nothing is lost."""


def first_line(error: BaseException | str) -> str:
    """The first line of an error or its text; its kind where it says nothing: `TimeoutError()`."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def check_upload(repo: str) -> None:
    """Raise a ValueError unless an id is ORG/NAME and there is a token to write with."""
    try:
        validate_repo_id(repo)
        _, _ = repo.split("/")
    except (HFValidationError, ValueError) as error:
        raise ValueError(f"The Hub id must be ORG/NAME, found {repo!r}.") from error
    if not get_token():
        raise ValueError(
            "There is no access token to write to the Hub with; run `hf auth login` or set "
            "HF_TOKEN."
        )


@contextmanager
def disk_errors_told(what: str, path: Path, remedy: str) -> Iterator[None]:
    """Raise whatever goes wrong while a path is written as a `DiskError`.

    Its sentence begins with `what`, such as "The checkpoint", has the system's reason and the room
    that is left, and ends with the remedy.
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
