from __future__ import annotations

from pathlib import Path

import pytest

from data.rows import DatasetError
from evaluation.evaluate.selection import Pair, categories_of, model_folders, pair_up

OUT = Path("out")
SMALL = "train=2&test_good=1&test_per_defect=1&size=64"
EVERY, NUT = f"synthetic:all?{SMALL}", f"synthetic:flange_nut?{SMALL}"
BOTH = {"runs/nut": ["flange_nut"], "runs/two": ["key", "flange_nut"]}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("b", "a", "unfinished"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def test_a_folder_of_models_stands_for_them(runs):
    a, b = str(runs / "a"), str(runs / "b")
    assert model_folders([str(runs)]) == [a, b]
    assert model_folders([b, str(runs), f"{a}/"]) == [b, a]
    assert model_folders([str(runs / "unfinished"), "org/nut"]) == [
        str(runs / "unfinished"),
        "org/nut",
    ]


def test_a_model_folder_is_one_model_whatever_lies_in_it(runs):
    (runs / "config.json").write_text("{}")
    assert model_folders([str(runs)]) == [str(runs)]


def test_categories_are_those_that_the_data_has():
    assert categories_of(EVERY) == ["flange_nut", "key", "fabric"]
    assert categories_of(NUT) == ["flange_nut"]
    with pytest.raises(DatasetError, match="nowhere"):
        categories_of("./nowhere")


def test_one_model_and_one_category_write_to_the_folder_itself():
    model = {"runs/nut": ["flange_nut"]}
    assert pair_up(model, [], NUT, OUT) == [Pair("runs/nut", None, OUT)]
    assert pair_up(model, ["key"], EVERY, OUT) == [Pair("runs/nut", "key", OUT)]
    assert pair_up(model, ["all"], EVERY, OUT) == [Pair("runs/nut", "flange_nut", OUT)]


def test_one_model_and_several_categories_write_where_the_card_looks():
    model = {"runs/two": ["key", "flange_nut"]}
    assert pair_up(model, ["all"], EVERY, OUT) == [
        Pair("runs/two", "flange_nut", OUT / "flange_nut"),
        Pair("runs/two", "key", OUT / "key"),
    ]


def test_all_keeps_a_model_to_what_it_knows():
    assert pair_up(BOTH, ["all"], EVERY, OUT) == [
        Pair("runs/nut", "flange_nut", OUT / "nut" / "flange_nut"),
        Pair("runs/two", "flange_nut", OUT / "two" / "flange_nut"),
        Pair("runs/two", "key", OUT / "two" / "key"),
    ]


def test_categories_that_are_named_are_for_every_model():
    pairs = pair_up(BOTH, ["key", "flange_nut", "key"], EVERY, OUT)
    assert [(pair.model, pair.category) for pair in pairs] == [
        ("runs/nut", "key"),
        ("runs/two", "key"),
        ("runs/nut", "flange_nut"),
        ("runs/two", "flange_nut"),
    ]


def test_the_only_category_of_the_data_needs_no_name():
    assert pair_up(BOTH, [], NUT, OUT)[1] == Pair(
        "runs/two", "flange_nut", OUT / "two" / "flange_nut"
    )


def test_models_of_one_name_get_folders_of_their_own():
    known = {"runs/1/nut": ["key"], "runs/2/nut": ["key"], "org/nut": ["key"]}
    pairs = pair_up(known, ["key"], EVERY, OUT)
    assert [pair.folder for pair in pairs] == [
        OUT / "1--nut" / "key",
        OUT / "2--nut" / "key",
        OUT / "org--nut" / "key",
    ]


def test_what_the_data_lacks_is_told_before_anything_is_evaluated():
    with pytest.raises(DatasetError, match=r"\(flange_nut, key, fabric\).*found key screw"):
        pair_up(BOTH, ["key", "screw"], EVERY, OUT)
    with pytest.raises(DatasetError, match="all by itself"):
        pair_up(BOTH, ["all", "key"], EVERY, OUT)
    with pytest.raises(DatasetError, match="has flange_nut, and --model knows screw"):
        pair_up({"runs/screw": ["screw"]}, ["all"], NUT, OUT)
