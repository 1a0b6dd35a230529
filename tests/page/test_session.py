from __future__ import annotations

import copy

from modeling import THRESHOLD
from page.inspection.batch import Batch
from page.inspection.results import Result
from page.inspection.temporary_folder import TemporaryFolder
from page.session import CALIBRATED_THRESHOLD, Session


def test_the_threshold_at_first_is_the_models_own():
    assert CALIBRATED_THRESHOLD == THRESHOLD


def test_every_visitor_has_things_of_their_own(tmp_path):
    first = Session(tmp_path)
    second = copy.deepcopy(first)
    second.thresholds["nut", "small"] = 0.7
    assert second is not first
    assert first.threshold_of("nut", "small") == 0.5
    assert first.folder.path != second.folder.path


def test_the_threshold_is_remembered_for_each_model(tmp_path):
    session = Session(tmp_path)
    session.thresholds["nut", "small"] = 0.7
    assert session.threshold_of("nut", "small") == 0.7
    assert session.threshold_of("nut", "large") == session.threshold_of("key", "small") == 0.5


def test_a_new_batch_deletes_the_last_one_and_what_was_shown_of_it(tmp_path):
    session = Session(tmp_path)
    batch = Batch([], TemporaryFolder(tmp_path), 0.5)
    session.start_batch(batch)
    session.number = 1
    session.result = Result("a.png", tmp_path / "a.png", "nut", "small", "small", None, "")
    session.start_batch(Batch([], TemporaryFolder(tmp_path), 0.5))
    assert not batch.folder.path.exists()
    assert session.result is None
    assert session.batch.folder.path.exists()


def test_nothing_is_left_when_the_visitor_leaves(tmp_path):
    session = Session(tmp_path / "visitors")
    photo = tmp_path / "a.png"
    photo.write_bytes(b"photo")
    kept = session.folder.keep(photo)
    session.start_batch(Batch([], TemporaryFolder(session.root), 0.5))
    assert kept.read_bytes() == b"photo"
    session.end()
    assert list(session.root.iterdir()) == []
