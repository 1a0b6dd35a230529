from __future__ import annotations

import doctest
import json
import math
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from data.rows import decode_picture
from evaluation.studies.judges import load_judges, load_photos
from evaluation.studies.robustness import significance
from evaluation.studies.robustness.command import change, is_located, main, try_out
from evaluation.studies.robustness.figures import (
    AUROC,
    CHECKS,
    CLEAN,
    FALSE_ALARMS,
    MISSES,
    Condition,
    Observed,
    Trial,
    conditions,
    figures_of,
    spread,
)
from evaluation.studies.robustness.perturbations import PERTURBATIONS
from evaluation.studies.robustness.report import HOLDS, write_report
from evaluation.studies.robustness.significance import FEWEST, auroc_change, happens_more_often
from modeling import load_pipeline
from tests.conftest import ROOT

MODEL = ROOT / "assets/models/key"
DATA = "synthetic:key?test_good=1&test_per_defect=1"
STRONG = Condition("noise", 10)
N = 20


def made_up_trial(name: str = "nut", *, worse: bool = True) -> Trial:
    """N good photos that score 1 and N cracks that score 2; worse: all alarm, and are refused."""
    clean = Observed([1.0] * N + [2.0] * N, [False] * N + [True] * N, [False] * 2 * N, [None] * N)
    clean.located += [True] * N
    noisy = Observed([3.0] * N + [2.0] * N, [True] * N + [False] * N, [True] * 2 * N, [None] * N)
    noisy.located += [False] * N
    defects = ["good"] * N + ["crack"] * (N // 2) + ["dent"] * (N // 2)
    return Trial(name, "nut", defects, {CLEAN: clean, STRONG: noisy if worse else clean})


# Beyond chance


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(significance).failed == 0


def test_the_bootstrap_surrounds_the_true_change_of_auroc():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 60)
    clean = labels * 1.5 + rng.normal(size=120)
    changed = clean + rng.normal(size=120)
    low, high = auroc_change(labels, clean, changed, seed=0)
    found = roc_auc_score(labels, changed) - roc_auc_score(labels, clean)
    assert low < found < high < 0.05
    assert (low, high) == auroc_change(labels, clean, changed, seed=0)
    assert (low, high) != auroc_change(labels, clean, changed, seed=1)


def test_a_change_that_only_scales_scores_is_none():
    scores = np.arange(20.0)
    assert auroc_change([0, 1] * 10, scores, 3 * scores + 1, seed=0) == (0, 0)


def test_too_few_photos_prove_no_change():
    labels = [0] * (FEWEST - 1) + [1] * 20
    clean, changed = np.array(labels, dtype=float), -np.array(labels, dtype=float)
    assert all(map(math.isnan, auroc_change(labels, clean, changed, seed=0)))
    assert auroc_change([0, *labels], [0, *clean], [0, *changed], seed=0)[1] < 0


def test_what_happens_less_often_is_not_more():
    assert not happens_more_often([True] * 20, [False] * 20)
    assert not happens_more_often([], [])
    assert not happens_more_often([True] * 9, [True] * 9)


def test_chance_is_called_worse_as_rarely_as_promised():
    rng = np.random.default_rng(1)
    called = [happens_more_often(*rng.random((2, 40)) < 0.3) for _ in range(1000)]
    assert np.mean(called) <= significance.LEVEL


# Figures


def test_figures_count_what_was_said():
    clean, noisy = figures_of(made_up_trial(), seed=0).figures
    assert (clean.image_auroc, noisy.image_auroc) == (1, 0)
    assert (noisy.false_alarms.count, noisy.misses.count, noisy.checks.count) == (N, N, 2 * N)
    assert (clean.located.count, noisy.located.count, noisy.located.total) == (N, 0, N)
    assert noisy.unnoticed.count == 0  # all of the wrong verdicts are refused
    assert {kind: share.total for kind, share in noisy.misses_by_defect.items()} == {
        "crack": N // 2,
        "dent": N // 2,
    }


def test_what_is_worse_is_named():
    clean, noisy = figures_of(made_up_trial(), seed=0).figures
    assert clean.worse == ()
    assert noisy.worse == (AUROC, FALSE_ALARMS, MISSES, CHECKS)
    assert figures_of(made_up_trial(worse=False), seed=0).figures[1].worse == ()


def test_spread_needs_two_values():
    assert spread([0.2, math.nan, 0.9]) == pytest.approx(0.7)
    assert math.isnan(spread([0.2, math.nan]))


def test_every_strength_of_every_change_is_a_condition_once():
    chosen = conditions(PERTURBATIONS)
    assert chosen[0] == CLEAN
    assert (
        len({*chosen}) == len(chosen) == 1 + sum(len(p.strengths) for p in PERTURBATIONS.values())
    )
    assert all(str(one) for one in chosen)


# Trying out


def test_the_strongest_place_counts_as_found_in_the_defect_or_close_to_it():
    mask = np.zeros((100, 200), dtype=np.uint8)
    mask[40:50, 100:110] = 255
    for (y, x), found in {(22, 52): True, (19, 52): True, (15, 52): False, (22, 80): False}.items():
        anomaly_map = np.zeros((50, 100))
        anomaly_map[y, x] = 1
        assert is_located(anomaly_map, Image.fromarray(mask)) is found
    assert is_located(anomaly_map, None) is None
    assert is_located(anomaly_map, Image.new("L", (9, 9))) is None


def test_a_change_depends_on_photo_and_seed_alone():
    image = Image.new("RGB", (32, 32), "grey")
    first = change(image, None, STRONG, "a", 0)[0]
    assert first == change(image, None, STRONG, "a", 0)[0]
    assert first != change(image, None, STRONG, "b", 0)[0]
    assert first != change(image, None, STRONG, "a", 1)[0]
    assert change(image, None, CLEAN, "a", 0)[0] is image


