from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from specimens import PHOTO_SIZE, SCRATCH, SPOT, inspection, score_map

from modeling import CHECK, ERROR, FAIL, PASS, InspectionRecord, judge, verdict_of
from modeling.out_of_distribution import DOUBT_NOTES, DOUBTS


def test_a_doubt_outweighs_every_score_and_nothing_outweighs_a_missing_calibration():
    for fails, doubt in itertools.product((True, False), DOUBTS):
        assert verdict_of(fails, doubt) == CHECK
    for doubt in (None, *DOUBTS):
        assert verdict_of(None, doubt) is None


def test_a_score_above_the_threshold_fails_and_one_at_it_passes():
    scores = score_map(SCRATCH)
    score = float(scores.max())
    just_below = float(np.nextafter(score, 0))
    assert judge(score, scores, PHOTO_SIZE, score).verdict == verdict_of(False) == PASS
    assert judge(score, scores, PHOTO_SIZE, just_below).verdict == verdict_of(True) == FAIL


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("areas", [(), (SCRATCH,), (SCRATCH, SPOT)])
@pytest.mark.parametrize("doubt", [None, *DOUBTS])
def test_the_parts_of_a_record_agree(areas, threshold, doubt):
    found = inspection(score_map(*areas), threshold, doubt)
    record = found.record()
    assert record.threshold == threshold
    assert record.photo_size == (found.photo.height, found.photo.width)
    assert (record.verdict == CHECK) == (record.doubt is not None)
    assert record.is_judged == (record.doubt is None)
    assert bool(record.regions) == (record.verdict == FAIL) == (record.finding is not None)
    assert record.note == (DOUBT_NOTES[doubt] if doubt else found.notes)
    assert record.error is None


def test_a_record_says_what_the_inspection_says_at_any_threshold():
    found = inspection(score_map(SCRATCH, SPOT))
    for threshold in (0.2, 0.9, 0.97):
        again = found.at_threshold(threshold)
        assert again.record() == inspection(score_map(SCRATCH, SPOT), threshold).record()
        assert len(again.record().regions) <= len(found.record().regions)


def test_a_failed_photo_has_an_error_and_nothing_that_a_model_said():
    record = InspectionRecord.failed("part.png is damaged.", 0.4)
    assert (record.verdict, record.error, record.threshold) == (ERROR, "part.png is damaged.", 0.4)
    assert not record.is_judged
    said = dataclasses.asdict(record).keys() - {"verdict", "error", "threshold", "regions"}
    assert {getattr(record, name) for name in said} == {None}
    assert record.regions == ()


def test_regions_survive_json_in_their_order():
    record = inspection(score_map(SCRATCH, SPOT)).record()
    facts = json.loads(json.dumps(record.region_facts()))
    assert [tuple(fact["box"]) for fact in facts] == [region.box for region in record.regions]
    peaks = [fact["peak"] for fact in facts]
    assert len(peaks) == 2
    assert peaks == sorted(peaks, reverse=True)


def test_a_record_can_not_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        InspectionRecord(PASS, 0.5).verdict = FAIL
