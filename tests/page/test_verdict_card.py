"""What is said of a photo, as an inspector reads it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import specimens
from specimens import SCRATCH, SPOT, changed

from modeling.out_of_distribution import DOUBTS
from modeling.regions import Surroundings
from page.inspection.results import ACCEPT, REJECT, Result
from page.inspection.temporary_folder import TemporaryFolder
from page.languages import NAMES, Translation
from page.views.verdict_card import message_card, notice_html, threshold_cost, verdict_card

TEXT = Translation("en")


@pytest.fixture
def workplace(tmp_path) -> TemporaryFolder:
    return TemporaryFolder(tmp_path / "visitors")


@pytest.fixture
def failed(workplace) -> Result:
    return specimens.inspected(workplace, SCRATCH, SPOT)[0]


@pytest.fixture
def passed(workplace) -> Result:
    return specimens.inspected(workplace)[0]


def words(markup: str) -> str:
    """What one reads of it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).strip()


@pytest.mark.parametrize("language", NAMES)
def test_what_lies_beside_the_part_is_said_and_follows_the_threshold(passed, language):
    text = Translation(language)
    scores = np.zeros((12, 16), np.float32)
    scores[1, 1], scores[9, 12] = 0.9, 0.7
    known = Surroundings(scores, np.zeros((12, 16), bool))
    with np.load(passed.maps) as stored:
        np.savez(passed.maps, **stored, **known._asdict())
    place = text("regions.in_upper_left")
    both, one, none = (passed.at_threshold(threshold) for threshold in (0.5, 0.8, 0.95))
    assert text("verdict.beside_many", place=place, count=2) in words(verdict_card(both, text))
    assert text("verdict.beside_one", place=place, count=1) in words(verdict_card(one, text))
    assert none.record.beside is None
    assert {result.record.verdict for result in (both, one, none)} == {"PASS"}


def test_something_large_beside_the_part_is_named(failed):
    finding = failed.record.finding._replace(apart=True)
    named = replace(failed, record=replace(failed.record, finding=finding))
    assert "beside the part: something large" in words(verdict_card(named, TEXT))


def test_a_failure_says_where_how_strong_how_large_and_of_what_shape(failed):
    card = verdict_card(failed, TEXT)
    assert (
        "Strong deviation in the upper right, 2 regions, about 1 % of the picture; line-shaped: "
        "possibly a scratch or a crack." in words(card)
    )
    assert 'data-verdict="FAIL"' in card
    assert "Score 0.970" in words(card)
    assert "Limit 0.50" in words(card)


def test_the_score_is_there_in_full_so_that_the_browser_can_judge(failed):
    written = re.search(r'data-score="([^"]+)"', verdict_card(failed, TEXT))[1]
    assert float(written) == failed.record.score


def test_one_region_is_not_called_regions(workplace):
    result, _ = specimens.inspected(workplace, SPOT)
    assert "Clear deviation in the lower left, 1 region, about" in words(verdict_card(result, TEXT))


def test_a_region_at_the_outline_is_said_to_be_there(failed):
    result = changed(failed, finding=failed.record.finding._replace(at_outline=True))
    note = words(verdict_card(result, TEXT))
    assert "at the outline of the part: possibly a chip" in note
    assert "scratch" not in note


def test_a_pass_says_that_nothing_deviates(passed):
    card = verdict_card(passed, TEXT)
    assert "No deviation above the limit" in card
    assert 'data-verdict="PASS"' in card


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (0, "Fewer than 1 in 49 good parts look this different."),
        (4, "About 1 in 10 good parts look this different."),
        (30, "Many good parts look like this."),
    ],
)
def test_how_sure_it_is_in_the_inspectors_terms(failed, count, sentence):
    calibration = specimens.calibration(49)
    raw = 49.5 - count  # below the largest `count` of the good parts' scores 1, 2, ... 49
    score = 1 / (1 + 2.718281828459045 ** -((raw - calibration.raw_threshold) / calibration.scale))
    card = words(verdict_card(replace(changed(failed, score=score), calibration=calibration), TEXT))
    assert sentence in card
    assert "Compared with 49 good parts that the model was not trained on." in card


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_photo_that_cannot_be_judged_says_why_and_what_to_do(workplace, doubt):
    result, _ = specimens.inspected(workplace, SCRATCH, doubt=doubt)
    card = verdict_card(result, TEXT)
    assert 'data-verdict="CHECK"' in card
    assert TEXT(f"verdict.{doubt}", category="flange nut") in words(card)
    assert "look this different" not in card  # how sure it is of a verdict that it does not give


