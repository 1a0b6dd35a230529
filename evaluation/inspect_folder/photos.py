"""The photos of a folder and of all folders in it, in an order that only their names decide."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from modeling.image_processing import FORMATS

FORMATS_IN_WORDS = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
SUFFIXES = {name for name, kind in Image.registered_extensions().items() if kind in FORMATS}


class Listing(NamedTuple):
    """What lies in a folder."""

    paths: list[str]  # of the photos, from the folder, with "/" between their parts
    passed_over: Counter[str]  # endings of the other files; "" of those without one


def list_photos(folder: Path, output_dir: Path) -> Listing:
    """List the photos of a folder; none is opened. One that can't be read is an OSError.

    Hidden files and folders are left out, and `output_dir` if it lies in the folder, as it may hold
    pictures. Links are followed, but no folder is walked twice.
    """
    listing = Listing([], Counter())
    for path in _files(folder, "", {os.path.realpath(output_dir)}):
        suffix = PurePosixPath(path).suffix.lower()
        if suffix in SUFFIXES:
            listing.paths.append(path)
        else:
            listing.passed_over[suffix] += 1
    return listing


def as_text(name: str) -> str:
    r"""A file's name as it can be stored: bytes of it that are no UTF-8 are written as \xff.

    Example:
        >>> as_text("nut.png"), as_text("nut\udcff.png")
        ('nut.png', 'nut\\xff.png')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _files(folder: str | Path, above: str, walked: set[str]) -> Iterator[str]:
    """Visible files, broken links among them, but nothing without an end, such as a named pipe."""
    real = os.path.realpath(folder)
    if real in walked:
        return
    walked.add(real)
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry.path, f"{above}{entry.name}/", walked)
        elif entry.is_file() or not os.path.exists(entry.path):
            yield f"{above}{entry.name}"
