from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import run_command
from PIL import Image

from data import synthetic
from data.dataset import load_inspection_dataset, split_calibration
from evaluation.explore.command import main
from evaluation.explore.duplicates import find_matches
from evaluation.explore.exploration import explore
from evaluation.explore.photo import PhotoFacts, examine, variance_of_laplacian
from evaluation.explore.problems import KINDS, smallest_promise
from evaluation.explore.sources import StoredPhoto, find_categories
from evaluation.explore.statistics import find_outliers, robust_z
from tests.evaluation.spoiled_folders import (
    SPOILERS,
    break_mask,
    break_photo,
    copy_into_test,
    copy_within_train,
    no_good_photos,
    noise,
    resize_mask,
    save,
    too_few_for_the_promise,
)

SIDE = 96
ENOUGH = 95  # good photos, of which a fifth promises a false-alarm rate of 5 %


def part(seed: int, defect: str = "good") -> synthetic.SyntheticPhoto:
    return synthetic.render("flange_nut", seed=seed, defect=defect, size=SIDE)


def run(data: Path | str, output: Path, *more: str) -> dict:
    assert main(["--data", str(data), "--output_dir", str(output), *more]) == 0
    return json.loads((output / "exploration.json").read_text())


def places(record: dict) -> dict[str, dict[str, str]]:
    """Kind of problem to place to detail."""
    return {
        problem["kind"]: {one["place"]: one["detail"] for one in problem["places"]}
        for problem in record["problems"]
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """A root with one category of small photos that has no problem."""
    root = tmp_path_factory.mktemp("clean")
    for index in range(ENOUGH):
        save(noise(index), root / "bolt/train/good" / f"{index:03d}.png")
    for index in range(3):
        save(noise(1000 + index), root / "bolt/test/good" / f"{index:03d}.png")
        save(noise(2000 + index), root / "bolt/test/dent" / f"{index:03d}.png")
        mask = Image.new("L", (24, 24))
        mask.paste(255, (2, 2, 8, 5))
        mask.paste(255, (12, 12, 15, 15 + index))
        save(mask, root / "bolt/ground_truth/dent" / f"{index:03d}_mask.png")
    return root


@pytest.fixture
def root(clean, tmp_path) -> Path:
    return shutil.copytree(clean, tmp_path / "root")


@pytest.fixture(scope="module")
def nuts(tmp_path_factory) -> dict:
    data = f"synthetic:flange_nut?train={ENOUGH}&test_good=3&test_per_defect=2&size=96"
    folder = tmp_path_factory.mktemp("nuts")
    return {"record": run(data, folder), "html": (folder / "exploration.html").read_text()}


def test_a_clean_folder_has_no_problem(root, tmp_path):
    record = run(root, tmp_path / "out")
    assert record["problems"] == record["duplicates"] == record["outliers"] == []
    groups = record["categories"]["bolt"]["groups"]
    assert {name: group["photos"] for name, group in groups.items()} == {
        "train/good": ENOUGH,
        "test/dent": 3,
        "test/good": 3,
    }
    assert groups["test/dent"]["masks"] == 3
    assert groups["train/good"]["sizes"] == {"24x24": ENOUGH}
    assert groups["train/good"]["modes"] == {"RGB": ENOUGH}
    assert groups["train/good"]["formats"] == {"PNG": ENOUGH}


def test_a_synthetic_part_has_no_problem(nuts):
    assert nuts["record"]["problems"] == nuts["record"]["duplicates"] == []


def test_the_extent_of_defects_is_that_of_their_masks(root, tmp_path):
    record = run(root, tmp_path / "out")
    dent = record["categories"]["bolt"]["groups"]["test/dent"]
    # 18 pixels and a second region of 9 to 15 of them, in 24 x 24.
    assert dent["defect_area"] == pytest.approx(
        {"min": 27 / 576, "median": 30 / 576, "max": 33 / 576}
    )
    assert dent["components"] == {"min": 2, "median": 2, "max": 2}


@pytest.mark.parametrize(
    ("kind", "spoil"),
    SPOILERS,
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_each_problem_is_reported_with_its_place(root, kind: str, spoil: Callable[[Path], str]):
    place = spoil(root / "bolt")
    groups = {group.kind: group for group in explore(find_categories(root)).problems}
    assert place in [problem.place for problem in groups[kind].problems]


def test_what_would_stop_training_stops_the_loader_too(root):
    for spoil in (break_photo, break_mask, resize_mask, no_good_photos):
        shutil.copytree(root, root.parent / spoil.__name__)
        spoil(root.parent / spoil.__name__ / "bolt")
        with pytest.raises(ValueError):
            load_inspection_dataset(root.parent / spoil.__name__)
        problems = explore(find_categories(root.parent / spoil.__name__)).problems
        assert problems[0].severity == "stops"


def test_a_bad_file_does_not_stop_the_rest(root, tmp_path):
    break_photo(root / "bolt")
    break_mask(root / "bolt")
    record = run(root, tmp_path / "out")
    groups = record["categories"]["bolt"]["groups"]
    assert groups["train/good"]["photos"] == ENOUGH - 1
    assert (groups["test/dent"]["photos"], groups["test/dent"]["masks"]) == (3, 2)
    page = (tmp_path / "out" / "exploration.html").read_text()
    assert "bolt/train/good/007.png" in page
    assert "2 problems to look at, 2 of which stop" in page


def test_a_folder_of_bad_files_alone_still_gives_a_page(tmp_path):
    path = tmp_path / "bolt/train/good/000.png"
    path.parent.mkdir(parents=True)
    path.write_text("no picture")
    problems = places(run(tmp_path, tmp_path / "out", "--category", "bolt"))
    assert problems["unreadable_photo"] == {"bolt/train/good/000.png": "not a picture"}
    assert "no_good_photos" in problems


@pytest.mark.parametrize("data", ["nowhere/at/all", "synthetic:teapot"])
def test_data_that_is_not_there_is_one_sentence_and_exit_code_2(data, tmp_path, capsys):
    assert main(["--data", data, "--output_dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("explore.py: ")
    assert "Traceback" not in error


def test_a_negative_seed_is_one_sentence(tmp_path, capsys):
    words = ["--data", "synthetic:key", "--output_dir", str(tmp_path / "out"), "--seed", "-1"]
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "expected a whole number from 0 up, found '-1'" in capsys.readouterr().err


def test_the_process_keeps_its_threads(root, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    run(root, tmp_path)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_an_unknown_category_is_named_beside_those_there_are(root, tmp_path, capsys):
    words = ["--data", str(root), "--category", "nut", "--output_dir", str(tmp_path / "out")]
    assert main(words) == 2
    assert "nut is unknown; it holds bolt" in capsys.readouterr().err


def test_the_promise_is_that_of_the_photos_which_training_holds_out():
    data = load_inspection_dataset("synthetic:flange_nut?train=23&test_good=0&size=64")
    held_out = split_calibration(data["train"], 0.2, seed=0)[1]
    assert smallest_promise(23) == 1 / (len(held_out) + 1)
    assert smallest_promise(2) is None


def test_the_weak_promise_says_how_many_photos_are_enough(root, tmp_path):
    too_few_for_the_promise(root / "bolt")
    detail = places(run(root, tmp_path / "out"))["weak_promise"]["bolt/train/good"]
    assert "holds out 8" in detail
    enough = int(re.search(r"needs (\d+) photos", detail)[1])
    assert smallest_promise(enough) <= 0.05 < smallest_promise(enough - 1)


def examined(image: Image.Image, name: str = "photo", split: str = "train") -> PhotoFacts:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    stored = StoredPhoto(name, name, "part", split, "good", buffer.getvalue())
    facts, problems = examine(stored)
    assert not problems
    return facts


def test_a_grey_picture_is_as_bright_as_its_grey_without_contrast_or_sharpness():
    facts = examined(Image.new("RGB", (30, 20), (51, 51, 51)))
    assert facts.brightness == pytest.approx(0.2)
    assert facts.contrast == facts.sharpness == 0
    assert facts.size == (30, 20)


def test_half_black_half_white_has_the_greatest_contrast():
    image = Image.new("L", (20, 20))
    image.paste(255, (0, 0, 10, 20))
    facts = examined(image)
    assert (facts.brightness, facts.contrast) == pytest.approx((0.5, 0.5))


def test_sharpness_is_the_variance_of_the_laplacian():
    grey = np.random.default_rng(0).integers(0, 256, (9, 11), dtype=np.uint8)
    values = [
        float(grey[y - 1, x])
        + float(grey[y + 1, x])
        + float(grey[y, x - 1])
        + float(grey[y, x + 1])
        - 4 * float(grey[y, x])
        for y in range(1, 8)
        for x in range(1, 10)
    ]
    assert variance_of_laplacian(grey) == pytest.approx(np.var(values))
    assert variance_of_laplacian(grey[:1]) == 0


def test_a_photo_is_measured_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    noise(1, (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    stored = StoredPhoto("a", "a", "part", "train", "good", tmp_path / "turned.jpg")
    assert examine(stored)[0].size == (20, 40)


def test_a_wrong_photo_among_the_good_ones_is_hinted_at(root, tmp_path):
    part(3).image.resize((24, 24)).save(root / "bolt/train/good/050.png")
    outliers = run(root, tmp_path / "out")["outliers"]
    assert outliers[0]["photo"] == "bolt/train/good/050.png"
    assert abs(outliers[0]["z"]) > 5


def test_outliers_are_looked_for_among_good_training_photos_alone():
    photos = [examined(noise(index), str(index)) for index in range(40)]
    black = Image.new("RGB", (24, 24))
    of_test, of_train = examined(black, "test", split="test"), examined(black, "train")
    names = [outlier.photo.stored.name for outlier in find_outliers([*photos, of_test, of_train])]
    assert names == ["train"]


def test_an_outlier_does_not_hide_itself_in_the_spread():
    z = robust_z([*range(10), 1000])
    assert z[-1] > 100
    assert robust_z([5, 5, 5, 9]).tolist() == [0, 0, 0, 0]


def saved_again(image: Image.Image) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer).convert("RGB")


def made_smaller(image: Image.Image) -> Image.Image:
    return image.resize((SIDE * 3 // 4, SIDE * 3 // 4))


def cut(image: Image.Image) -> Image.Image:
    return image.crop((1, 0, SIDE - 1, SIDE - 1))


@pytest.fixture(scope="module")
def parts() -> list[Image.Image]:
    return [part(seed).image for seed in range(24)]


@pytest.mark.parametrize("change", [saved_again, made_smaller, cut])
def test_a_changed_copy_is_found_across_training_and_test(parts, change):
    photos = [examined(image, str(index)) for index, image in enumerate(parts)]
    copy = examined(change(parts[5]), "copy", split="test")
    (match,) = find_matches([*photos, copy])
    assert (match.first.stored.name, match.second.stored.name) == ("5", "copy")
    assert match.how == "near"
    assert match.is_leak


def test_copies_are_found_where_every_photo_has_one(parts):
    photos = [examined(image, str(index)) for index, image in enumerate(parts)]
    photos += [
        examined(saved_again(image), f"{index} again", "test") for index, image in enumerate(parts)
    ]
    matches = find_matches(photos)
    assert {(one.first.stored.name, one.second.stored.name) for one in matches} == {
        (str(index), f"{index} again") for index in range(len(parts))
    }


def test_jpeg_copies_between_train_and_test_are_listed_as_a_leak(tmp_path, parts):
    for index, image in enumerate(parts):
        save(image, tmp_path / "nut/train/good" / f"{index:03d}.png")
    save(saved_again(parts[7]), tmp_path / "nut/test/good/copy.jpg")
    record = run(tmp_path, tmp_path / "out", "--category", "nut")
    assert places(record)["near_leak"] == {
        "nut/test/good/copy.jpg": "nearly equal: nut/train/good/007.png"
    }
    assert [one["leak"] for one in record["duplicates"]] == [True]


def test_photos_without_structure_are_no_copies_of_each_other():
    photos = [
        examined(Image.new("RGB", (24, 24), (level, level, level)), str(level))
        for level in range(100, 110)
    ]
    assert find_matches(photos) == []


def test_the_same_pixels_in_another_file_are_told_from_the_same_file(root, tmp_path):
    copy_within_train(root / "bolt")
    copy_into_test(root / "bolt")
    record = run(root, tmp_path / "out")
    assert {one["second"]: one["how"] for one in record["duplicates"]} == {
        "bolt/train/good/copy.bmp": "same pixels",
        "bolt/test/good/copy.png": "same file",
    }


def test_the_page_needs_no_other_file_and_escapes_names(root, tmp_path, nuts):
    (root / "bolt/test/dent").rename(root / "bolt/test/<b>dent$&")
    (root / "bolt/ground_truth/dent").rename(root / "bolt/ground_truth/<b>dent$&")
    run(root, tmp_path / "out")
    page = (tmp_path / "out/exploration.html").read_text()
    assert "<b>dent" not in page
    assert "&lt;b&gt;dent$&amp;" in page
    for html in (page, nuts["html"]):
        assert not re.search(r"""(src|href)=["'](?!data:|#)""", html.replace("xlink:", ""))
        assert "url(http" not in html
        assert "<script" not in html


def test_the_page_begins_with_what_is_there_and_then_the_problems(nuts):
    page = nuts["html"]
    sentence = f"flange_nut: {ENOUGH} good photos for training; for the test 3 good and "
    assert page.index(sentence) < page.index("No problem found") < page.index("<h2>Problems")
    assert page.index("<h2>Problems") < page.index("<h2>Light") < page.index("<h2>Samples")


def test_the_sample_sheet_outlines_the_defect():
    photo = part(1, "scratch")
    contents = []
    for picture in (photo.image, photo.mask):
        contents.append(BytesIO())
        picture.save(contents[-1], "PNG")
    image, mask = (content.getvalue() for content in contents)
    facts, _ = examine(StoredPhoto("a", "a", "part", "test", "scratch", image, mask))
    shown = np.asarray(Image.open(BytesIO(facts.thumbnail)).convert("RGB")).astype(int)
    plain = np.asarray(photo.image).astype(int)
    changed = np.abs(shown - plain).max(axis=2) > 60
    assert changed.any()
    assert not changed[np.asarray(photo.mask) > 127].all()


def test_the_documented_fields_are_those_of_the_file(nuts):
    text = (Path(__file__).parents[2] / "docs/exploration.md").read_text()
    record = nuts["record"]
    for key in (*record, *record["photos"][0], *record["categories"]["flange_nut"]):
        assert f"`{key}" in text, key


def test_every_kind_of_problem_has_a_severity_and_says_what_to_do():
    for kind in KINDS.values():
        assert kind.severity in ("stops", "look", "note")
        assert kind.advice.endswith(".")


def test_the_script_runs_by_its_path(root, tmp_path):
    finished = run_command(
        "evaluation/explore.py", "--data", root, "--output_dir", tmp_path / "out"
    )
    assert finished.returncode == 0, finished.stderr
    assert "0 problems" in finished.stdout
    assert str(root.parent) not in (tmp_path / "out/exploration.json").read_text()
