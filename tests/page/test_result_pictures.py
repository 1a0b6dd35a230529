"""Pictures, outlines and the table of regions, as strings and as a browser shows them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import specimens
from PIL import Image, ImageDraw
from specimens import PHOTO_SIZE, SCRATCH, SPOT

from modeling import Inspection
from modeling.regions import label_regions
from page.inspection.results import Result
from page.inspection.temporary_folder import TemporaryFolder
from page.languages import Translation
from page.views.result_pictures import (
    NUMBERED,
    outlines_html,
    pictures_html,
    regions_html,
    write_pictures,
)

TEXT = Translation("en")
HEIGHT, WIDTH = PHOTO_SIZE


@pytest.fixture
def workplace(tmp_path) -> TemporaryFolder:
    return TemporaryFolder(tmp_path / "visitors & others")  # a path that needs quoting


def pictures_of(result: Result, inspection: Inspection, workplace: TemporaryFolder) -> str:
    return pictures_html(result, write_pictures(inspection, workplace), TEXT)


def svg(result: Result) -> ET.Element:
    return ET.fromstring(outlines_html(result))


def inside(path: str) -> np.ndarray:
    """(H, W) bool: the pixels of the photo that path data encloses, by the even-odd rule."""
    filled = np.zeros(PHOTO_SIZE, bool)
    for ring in re.findall(r"M([^Z]+)Z", path):
        corners = [tuple(map(float, point.split())) for point in ring.split("L")]
        mask = Image.new("1", (WIDTH, HEIGHT))
        ImageDraw.Draw(mask).polygon(corners, fill=1)
        filled ^= np.asarray(mask)
    return filled


def addresses(markup: str, attribute: str) -> list[Path]:
    found = re.findall(rf'{attribute}="gradio_api/file=([^"]+)"', markup)
    return [Path(unquote(address)) for address in found]


def test_three_pictures_of_the_photos_size_and_a_heat_layer_of_the_maps(workplace):
    result, inspection = specimens.inspected(workplace, SCRATCH)
    markup = pictures_of(result, inspection, workplace)
    assert re.findall(r'data-picture="(\w+)"', markup) == [
        "original",
        "reconstruction",
        "difference",
    ]
    for image, path in zip(
        re.findall(r'<img class="(\w+)"', markup), addresses(markup, "src"), strict=True
    ):
        with Image.open(path) as picture:
            assert picture.size == ((64, 48) if image == "heat" else (WIDTH, HEIGHT))
            assert picture.format == ("PNG" if image == "heat" else "JPEG")
        assert path.is_relative_to(workplace.path)


def test_the_downloads_are_the_three_pictures_under_the_photos_name(workplace):
    result, inspection = specimens.inspected(workplace, SCRATCH)
    markup = pictures_of(result, inspection, workplace)
    names = re.findall(r'download="([^"]+)"', markup)
    assert names == [f"part 7_{name}.jpg" for name in ("original", "reconstruction", "difference")]
    taken = [np.asarray(Image.open(path), int) for path in addresses(markup, "href")]
    shown = (inspection.photo, inspection.reconstruction, inspection.heatmap)
    for file, picture in zip(taken, shown, strict=True):
        assert np.abs(file - np.asarray(picture, int)).mean() < 3  # JPEG


def test_every_picture_repeats_the_outlines_of_its_own_result(workplace):
    first, inspection = specimens.inspected(workplace, SCRATCH)
    second, _ = specimens.inspected(workplace, SPOT)
    markup = pictures_of(first, inspection, workplace)
    uses = re.findall(r'<use href="#([^"]+)"', markup)
    assert len(uses) == 3
    assert {*uses} == {svg(first).find("g").get("id")} != {svg(second).find("g").get("id")}


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.9])
def test_an_outline_encloses_its_region(workplace, threshold):
    result, _ = specimens.inspected(workplace, SCRATCH, SPOT)
    result = result.at_threshold(threshold)
    labels, count = label_regions(result.read_maps()[0], threshold)
    groups = svg(result).findall("g/g[@class='outline']")
    assert [group.get("data-region") for group in groups] == [str(n + 1) for n in range(count)]
    cell = HEIGHT / labels.shape[0]
    for number, group in enumerate(groups, start=1):
        under, over = (path.get("d") for path in group.findall("path"))
        assert under == over
        enclosed = inside(over)
        rows, columns = np.nonzero(labels == number)
        centres = ((rows + 0.5) * cell).astype(int), ((columns + 0.5) * cell).astype(int)
        assert enclosed[centres].all()
        rows, columns = np.nonzero((labels > 0) & (labels != number))
        centres = ((rows + 0.5) * cell).astype(int), ((columns + 0.5) * cell).astype(int)
        assert not enclosed[centres].any()
        region = result.record.regions[number - 1]
        assert enclosed.mean() == pytest.approx(region.area, abs=0.02)


def test_an_outline_at_the_border_stays_within_the_photo(workplace):
    result, _ = specimens.inspected(workplace, (0, 0, 5, 5, 0.9), (44, 60, 4, 4, 0.8))
    for path in svg(result).iter("path"):
        points = [
            tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", path.get("d"))
        ]
        assert points
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


def test_a_hole_in_a_region_is_outlined_too(workplace):
    scores = specimens.score_map((10, 10, 20, 20, 0.9), (17, 17, 6, 6, 0.1))
    inspection = specimens.inspection(scores)
    result = specimens.result_of(inspection, workplace)
    (path,) = {path.get("d") for path in svg(result).iter("path")}
    assert path.count("M") == 2
    assert not inside(path)[100, 100]
    assert inside(path)[60, 100]


def test_the_outlines_follow_the_threshold_and_vanish_with_the_verdict(workplace):
    result, _ = specimens.inspected(workplace, SCRATCH, SPOT)
    counts = [
        len(svg(result.at_threshold(threshold)).findall("g/g[@class='outline']"))
        for threshold in (0.5, 0.9, 0.98)
    ]
    assert counts == [2, 1, 0]
    assert regions_html(result.at_threshold(0.98), TEXT) == ""


def test_a_photo_that_cannot_be_judged_has_no_outlines(workplace):
    result, _ = specimens.inspected(workplace, SCRATCH, doubt="other_product")
    assert not list(svg(result).iter("path"))


def test_of_very_many_regions_the_strongest_are_numbered_and_all_are_outlined(workplace):
    spots = [
        (4 * row + 1, 4 * column + 1, 1, 1, 0.6 + 0.001 * (12 * row + column))
        for row in range(11)
        for column in range(15)
    ]
    result, _ = specimens.inspected(workplace, *spots)
    assert len(result.record.regions) == len(spots) > NUMBERED
    drawn = svg(result)
    badges = drawn.findall("g/g[@class='outline-number']")
    assert [badge.find("text").text for badge in badges] == [str(n + 1) for n in range(NUMBERED)]
    paths = {path.get("d") for path in drawn.iter("path")}
    assert sum(path.count("M") for path in paths) == len(spots)
    assert f"And {len(spots) - NUMBERED} weaker regions." in regions_html(result, TEXT)


def test_the_table_numbers_the_regions_as_the_outlines_do(workplace):
    result, _ = specimens.inspected(workplace, SPOT, SCRATCH)
    table = ET.fromstring(regions_html(result, TEXT).replace("&ndash;", "to"))
    rows = [["".join(cell.itertext()) for cell in row] for row in table.findall("tbody/tr")]
    assert rows == [
        ["1", "Upper right x 220to300, y 20to30", "line", "1.04 %", "0.970"],
        ["2", "Lower left x 30to45, y 180to195", "spot", "0.29 %", "0.800"],
    ]
    badges = svg(result).findall("g/g[@class='outline-number']")
    assert [badge.get("style") for badge in badges] == [
        "--x:220px; --y:20px",
        "--x:30px; --y:180px",
    ]


def test_nothing_that_a_visitor_wrote_becomes_markup(workplace):
    result, inspection = specimens.inspected(workplace, SCRATCH)
    result = replace(result, file='"><img src=x onerror=alert(1)>.png')
    assert "<img src=x" not in pictures_of(result, inspection, workplace)


def test_numbers_have_the_decimal_mark_of_the_language(workplace):
    result, _ = specimens.inspected(workplace, SCRATCH)
    table = regions_html(result, Translation("de"))
    assert "0,970" in table
    assert "0.970" not in table
