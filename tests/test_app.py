"""The page, driven by a real browser as its users would."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect, sync_playwright
from running_app import running_app

import app
import inspection_report
from training.synthetic import render

OUTPUT = ROOT / "tests" / "output"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PICTURES = ("original", "reconstruction", "heatmap")


@pytest.fixture(scope="module")
def address(trained_model, tmp_path_factory):
    """The running app, with the models that ship, one just trained and one damaged."""
    damaged = tmp_path_factory.mktemp("damaged") / "broken"
    shutil.copytree(trained_model, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with running_app(ROOT, ["--models", str(trained_model), str(damaged)]) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    assert executable, "The browser tests need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(address)
    expect(page.locator("#inspect")).to_be_visible(timeout=30_000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def defective(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "=cmd nut.png"  # a spreadsheet would run this name
    render("flange_nut", seed=900_001, defect="missing_part", size=192).image.save(path)
    return path


def choose(page: Page, name: str, option: str) -> None:
    """Choose from the list of categories or models as a person does."""
    page.click(f"#{name} input")
    page.get_by_role("option", name=option, exact=True).first.click()


def chosen(page: Page, name: str) -> str:
    return page.locator(f"#{name} input").input_value()


def upload_and_inspect(page: Page, photo: Path) -> None:
    page.set_input_files("#photo input[type=file]", photo)
    expect(page.locator("#photo img")).to_be_visible(timeout=15_000)
    page.click("#inspect")


def shown_verdict(page: Page) -> str:
    return page.locator("#verdict .badge:visible").inner_text().split()[-1]


def test_a_defective_part_fails_with_score_note_and_three_equal_pictures(page, defective):
    upload_and_inspect(page, defective)
    expect(page.locator("#verdict .fail")).to_be_visible(timeout=60_000)
    assert re.search(r"Score 0\.\d{3}|Score 1\.000", page.inner_text("#verdict"))
    assert "deviation" in page.inner_text("#verdict .note")
    assert "good parts it was not trained on" in page.inner_text("#verdict .meaning")
    sizes = []
    for name in PICTURES:
        picture = page.locator(f"#{name} img")
        expect(picture).to_be_visible()
        sizes.append(picture.evaluate("image => [image.naturalWidth, image.naturalHeight]"))
    assert sizes == [[192, 192]] * 3
    boxes = [page.locator(f"#{name}").bounding_box() for name in PICTURES]
    assert len({round(box["y"]) for box in boxes}) == 1  # side by side
    assert len({(round(box["width"]), round(box["height"])) for box in boxes}) == 1
    page.screenshot(path=OUTPUT / "desktop_fail.png", full_page=True)


def test_the_slider_changes_the_verdict_and_no_model_runs(page, defective):
    upload_and_inspect(page, defective)
    expect(page.locator("#verdict .fail")).to_be_visible(timeout=60_000)
    score = float(page.locator("#verdict [data-score]").get_attribute("data-score"))
    before = page.locator("#heatmap img").get_attribute("src")
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    number = page.locator("#threshold input[type=number]")
    seen = set()
    for threshold in (0.0, 0.2, 0.5, round(score - 0.005, 2), 0.99, 1.0, 0.3):
        number.fill(str(threshold))
        number.press("Enter")
        expected = "FAIL" if score > threshold else "PASS"
        expect(page.locator(f"#verdict .{expected.lower()}")).to_be_visible()
        seen.add(expected)
        page.wait_for_timeout(400)  # the server's answer must agree with the browser's
        assert shown_verdict(page) == expected
        assert ("No deviation" in page.inner_text("#verdict .note")) == (expected == "PASS")
    assert seen == {"PASS", "FAIL"}
    assert page.locator("#heatmap img").get_attribute("src") == before
    assert not [url for url in requests if "/queue/" in url]  # a run of the model is queued


def test_the_csv_holds_the_result_and_guards_its_cells(page, defective):
    upload_and_inspect(page, defective)
    expect(page.locator("#verdict .fail")).to_be_visible(timeout=60_000)
    with page.expect_download() as download:
        page.click("#download")
    text = Path(download.value.path()).read_text()
    (row,) = csv.DictReader(io.StringIO(text))
    assert tuple(row) == inspection_report.CSV_COLUMNS
    assert row["verdict"] == "FAIL"
    assert row["score"] == page.locator("#verdict [data-score]").get_attribute("data-score")
    assert not row["file"].startswith("=")
    assert "nut" in row["file"]


def test_inspect_without_a_photo_and_the_slider_before_it_do_no_harm(page):
    page.locator("#threshold input[type=number]").fill("0.3")
    page.locator("#threshold input[type=number]").press("Enter")
    page.click("#inspect")
    expect(page.locator("#verdict .error")).to_contain_text("There is no photo yet")


@pytest.mark.parametrize("content", [b"this is no picture", b""])
def test_a_file_that_is_no_photo_gets_one_sentence(page, content, tmp_path):
    path = tmp_path / "holiday.png"
    path.write_bytes(content)
    page.set_input_files("#photo input[type=file]", path)
    page.wait_for_timeout(1000)
    page.click("#inspect")
    expect(page.locator("#verdict .error")).to_be_visible(timeout=60_000)
    text = page.inner_text("#verdict")
    assert "picture" in text or "no photo" in text
    assert "/" not in text  # no path of the server
    assert "Traceback" not in page.inner_text("body")


def test_an_example_and_another_category_clear_the_last_verdict(page, defective):
    upload_and_inspect(page, defective)
    expect(page.locator("#verdict .fail")).to_be_visible(timeout=60_000)
    choose(page, "category", "key")
    expect(page.locator("#verdict .message")).to_be_visible()
    expect(page.locator("#heatmap img")).to_have_count(0)
    page.locator("#examples button img, #examples img").first.click()
    expect(page.locator("#photo img")).to_be_visible()
    page.click("#inspect")
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=60_000)
    page.screenshot(path=OUTPUT / "desktop_example.png", full_page=True)


def test_a_list_that_is_opened_and_left_changes_nothing(page, defective):
    page.set_input_files("#photo input[type=file]", defective)
    expect(page.locator("#photo img")).to_be_visible(timeout=15_000)
    for inspected in (False, True):
        for name in ("category", "model"):
            page.click(f"#{name} input")
            expect(page.get_by_role("option").first).to_be_visible()
            page.locator(f"#{name} input").blur()
        page.wait_for_timeout(1500)  # what is wrongly cleared is cleared by then
        expect(page.locator("#photo img")).to_be_visible()
        if inspected:
            expect(page.locator("#verdict .fail")).to_be_visible()
        else:
            page.click("#inspect")
            expect(page.locator("#verdict .fail")).to_be_visible(timeout=60_000)


def test_a_category_without_examples_offers_none(page):
    expect(page.get_by_text(app.TEXT["examples"])).to_be_visible()
    choose(page, "category", "bottle")
    expect(page.get_by_text(app.TEXT["examples"])).not_to_be_visible()


def test_a_damaged_model_says_why_and_leaves_the_others_usable(page, defective):
    choose(page, "model", "broken")
    upload_and_inspect(page, defective)
    expect(page.locator("#verdict .error")).to_contain_text("damaged or cut off", timeout=60_000)
    choose(page, "model", "flange_nut")
    page.click("#inspect")
    expect(page.locator("#verdict .fail")).to_be_visible(timeout=60_000)


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [("desktop", DESKTOP, "light"), ("phone", PHONE, "light"), ("dark", DESKTOP, "dark")],
)
def test_the_page_fits_and_nothing_overlaps(browser, address, defective, name, viewport, scheme):
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(address)
    expect(page.locator("#inspect")).to_be_visible(timeout=30_000)
    page.screenshot(path=OUTPUT / f"{name}_empty.png", full_page=True)
    upload_and_inspect(page, defective)
    expect(page.locator("#verdict .fail")).to_be_visible(timeout=60_000)
    page.screenshot(path=OUTPUT / f"{name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    names = ("heading", "photo", "inspect", "verdict", "threshold", *PICTURES, "download")
    boxes = {name: page.locator(f"#{name}").bounding_box() for name in names}
    for first in names:
        for second in names[names.index(first) + 1 :]:
            assert not overlap(boxes[first], boxes[second]), (first, second)
    assert hosts == {address.split("/")[2]}  # nothing is asked of anybody else
    page.close()


def overlap(a: dict, b: dict) -> bool:
    """Whether two bounding boxes share more than a border."""
    across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
    down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
    return across > 1 and down > 1


def test_the_app_says_what_is_wrong_with_a_model_folder(tmp_path):
    finished = subprocess.run(
        [sys.executable, "app.py", "--models", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 2
    assert "holds no model" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_app_without_models_on_the_hub_has_nothing_to_refresh(page):
    expect(page.locator("#model")).to_be_visible()
    expect(page.locator("#refresh")).to_have_count(0)
    expect(page.locator("#notice")).to_have_count(0)
