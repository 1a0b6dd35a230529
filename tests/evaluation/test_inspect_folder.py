"""inspect_folder.py as it is asked: which photos, with what model, and when it refuses to go on."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from data import synthetic
from evaluation.inspect_folder.command import main
from evaluation.inspect_folder.errors import FolderError
from evaluation.inspect_folder.photos import list_photos
from evaluation.inspect_folder.run import Identity, take_up
from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor, load_pipeline
from tests.evaluation.inspected_folders import (
    SIDE,
    arguments_for,
    copy_ten,
    expected_row,
    make_photos,
    read_rows,
    said,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Ten photos and a damaged one."""
    return make_photos(tmp_path_factory.mktemp("photos"), 11)


@pytest.fixture
def few(photos, tmp_path) -> Path:
    """A folder of ten photos that a test may change."""
    return copy_ten(photos, tmp_path / "few")


# With what


def test_batches_and_the_threshold_change_what_they_should_and_no_more(
    trained_model, few, tmp_path
):
    pipe = load_pipeline(trained_model)
    lowest = min(pipe(str(path)).score for path in few.iterdir())
    more = ("--threshold", str(lowest / 2), "--batch_size", "4")
    assert main(arguments_for(trained_model, few, tmp_path / "out", *more)) == 0
    for path, row in read_rows(tmp_path / "out").items():
        expected = expected_row(pipe(str(few / path), threshold=lowest / 2))
        assert row["verdict"] == expected["verdict"] != "PASS"
        assert row["threshold"] == lowest / 2
        assert row["region_count"] == expected["region_count"]
        for name in ("score", "raw_score"):
            assert row[name] == pytest.approx(expected[name], rel=1e-4)


def test_the_summary_counts_what_the_rows_say(trained_model, few, tmp_path, capsys):
    (few / "note.txt").write_text("no photo")
    (few / "last.png").write_text("no photo either")
    assert main(arguments_for(trained_model, few, tmp_path / "out")) == 0
    counts = Counter(row["verdict"] for row in read_rows(tmp_path / "out").values())
    printed = capsys.readouterr()
    assert printed.out.startswith(
        f"11 photos: {counts['PASS']} PASS, {counts['FAIL']} FAIL, {counts['CHECK']} CHECK, "
        f"1 ERROR; yield {100 * counts['PASS'] / (counts['PASS'] + counts['FAIL']):.1f} %"
    )
    assert "11 of them now" in printed.out
    assert "is passed over: 1 .txt." in printed.err


@pytest.mark.parametrize(
    ("overlays", "painted"),
    [("failures", {"FAIL"}), ("none", set()), ("all", {"PASS", "FAIL", "CHECK"})],
)
def test_overlays_are_those_of_the_photos_asked_for(
    overlays, painted, trained_model, few, tmp_path
):
    more = ("--overlays", overlays)
    assert main(arguments_for(trained_model, few, tmp_path / "out", *more)) == 0
    rows = read_rows(tmp_path / "out").values()
    named = {row["overlay"] for row in rows if row["verdict"] in painted}
    written = (tmp_path / "out" / "overlays").glob("*")
    assert named == {path.relative_to(tmp_path / "out").as_posix() for path in written}
    assert all(row["overlay"] is None for row in rows if row["verdict"] not in painted)
    for name in named:
        with Image.open(tmp_path / "out" / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))


def test_a_model_of_several_products_must_be_told_which(few, tmp_path, capsys):
    torch.manual_seed(0)
    fields = {"image_size": 64, "target": "pixels"}
    model = Autoencoder(AutoencoderConfig(categories=["bolt", "nut"], **fields)).eval()
    for category, brightness in (("bolt", 1.0), ("nut", 0.1)):
        model.calibrate([brightness * torch.rand(6, 3, 64, 64)], 0.3, category)
    model.save_pretrained(tmp_path / "model")
    processor = InspectionImageProcessor(size={"height": 64, "width": 64})
    processor.save_pretrained(tmp_path / "model")
    words = arguments_for(tmp_path / "model", few, tmp_path / "out")
    assert main(words) == 2
    assert "knows bolt, nut; say which with --category" in said(capsys)
    assert main([*words, "--category", "washer"]) == 2
    assert "found --category washer" in said(capsys)
    assert main([*words, "--category", "nut"]) == 0
    pipe = load_pipeline(tmp_path / "model")
    for path, row in read_rows(tmp_path / "out").items():
        expected = pipe(str(few / path), category="nut")
        assert row["score"] == pytest.approx(expected.score, rel=1e-4)
        assert row["category"] == "nut"
    assert main([*words, "--category", "bolt"]) == 2
    assert "the category nut, found bolt" in said(capsys)


# Which photos


def test_every_photo_of_all_folders_is_listed_once_and_in_order(tmp_path):
    for name in ("b/2.PNG", "b/10.jpeg", "a.webp", "c/d/e.tif", "c/notes.txt", "out/overlay.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for hidden in (".trash/x.png", "b/.x.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).touch()
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    (tmp_path / "c" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / os.fsdecode(b"\xff.png")).touch()
    listing = list_photos(tmp_path, tmp_path / "out")
    assert listing.paths == [
        *("a.webp", "b/10.jpeg", "b/2.PNG", "c/d/e.tif", "gone.png"),
        os.fsdecode(b"\xff.png"),
    ]
    assert listing.passed_over == {".txt": 1}


