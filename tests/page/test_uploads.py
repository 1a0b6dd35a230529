"""Photos and zips as strangers give them."""

from __future__ import annotations

import errno
import io
import random
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest

from page.inspection import uploads
from page.inspection.temporary_folder import TemporaryFolder
from page.inspection.uploads import Upload, natural_key, unpack
from page.languages import Translation

TEXT = Translation("en")


@pytest.fixture
def folder(tmp_path) -> TemporaryFolder:
    return TemporaryFolder(tmp_path / "visitors")


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def end_of_zip(directory: bytes) -> bytes:
    """What follows a table of contents that starts at the beginning of the file."""
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)


def contents(found: list[Upload]) -> dict[str, bytes | str]:
    """File to what was kept of it, or to the sentence in its place."""
    return {row.file: row.photo.read_bytes() if row.photo else row.error for row in found}


def test_photos_and_zips_are_mixed_in_the_order_given(folder, tmp_path):
    first, last = tmp_path / "z.png", tmp_path / "a.jpg"
    first.write_bytes(b"first")
    last.write_bytes(b"last")
    archive = zipped(tmp_path / "Parts.ZIP", {"10.png": b"ten", "9.png": b"nine", "sub/x": b"x"})
    found = unpack([first, str(archive), last], folder, TEXT)
    assert [row.file for row in found] == ["z.png", "9.png", "10.png", "sub/x", "a.jpg"]
    assert list(contents(found).values()) == [b"first", b"nine", b"ten", b"x", b"last"]
    assert all(row.photo.parent == folder.path for row in found)
    assert found[1].photo.suffix == ".png"
    assert not any(row.error for row in found)


def test_a_name_in_a_zip_is_shown_and_never_a_path(folder, tmp_path):
    names = (
        "../../out.png",
        "/etc/passwd.png",
        "..\\..\\win.png",
        "C:\\temp\\part.png",
        "a\x1bb.png",
    )
    archive = zipped(tmp_path / "evil.zip", dict.fromkeys(names, b"content"))
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    found = unpack([archive], folder, TEXT)
    shown = {row.file for row in found}
    assert shown == {"out.png", "etc/passwd.png", "win.png", "C:/temp/part.png", "a_b.png"}
    after = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert {*after} - {*before} == {row.photo for row in found}
    assert all(row.photo.parent == folder.path for row in found)


