from __future__ import annotations

import copy

from page.inspection.batch import Batch
from page.inspection.results import Result, Workplace, now
from page.session import Visit


def test_every_visitor_has_things_of_their_own(tmp_path):
    first = Visit(tmp_path)
    second = copy.deepcopy(first)
    second.thresholds["nut", "small"] = 0.7
    assert second is not first
    assert first.threshold_of("nut", "small") == 0.5
    assert first.workplace.folder != second.workplace.folder


def test_the_threshold_is_remembered_for_each_model(tmp_path):
    visit = Visit(tmp_path)
    visit.thresholds["nut", "small"] = 0.7
    assert visit.threshold_of("nut", "small") == 0.7
    assert visit.threshold_of("nut", "large") == visit.threshold_of("key", "small") == 0.5


def test_a_new_batch_deletes_the_last_one_and_what_was_shown_of_it(tmp_path):
    visit = Visit(tmp_path)
    batch = Batch([], Workplace(tmp_path), 0.5)
    visit.start_batch(batch)
    visit.number = 1
    visit.result = Result("a.png", tmp_path / "a.png", "nut", "small", "small", now())
    visit.start_batch(Batch([], Workplace(tmp_path), 0.5))
    assert not batch.workplace.folder.exists()
    assert visit.result is None
    assert visit.batch.workplace.folder.exists()


def test_nothing_is_left_when_the_visitor_leaves(tmp_path):
    visit = Visit(tmp_path / "visitors")
    photo = tmp_path / "a.png"
    photo.write_bytes(b"photo")
    kept = visit.workplace.keep(photo)
    visit.start_batch(Batch([], Workplace(visit.root), 0.5))
    assert kept.read_bytes() == b"photo"
    visit.end()
    assert list(visit.root.iterdir()) == []