def test_names_that_are_no_text_and_broken_links_are_rows(trained_model, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    part = synthetic.render("flange_nut", seed=1, size=SIDE).image
    for name in (b"\xff.png", b"line\nbreak.png"):
        part.save(photos / os.fsdecode(name))
    (photos / os.fsdecode(b"\xfe.png")).write_text("no photo")
    (photos / "gone.png").symlink_to("nowhere.png")
    words = arguments_for(trained_model, photos, tmp_path / "out", "--overlays", "all")
    assert main(words) == 0
    rows = read_rows(tmp_path / "out")
    assert {*rows} == {"\\xff.png", "\\xfe.png", "line\nbreak.png", "gone.png"}
    assert rows["gone.png"]["error"] == "gone.png was not found; check the path of the photo."
    assert rows["\\xfe.png"]["error"].startswith("\\xfe.png is not a picture")
    assert rows["\\xff.png"]["verdict"] != "ERROR"
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert main(words) == 0  # all of them are found again among the rows
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_photos_that_are_added_are_inspected_and_no_others(trained_model, few, tmp_path, capsys):
    words = arguments_for(trained_model, few, few / "results")
    assert main(words) == 0
    before = read_rows(few / "results")
    synthetic.render("flange_nut", seed=9, size=SIDE).image.save(few / "00003 b.png")
    assert main(words) == 0
    after = read_rows(few / "results")  # where overlays lie too, which are no photos to inspect
    assert {*after} - {*before} == {"00003 b.png"}
    assert {path: after[path] for path in before} == before
    assert "1 of them now" in capsys.readouterr().out


# Another run


IDENTITY = Identity("runs/nut", "a" * 64, "nut", 0.5, "photos")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("model_sha256", "b" * 64, f"the model runs/nut ({'a' * 12}), found runs/nut ({'b' * 12})"),
        ("category", "bolt", "the category nut, found bolt"),
        ("threshold", 0.7, "the threshold 0.5, found 0.7"),
        ("photos", "others", "the folder of photos photos, found others"),
    ],
)
def test_a_run_goes_on_only_as_what_it_was_begun(field, value, sentence, tmp_path):
    take_up(tmp_path, IDENTITY, {})
    take_up(tmp_path, dataclasses.replace(IDENTITY, model="moved/nut"), {})
    with pytest.raises(FolderError) as refusal:
        take_up(tmp_path, dataclasses.replace(IDENTITY, **{field: value}), {})
    assert f"{tmp_path} holds results of {sentence}; give what" in str(refusal.value)


def test_a_run_goes_on_with_the_model_published_and_not_with_the_model_trained_again(
    trained_model, few, tmp_path, capsys
):
    model = shutil.copytree(trained_model, tmp_path / "model")
    words = arguments_for(model, few, tmp_path / "out")
    assert main(words) == 0
    for name in ("config.json", "preprocessor_config.json"):
        settings = json.loads((model / name).read_text())
        (model / name).write_text(json.dumps({**settings, "auto_map": {"AutoModel": "a.B"}}))
    assert main(words) == 0
    weights = Autoencoder.from_pretrained(model)
    with torch.no_grad():
        next(weights.parameters()).add_(1e-3)
    weights.save_pretrained(model)
    assert main(words) == 2
    assert "holds results of the model model (" in said(capsys)


def bad_words(model: Path, photos: Path, tmp: Path) -> dict[str, tuple[Sequence[str], str]]:
    (tmp / "empty").mkdir()
    (tmp / "file").touch()
    return {
        "no folder": (arguments_for(model, tmp / "no", tmp / "out"), "no is no folder"),
        "no photos": (arguments_for(model, tmp / "empty", tmp / "out"), "holds no PNG, JPEG"),
        "same": (arguments_for(model, photos, photos), "is the folder of the photos"),
        "file": (arguments_for(model, photos, tmp / "file"), "can't be read or written (File exi"),
        "model": (arguments_for(tmp / "empty", photos, tmp / "out"), "could not be loaded"),
    }


@pytest.mark.parametrize("case", ["no folder", "no photos", "same", "file", "model"])
def test_what_can_not_be_inspected_is_one_sentence(case, trained_model, few, tmp_path, capsys):
    words, sentence = bad_words(trained_model, few, tmp_path)[case]
    assert main(words) == 2
    assert sentence in said(capsys)


@pytest.mark.parametrize(
    ("flag", "value", "sentence"),
    [
        ("--threshold", "1.5", "--threshold must be a number from 0.0 to 1.0, found 1.5"),
        ("--threshold", "nan", "--threshold must be a number from 0.0 to 1.0, found nan"),
        ("--batch_size", "0", "--batch_size must be a whole number from 1"),
        ("--part_size", "0", "--part_size must be a whole number from 1"),
    ],
)
def test_a_number_out_of_its_range_is_refused(flag, value, sentence, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*arguments_for(tmp_path, tmp_path, tmp_path), flag, value])
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