def test_photos_under_a_change_are_judged_as_the_pipeline_judges_them():
    photos = load_photos([DATA], limit=1)
    chosen = [CLEAN, STRONG]
    (trial,) = try_out(load_judges([MODEL]), photos, chosen)
    image_ids, inspect = photos["key"]["image_id"][:], load_pipeline(MODEL, device="cpu")
    for condition in chosen:
        for row, image_id in enumerate(image_ids):
            picture = decode_picture(photos["key"], row, "image")
            inspection = inspect(change(picture, None, condition, image_id, 0)[0])
            observed = trial.observed[condition]
            assert observed.raw_scores[row] == pytest.approx(inspection.raw_score, rel=1e-5)
            assert observed.refused[row] == (inspection.doubt is not None)
    assert [trial.observed[CLEAN].located[row] is None for row in (0, 1)] == [
        defect == "good" for defect in trial.defects
    ]


# The command


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness") / "new"
    words = [
        "--models",
        str(MODEL),
        "--data",
        DATA,
        "--limit",
        "1",
        "--changes",
        "JPEG",
        "rotation",
    ]
    assert main([*words, "--output_dir", str(folder)]) == 0
    again = folder.with_name("again")
    assert main([*words, "--output_dir", str(again)]) == 0
    return folder, again


def test_there_is_a_row_for_every_change_and_strength(results):
    record = json.loads((results[0] / "robustness.json").read_text())
    (result,) = record["results"]
    found = [Condition(one["change"], one["strength"]) for one in result["conditions"]]
    assert found == conditions(["JPEG", "rotation"])
    for condition in found:
        assert f"\n| {condition} |" in (results[0] / "robustness.md").read_text()
    assert all(one["false_alarms"]["total"] == 1 for one in result["conditions"])
    assert {"command", "seed", "versions", "level"} <= {*record}


def test_the_same_seed_gives_the_same_figures(results):
    first, second = (json.loads((one / "robustness.json").read_text()) for one in results)
    assert first["results"] == second["results"]
    assert first["spread"] == second["spread"]


def test_the_page_needs_no_other_file(results):
    page = (results[0] / "robustness.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count("<img") == 2 + len(conditions(["JPEG", "rotation"])) - 1
    assert "JPEG, quality 50" in page


def test_several_models_stand_beside_each_other_and_the_worse_one_is_marked(tmp_path):
    models = [
        figures_of(made_up_trial("first"), 0),
        figures_of(made_up_trial("second", worse=False), 0),
    ]
    samples = dict.fromkeys((CLEAN, STRONG), Image.new("RGB", (30, 20)))
    write_report(tmp_path, models, samples, "python -m evaluation.studies.robustness", 0)
    text = (tmp_path / "robustness.md").read_text()
    assert "| change | first on nut | second on nut |" in text
    assert (
        f"| noise | 10 grey levels: {AUROC}, {FALSE_ALARMS}, {MISSES}, {CHECKS} | {HOLDS} |" in text
    )
    assert f"| **noise, 10 grey levels (worse)** | {N} of {N} worse | 0 of {N} | 1.000 |" in text
    assert "| **noise, 10 grey levels (worse)** | 0.000 worse | 1.000 | 1.000 |" in text
    assert "| **noise, 10 grey levels (worse)** | 0.000 (-1.000) | 20 of 20 |" in text
    (entry,) = [
        one
        for one in json.loads((tmp_path / "robustness.json").read_text())["spread"]
        if one["change"] == "noise"
    ]
    assert entry[FALSE_ALARMS] == 1


def test_bad_input_is_one_sentence(tmp_path, capsys):
    output = ["--output_dir", str(tmp_path / "out")]
    fabric = "synthetic:fabric?test_good=1&test_per_defect=0"
    assert main(["--models", str(MODEL), "--data", fabric, *output]) == 2
    assert "the models know key, the data holds fabric" in capsys.readouterr().err
    assert main(["--models", str(tmp_path / "none"), "--data", DATA, *output]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["--models", str(MODEL), "--data", DATA, "--category", "cup", *output]) == 2
    assert "no test photos of cup" in capsys.readouterr().err
    assert not [*(tmp_path / "out").iterdir()]


@pytest.mark.parametrize(("place", "reason"), [("", "File exists"), ("out", "Not a directory")])
def test_a_folder_that_can_not_be_made_is_told_before_any_model_is_loaded(
    place, reason, tmp_path, capsys
):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / place
    nowhere = ["--models", str(tmp_path / "none"), "--data", DATA]
    assert main([*nowhere, "--output_dir", str(output)]) == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence == (
        f"robustness.py: {output} can't be read or written ({reason}); check --data and "
        "--output_dir."
    )


def test_what_can_not_be_written_at_the_end_is_one_sentence(tmp_path, capsys):
    (tmp_path / "samples").touch()  # where a folder is to be
    words = ["--models", str(MODEL), "--data", DATA.replace("defect=1", "defect=0")]
    assert main([*words, "--changes", "JPEG", "--output_dir", str(tmp_path)]) == 2
    assert f"{tmp_path / 'samples'} can't be read or written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("--limit", "0"), "from 1 up, found '0'"), (("--seed", "-1"), "from 0 up, found '-1'")],
)
def test_a_number_out_of_range_is_one_sentence(words, expected, tmp_path, capsys):
    needed = ["--models", str(MODEL), "--data", DATA, "--output_dir", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="2"):
        main([*needed, *words])
    assert f"expected a whole number {expected}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
