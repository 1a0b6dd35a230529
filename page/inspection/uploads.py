"""What a visitor gives for a batch: photos and zips of them, kept file by file in the folder.

A zip comes from a stranger: its names are only shown, never used as paths; it is read member by
member and never as a whole; and what it may hold, unpacked, is limited.
"""

from __future__ import annotations

import errno
import io
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from page.inspection.temporary_folder import NO_ROOM_WORDS, NoRoomError, TemporaryFolder, writing
from page.languages import Translation
from page.server.limits import (
    MAX_DIRECTORY_BYTES,
    MAX_ENTRIES,
    MAX_PHOTO_BYTES,
    MAX_PHOTOS,
    MAX_UNPACKED_BYTES,
)

MAX_NAME = 200  # characters of a name that is shown

JUNK = {".ds_store", "thumbs.db", "desktop.ini"}
MAC_FOLDER = "__MACOSX"  # where a Mac puts icons and labels beside the photos
ENCRYPTED, NAME_IS_UTF_8 = 0x1, 0x800  # bits of a member's flags
WINDOWS_NAMES = {"ja": "cp932", "zh": "gbk"}  # how names are written there, if not in UTF-8
# Deflate and no compression at all are what every zip program writes; the others may ask for
# gigabytes of memory before the first byte comes out.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# zipfile passes on what its parts raise when a zip is damaged.
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)


class Upload(NamedTuple):
    """One file of a batch."""

    file: str  # its name as the visitor gave it; in a zip, with its folders
    photo: Path | None = None  # where it is kept, whether it is a picture or not
    error: str = ""  # one sentence why there is nothing to inspect


def unpack(
    uploads: Sequence[Path | str],
    folder: TemporaryFolder,
    text: Translation,
    limit: int = MAX_PHOTOS,
) -> list[Upload]:
    """Keep photos in the folder, and the photos of what is named *.zip, there sorted by name.

    Whether a file is a picture is not asked: the pipeline says it when the file's turn comes.

    Returns:
        A row for each file, for each member of a zip, and for each zip that can't be opened, with
        a sentence in the language of `text` where something is left out. Beyond the limit, one
        more row says that there were others.
    """
    found = list(islice(_Unpacker(folder, text).open_all(uploads), limit + 1))
    if len(found) > limit:
        sentence = text("batch.too_many_photos", limit=limit)
        found[limit] = Upload(found[limit].file, error=sentence)
    return found


class _LeftOutError(Exception):
    """Why there is nothing to inspect: key of the sentence, and the values in it."""

    def __init__(self, reason: str, **values: int) -> None:
        super().__init__(reason)
        self.reason, self.values = reason, values


