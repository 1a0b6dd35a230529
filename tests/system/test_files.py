"""A file is there as a whole or not at all."""

from __future__ import annotations

import pytest

from system.files import remove_unfinished, whole_file


def test_a_file_has_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "photos.parquet"
    path.write_text("before")
    with whole_file(path) as draft:
        assert (draft.parent, draft.suffix) == (tmp_path, ".parquet")
        draft.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "photos.parquet"
    path.write_text("before")

    def write() -> None:
        with whole_file(path) as draft:
            draft.write_text("af")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_text() == "before"
    assert [*tmp_path.iterdir()] == [path]


def test_what_a_kill_left_is_removed(tmp_path):
    (tmp_path / ".unfinished-photos.parquet").write_text("af")
    (tmp_path / ".discarded-epoch-00001").mkdir()
    remove_unfinished(tmp_path)
    assert not [*tmp_path.iterdir()]
