"""What can go wrong with the folders of a run, in the words of who gave the command."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from system.command_line import unusable_path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # the disk is full, or the user's share of it


class FolderError(ValueError):
    """A run can't begin or go on; the message is one sentence for who gave the command."""


@contextmanager
def in_plain_words(output_dir: Path) -> Iterator[None]:
    """Make of an OSError a FolderError with a sentence, which other processes can pass on.

    It names the output folder where the system names no file.
    """
    try:
        yield
    except OSError as error:
        sentence = unusable_path(error, output_dir, "--photos and --output_dir")
        if error.errno in NO_ROOM:
            sentence = (
                f"There is no room left for {output_dir}; make room and give the same command "
                "again: what is finished stays, and it goes on from there."
            )
        raise FolderError(sentence) from error
