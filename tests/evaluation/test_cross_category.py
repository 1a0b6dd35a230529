from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.dataset import load_inspection_dataset
from data.rows import UnknownCategoryError, decode_picture
from evaluation.studies.cross_category import (
    Opinion,
    Refusals,
    as_table,
    cross,
    main,
    summarise,
    summary,
    wrong_photos,
)
from evaluation.studies.judges import BATCH, Judge, few_of_each, load_judges, load_photos, opinions
from modeling import CHECK, FAIL, PASS, ModelLoadError, load_pipeline
from tests.conftest import ROOT

MODELS = [ROOT / "assets/models" / name for name in ("flange_nut", "key")]
DATA = [f"synthetic:{part}?test_good=2&test_per_defect=1" for part in ("flange_nut", "key")]
LIMIT = 2


@pytest.fixture(scope="module")
def judges() -> list[Judge]:
    return load_judges(MODELS)


@pytest.fixture(scope="module")
def photos() -> dict:
    return load_photos(DATA, limit=LIMIT)


@pytest.fixture(scope="module")
def refusals(judges, photos) -> list[Refusals]:
    return cross(judges, photos)


def opinion(verdict: str, is_good: bool = True) -> Opinion:
    doubt = "other_product" if verdict == CHECK else None
    return Opinion(f"part/{verdict}", is_good, verdict, doubt, 1.0)


def made_up(own: str, other: str) -> list[Refusals]:
    judge = Judge("nut", "nut", None, None)
    return [
        summarise(judge, "nut", [opinion(own)] * 3),
        summarise(judge, "key", [opinion(other)] * 2 + [opinion(CHECK, is_good=False)]),
    ]


def test_every_model_sees_every_product(refusals):
    pairs = [(entry.model, entry.product) for entry in refusals]
    assert pairs == [(a, b) for a in ("flange_nut", "key") for b in ("flange_nut", "key")]
    assert all(entry.good.total == entry.defective.total == LIMIT for entry in refusals)


def test_shipped_models_judge_their_own_product_and_refuse_the_other(refusals):
    for entry in refusals:
        assert entry.good.count + entry.defective.count == (0 if entry.is_own else 2 * LIMIT)
        assert not entry.wrong
        assert entry.passed <= (LIMIT if entry.is_own else 0)


def test_opinions_are_those_of_the_pipeline(judges, photos):
    pictures = [decode_picture(photos["key"], row, "image") for row in (0, 3)]
    for judge, folder, output in zip(judges, MODELS, opinions(judges, pictures), strict=True):
        inspections = load_pipeline(folder, device="cpu")(pictures)
        assert output.raw_score.tolist() == pytest.approx(
            [inspection.raw_score for inspection in inspections], rel=1e-5
        )
        assert [inspection.verdict == CHECK for inspection in inspections] == [
            judge.category != "key"
        ] * 2


def test_a_photo_is_prepared_once_for_models_that_are_prepared_alike(judges, photos, monkeypatch):
    calls = []
    kind = type(judges[0].processor)
    prepare = kind.__call__
    monkeypatch.setattr(kind, "__call__", lambda *a, **k: calls.append(1) or prepare(*a, **k))
    picture = decode_picture(photos["key"], 0, "image")
    opinions(judges, [picture])
    assert len(calls) == 1
    judges[1].processor.rescale_factor = 1 / 510
    try:
        opinions(judges, [picture])
    finally:
        judges[1].processor.rescale_factor = 1 / 255
    assert len(calls) == 3


def test_memory_is_bounded_by_a_few_photos_at_a_time(judges, photos, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "evaluation.studies.cross_category.opinions",
        lambda judges, pictures: sizes.append(len(pictures)) or [],
    )
    assert all(entry.good.total == 0 for entry in cross(judges, photos))
    assert sum(sizes) == 4 * LIMIT
    assert max(sizes) <= BATCH


def test_the_table_has_a_row_a_model_and_marks_its_own_product():
    lines = as_table(made_up(PASS, CHECK), "good").splitlines()
    assert lines[0] == "| model \\ good photos of | nut | key |"
    assert lines[2] == "| nut | **0 of 3** | 2 of 2 |"