def test_another_product_is_named(workplace):
    result, _ = specimens.inspected(workplace, doubt="other_product")
    sentence = "This does not look like a flange nut: check the camera or the category."
    assert sentence in words(verdict_card(result, TEXT))


def test_the_operator_overrides_the_verdict_and_one_sees_it(failed, passed):
    accepted = verdict_card(replace(failed, decision=ACCEPT, note="only dust"), TEXT)
    assert "ACCEPTED" in accepted
    assert "this overrides the model's FAIL." in words(accepted).replace("&#39;", "'")
    assert "Note: only dust" in words(accepted)
    rejected = verdict_card(replace(passed, decision=REJECT), TEXT)
    assert "this overrides the model's PASS." in words(rejected).replace("&#39;", "'")


def test_an_operator_who_agrees_overrides_nothing(failed):
    card = verdict_card(replace(failed, decision=REJECT), TEXT)
    assert "The operator rejected this part." in card
    assert "overrides" not in card


def test_every_verdict_says_who_judges(failed, passed):
    for result in (failed, passed):
        assert "Decision support: the operator judges." in words(verdict_card(result, TEXT))


def test_a_photo_that_could_not_be_read_gets_its_sentence_alone():
    result = specimens.unreadable("a.png", "a.png is no picture.")
    assert words(verdict_card(result, TEXT)) == "a.png is no picture."


def test_nothing_that_a_visitor_wrote_becomes_markup(failed):
    evil = "<img src=x onerror=alert(1)>"
    for card in (
        verdict_card(replace(failed, decision=ACCEPT, note=evil), TEXT),
        verdict_card(replace(changed(failed, doubt="other_product"), category=evil), TEXT),
        message_card(evil, "error"),
        notice_html(evil),
    ):
        assert "<img" not in card
        assert "&lt;img" in card


@pytest.mark.parametrize(
    ("threshold", "sentence"),
    [
        (
            1.0,
            "Fewer than 1 good part in 49 would be rejected (none of 49 was; at worst it is "
            "1 in 14).",
        ),
        (
            0.5,
            "About 1 good part in 25 would be rejected (between 1 in 280 and 1 in 9, from 49 good "
            "parts).",
        ),
        (
            0.12,
            "About 46 % of good parts would be rejected (between 32 % and 59 %, from 49 good "
            "parts).",
        ),
        (
            0.0,
            "About 100 % of good parts would be rejected (between 93 % and 100 %, from 49 good "
            "parts).",
        ),
    ],
)
def test_what_a_threshold_costs_in_good_parts(threshold, sentence):
    assert words(threshold_cost(specimens.calibration(49), threshold, None, TEXT)) == sentence


@pytest.mark.parametrize(
    ("threshold", "sentence"),
    [
        (0.2, "None of the 4 known defects in the test photos would slip through."),
        (0.3, "1 of the 4 known defects in the test photos would slip through."),
        (0.9, "4 of the 4 known defects in the test photos would slip through."),
    ],
)
def test_what_a_threshold_costs_in_defects(threshold, sentence):
    scores = [0.3, 0.6, 0.7, 0.9]  # at the threshold a part passes
    assert sentence in words(threshold_cost(specimens.calibration(), threshold, scores, TEXT))


def test_without_test_results_nothing_is_said_about_defects():
    assert "defects" not in threshold_cost(specimens.calibration(), 0.5, None, TEXT)
