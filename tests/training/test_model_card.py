"""The card says what is in the folder, and nothing that is not."""

from __future__ import annotations

import json
import shutil

import pytest
from huggingface_hub import ModelCard

from training.model_card import main, model_card


def test_a_card_without_an_evaluation_claims_nothing(trained_model):
    card = ModelCard(model_card(trained_model))
    assert "Not measured on labelled photos yet" in card.text
    assert card.data.eval_results is None
    run = json.loads((trained_model / "training.json").read_text())
    assert run["command"] in card.text
    assert f"{run['cpu_seconds'] / 60:.1f} core minutes" in card.text


def test_the_command_line_puts_the_evaluation_into_the_card(evaluated_model, tmp_path, capsys):
    folder = tmp_path / "nut"
    shutil.copytree(evaluated_model, folder)
    assert "Not measured" in (folder / "README.md").read_text()
    assert main([str(folder)]) == 0
    assert "README.md" in capsys.readouterr().out
    card = ModelCard.load(folder / "README.md")
    measured = json.loads((folder / "evaluation" / "metrics.json").read_text())
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found["image_auroc"] == measured["image_auroc"]
    weakest = min(measured["per_defect"], key=lambda d: measured["per_defect"][d]["image_auroc"])
    assert f"Weakest at `{weakest}`" in card.text


def test_every_category_has_results_of_its_own(evaluated_model, tmp_path):
    folder = tmp_path / "nut"
    shutil.copytree(evaluated_model, folder)
    for category in ("bolt", "nut"):
        shutil.copytree(evaluated_model / "evaluation", folder / "evaluation" / category)
        path = folder / "evaluation" / category / "metrics.json"
        path.write_text(path.read_text().replace('"flange_nut"', f'"{category}"'))
    (folder / "evaluation" / "metrics.json").unlink()
    card = ModelCard(model_card(folder))
    assert {result.dataset_config for result in card.data.eval_results} == {"bolt", "nut"}
    assert "](evaluation/bolt/roc.png)" in card.text and "](evaluation/nut/roc.png)" in card.text


def test_what_is_undefined_is_said_and_left_out_of_the_index(evaluated_model, tmp_path):
    folder = tmp_path / "nut"
    shutil.copytree(evaluated_model, folder)
    path = folder / "evaluation" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pixel_auroc": None}))
    card = ModelCard(model_card(folder))
    assert "| Pixel AUROC | undefined |" in card.text
    assert "pixel_auroc" not in {result.metric_type for result in card.data.eval_results}


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_folder_without_its_facts_is_told_in_one_sentence(
    content, trained_model, tmp_path, capsys
):
    folder = tmp_path / "nut"
    shutil.copytree(trained_model, folder)
    facts = folder / "training.json"
    facts.unlink()
    if content is not None:
        facts.write_text(content)
    assert main([str(folder)]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert "training.json is missing or damaged" in sentence
