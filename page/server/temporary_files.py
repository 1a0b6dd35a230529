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
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "golden-sample-"
LOCK = "in_use"
VISITORS, UPLOADS = "visitors", "uploads"
UPLOADS_VARIABLE = "GRADIO_TEMP_DIR"  # where Gradio keeps uploads and what it shows


@contextmanager
def visitors_folder() -> Iterator[Path]:
    """A folder for visitors' photos and one beside it for Gradio's uploads, until the block ends.

    Both lie in the folder for temporary files, or where GRADIO_TEMP_DIR says. What apps left there
    that were killed is deleted first. A request to stop (SIGTERM) ends the block too. Yields the
    folder for photos.
    """
    given = os.environ.get(UPLOADS_VARIABLE)
    parent = Path(given or tempfile.gettempdir()).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as name,
        FileLock(Path(name, LOCK)),
    ):
        folder = Path(name)
        (folder / VISITORS).mkdir()  # from now on others take it for an app's, and find it locked
        delete_abandoned_folders(folder)
        os.environ[UPLOADS_VARIABLE] = str(folder / UPLOADS)
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            yield folder / VISITORS
        finally:
            signal.signal(signal.SIGTERM, before)
            del os.environ[UPLOADS_VARIABLE]
            if given is not None:
                os.environ[UPLOADS_VARIABLE] = given


def delete_abandoned_folders(own: Path) -> None:
    """Delete the folders beside this app's `own` that belong to apps which are no longer there."""
    for folder in own.parent.glob(f"{PREFIX}*"):
        # Not while it is in use, or where somebody else has just deleted it.
        with suppress(OSError, Timeout):
            # Made by an app of this user, and nobody else put anything in its place.
            is_own = not folder.is_symlink() and folder.stat().st_uid == own.stat().st_uid
            is_of_an_app = is_own and (folder / VISITORS).is_dir() and (folder / LOCK).is_file()
            if is_of_an_app and folder != own:
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)
