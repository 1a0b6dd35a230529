"""The card says what is in the folder, and nothing that is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from publishing import push
from publishing.model_card import main, model_card


def test_a_card_without_an_evaluation_claims_nothing(trained_model):
    card = ModelCard(model_card(trained_model))
    assert "Not measured on labelled photos yet" in card.text
    assert card.data.eval_results is None
    run = json.loads((trained_model / "training.json").read_text())
    assert run["command"] in card.text
    assert f"{run['cpu_seconds'] / 60:.1f} core minutes" in card.text
    told = run["on_damage"]["flange_nut"]
    assert f"{100 * told['body']:.1f} % without the whole part" in card.text
    assert f"{100 * told['whole_part']:.1f} % by the whole part alone" in card.text
    assert f"{100 * told['joined']:.1f} % by both" in card.text


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


def test_facts_that_say_half_of_what_damage_showed_are_told_too(trained_model, tmp_path, capsys):
    folder = tmp_path / "nut"
    shutil.copytree(trained_model, folder)
    without("on_damage", "flange_nut", "joined")(folder / "training.json")
    assert main([str(folder)]) == 2
    assert "training.json is missing or damaged" in capsys.readouterr().err


def with_another_field(path: Path) -> None:
    path.write_text(path.read_text() + "\nepoch_count: 3\n")


def cut_off(path: Path) -> None:
    path.write_text(path.read_text()[:-40] + ": {")


def emptied(path: Path) -> None:
    path.write_text("")


def without(*names: str) -> Callable[[Path], None]:
    def remove(path: Path) -> None:
        content = inner = json.loads(path.read_text())
        for name in names[:-1]:
            inner = inner[name]
        del inner[names[-1]]
        path.write_text(json.dumps(content))

    return remove


@pytest.mark.parametrize(
    ("file", "spoil", "reason"),
    [
        ("recipe.yaml", Path.unlink, "No such file"),
        ("recipe.yaml", with_another_field, "unknown field 'epoch_count'"),
        ("recipe.yaml", cut_off, "not valid YAML"),
        ("recipe.yaml", emptied, "must hold `field: value` lines"),
        ("recipe.yaml", lambda path: path.write_text("epochs: 3\n"), "it names no data"),
        ("evaluation/metrics.json", emptied, "Expecting value"),
        ("evaluation/metrics.json", lambda path: path.write_text("[]"), "list"),
        ("evaluation/metrics.json", without("aupro"), "no 'aupro'"),
        ("evaluation/metrics.json", without("data"), "no 'data'"),
        ("evaluation/metrics.json", without("versions", "torch"), "no 'torch'"),
        (
            "evaluation/metrics.json",
            without("per_defect", "dent", "image_auroc"),
            "no 'image_auroc'",
        ),
    ],
)
def test_a_damaged_file_or_one_of_another_version_is_named(
    file, spoil, reason, evaluated_model, tmp_path, monkeypatch, capsys
):
    folder = shutil.copytree(evaluated_model, tmp_path / "nut")
    spoil(folder / file)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")  # pushing stops before it is shown to anybody
    for command, words in ((main, [str(folder)]), (push.main, [str(folder), "org/nut"])):
        assert command(words) == 2
        sentence = capsys.readouterr().err.splitlines()[-1]  # after transformers' own bar
        assert sentence.startswith(("model_card.py: ", "push.py: "))
        assert str(folder / file) in sentence
        assert reason in sentence


def test_the_card_says_by_what_the_whole_part_is_known(trained_model, tmp_path):
    assert "at 14 x 14 places, in layers 4, 7, 10, 14 of that backbone" in model_card(trained_model)
    folder = shutil.copytree(trained_model, tmp_path / "body")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"whole_part_layers": None}))
    assert "Whole part" not in model_card(folder)


def test_the_card_shows_where_the_part_is_and_no_photo(trained_model):
    card = model_card(trained_model)
    assert "at its places, and what is large beside it" in card.replace("with a margin, ", "")
    assert "](part.png)" in card
    with Image.open(trained_model / "part.png") as picture:
        assert picture.mode == "L" and len(picture.getcolors()) == 2
