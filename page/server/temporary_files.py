"""All files of visitors lie in one folder, which is deleted when the app ends, or later.

An app that is killed deletes nothing. So each app locks its folder; the kernel releases the lock
when the process ends; and the next app that starts deletes the folders that are not locked.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from page.server.gradio_internals import delete_broken_uploads

PREFIX = "golden-sample-"
LOCK = "in_use"
VISITORS, UPLOADS = "visitors", "uploads"
UPLOADS_VARIABLE = "GRADIO_TEMP_DIR"  # where Gradio keeps uploads and what it shows


@contextmanager
def visitors_folder() -> Iterator[Path]:
    """A folder for visitors' photos and one beside it for Gradio's uploads, until the block ends.

    Both lie in the folder for temporary files, or where GRADIO_TEMP_DIR says. What apps left there
    that were killed is deleted first. A request to stop (SIGTERM) ends the block too.

    Yields:
        The folder for visitors' photos.
    """
    given = os.environ.get(UPLOADS_VARIABLE)
    parent = Path(given or tempfile.gettempdir()).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = FileLock(folder / LOCK)
    lock.acquire()
    (folder / VISITORS).mkdir()  # from now on others take it for an app's, and find it locked
    delete_abandoned_folders(folder)
    os.environ[UPLOADS_VARIABLE] = str(folder / UPLOADS)
    delete_broken_uploads()
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield folder / VISITORS
    finally:
        signal.signal(signal.SIGTERM, before)
        _restore(given)
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def delete_abandoned_folders(own: Path) -> None:
    """Delete the folders of apps that are no longer there; one that can't be deleted stays.

    Args:
        own: the folder of this app; the others lie beside it.
    """
    for folder in own.parent.glob(f"{PREFIX}*"):
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            if folder == own or not _is_of_an_app(folder, own.stat().st_uid):
                continue
            lock.acquire()
        except (OSError, Timeout):  # it is in use, or somebody else has just deleted it
            continue
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _is_of_an_app(folder: Path, user: int) -> bool:
    """Whether an app of this user made it, and nobody else put anything in its place."""
    is_own = not folder.is_symlink() and folder.stat().st_uid == user
    return is_own and (folder / VISITORS).is_dir() and (folder / LOCK).is_file()


def _stop(*_: object) -> None:
    sys.exit(0)


def _restore(given: str | None) -> None:
    if given is None:
        os.environ.pop(UPLOADS_VARIABLE, None)
    else:
        os.environ[UPLOADS_VARIABLE] = given
