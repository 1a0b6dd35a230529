from __future__ import annotations

import json

import pytest

from evaluation.stored import StoredEvaluationError, find_evaluations, read_evaluation
from tests.evaluation.made_evaluations import ANOMALOUS, GOOD, make_evaluation


def test_all_evaluations_below_the_paths_are_found_once_and_in_order(tmp_path):
    folders = [make_evaluation(tmp_path / "runs" / name) for name in ("key", "nut")]
    assert find_evaluations([tmp_path / "runs", tmp_path / "runs" / "nut"]) == folders


def test_a_path_without_evaluation_is_named(tmp_path):
    make_evaluation(tmp_path / "runs" / "nut")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoredEvaluationError, match=r"empty: expected a folder with metrics.json"):
        find_evaluations([tmp_path / "runs", tmp_path / "empty"])


def test_scores_come_from_the_predictions_or_else_from_the_metrics(tmp_path):
    whole = read_evaluation(
        make_evaluation(tmp_path / "whole", scores={"good": [], "anomalous": []})
    )
    bare = read_evaluation(make_evaluation(tmp_path / "bare", whole=False))
    for evaluation in (whole, bare):
        assert evaluation.raw_scores == [*GOOD, *ANOMALOUS]
        assert evaluation.labels == [0] * len(GOOD) + [1] * len(ANOMALOUS)
        assert evaluation.good_scores == GOOD


def test_what_an_older_folder_lacks_is_none(tmp_path):
    folder = make_evaluation(tmp_path / "old", cases=False, whole=False, cost=None, scores=None)
    evaluation = read_evaluation(folder)
    assert evaluation.metrics.cost.weights_bytes is None
    assert evaluation.learning_curve is None and evaluation.cases is None
    assert list(evaluation.raw_scores) == []


def test_the_learning_curve_of_the_model_folder_around_is_used(tmp_path):
    (tmp_path / "learning_curve.csv").write_text("epoch,loss,held_out_loss\n1,0.5,0.25\n")
    evaluation = read_evaluation(make_evaluation(tmp_path / "evaluation", whole=False))
    assert evaluation.learning_curve.held_out_loss == [0.25]


def test_a_case_never_reaches_outside_its_folder(tmp_path):
    folder = make_evaluation(tmp_path / "evaluation")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    path = folder / "cases" / "cases.json"
    cases = json.loads(path.read_text())
    cases[0]["photo"] = "../../secret.jpg"
    path.write_text(json.dumps(cases))
    assert read_evaluation(folder).cases[0].pictures["photo"] is None


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("metrics.json", "{", "expected JSON"),
        ("metrics.json", "[]", "the text 'category'"),
        ("metrics.json", '{"category": "nut", "per_defect": [1]}', "an object as per_defect"),
        ("predictions.csv", "image_id,label\na,normal\n", "raw_score"),
        ("predictions.csv", "label,raw_score\nfine,1\n", "normal or anomalous"),
        ("learning_curve.csv", "epoch,loss\n1,2\n", "held_out_loss"),
        ("cases/cases.json", "[{}]", "a list of cases"),
        ("cases/cases.json", '{"a": 1}', "a list of cases"),
        ("cases/0_photo.jpg", "no picture", "expected a picture"),
    ],
)
def test_a_damaged_file_is_named_in_one_sentence(tmp_path, file, content, words):
    folder = make_evaluation(tmp_path / "evaluation")
    (folder / file).write_text(content)
    with pytest.raises(StoredEvaluationError) as refusal:
        read_evaluation(folder)
    assert str(folder / file) in str(refusal.value) and words in str(refusal.value)