def test_the_summary_tells_wrongly_refused_from_wrongly_judged():
    right, wrong = summary(made_up(PASS, CHECK)), summary(made_up(CHECK, PASS))
    assert "their own products' good photos the models refuse 0.00 % (0 of 3" in right
    assert "other products' good photos the models refuse 100.00 % (2 of 2" in right
    assert "their own products' good photos the models refuse 100.00 % (3 of 3" in wrong
    assert "other products' good photos the models refuse 0.00 % (0 of 2" in wrong
    assert "they judge and pass 66.67 % (2 of 3" in wrong
    assert "defective photos the models refuse none, for there are none." in right


def test_wrong_photos_are_named_with_the_reason():
    assert wrong_photos(made_up(FAIL, CHECK)).startswith("- No photo")
    wrong = wrong_photos(made_up(CHECK, FAIL)).splitlines()
    assert wrong[0].startswith("- nut refuses its own part/CHECK (other_product), ")
    assert wrong[1] == "- nut judges part/FAIL (FAIL), part/FAIL (FAIL)."


def test_the_command_prints_the_table_and_writes_the_numbers(tmp_path, capsys):
    output = tmp_path / "new" / "cross.json"
    words = ["--models", str(MODELS[0]), "--data", *DATA, "--limit", "1", "--good_only"]
    assert main([*words, "--output", str(output)]) == 0
    printed = capsys.readouterr()
    assert "| flange_nut | **0 of 1** | 1 of 1 |" in printed.out
    assert "crossing" in printed.err
    own, other = json.loads(output.read_text())
    assert (own["good"]["count"], other["good"]["count"]) == (0, 1)
    assert own["defective"]["value"] is None
    assert other["reasons"] == {"other_product": 1}


def test_bad_input_is_one_sentence(tmp_path, capsys):
    assert main(["--models", str(tmp_path / "none"), "--data", DATA[0], "--limit", "1"]) == 2
    assert main(["--models", str(MODELS[0]), "--data", str(tmp_path / "none")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cross")]
    assert len([line for line in lines if "does not exist" in line]) == 2


@pytest.mark.parametrize(
    ("place", "reason"), [("", "Is a directory"), ("file/cross.json", "File exists")]
)
def test_a_file_that_can_not_be_written_is_told_before_any_model_is_loaded(
    place, reason, tmp_path, capsys
):
    (tmp_path / "file").touch()
    nowhere = ["--models", str(tmp_path / "none"), "--data", DATA[0]]
    assert main([*nowhere, "--output", str(tmp_path / place)]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert f"can't be read or written ({reason}); check --data and --output." in sentence


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("--limit", "0"), "from 1 up, found '0'"), (("--seed", "-1"), "from 0 up, found '-1'")],
)
def test_a_number_out_of_range_is_one_sentence(words, expected, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--models", str(MODELS[0]), "--data", DATA[0], *words])
    assert f"expected a whole number {expected}" in capsys.readouterr().err


# The panel


def test_synthetic_training_photos_are_not_drawn_and_test_photos_are_the_same(photos):
    whole = load_inspection_dataset(DATA[1] + "&train=1")["test"]
    assert len(whole) > 2 * LIMIT
    names = whole["image_id"][:]
    for row, image_id in enumerate(photos["key"]["image_id"]):
        assert whole[names.index(image_id)]["image"] == photos["key"][row]["image"]


def test_few_of_each_takes_kinds_of_defect_in_turn():
    test = load_inspection_dataset("synthetic:key?train=1&test_good=3&test_per_defect=2&size=64")
    defects = few_of_each(test["test"], 3)["defect"][:]
    assert defects.count("good") == 3
    assert len({*defects} - {"good"}) == 3
    assert few_of_each(test["test"], None) is test["test"]


def test_an_unknown_category_is_named_with_those_there_are():
    with pytest.raises(
        UnknownCategoryError, match=r"no test photos of cup .*there are key\."
    ) as it:
        load_photos([DATA[1]], ["cup"])
    assert it.value.found == ["key"]


def test_models_of_one_name_are_told_apart(tmp_path):
    copies = [tmp_path / name / "key" for name in ("a", "b")]
    for copy in copies:
        copy.parent.mkdir()
        copy.symlink_to(MODELS[1])
    assert [judge.name for judge in load_judges(copies)] == ["a/key", "b/key"]


def test_a_model_without_calibration_is_no_judge(tmp_path: Path):
    folder = tmp_path / "key"
    folder.mkdir()
    for name in ("model.safetensors", "preprocessor_config.json"):
        (folder / name).symlink_to(MODELS[1] / name)
    config = json.loads((MODELS[1] / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"calibrations": {}}))
    with pytest.raises(ModelLoadError, match="not calibrated"):
        load_judges([folder])