def test_a_link_in_a_zip_is_a_file_that_holds_its_target(folder, tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    (row,) = unpack([tmp_path / "link.zip"], folder, TEXT)
    assert not row.photo.is_symlink()
    assert row.photo.read_bytes() == b"/etc/passwd"


def test_what_a_desktop_leaves_behind_is_skipped(folder, tmp_path):
    kept = {"part.png": b"1", "notes.txt": b"2"}
    junk = {
        "folder/": b"",
        ".DS_Store": b"-",
        "folder/.hidden.png": b"-",
        "__MACOSX/._part.png": b"-",
        "__MACOSX/part.png": b"-",
        "sub/Thumbs.db": b"-",
        "desktop.ini": b"-",
    }
    single = tmp_path / "Thumbs.db"
    single.write_bytes(b"-")
    found = unpack([zipped(tmp_path / "a.zip", {**junk, **kept}), single], folder, TEXT)
    assert contents(found) == {"notes.txt": b"2", "part.png": b"1"}


def test_a_member_without_a_name_is_skipped(folder, tmp_path):
    archive = zipped(tmp_path / "a.zip", {"./": b"", "a.png": b"1", "b.png": b"2"})
    content = archive.read_bytes()
    content = content.replace(b"a.png", b"\0.png")  # zipfile ends a name there
    archive.write_bytes(content)
    assert contents(unpack([archive], folder, TEXT)) == {"b.png": b"2"}


def test_two_members_of_one_name_are_both_kept(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", b"two")
    found = unpack([tmp_path / "twice.zip"], folder, TEXT)
    assert [row.photo.read_bytes() for row in found] == [b"one", b"two"]


def test_names_in_utf_8_are_read_whether_the_zip_says_so_or_not(folder, tmp_path):
    archive = zipped(tmp_path / "a.zip", {"部品.png": b"1"})
    marked = archive.read_bytes()
    flags = struct.pack("<H", uploads.NAME_IS_UTF_8)
    local = marked.replace(b"PK\x03\x04\x14\x00" + flags, b"PK\x03\x04\x14\x00\x00\x00")
    silent = local.replace(
        b"PK\x01\x02\x14\x03\x14\x00" + flags, b"PK\x01\x02\x14\x03\x14\x00\x00\x00"
    )
    assert silent != local != marked
    (tmp_path / "b.zip").write_bytes(silent)
    found = unpack([archive, tmp_path / "b.zip"], folder, TEXT)
    assert [row.file for row in found] == ["部品.png", "部品.png"]


@pytest.mark.parametrize(
    ("language", "encoding", "name"), [("ja", "cp932", "良品写真.png"), ("zh", "gbk", "合格品.png")]
)
def test_names_as_windows_writes_them_are_read(language, encoding, name, folder, tmp_path):
    stand_in = "x" * len(name.encode(encoding))
    archive = zipped(tmp_path / "a.zip", {stand_in: b"1"})
    archive.write_bytes(archive.read_bytes().replace(stand_in.encode(), name.encode(encoding)))
    (row,) = unpack([archive], folder, Translation(language))
    assert row.file == name


def test_a_zip_that_is_none_is_one_row_and_the_rest_goes_on(folder, tmp_path):
    none, photo = tmp_path / "none.zip", tmp_path / "a.png"
    none.write_bytes(b"this is no zip")
    photo.write_bytes(b"photo")
    found = unpack([none, photo], folder, TEXT)
    assert contents(found) == {"none.zip": TEXT("batch.damaged_zip"), "a.png": b"photo"}


def test_a_damaged_member_is_one_row_and_leaves_no_file(folder, tmp_path):
    content = random.Random(0).randbytes(50_000)
    archive = zipped(tmp_path / "a.zip", {"a.png": content, "b.png": b"fine"}, zipfile.ZIP_STORED)
    damaged = bytearray(archive.read_bytes())
    damaged[20_000] ^= 255
    archive.write_bytes(damaged)
    found = unpack([archive], folder, TEXT)
    assert contents(found) == {"a.png": TEXT("batch.damaged_member"), "b.png": b"fine"}
    assert len(list(folder.path.iterdir())) == 1


def test_no_damage_to_a_zip_raises(folder, tmp_path):
    whole = zipped(
        tmp_path / "a.zip", {f"{number}.png": bytes(range(256)) * 4 for number in range(3)}
    ).read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(whole[: chance.randrange(1, len(whole) + 1)])
        for _ in range(chance.randrange(4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / "b.zip").write_bytes(damaged)
        found = unpack([tmp_path / "b.zip"], folder, TEXT)
        assert found
        assert all(bool(row.error) == (row.photo is None) for row in found)


def test_an_encrypted_zip_is_one_row(folder, tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.png": b"1", "b.png": b"2"})
    # zipfile can't encrypt; the flag alone is what a reader goes by.
    content = archive.read_bytes().replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
    )
    archive.write_bytes(content)
    assert contents(unpack([archive], folder, TEXT)) == {"a.zip": TEXT("batch.encrypted_zip")}


def test_an_empty_zip_is_one_row(folder, tmp_path):
    archive = zipped(tmp_path / "a.zip", {"__MACOSX/x": b"", "folder/": b""})
    assert contents(unpack([archive], folder, TEXT)) == {"a.zip": TEXT("batch.empty_zip")}


def test_a_zip_in_a_zip_and_an_unusual_method_are_rows(folder, tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.png", b"1")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("inner.Zip", inner.getvalue())
        archive.writestr("lzma.png", b"1" * 1000, zipfile.ZIP_LZMA)
        archive.writestr("plain.png", b"1")
    found = contents(unpack([tmp_path / "a.zip"], folder, TEXT))
    assert found == {
        "inner.Zip": TEXT("batch.zip_in_zip"),
        "lzma.png": TEXT("batch.unknown_method"),
        "plain.png": b"1",
    }


def test_a_batch_holds_so_many_photos_and_one_row_says_that_there_were_more(folder, tmp_path):
    archive = zipped(tmp_path / "a.zip", {f"{number}.png": b"-" for number in range(8)})
    photo = tmp_path / "a.png"
    photo.write_bytes(b"-")
    found = unpack([archive, photo], folder, TEXT, limit=5)
    assert [row.file for row in found] == [f"{number}.png" for number in range(6)]
    assert [row.photo is None for row in found] == [False] * 5 + [True]
    assert "5 photos" in found[-1].error
    assert not any(row.error for row in unpack([photo] * 5, folder, TEXT, limit=5))


def test_a_bomb_is_not_unpacked(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PHOTO_BYTES", 2**20)
    monkeypatch.setattr(uploads, "MAX_UNPACKED_BYTES", 5 * 2**19)  # two and a half of them
    members = {f"{number}.png": bytes(2**20) for number in range(9)}
    archive = zipped(tmp_path / "bomb.zip", members)
    assert archive.stat().st_size < 20_000
    found = unpack([archive], folder, TEXT)
    assert [row.photo is None for row in found] == [False, False, True]
    big = zipped(tmp_path / "big.zip", {"big.png": bytes(2**20 + 1)})
    assert contents(unpack([big], folder, TEXT)) == {"big.png": TEXT("batch.too_large", limit=1)}
    kept = sum(path.stat().st_size for path in folder.path.iterdir())
    assert kept == 2 * 2**20


def test_a_member_that_is_larger_than_it_says_is_not_kept(folder, tmp_path):
    archive = zipped(tmp_path / "liar.zip", {"a.png": bytes(2**20)})
    size = struct.pack("<I", 2**20)
    archive.write_bytes(archive.read_bytes().replace(size, struct.pack("<I", 10)))
    found = unpack([archive], folder, TEXT)
    assert contents(found) == {"a.png": TEXT("batch.damaged_member")}
    assert not list(folder.path.iterdir())


def test_a_zip_with_a_hundred_thousand_entries_is_refused(folder, tmp_path):
    archive = tmp_path / "many.zip"
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, *(0,) * 8, 6, *(0,) * 6)
    directory = b"".join(entry + b"%06d" % number for number in range(100_000))
    archive.write_bytes(directory + end_of_zip(directory))
    refused = {"many.zip": TEXT("batch.too_many_entries", limit=uploads.MAX_ENTRIES)}
    assert contents(unpack([archive], folder, TEXT)) == refused
    shorter = directory[: (uploads.MAX_ENTRIES + 1) * (len(entry) + 6)]
    archive.write_bytes(shorter + end_of_zip(shorter))
    assert len(shorter) < uploads.MAX_DIRECTORY_BYTES
    assert contents(unpack([archive], folder, TEXT)) == refused


def test_numbers_in_names_sort_by_their_value():
    names = ["b1", "a10", "A9", "a09b", "a", "10", "9", "1" * 5000]
    assert sorted(names, key=natural_key) == ["9", "10", "1" * 5000, "a", "A9", "a09b", "a10", "b1"]


class FullDisk(io.FileIO):
    """A file on a disk that is full after a hundred bytes."""

    def write(self, content) -> int:
        if self.tell() + len(content) > 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content)


def test_a_full_disk_is_no_damage_to_a_zip(folder, tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", {"a.png": b"-" * 200, "b.png": b"fits"})
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: FullDisk(path, "x") if mode == "xb" else opened(path, mode)
    )
    found = unpack([archive], folder, TEXT)
    assert contents(found) == {"a.png": TEXT("batch.no_room"), "b.png": b"fits"}
    assert len(list(folder.path.iterdir())) == 1  # what was begun takes no room


def test_a_photo_for_which_there_is_no_room_is_one_row(folder, tmp_path, full_disk):
    second = tmp_path / "b.png"
    second.write_bytes(b"second")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other_disk:  # from where it is copied
        first = Path(other_disk, "a.png")
        first.write_bytes(b"first")
        full_disk(folder.path / "00001.png")
        found = unpack([first, second], folder, TEXT)
    assert contents(found) == {"a.png": TEXT("batch.no_room"), "b.png": b"second"}
    assert [path.name for path in folder.path.iterdir()] == ["00002.png"]


def test_a_photo_that_fails_for_another_reason_is_not_hidden(folder, tmp_path):
    with pytest.raises(FileNotFoundError):
        unpack([tmp_path / "gone.png"], folder, TEXT)
