"""What visitors take home, made from real inspections."""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import specimens
import torch
import torch.nn.functional as F
from PIL import Image
from specimens import changed

from data.synthetic import render
from modeling import InspectionPipeline
from page.inspection.inspector import Inspector
from page.inspection.results import ACCEPT, REJECT, Result
from page.inspection.temporary_folder import NoRoomError, TemporaryFolder
from page.models.catalogue import Catalogue
from page.models.entries import shipped_models
from page.views import export
from page.views.export import COLUMNS, CSV_ENCODING, ZIP_NAME, csv_text, write_zip
from page.views.marking import caption_of
from system.files import UNFINISHED

SIZE = (300, 200)  # width, height of the photos: neither square nor the model's size


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> TemporaryFolder:
    return TemporaryFolder(tmp_path_factory.mktemp("visitors"))


@pytest.fixture(scope="module")
def inspected(workplace, tmp_path_factory) -> list[Result]:
    """A photo turned by its EXIF data, judged so that it fails; and one that passes."""
    entry = next(entry for entry in shipped_models() if entry.category == "flange_nut")
    bench = Inspector(Catalogue([entry]))
    folder = tmp_path_factory.mktemp("photos")
    results = []
    for name, threshold in (("turned.jpg", 0.0), ("plain.png", 1.0)):
        part = render("flange_nut", seed=800_000, defect="missing_part").image.resize(SIZE)
        exif = part.getexif()
        if name == "turned.jpg":
            part = part.transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = 6
        part.save(folder / name, exif=exif)
        kept = workplace.keep(folder / name)
        result, _ = bench.inspect(name, kept, entry, threshold, workplace)
        score_map, _ = result.read_maps()
        middle = float(score_map.max() + score_map.min()) / 2
        result = changed(result, doubt=None)  # the photos are small and stretched
        results.append(result.at_threshold(middle if name == "turned.jpg" else 1.0))
    assert [result.record.verdict for result in results] == ["FAIL", "PASS"]
    return results


@pytest.fixture
def unreadable() -> Result:
    return specimens.unreadable("none.txt", "none.txt is no picture.")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def open_picture(archive: zipfile.ZipFile, name: str) -> Image.Image:
    return Image.open(io.BytesIO(archive.read(name)))


def test_a_zip_for_which_there_is_no_room_leaves_the_last_one(inspected, workplace, full_disk):
    whole = write_zip(inspected, workplace).read_bytes()
    full_disk(workplace.path / ZIP_NAME)
    with pytest.raises(NoRoomError, match="no room left"):
        write_zip(inspected, workplace)
    assert (workplace.path / ZIP_NAME).read_bytes() == whole
    assert not [path for path in workplace.path.iterdir() if path.name.startswith(UNFINISHED)]


def test_the_csv_has_a_row_for_each_photo_with_verdict_and_decision(inspected, unreadable):
    failed, passed = inspected
    overruled = replace(failed, decision=ACCEPT, note="only dust, seen by hand")
    rows = rows_of(csv_text([overruled, passed, unreadable]))
    assert tuple(rows[0]) == COLUMNS
    assert [row["file"] for row in rows] == ["turned.jpg", "plain.png", "none.txt"]
    assert [row["verdict"] for row in rows] == ["FAIL", "PASS", ""]
    assert [row["final"] for row in rows] == ["PASS", "PASS", ""]
    assert [row["decision"] for row in rows] == ["accept", "", ""]
    assert rows[0]["note"] == "only dust, seen by hand"
    assert float(rows[0]["score"]) == failed.record.score
    assert float(rows[0]["threshold"]) == failed.record.threshold
    assert int(rows[0]["regions"]) == len(failed.record.regions) > 0
    assert "deviation" in rows[0]["strongest"]
    assert rows[0]["time"] == failed.time
    assert (rows[1]["regions"], rows[1]["strongest"]) == ("0", "")
    assert rows[2]["error"] == "none.txt is no picture."
    assert (rows[2]["score"], rows[2]["regions"]) == ("", "")


def test_a_decision_without_a_verdict_is_final_too(unreadable):
    (row,) = rows_of(csv_text([replace(unreadable, decision=REJECT)]))
    assert (row["verdict"], row["final"]) == ("", "FAIL")


@pytest.mark.parametrize("start", [*export.FORMULAS])
def test_cells_that_a_spreadsheet_would_run_are_text(unreadable, start):
    evil = start + 'HYPERLINK("x","y")'
    (row,) = rows_of(csv_text([replace(unreadable, file=evil, note=evil, category=evil)]))
    assert row["file"] == row["note"] == row["category"] == f"'{evil}"


def test_a_cell_stays_one_where_a_semicolon_separates_them(unreadable):
    table = csv_text([replace(unreadable, file="a;=HYPERLINK(1);b.png")])
    rows = csv.reader(io.StringIO(table), delimiter=";")
    assert not [cell for row in rows for cell in row if cell.startswith("=")]


def test_the_csv_keeps_commas_quotes_lines_and_every_script(unreadable):
    note = 'says "no", twice\nand 部品 ü'
    (row,) = rows_of(csv_text([replace(unreadable, note=note)]))
    assert row["note"] == note


