from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.studies import reproduce
from evaluation.studies.reproduce import (
    FIGURES,
    Reproduction,
    ReproductionError,
    block,
    difference,
    main,
    named,
    page_of,
    table_under,
    with_block,
)

TEXT = "before\n\n<!-- figures:seeds -->\n| a |\n|---|\n<!-- /figures:seeds -->\n\nafter\n"


@pytest.mark.parametrize("name", FIGURES)
def test_a_page_has_a_table_for_every_figure(name):
    assert block(page_of(name).read_text(), name).startswith("|")


def test_a_block_is_read_and_replaced_and_nothing_around_it():
    assert block(TEXT, "seeds") == "| a |\n|---|"
    changed = with_block(TEXT, "seeds", "| b |")
    assert block(changed, "seeds") == "| b |"
    assert with_block(changed, "seeds", "| a |\n|---|") == TEXT


def test_a_page_without_the_place_says_so():
    with pytest.raises(ReproductionError, match="no place for guard"):
        block(TEXT, "guard")


def test_a_digit_that_differs_is_shown_and_one_that_agrees_is_not():
    assert difference("seeds", "| 99.8 |\n| 1.0 |", "| 99.8 |\n| 1.0 |") == []
    lines = difference("seeds", "| 99.8 |\n| 1.0 |", "| 99.7 |\n| 1.0 |")
    assert "-| 99.8 |" in lines
    assert "+| 99.7 |" in lines
    assert not any("1.0" in line for line in lines)


def test_the_time_that_a_training_took_may_differ():
    assert difference("recipes", "| 99.8 | 8 min |", "| 99.8 | 11 min |") == []
    assert difference("recipes", "| 99.8 | 8 min |", "| 99.7 | 11 min |")


def test_the_recipes_are_compared_with_a_table_of_the_same_columns(monkeypatch):
    metrics = dict.fromkeys(("image_auroc", "pixel_auroc", "aupro"), 0.5)
    metrics |= dict.fromkeys(("false_alarms", "n_normal", "misses", "n_anomalous"), 1)
    metrics["cost"] = {"training_seconds": 60.0}
    monkeypatch.setattr(Reproduction, "trained", lambda *_: Path("model"))
    monkeypatch.setattr(Reproduction, "evaluated", lambda *_: metrics)
    made = reproduce.recipes(Reproduction("photos", Path("out"))).splitlines()
    printed = block(page_of("recipes").read_text(), "recipes").splitlines()
    assert made[:2] == printed[:2]
    assert len(made) == len(printed)


def test_the_table_under_a_heading_is_the_first_one_there():
    text = "# A\n\n| x |\n|---|\n\n## B\n\nwords\n\n| y |\n|---|\n| 1 |\n\n| z |\n"
    assert table_under("B", text) == "| y |\n|---|\n| 1 |"
    with pytest.raises(ReproductionError, match="no table under 'C'"):
        table_under("C", text)


def test_what_was_made_already_is_not_made_again(tmp_path, monkeypatch):
    folder = tmp_path / "evaluations" / "default-screw-seed1"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"image_auroc": 0.5}))
    monkeypatch.setattr(reproduce, "run", None)  # called, it would fail
    reproduction = Reproduction("photos", tmp_path)
    model = tmp_path / "default" / "screw-seed1"
    assert reproduction.evaluated(model, "screw") == {"image_auroc": 0.5}


def test_a_command_that_fails_is_one_sentence_and_exit_code_1(tmp_path, capfd):
    for category in ("bottle", "screw"):
        (tmp_path / category).mkdir()
    words = ["--data", str(tmp_path), "--output_dir", str(tmp_path / "out"), "--only", "seeds"]
    assert main(words) == 1
    said = capfd.readouterr().err
    assert "train.py ended with 2" in said
    assert "Traceback" not in said


def test_photos_that_are_not_there_are_missed_before_anything_is_made(tmp_path, capsys):
    (tmp_path / "bottle").mkdir()
    words = ["--data", str(tmp_path), "--output_dir", str(tmp_path / "out")]
    assert main(words) == 2
    assert "holds no screw; give MVTec AD's folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_category_says_where_it_comes_from_and_how_it_lies():
    assert named("screw") == "MVTec AD `screw` (any rotation)"
    assert named("flange_nut") == "`synthetic:flange_nut` (always aligned)"


def test_the_models_that_ship_have_the_figures_of_their_own_evaluations(monkeypatch):
    def read(_: Reproduction, model: Path, __: str) -> dict:
        return json.loads((model / "evaluation" / "metrics.json").read_text())

    monkeypatch.setattr(Reproduction, "evaluated", read)
    made = reproduce.shipped(Reproduction("photos", Path("out")))
    assert difference("shipped", block(page_of("shipped").read_text(), "shipped"), made) == []
