"""Many photos on the page, driven by a real browser."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
from browsing import (
    DESKTOP,
    EXAMPLES,
    OUTPUT,
    PHONE,
    WHILE_BUSY,
    assert_nothing_overlaps,
    choose,
    inspect,
    open_page,
    set_threshold,
    shown_verdict,
)
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect
from running_app import running_app

from data.synthetic import render

FIRST_ANSWER_LATE = """() => {
  const ask = window.fetch;
  window.answers = 0;
  window.fetch = async (...request) => {
    const answer = await ask(...request);
    const isFirst = String(request[0]).includes("/run/") && window.answers++ === 0;
    if (isFirst) await new Promise((done) => setTimeout(done, 1500));
    return answer;
  };
}"""
ROWS = "#batch_table tr[data-number]"


@pytest.fixture(scope="module")
def address():
    with running_app(ROOT) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport=DESKTOP)
    open_page(page, f"{address}?category=flange_nut")
    yield page
    page.close()


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    """Two good nuts, two defective ones, a file that is no photo, and two more nuts in a zip."""
    folder = tmp_path_factory.mktemp("photos")
    parts = [("good_1", "good"), ("gone", "missing_part"), ("good_2", "good"), ("dirt", "stain")]
    paths = []
    for seed, (name, defect) in enumerate(parts):
        path = folder / f"{name}.png"
        render("flange_nut", seed=940_000 + seed, defect=defect).image.save(path)
        paths.append(path)
    (folder / "broken.png").write_text("no picture")
    archive = folder / "more.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(paths[0], "shift/good_3.png")
        zipped.write(paths[1], "../../gone_2.png")
    return [*paths, folder / "broken.png", archive]


def give_many(page: Page, photos: list[Path]) -> None:
    page.click("#ways button[role=tab] >> nth=1")
    page.set_input_files("#files input[type=file]", photos)
    last = photos[-1].name.rsplit(".", 1)[0]
    expect(page.locator("#files")).to_contain_text(last, timeout=30_000)


def inspect_many(page: Page, photos: list[Path]) -> None:
    give_many(page, photos)
    page.click("#start")
    expect(page.locator("#progress .batch-progress")).to_contain_text(
        "are done", timeout=WHILE_BUSY
    )
    expect(page.locator("#start")).to_be_enabled(timeout=15_000)


def column(page: Page, name: str) -> list[str]:
    return page.locator(f"{ROWS} td.{name}").all_inner_texts()


def test_a_batch_lists_all_photos_and_what_is_no_photo_is_a_row_that_says_so(page, photos):
    inspect_many(page, photos)
    assert page.locator(ROWS).count() == 7
    files = column(page, "file")
    assert [name.split("/")[-1] for name in files][:5] == [path.name for path in photos[:5]]
    assert "is not a picture" in page.locator(ROWS).nth(4).inner_text()
    tiles = page.locator("#gallery .tile").all_inner_texts()
    judged = [next(word for word in ("NOT READ", "FAIL", "PASS") if word in tile) for tile in tiles]
    assert judged == sorted(judged, key=["NOT READ", "FAIL", "PASS"].index)  # failures first
    assert judged.count("FAIL") >= 3
    expect(page.locator("#totals")).to_contain_text("Yield")
    page.screenshot(path=OUTPUT / "batch.png", full_page=True)


def test_a_click_shows_the_details_and_arrows_walk_the_batch(page, photos):
    inspect_many(page, photos)
    page.locator(ROWS).nth(1).click()
    expect(page.locator("#verdict .badge.fail")).to_be_visible(timeout=WHILE_BUSY)
    expect(page.locator("[data-picture]")).to_have_count(3)
    expect(page.locator(f"{ROWS}.selected")).to_have_attribute("data-number", "2")
    page.locator("#title").click()
    page.keyboard.press("ArrowDown")
    expect(page.locator(f"{ROWS}.selected")).to_have_attribute("data-number", "3")
    expect(page.locator("#verdict .badge.pass")).to_be_visible(timeout=WHILE_BUSY)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#verdict .error")).to_contain_text("is not a picture", timeout=WHILE_BUSY)
    page.keyboard.press("ArrowUp")
    expect(page.locator(f"{ROWS}.selected")).to_have_attribute("data-number", "4")


def test_a_click_on_a_heading_sorts_and_the_order_stays(page, photos):
    inspect_many(page, photos)

    def scores() -> list[float]:
        return [float(text) for text in column(page, "score") if text.strip()[:1].isdigit()]

    page.locator("#batch_table th", has_text="Score").click()
    first = scores()
    assert first in (sorted(first), sorted(first, reverse=True))
    page.locator("#batch_table th", has_text="Score").click()
    assert scores() == first[::-1]
    page.locator(ROWS).first.click()
    expect(page.locator("#decision")).to_be_visible(timeout=WHILE_BUSY)
    page.click("#accept")  # the table is drawn anew
    expect(page.locator(f"{ROWS}.selected")).to_contain_text("accepted")
    assert scores() == first[::-1]


def test_decisions_and_threshold_reach_table_totals_csv_and_zip(page, photos):
    inspect_many(page, photos)
    page.locator(ROWS).nth(1).click()
    expect(page.locator("#decision")).to_be_visible(timeout=WHILE_BUSY)
    page.locator("#note textarea, #note input").fill("as agreed with the customer")
    page.click("#accept")
    expect(page.locator(ROWS).nth(1)).to_contain_text("accepted")
    expect(page.locator("#totals")).to_contain_text("decisions")
    set_threshold(page, 1.0)
    expect(page.locator("#batch_table")).not_to_contain_text("FAIL", timeout=15_000)
    with page.expect_download() as download:
        page.click("#batch_csv")
    rows = list(
        csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig")))
    )
    assert [row["verdict"] for row in rows] == ["PASS"] * 4 + [""] + ["PASS"] * 2
    assert rows[1]["decision"] == "accept"
    assert rows[1]["note"] == "as agreed with the customer"
    assert {row["threshold"] for row in rows} == {"1"}
    assert "is not a picture" in rows[4]["error"]
    set_threshold(page, 0.5)
    expect(page.locator("#batch_table")).to_contain_text("FAIL", timeout=15_000)
    with page.expect_download() as download:
        page.click("#batch_zip")
    with zipfile.ZipFile(download.value.path()) as archive:
        names = archive.namelist()
    assert len([name for name in names if name.startswith("overlays/")]) == 6
    assert len([name for name in names if name.startswith("masks/")]) == 6
    assert not [name for name in names if ".." in name or name.startswith("/")]


def test_a_decision_is_shown_though_the_note_before_it_is_slow_to_arrive(page, photos):
    inspect_many(page, photos)
    page.locator(ROWS).nth(1).click()
    expect(page.locator("#decision")).to_be_visible(timeout=WHILE_BUSY)
    page.evaluate(FIRST_ANSWER_LATE)
    page.locator("#note textarea, #note input").fill("within the limits")
    page.click("#accept")  # which leaves the note, so both are sent
    row = page.locator(ROWS).nth(1)
    expect(row).to_contain_text("accepted")
    expect(row).to_contain_text("within the limits")
    page.wait_for_timeout(2000)
    assert page.evaluate("window.answers") == 2
    expect(row).to_contain_text("accepted")


def test_stop_keeps_what_is_done(page, photos):
    give_many(page, photos[:4] * 20)
    page.click("#start")
    expect(page.locator(ROWS).first).to_be_visible(timeout=WHILE_BUSY)
    page.click("#cancel")
    expect(page.locator("#progress")).to_contain_text("Stopped after", timeout=WHILE_BUSY)
    done = page.locator(ROWS).count()
    assert 0 < done < 80
    expect(page.locator("#start")).to_be_enabled(timeout=15_000)


def test_a_second_visitor_is_served_while_a_batch_of_200_runs_to_its_end(page, browser, photos):
    give_many(page, photos[:4] * 50)
    page.click("#start")
    expect(page.locator(ROWS).first).to_be_visible(timeout=WHILE_BUSY)
    other = browser.new_page(viewport=DESKTOP)
    open_page(other, page.url)
    inspect(other, photos[1])
    assert shown_verdict(other) == "FAIL"
    assert "are done" not in page.inner_text("#progress")  # it did not wait for the batch
    other.close()
    bar = page.locator("#progress [role=progressbar]")
    seen = {bar.get_attribute("aria-valuenow")}
    page.locator(ROWS).first.click()  # the page is usable meanwhile
    expect(page.locator("[data-picture]")).to_have_count(3, timeout=WHILE_BUSY)
    for _ in range(5):
        page.wait_for_timeout(500)
        seen.add(bar.get_attribute("aria-valuenow"))
    assert len(seen) > 2
    expect(page.locator("#progress")).to_contain_text("are done", timeout=3 * WHILE_BUSY)
    expect(bar).to_have_attribute("aria-valuenow", "200")
    expect(page.locator(ROWS)).to_have_count(200)


def test_no_photos_and_another_category_do_no_harm(page, photos):
    page.click("#ways button[role=tab] >> nth=1")
    page.click("#start")
    expect(page.locator("#progress .error")).to_be_visible(timeout=15_000)
    inspect_many(page, photos[:2])
    choose(page, "category", "key")
    page.locator(ROWS).first.click()  # still that of the nut
    expect(page.locator("[data-picture]")).to_have_count(3, timeout=WHILE_BUSY)


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"), [("phone", PHONE, "light"), ("dark", DESKTOP, "dark")]
)
def test_the_batch_fits_the_page(browser, address, photos, name, viewport, scheme):
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    open_page(page, f"{address}?category=flange_nut")
    inspect_many(page, photos)
    page.locator(ROWS).nth(1).click()
    expect(page.locator("[data-picture]")).to_have_count(3, timeout=WHILE_BUSY)
    page.screenshot(path=OUTPUT / f"batch_{name}.png", full_page=True)
    assert_nothing_overlaps(
        page, ("files", "start", "cancel", "progress", "verdict", "pictures", "totals", "gallery")
    )
    page.close()


def test_the_examples_can_be_given_as_a_batch(page):
    choose(page, "category", "key")
    inspect_many(page, sorted((EXAMPLES / "key").glob("*.jpg")))
    assert "PASS" in page.locator(ROWS, has_text="good.jpg").inner_text()
