"""A visitor's files on the disk: each is there as a whole or not at all, and all end together."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from page.languages import DEFAULT, Translation
from system.files import whole_file

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # the disk is full, or the user's share of it
NO_ROOM_WORDS = "batch.no_room"  # key of the sentence that says so


class NoRoomError(Exception):
    """The disk is full; what was begun is deleted, and the message is one sentence."""


@contextmanager
def needing_room() -> Iterator[None]:
    """Raises `NoRoomError` when the block finds the disk full."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise NoRoomError(Translation(DEFAULT)(NO_ROOM_WORDS)) from error


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """As `whole_file`, for what nobody needs after the machine has stopped; a full disk is told."""
    with needing_room(), whole_file(path, outlives_machine=False) as unfinished:
        yield unfinished


class TemporaryFolder:
    """A folder for photos of a visitor and what is made of them; gone once it is closed.

    As all that writes into it, it raises `NoRoomError` when the disk is full.
    """

    def __init__(self, root: Path) -> None:
        with needing_room():
            root.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(dir=root))
        self._count = 0
        self._lock = threading.Lock()
        self._users = 0
        self.is_closed = False  # whether the files are deleted, or will be once nobody reads them

    def keep(self, photo: str | os.PathLike) -> Path:
        """A photo of the visitor's own, under a name that nobody chose from outside.

        Gradio deletes an upload after an hour, while its visitor may still look at the result.
        """
        kept = self.new_file(Path(photo).suffix.lower()[:8])
        try:
            os.link(photo, kept)
        except OSError:  # another disk
            with writing(kept) as file:
                shutil.copyfile(photo, file)
        return kept

    def new_file(self, suffix: str) -> Path:
        """A path in the folder that is not taken yet."""
        self._count += 1
        return self.path / f"{self._count:05d}{suffix}"

    @contextmanager
    def in_use(self) -> Iterator[bool]:
        """Keep the files while the block reads them, even if the folder is closed meanwhile.

        Yields whether they are there; not if the folder was closed before.
        """
        with self._lock:
            is_there = not self.is_closed
            self._users += 1
        try:
            yield is_there
        finally:
            with self._lock:
                self._users -= 1
                is_over = self.is_closed and self._users == 0
            if is_over:
                shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Delete everything, now or as soon as nobody reads it any more."""
        with self.in_use():
            self.is_closed = True