@contextmanager
def _finding_damage(reason: str) -> Iterator[None]:
    """What zipfile raises for a damaged zip, as a reason; a broken disk is another thing."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        # An OSError tells of damage where it says that a place is before the file's beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise _LeftOutError(reason) from error


class _ZipFile(io.FileIO):
    """A zip on disk that refuses to have a huge table of contents read.

    `zipfile.ZipFile` reads the table in one piece and makes an object of every entry: 64 MB of
    them would fill a gigabyte of memory. What one reads afterwards comes in small pieces.
    """

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise _LeftOutError("batch.too_many_entries", limit=MAX_ENTRIES)
        return super().read(size)


class _Unpacker:
    """Opens uploads one after the other, and keeps count of what they take on the disk."""

    def __init__(self, folder: TemporaryFolder, text: Translation) -> None:
        self._folder = folder
        self._text = text
        self._bytes_left = MAX_UNPACKED_BYTES

    def open_all(self, uploads: Iterable[Path | str]) -> Iterator[Upload]:
        """Each upload's photos, kept only as they are asked for."""
        for upload in map(Path, uploads):
            if upload.suffix.lower() == ".zip":
                yield from self._open_zip(upload)
            elif upload.name.lower() not in JUNK:
                yield self._row(upload.name, self._folder.keep, upload)

    def _open_zip(self, path: Path) -> Iterator[Upload]:
        try:
            with (
                _finding_damage("batch.damaged_zip"),
                _ZipFile(path) as file,
                zipfile.ZipFile(file) as archive,
            ):
                for shown, member in _photos_in(archive, self._text.language):
                    if member.file_size > self._bytes_left:
                        limit = MAX_UNPACKED_BYTES // 2**30
                        yield Upload(shown, error=self._text("batch.too_many_bytes", limit=limit))
                        return
                    yield self._row(shown, self._unpack, archive, member, shown)
        except _LeftOutError as error:
            yield Upload(path.name, error=self._text(error.reason, **error.values))

    def _row(self, name: str, keep: Callable[..., Path], *given: Any) -> Upload:
        """A file as `keep` has kept it, or why it has not."""
        try:
            return Upload(name, keep(*given))
        except NoRoomError:
            return Upload(name, error=self._text(NO_ROOM_WORDS))
        except _LeftOutError as error:
            return Upload(name, error=self._text(error.reason, **error.values))

    def _unpack(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str) -> Path:
        suffix = PurePosixPath(shown).suffix.lower()[:8]
        if suffix == ".zip":
            raise _LeftOutError("batch.zip_in_zip")
        if member.compress_type not in METHODS:
            raise _LeftOutError("batch.unknown_method")
        if member.file_size > MAX_PHOTO_BYTES:
            raise _LeftOutError("batch.too_large", limit=MAX_PHOTO_BYTES // 2**20)
        kept = self._folder.new_file(suffix)
        # It never reads more than `file_size`, whatever the compressed bytes would give.
        with (
            writing(kept) as path,
            path.open("xb") as file,
            _finding_damage("batch.damaged_member"),
            archive.open(member) as packed,
        ):
            shutil.copyfileobj(packed, file)
        self._bytes_left -= member.file_size
        return kept


def _photos_in(archive: zipfile.ZipFile, language: str) -> list[tuple[str, zipfile.ZipInfo]]:
    """Names and members in the order in which they are inspected."""
    if len(archive.infolist()) > MAX_ENTRIES:
        raise _LeftOutError("batch.too_many_entries", limit=MAX_ENTRIES)
    named = [(_shown_name(member, language), member) for member in archive.infolist()]
    members = [(name, member) for name, member in named if name and not member.is_dir()]
    members = [(name, member) for name, member in members if not _is_junk(name)]
    if not members:
        raise _LeftOutError("batch.empty_zip")
    if any(member.flag_bits & ENCRYPTED for _, member in members):
        raise _LeftOutError("batch.encrypted_zip")
    return sorted(members, key=lambda pair: natural_key(pair[0]))


def natural_key(name: str) -> list[tuple[str, int, str]]:
    """Sorts names as a person does: case aside, and numbers by their value.

    Example:
        >>> sorted(["part 10.png", "Part 9.png"], key=natural_key)
        ['Part 9.png', 'part 10.png']
    """
    pieces = re.findall(r"([^0-9]*)([0-9]*)", name.casefold())
    numbers = [(words, digits.lstrip("0")) for words, digits in pieces]
    return [(words, len(number), number) for words, number in numbers]


def _shown_name(member: zipfile.ZipInfo, language: str) -> str:
    """A member's name with its folders; "" where nothing is left of it."""
    name = member.filename
    if not member.flag_bits & NAME_IS_UTF_8:
        name = _decoded(name.encode("cp437"), language) or name
    parts = [part for part in re.split(r"[\\/]+", name) if part not in ("", ".", "..")]
    shown = "/".join(parts)[-MAX_NAME:]
    return "".join(letter if letter.isprintable() else "_" for letter in shown)


def _decoded(name: bytes, language: str) -> str:
    """A name that does not say how it is written; "" where it can't be told.

    Many programs write UTF-8 without saying so, and Windows what its own language writes.
    """
    for encoding in ("utf-8", WINDOWS_NAMES.get(language, "utf-8")):
        with suppress(UnicodeError):
            return name.decode(encoding)
    return ""


def _is_junk(name: str) -> bool:
    """Whether a member is hidden, or what a desktop leaves behind."""
    parts = name.split("/")
    is_hidden = any(part.startswith(".") for part in parts)
    return is_hidden or MAC_FOLDER in parts or parts[-1].lower() in JUNK