def test_the_zip_holds_the_table_and_pictures_of_those_that_were_judged(
    inspected, unreadable, workplace
):
    check = replace(changed(inspected[0], verdict="CHECK", doubt="blurred"), file="blurred.png")
    results = [*inspected, unreadable, check]
    path = write_zip(results, workplace)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "masks/plain.png",
            "masks/turned.png",
            "overlays/plain.jpg",
            "overlays/turned.jpg",
            "results.csv",
        ]
        assert archive.read("results.csv").decode(CSV_ENCODING) == csv_text(results)


def test_the_mask_is_white_where_the_score_exceeds_the_threshold(inspected, workplace):
    failed, _ = inspected
    path = write_zip(inspected, workplace)
    score_map, _ = failed.read_maps()
    resized = F.interpolate(
        torch.from_numpy(score_map)[None, None], size=SIZE[::-1], mode="bilinear", antialias=True
    )[0, 0].numpy()
    with zipfile.ZipFile(path) as archive:
        mask = open_picture(archive, "masks/turned.png")
        assert (mask.mode, mask.size) == ("L", SIZE)
        expected = np.where(resized > failed.record.threshold, 255, 0)
        assert 0 < (expected > 0).mean() < 1
        assert np.array_equal(np.asarray(mask), expected)
        assert not np.asarray(open_picture(archive, "masks/plain.png")).any()


def test_the_overlay_shows_heat_outlines_numbers_and_caption_over_the_upright_photo(
    inspected, workplace
):
    _, passed = inspected
    path = write_zip(inspected, workplace)
    width, height = SIZE
    with zipfile.ZipFile(path) as archive:
        overlay = open_picture(archive, "overlays/turned.jpg").convert("RGB")
        plain = open_picture(archive, "overlays/plain.jpg").convert("RGB")
        mask = np.asarray(open_picture(archive, "masks/turned.png")) > 0
    assert overlay.width == width
    assert height < overlay.height < 1.3 * height
    photo = np.asarray(Image.open(passed.photo).convert("RGB"), dtype=int)
    difference = np.abs(np.asarray(overlay, dtype=int)[:height] - photo).max(axis=2)
    assert np.median(difference[mask]) > 40  # painted
    # Nothing is painted from half a score down, and the rest is what JPEG does.
    quiet = np.abs(np.asarray(plain, dtype=int)[:height] - photo).max(axis=2)
    assert np.median(quiet) < 15
    red, green = (
        overlay.getpixel((width - 2, overlay.height - 2)),
        plain.getpixel((width - 2, plain.height - 2)),
    )
    assert red[0] > 2 * red[1]
    assert green[1] > 2 * green[0]


def test_the_caption_says_verdict_score_and_what_the_operator_decided(inspected):
    failed, passed = inspected
    count = len(failed.record.regions)
    regions = "1 region" if count == 1 else f"{count} regions"
    numbers = f"score {failed.record.score:.3f}, limit {failed.record.threshold:.3f}, {regions}"
    assert caption_of(failed) == f"FAIL  {numbers}"
    assert caption_of(replace(failed, decision=ACCEPT)) == f"FAIL  {numbers}, operator: accept"
    assert caption_of(passed).endswith("no region")


def test_names_in_the_zip_are_unique_and_can_be_unpacked_everywhere(inspected, workplace):
    files = ["a/1.png", "a/1.jpg", "A/1.png", "b/1.png", "x:y*?.png", "dots ...png", "n" * 300]
    results = [replace(inspected[1], file=file) for file in files]
    with zipfile.ZipFile(write_zip(results, workplace)) as archive:
        masks = [name for name in archive.namelist() if name.startswith("masks/")]
    assert masks == [
        "masks/a/1.png",
        "masks/a/1 (2).png",
        "masks/A/1 (3).png",
        "masks/b/1.png",
        "masks/x_y__.png",
        "masks/dots.png",
        f"masks/{'n' * export.MAX_NAME}.png",
    ]


def test_no_model_runs_for_it_and_the_last_zip_is_replaced(inspected, workplace, monkeypatch):
    def run(*_: object, **__: object) -> None:
        raise AssertionError("a model ran")

    monkeypatch.setattr(InspectionPipeline, "__call__", run)
    first = write_zip(inspected, workplace)
    count = len(list(workplace.path.iterdir()))
    with zipfile.ZipFile(first) as being_downloaded:
        second = write_zip(inspected[:1], workplace)
        assert len(being_downloaded.namelist()) == 5
        assert being_downloaded.testzip() is None
    assert first == second
    assert len(zipfile.ZipFile(second).namelist()) == 3
    assert len(list(workplace.path.iterdir())) == count


def test_photos_of_any_size_get_a_caption_that_fits(inspected, workplace, tmp_path):
    for size in ((1, 1), (40, 900), (2000, 30)):
        path = tmp_path / "odd.png"
        Image.new("RGB", size, "gray").save(path)
        odd = replace(changed(inspected[0], photo_size=size[::-1]), photo=Path(path))
        judged = odd.at_threshold(odd.record.threshold)
        with zipfile.ZipFile(write_zip([judged], workplace)) as archive:
            assert open_picture(archive, "overlays/turned.jpg").width == size[0]
            assert open_picture(archive, "masks/turned.png").size == size
