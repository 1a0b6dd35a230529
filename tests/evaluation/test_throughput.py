"""The table of throughput, made as a user makes it."""

from __future__ import annotations

import re

import pytest

from evaluation.studies.throughput import main

FEW = ("--data", "synthetic:flange_nut?train=5&test_good=1&test_per_defect=1&size=64")
SMALL = (*FEW, "--image_size", "64", "--batch_size", "2")
ROW = re.compile(r"\| ([a-z ,]+) \| ([\d.]+) \| ([\d.]+) \|")


@pytest.mark.parametrize(
    ("target", "all_kept"),
    [
        ("pixels", "decoded photos, variants"),
        ("features", "decoded photos, variants and their features"),
    ],
)
def test_tells_photos_a_second_by_what_is_kept_and_leaves_nothing(
    target, all_kept, tmp_path, capsys
):
    folder = tmp_path / "not" / "there"
    assert main([*SMALL, "--target", target, "--output_dir", str(folder)]) == 0
    table = capsys.readouterr().out
    rows = ROW.findall(table)
    assert [kept for kept, _, _ in rows] == ["nothing", "decoded photos", all_kept]
    assert all(float(prepared) > 0 and float(learned) > 0 for _, prepared, learned in rows)
    assert f"autoencoder on {target}, 64 x 64 pixels, 2 photos a step, 1 process(es)" in table
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "--data is missing"),
        ((*SMALL, "--mixed_precision", "fp8"), "mixed_precision"),
        (("--data", "./nowhere", "--category", "bottle"), "nowhere"),
        ((*SMALL, "--data", FEW[1].replace("train=5", "train=0")), "no good photos under train"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(words, sentence, tmp_path, capsys):
    assert main([*words, "--output_dir", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("throughput.py: ") and sentence in line


def test_a_folder_that_can_not_be_made_is_one_sentence_and_code_2(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([*SMALL, "--output_dir", str(tmp_path / "file" / "folder")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "file/folder can't be read or written (Not a directory)" in line
