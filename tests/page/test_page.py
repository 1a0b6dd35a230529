"""One photo on the page, driven by a real browser as an inspector would."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from browsing import (
    DESKTOP,
    EXAMPLES,
    OUTPUT,
    PHONE,
    PICTURES,
    WHILE_BUSY,
    assert_nothing_overlaps,
    choose,
    contrast,
    give_photo,
    inspect,
    open_page,
    picture_sizes,
    set_threshold,
    shown_verdict,
)
from commands import run_command
from conftest import ROOT
from gradio_client import Client
from PIL import Image, ImageFilter
from playwright.sync_api import Browser, Page, expect
from running_app import running_app

from page.views.export import COLUMNS


@pytest.fixture(scope="module")
def address(evaluated_model, tmp_path_factory):
    """The running app, with the models that ship, one just trained and one damaged."""
    damaged = tmp_path_factory.mktemp("damaged") / "broken"
    shutil.copytree(evaluated_model, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with running_app(ROOT, ["--models", str(evaluated_model), str(damaged)]) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport=DESKTOP)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_page(page, address)
    yield page
    page.close()
    assert not errors


def test_a_defective_part_fails_with_a_reason_and_three_equal_pictures(page, defective):
    inspect(page, defective)
    assert shown_verdict(page) == "FAIL"
    card = page.inner_text("#verdict")
    assert re.search(
        r"(Strong|Clear|Slight) deviation .+, \d regions?, about .+ of the picture", card
    )
    assert re.search(r"(Fewer than|About) 1 in \d+ good parts look this different", card)
    assert "the operator judges" in card
    sizes, boxes = [], []
    for name in PICTURES:
        picture = page.locator(f"[data-picture={name}] img.photo")
        sizes += picture_sizes(picture)
        boxes.append(picture.bounding_box())
    assert sizes == [[240, 192]] * 3
    assert len({round(box["y"]) for box in boxes}) == 1  # side by side
    assert len({(round(box["width"]), round(box["height"])) for box in boxes}) == 1
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(240 / 192, abs=0.01)
    rows = page.locator("table.regions tr[data-region]").count()
    assert rows == page.locator("#outlines g.outline[data-region]").count() > 0
    page.screenshot(path=OUTPUT / "desktop_fail.png", full_page=True)


def test_the_threshold_says_what_it_costs_and_goes_back_with_one_click(page):
    choose(page, "model", "flange_nut")
    expect(page.locator("#cost")).to_contain_text("known defects", timeout=WHILE_BUSY)
    set_threshold(page, 0.0)
    expect(page.locator("#cost")).to_contain_text("good part", timeout=15_000)
    at_zero = page.inner_text("#cost")
    set_threshold(page, 1.0)
    expect(page.locator("#cost")).to_contain_text("Fewer than 1 good part in")
    assert page.inner_text("#cost") != at_zero
    page.click("#calibrated")
    expect(page.locator("#threshold input[type=number]")).to_have_value("0.5")


def test_wipe_heat_and_outlines_act_in_the_browser_alone(page, defective):
    inspect(page, defective)
    page.wait_for_timeout(1500)
    requests = []
    page.on("request", lambda request: requests.append(request.url))

    def style(selector: str, name: str) -> str:
        return page.locator(selector).first.evaluate(
            "(element, name) => getComputedStyle(element)[name]", name
        )

    wiped, heat = style("img.wiped", "clipPath"), style("img.heat", "opacity")
    for name, value in (("wipe", "60"), ("heat", "30")):
        page.locator(f"[data-setting={name}]").evaluate(
            "(input, value) => { input.value = value;"
            " input.dispatchEvent(new Event('input', { bubbles: true })); }",
            value,
        )
    assert style("img.wiped", "clipPath") != wiped
    assert float(style("img.heat", "opacity")) < float(heat)
    page.locator("[data-setting=outlines]").uncheck()
    assert not page.locator("[data-picture=original] svg.overlay").is_visible()
    page.screenshot(path=OUTPUT / "desktop_wiped.png", full_page=True)
    assert not requests
    inspect(page, defective)  # the settings outlive the photo
    assert not page.locator("[data-setting=outlines]").is_checked()


def test_a_picture_fills_the_screen_and_leaves_it(page, defective):
    inspect(page, defective)
    figure = page.locator("[data-picture=difference]")
    small = figure.locator("img.photo").bounding_box()
    figure.locator(".enlarge").click()
    page.wait_for_timeout(500)
    large = figure.locator("img.photo").bounding_box()
    assert large["width"] > 1.5 * small["width"]
    overlay = figure.locator("svg.overlay").bounding_box()
    assert overlay["width"] == pytest.approx(large["width"], abs=1)
    page.keyboard.press("Escape")
    page.evaluate("document.fullscreenElement && document.exitFullscreen()")
    page.wait_for_timeout(500)
    assert figure.locator("img.photo").bounding_box() == small


def test_the_operator_decides_and_the_csv_holds_both(page, defective):
    inspect(page, defective)
    page.click("#accept")
    expect(page.locator("#verdict .stamp.accepted")).to_be_visible()
    expect(page.locator("#verdict")).to_contain_text("this overrides the model's FAIL")
    page.locator("#note textarea, #note input").fill("scratch is on the lens")
    page.locator("#note textarea, #note input").press("Enter")
    expect(page.locator("#verdict")).to_contain_text("scratch is on the lens")
    with page.expect_download() as download:
        page.click("#csv")
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert tuple(row) == COLUMNS
    assert (row["verdict"], row["decision"], row["final"]) == ("FAIL", "accept", "PASS")
    assert row["note"] == "scratch is on the lens"
    assert row["score"] == page.locator("#verdict [data-score]").get_attribute("data-score")
    assert not row["file"].startswith("=")
    assert "nut" in row["file"]
    page.click("#accept")  # again: taken back
    expect(page.locator("#verdict .stamp")).to_have_count(0)


def test_the_pictures_come_as_a_zip_at_the_photos_own_size(page, defective):
    inspect(page, defective)
    with page.expect_download() as download:
        page.click("#zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        (mask,) = [name for name in archive.namelist() if name.startswith("masks/")]
        with archive.open(mask) as file, Image.open(file) as picture:
            assert picture.size == (240, 192)
            assert picture.getextrema() == (0, 255)
        assert [name for name in archive.namelist() if name.startswith("overlays/")]


def test_enter_inspects_unless_somebody_types(page, defective):
    give_photo(page, defective)
    page.locator("#title").click()
    page.keyboard.press("Enter")
    expect(page.locator("#verdict .badge.fail")).to_be_visible(timeout=WHILE_BUSY)
    expect(page.locator("#accept")).to_be_visible()
    page.keyboard.press("a")
    expect(page.locator("#verdict .stamp.accepted")).to_be_visible()
    page.locator("#note textarea, #note input").fill("r")
    page.keyboard.press("r")
    page.wait_for_timeout(500)
    expect(page.locator("#verdict .stamp.rejected")).to_have_count(0)


def test_inspect_without_a_photo_and_the_slider_before_it_do_no_harm(page):
    set_threshold(page, 0.3)
    page.click("#inspect")
    expect(page.locator("#verdict .error")).to_contain_text("There is no photo yet")


@pytest.mark.parametrize("content", [b"this is no picture", b""])
def test_a_file_that_is_no_photo_gets_one_sentence(page, content, tmp_path):
    path = tmp_path / "holiday.png"
    path.write_bytes(content)
    page.set_input_files("#photo input[type=file]", path)
    page.wait_for_timeout(1000)
    page.click("#inspect")
    expect(page.locator("#verdict .error")).to_be_visible(timeout=WHILE_BUSY)
    text = page.inner_text("#verdict")
    assert "picture" in text or "no photo" in text
    assert "/" not in text  # no path of the server
    assert "Traceback" not in page.inner_text("body")


@pytest.mark.parametrize("wrong", ["key", "black", "blurred"])
def test_a_wrong_picture_gets_no_verdict(page, wrong, tmp_path):
    choose(page, "category", "flange_nut")
    nut = Image.open(EXAMPLES / "flange_nut" / "good.jpg")
    photos = {
        "key": Image.open(EXAMPLES / "key" / "good.jpg"),
        "black": Image.new("RGB", nut.size),
        "blurred": nut.filter(ImageFilter.GaussianBlur(nut.width / 40)),
    }
    photos[wrong].save(tmp_path / "photo.png")
    inspect(page, tmp_path / "photo.png")
    assert shown_verdict(page) == "CHECK"
    expect(page.locator("#verdict")).to_contain_text("This does not look like a flange nut")
    expect(page.locator("#verdict")).to_contain_text("heck the camera or the category")
    expect(page.locator("[data-picture]")).to_have_count(1)  # nothing to paint
    set_threshold(page, 1.0)
    page.wait_for_timeout(500)
    assert shown_verdict(page) == "CHECK"
    page.screenshot(path=OUTPUT / f"check_{wrong}.png", full_page=True)


def test_a_list_that_is_opened_and_left_changes_nothing(page, defective):
    give_photo(page, defective)
    for inspected in (False, True):
        for name in ("category", "model"):
            page.click(f"#{name} input")
            expect(page.get_by_role("option").first).to_be_visible()
            page.locator(f"#{name} input").blur()
        page.wait_for_timeout(1500)  # what is wrongly cleared is cleared by then
        expect(page.locator("#photo img")).to_be_visible()
        if inspected:
            expect(page.locator("#verdict .badge.fail")).to_be_visible()
        else:
            page.click("#inspect")
            expect(page.locator("#verdict .badge.fail")).to_be_visible(timeout=WHILE_BUSY)


def test_a_damaged_model_says_why_and_leaves_the_others_usable(page, defective):
    choose(page, "model", "broken")
    give_photo(page, defective)
    page.click("#inspect")
    expect(page.locator("#verdict .error")).to_contain_text(
        "damaged or cut off", timeout=WHILE_BUSY
    )
    choose(page, "model", "flange_nut")
    page.click("#inspect")
    expect(page.locator("#verdict .badge.fail")).to_be_visible(timeout=WHILE_BUSY)


def test_the_page_says_what_the_model_is_made_of_and_draws_the_threshold(page):
    choose(page, "category", "key")
    page.click("#about_box button")
    about = page.locator("#about")
    expect(about).to_contain_text("160 photos of good parts", timeout=WHILE_BUSY)
    for words in ("apache-2.0", "AUROC", "misprint", "Not for other products"):
        expect(about).to_contain_text(re.compile(words, re.IGNORECASE))
    expect(page.locator("#charts svg")).to_have_count(2)
    found = page.locator("#charts", has_text="89 % of the known defects")
    expect(found).to_have_count(1)
    set_threshold(page, 0.9)
    expect(found).to_have_count(0)
    line = page.locator("#charts [data-follows-threshold]").first
    assert float(line.evaluate("e => getComputedStyle(e).getPropertyValue('--threshold')")) == 0.9
    page.screenshot(path=OUTPUT / "desktop_about.png", full_page=True)
    page.click("#calibrated")
    expect(found).to_have_count(1)


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [
        ("desktop", DESKTOP, "light"),
        ("phone", PHONE, "light"),
        ("dark", DESKTOP, "dark"),
        ("phone_dark", PHONE, "dark"),
    ],
)
def test_the_page_fits_and_nothing_overlaps(browser, address, defective, name, viewport, scheme):
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    open_page(page, address)
    page.screenshot(path=OUTPUT / f"{name}_empty.png", full_page=True)
    inspect(page, defective)
    page.wait_for_timeout(500)
    page.screenshot(path=OUTPUT / f"{name}.png", full_page=True)
    top_to_bottom = ("inspect", "verdict", "decision", "limit", "pictures", "regions", "saving")
    assert_nothing_overlaps(page, ("heading", "category", "model", "photo", *top_to_bottom))
    order = [page.locator(f"#{part}").bounding_box()["y"] for part in top_to_bottom[1:]]
    assert order == sorted(order)
    tab = "#ways [role=tab][aria-selected=true]"
    for part in ("#verdict .badge:visible .word", "#verdict .note", "#cost", tab):
        assert contrast(page.locator(part).first) >= 4.5, part
    assert hosts == {address.split("/")[2]}  # nothing is asked of anybody else
    page.close()


def test_a_screen_reader_knows_the_examples_by_name(page):
    names = [
        button.get_attribute("aria-label") for button in page.locator("#examples button").all()
    ]
    assert names and all(names)
    assert "good" in names


def test_the_page_names_no_folder_of_models(page):
    config = page.evaluate("JSON.stringify(window.gradio_config)")
    assert "assets/models" not in config
    assert json.loads(config)["title"] == "Golden Sample"


def test_programs_find_their_functions_and_none_of_the_pages_own(address):
    endpoints = Client(address, verbose=False).view_api(print_info=False, return_format="dict")
    assert {*endpoints["named_endpoints"]} == {"/models", "/inspect", "/inspect_batch"}


def test_the_app_says_what_is_wrong_with_a_model_folder(tmp_path):
    finished = run_command("app.py", "--models", tmp_path, timeout=60)
    assert finished.returncode == 2
    assert "holds no model" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_app_without_models_on_the_hub_has_nothing_to_refresh(page):
    expect(page.locator("#model")).to_be_visible()
    expect(page.locator("#refresh")).to_have_count(0)
    expect(page.locator("#notice")).to_have_count(0)
