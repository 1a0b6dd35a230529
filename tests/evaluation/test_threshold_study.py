"""The study: splits, promises over many of them, what is chosen from it and by what."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from evaluation import threshold_study
from evaluation.thresholds import trials
from evaluation.thresholds.conclusion import choose, conclude, keeps_promise
from evaluation.thresholds.report import as_text, write_report
from evaluation.thresholds.rules import CONFORMAL, EXTREME_VALUE, QUANTILE, ROC
from evaluation.thresholds.trials import (
    SIZES,
    VALIDATION,
    Outcome,
    Scored,
    Split,
    Spread,
    split,
    study,
    usable_sizes,
)
from training.dataset import DatasetError

PROVENANCE = {"command": "python x", "date": "today", "seed": 1, "seeds": 3, "versions": {"a": "1"}}


def scored(n_good: int = 260, n_defective: int = 40, *, is_synthetic: bool = True) -> Scored:
    rng = np.random.default_rng(0)
    scores = [*rng.gamma(9.0, size=n_good), *(rng.gamma(9.0, size=n_defective) + 8)]
    labels = [0] * n_good + [1] * n_defective
    return Scored("key", "model", "source", is_synthetic, labels, [float(s) for s in scores])


def outcome(rule: str, realised: float, f1: float, **fields) -> Outcome:
    spread = Spread(realised, realised, realised, 0.001)
    even = Spread(f1, f1, f1, 0.001)
    asked = None if rule == ROC else 0.05
    values = ("key", "model", True, 40, rule, asked, 0.05, spread, 0.5, even, even, 1.0, 9)
    return replace(Outcome(*values), **fields)


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return study(scored(), seeds=12)


def test_no_photo_stands_on_two_sides_of_a_split_and_none_is_lost():
    labels = scored().labels
    parts = split(labels, 100, seed=3)
    together = np.concatenate(parts)
    assert sorted(together) == list(range(len(labels)))
    assert len(parts.calibration) == 100
    assert not np.take(labels, parts.calibration).any()
    assert np.take(labels, parts.validation).tolist() == [0] * VALIDATION + [1] * VALIDATION


def test_a_seed_decides_the_split():
    labels = scored().labels
    first, again, other = (split(labels, 50, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.calibration, other.calibration)


def test_a_split_without_test_photos_is_refused():
    with pytest.raises(DatasetError, match="more than 30 good and 10 defective photos, found 30"):
        split([0] * 30 + [1] * 20, 20, seed=0)
    with pytest.raises(DatasetError, match="found 31 and 10"):
        split([0] * 31 + [1] * 10, 20, seed=0)


def test_sizes_that_leave_too_few_photos_to_test_are_left_out():
    assert usable_sizes([0] * 400 + [1] * 90) == list(SIZES)
    assert usable_sizes([0] * 79 + [1] * 11) == [20, 40]
    with pytest.raises(DatasetError, match="40 good and 11 defective test photos, found 39"):
        usable_sizes([0] * 39 + [1] * 50)


def test_all_sizes_and_rules_of_a_seed_are_tested_on_the_same_photos(monkeypatch):
    tested = []

    def spy(labels, size, seed) -> Split:
        parts = split(labels, size, seed)
        tested.append((seed, size, len(parts.test)))
        return parts

    monkeypatch.setattr(trials, "split", spy)
    study(scored(), seeds=2)
    assert tested == [(0, 200, 80), (1, 200, 80)]


def test_the_study_says_the_same_twice():
    assert study(scored(), seeds=2) == study(scored(), seeds=2)


def test_every_rule_meets_every_size_and_rate(outcomes):
    cases = {(one.size, one.rule, one.asked) for one in outcomes}
    assert len(cases) == len(outcomes) == len(SIZES) * (4 * 3 + 1)
    assert all(one.splits == 12 for one in outcomes)


def test_conformal_keeps_its_promise_and_the_quantile_does_not(outcomes):
    assert all(keeps_promise(one) for one in outcomes if one.rule == CONFORMAL)
    small = [one for one in outcomes if (one.rule, one.size, one.asked) == (QUANTILE, 20, 0.01)]
    assert [keeps_promise(one) for one in small] == [False]


def test_conformal_and_quantile_take_the_largest_score_where_n_is_too_small(outcomes):
    found = {one.rule: one for one in outcomes if (one.size, one.asked) == (20, 0.01)}
    assert found[CONFORMAL].beyond == found[QUANTILE].beyond == 0.0
    assert found[EXTREME_VALUE].beyond > 0.0
    assert found[CONFORMAL].realised == found[QUANTILE].realised
    assert found[CONFORMAL].promised == pytest.approx(1 / 21)
    assert found[QUANTILE].promised == found[EXTREME_VALUE].promised == pytest.approx(0.01)


def test_miss_and_false_alarm_rate_are_those_of_the_test_photos():
    """Defects that all score higher than any good part: none is missed, F1 is near 1."""
    good = list(np.linspace(1, 2, 260))
    clear = Scored("key", "model", "source", True, [0] * 260 + [1] * 40, [*good, *([9.0] * 40)])
    found = study(clear, seeds=2)
    for one in found:
        if one.rule != EXTREME_VALUE:
            assert one.miss_rate.mean == 0
        assert one.f1.mean <= 1
    roc = [one for one in found if one.rule == ROC]
    assert all(one.realised.mean == 0 and one.f1.mean == 1 for one in roc)


def test_fewest_broken_promises_are_chosen_then_the_highest_f1():
    kept, better = outcome(CONFORMAL, 0.05, 0.90), outcome(QUANTILE, 0.052, 0.95)
    broken = outcome(EXTREME_VALUE, 0.06, 0.99)
    assert choose([kept, better, broken]) == QUANTILE
    assert choose([kept, broken]) == CONFORMAL
    labelled = outcome(ROC, 0.0, 1.0)
    assert choose([kept, broken, labelled]) == CONFORMAL  # it needs labelled defects


def test_only_synthetic_parts_choose():
    kept, broken = outcome(CONFORMAL, 0.05, 0.90), outcome(QUANTILE, 0.09, 0.95)
    lure = [
        outcome(CONFORMAL, 0.5, 0.1, is_synthetic=False, product="bottle"),
        outcome(QUANTILE, 0.01, 1.0, is_synthetic=False, product="bottle"),
    ]
    assert choose([kept, broken, *lure]) == CONFORMAL
    assert choose(lure) is None
    assert "nothing is chosen" in conclude(lure)[0]


def test_the_conclusion_names_the_numbers(outcomes):
    sentences = " ".join(conclude(outcomes))
    kept = sum(keeps_promise(one) for one in outcomes if one.rule == QUANTILE)
    assert f"Quantile keeps its promise, chance aside, in {kept} of 20 cases" in sentences
    assert "The rule to use by default is conformal, and it is the one in use" in sentences
    assert "Asked for 1 % with 20 parts (4.8 %)" in sentences
    assert sentences in " ".join(as_text(outcomes).split("\n"))


def test_the_report_is_complete_in_itself_and_marks_what_chose_nothing(outcomes, tmp_path):
    other = [
        replace(one, product="bottle", is_synthetic=False) for one in outcomes if one.size == 20
    ]
    products = [scored(), replace(scored(is_synthetic=False), product="bottle")]
    write_report(tmp_path, products, [*outcomes, *other], PROVENANCE)
    page = (tmp_path / "threshold_study.html").read_text()
    assert "http://www" not in page.replace("http://www.w3.org", "")
    assert page.count("<svg") == 8
    assert page.count("it chose nothing") == 1
    assert "it chose nothing" in (tmp_path / "threshold_study.md").read_text()
    content = json.loads((tmp_path / "threshold_study.json").read_text())
    assert content["chosen"] == CONFORMAL
    assert content["outcomes"][0]["realised"]["mean"] == outcomes[0].realised.mean
    assert content["products"][0]["scores"] == scored().scores


def test_the_command_scores_the_photos_and_writes_the_study(trained_model, tmp_path, capsys):
    source = "synthetic:flange_nut?train=1&test_good=40&test_per_defect=2&size=128"
    words = ["--models", str(trained_model), "--data", source, "--seeds", "2"]
    assert threshold_study.main([*words, "--output_dir", str(tmp_path / "study")]) == 0
    assert "The rule to use by default is" in capsys.readouterr().out
    content = json.loads((tmp_path / "study" / "threshold_study.json").read_text())
    (product,) = content["products"]
    assert (product["product"], product["is_synthetic"]) == ("flange_nut", True)
    assert product["labels"].count(0) == len([s for s in product["scores"][:40] if s > 0]) == 40
    assert {one["size"] for one in content["outcomes"]} == {20}
    assert str(tmp_path) not in json.dumps(content)


def test_a_product_that_no_model_knows_is_an_error_that_names_it(trained_model, capsys):
    source = "synthetic:key?train=1&test_good=1&test_per_defect=1&size=64"
    assert threshold_study.main(["--models", str(trained_model), "--data", source]) == 2
    error = capsys.readouterr().err
    assert "shows key, which none of the models knows; they know flange_nut." in error


def test_too_few_photos_are_an_error_before_any_is_scored(trained_model, capsys):
    source = "synthetic:flange_nut?train=1&test_good=5&test_per_defect=1&size=64"
    assert threshold_study.main(["--models", str(trained_model), "--data", source]) == 2
    assert "at least 40 good and 11 defective test photos, found 5 and" in capsys.readouterr().err
