"""A visitor's files on the disk: each is there as a whole or not at all, and all end together."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from page.languages import DEFAULT, Translation

UNFINISHED = "unfinished-"  # before the name of a file that is being written
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
    """Let the block write a file that is there as a whole or, when writing fails, not at all.

    Args:
        path: of the file; one that lies there already stays until the new one is whole.

    Yields:
        Where to write it until then, with the same suffix.

    Raises:
        NoRoomError: when the disk is full.
    """
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    with needing_room():
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


class TemporaryFolder:
    """A folder for photos of a visitor and what is made of them; gone once it is closed.

    Attributes:
        path: of the folder.

    Raises:
        NoRoomError: when the disk is full.
    """

    def __init__(self, root: Path) -> None:
        with needing_room():
            root.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(dir=root))
        self._count = 0

    def keep(self, photo: str | os.PathLike) -> Path:
        """A photo of the visitor's own, under a name that nobody chose from outside.

        Gradio deletes an upload after an hour, while its visitor may still look at the result.

        Raises:
            NoRoomError: when the disk is full.
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

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path, ignore_errors=True)
