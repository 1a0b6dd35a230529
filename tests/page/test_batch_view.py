"""What a visitor sees of a batch: the HTML, and how a browser with Gradio's own HTML treats it."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import gradio as gr
import pytest
from browsing import DESKTOP, OUTPUT, contrast, contrast_of, ground_of, picture_sizes
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Page, expect
from starlette.middleware import Middleware

from modeling import InspectionRecord
from page.inspection.batch import Batch
from page.inspection.results import ACCEPT, REJECT, Result
from page.inspection.temporary_folder import TemporaryFolder
from page.inspection.uploads import Upload
from page.languages import Translation
from page.server.gradio_internals import head_scripts
from page.views.batch import (
    MAX_THUMBNAILS,
    SELECT_ON_CLICK,
    gallery_html,
    progress_html,
    table_html,
    totals_html,
)

TEXT = Translation("en")
PATIENCE = 60_000  # milliseconds for an answer of a busy machine
VIEWS = (progress_html, totals_html, gallery_html, table_html)
EVIL = '"><img src=x onerror=alert(1)>.png'
# File, score, verdict and number of regions, in the order of the batch.
PARTS = (
    ("part 10.png", 0.31, "PASS", 0),
    ("part 9.png", 0.93, "FAIL", 2),
    ("notes.txt", None, "ERROR", 0),
    ("part 11.png", 0.64, "FAIL", 12),
    ("other.png", 0.99, "CHECK", 0),
    ("Part 1.png", 0.07, "PASS", 0),
)


@pytest.fixture
def workplace(tmp_path) -> TemporaryFolder:
    return TemporaryFolder(tmp_path / "visitors")


@pytest.fixture
def batch(workplace) -> Batch:
    return batch_of(PARTS, workplace)


def batch_of(parts: list[tuple[str, float, str, int]], workplace: TemporaryFolder) -> Batch:
    batch = Batch([Upload(file) for file, *_ in parts], workplace, 0.5)
    for file, score, verdict, count in parts:
        reason = {
            "CHECK": {"doubt": "other_product"},
            "ERROR": {"error": f"{file} is not a picture that can be read."},
        }.get(verdict, {})
        record = InspectionRecord(verdict, 0.5, score, regions=(None,) * count, **reason)
        batch.results.append(Result(file, None, "flange_nut", "model", "model", record, ""))
        thumbnail = None if score is None else workplace.new_file(".jpg")
        if thumbnail:
            shade = round(255 * score)
            Image.new("RGB", (160, 120), (shade, 150, 255 - shade)).save(thumbnail)
        batch.thumbnails.append(thumbnail)
    return batch


class Tags(HTMLParser):
    """The tags of a piece of HTML, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def words_of(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def test_before_a_batch_there_is_one_sentence_and_nothing_else():
    assert words_of(progress_html(None, TEXT)) == TEXT("batch.empty")
    assert [view(None, TEXT) for view in VIEWS[1:]] == ["", "", ""]


def test_the_bar_says_how_far_it_is(batch):
    batch.uploads += [Upload("x")] * 194
    batch.is_running = True
    batch._first_done, batch._last_done = 100.0, 110.0
    (bar,) = [tag for tag in Tags(progress_html(batch, TEXT)).all("div") if "role" in tag]
    assert bar["role"] == "progressbar"
    assert (bar["aria-valuemin"], bar["aria-valuenow"], bar["aria-valuemax"]) == ("0", "6", "200")
    assert bar["aria-label"]
    assert "width: 3.0%" in progress_html(batch, TEXT)
    words = words_of(progress_html(batch, TEXT))
    assert words == "6 of 200 photos 30 photos a minute about 6 min left"
    batch._last_done = 100.5
    assert "about 19 s left" in words_of(progress_html(batch, TEXT))
    batch.cancel()
    assert "Stopping" in words_of(progress_html(batch, TEXT))


def test_each_end_has_its_sentence(batch):
    assert words_of(progress_html(batch, TEXT)) == "All 6 photos are done."
    batch.uploads += [Upload("x")] * 194
    batch.cancel()
    stopped = words_of(progress_html(batch, TEXT))
    assert stopped == "Stopped after 6 of 200 photos; what was done is kept."
    batch.error = "The model <b>is damaged."
    ended = progress_html(batch, TEXT)
    assert "Ended after 6 of 200 photos: The model &lt;b&gt;is damaged." in ended
    assert 'role="status"' in ended


def test_one_photo_and_none_are_said_properly(workplace):
    assert words_of(progress_html(batch_of(PARTS[:1], workplace), TEXT)) == "The photo is done."
    waiting = Batch([Upload("a"), Upload("b")], workplace, 0.5, is_running=True)
    assert words_of(progress_html(waiting, TEXT)) == (
        "0 of 2 photos Waiting for the first result …"
    )
    assert [view(waiting, TEXT) for view in VIEWS[1:]] == ["", "", ""]


def test_totals_and_yield_before_and_after_the_operator(batch):
    totals = words_of(totals_html(batch, TEXT))
    assert totals == (
        "Inspected 5 Passed 2 Failed 2 To check 1 Unreadable 1 Yield 50.0 % 2 of 4 judged"
    )
    batch.decide(2, ACCEPT, "")
    assert words_of(totals_html(batch, TEXT)) == (
        f"{totals} Yield with your decisions 75.0 % 3 of 4 judged"
    )


def test_without_a_judged_part_there_is_no_yield(workplace):
    batch = batch_of([PARTS[2], PARTS[4]], workplace)
    assert "Yield - none judged" in words_of(totals_html(batch, TEXT))


def test_the_gallery_shows_what_needs_attention_first(batch):
    gallery = Tags(gallery_html(batch, TEXT))
    tiles = gallery.all("button")
    assert [int(tile["data-number"]) for tile in tiles] == [3, 2, 4, 5, 1, 6]
    assert [tile["class"] for tile in tiles] == [
        *("tile error", "tile fail", "tile fail", "tile check", "tile pass", "tile pass")
    ]
    pictures = gallery.all("img")
    assert len(pictures) == 5
    assert all(picture["loading"] == "lazy" for picture in pictures)
    assert pictures[0]["src"] == f"gradio_api/file={batch.thumbnails[1]}"
    words = words_of(gallery_html(batch, TEXT))
    assert words.startswith("! NOT READ notes.txt FAIL part 9.png FAIL part 11.png CHECK")


def test_a_gallery_of_many_says_how_many_are_left_out(workplace):
    many = [(f"{number}.png", 0.6, "FAIL", 1) for number in range(MAX_THUMBNAILS + 1)]
    batch = batch_of(many, workplace)
    gallery = gallery_html(batch, TEXT)
    assert len(Tags(gallery).all("button")) == MAX_THUMBNAILS
    assert words_of(gallery).endswith("One more is in the table.")
    batch.results += batch.results[:2]
    batch.thumbnails += batch.thumbnails[:2]
    assert words_of(gallery_html(batch, TEXT)).endswith("3 more are in the table.")


def test_the_table_has_a_row_for_each_photo(batch):
    batch.decide(2, REJECT, "a dent, really")
    batch.selected = 4
    table = Tags(table_html(batch, TEXT))
    rows = [tag for tag in table.all("tr") if "data-number" in tag]
    assert [row["data-number"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert all(row["tabindex"] == "0" for row in rows)
    assert [row["data-number"] for row in rows if "selected" in row["class"].split()] == ["4"]
    assert [head["aria-sort"] for head in table.all("th")] == ["ascending"] + ["none"] * 6
    assert words_of(table_html(batch, TEXT)) == (
        "No. File Verdict Score Regions Decision Note "
        "1 part 10.png PASS 0.310 0 "
        "2 part 9.png FAIL 0.930 2 rejected a dent, really "
        "3 notes.txt ! NOT READ notes.txt is not a picture that can be read. "
        "4 part 11.png FAIL 0.640 12 "
        "5 other.png CHECK 0.990 0 This does not look like a flange nut: check the camera or the "
        "category. "
        "6 Part 1.png PASS 0.070 0"
    )


def test_names_and_notes_of_visitors_are_text(workplace):
    batch = batch_of([(EVIL, 0.9, "FAIL", 1)], workplace)
    batch.decide(1, ACCEPT, EVIL)
    for view in VIEWS:
        pictures = Tags(view(batch, TEXT)).all("img")
        assert all(picture["src"].startswith("gradio_api/file=") for picture in pictures)
    assert EVIL in Tags(table_html(batch, TEXT)).words


@pytest.fixture
def page(browser, batch) -> Page:
    """The views in components of Gradio; a button decides photo 1 and sends the table anew."""

    def select(event: gr.EventData) -> str:
        batch.selected = event.number
        time.sleep(0.3)  # long enough for the next click
        return str(event.number)

    def decide() -> tuple[str, str]:
        batch.decide(1, ACCEPT, "seen")
        return gallery_html(batch, TEXT), table_html(batch, TEXT)

    with gr.Blocks() as blocks:
        gr.HTML(progress_html(batch, TEXT))
        gr.HTML(totals_html(batch, TEXT))
        gallery, table = (
            gr.HTML(view(batch, TEXT), js_on_load=SELECT_ON_CLICK)
            for view in (gallery_html, table_html)
        )
        chosen = gr.Textbox(elem_id="chosen")
        for views in (gallery, table):
            # Rows are walked faster than the server answers: the last one counts.
            views.select(select, None, chosen, trigger_mode="multiple")
        gr.Button("Decide", elem_id="decide").click(decide, None, [gallery, table])
    _, address, _ = blocks.launch(
        prevent_thread_lock=True,
        quiet=True,
        css=(ROOT / "page" / "static" / "batch.css").read_text(),
        app_kwargs={"middleware": [Middleware(head_scripts)]},
        allowed_paths=[str(batch.folder.path)],
    )
    page = browser.new_page(viewport=DESKTOP)
    page.goto(address)
    expect(page.locator("#batch_table")).to_be_visible(timeout=PATIENCE)
    yield page
    page.close()
    blocks.close()


def shown_numbers(page: Page) -> list[int]:
    rows = page.locator("#batch_table tbody tr")
    return [int(number) for number in rows.evaluate_all("rows => rows.map(r => r.dataset.number)")]


def sort_by(page: Page, column: str) -> list[int]:
    page.click(f"#batch_table th.{column} button")
    return shown_numbers(page)


def test_a_click_on_a_head_sorts_and_another_turns_the_order(page):
    assert shown_numbers(page) == [1, 2, 3, 4, 5, 6]
    assert sort_by(page, "score") == [5, 2, 4, 1, 6, 3]  # the unreadable one has none
    assert page.get_attribute("#batch_table th.score", "aria-sort") == "descending"
    assert page.get_attribute("#batch_table th.number", "aria-sort") == "none"
    assert sort_by(page, "score") == [6, 1, 4, 2, 5, 3]
    assert sort_by(page, "regions") == [4, 2, 1, 5, 6, 3]  # 12 before 2
    assert sort_by(page, "file") == [3, 5, 6, 2, 1, 4]  # "Part 1", "part 9", "part 10"
    assert sort_by(page, "verdict") == [1, 6, 2, 4, 5, 3]
    assert sort_by(page, "number") == [1, 2, 3, 4, 5, 6]


def test_the_order_outlives_what_the_server_sends(page):
    before = sort_by(page, "score")
    page.click("#decide")
    expect(page.locator("#batch_table tr[data-number='1'] .decided")).to_have_text(
        "accepted", timeout=PATIENCE
    )
    assert shown_numbers(page) == before
    assert page.get_attribute("#batch_table th.score", "aria-sort") == "descending"
    cells = page.locator("#batch_table tbody tr").nth(3).locator("td").all_inner_texts()
    assert cells[:2] == ["1", "part 10.png"]
    assert cells[-1] == "seen"


def test_a_click_on_a_row_or_a_tile_selects_the_photo(page):
    sort_by(page, "score")
    page.click("#batch_table tbody tr >> nth=1")
    expect(page.locator("#chosen textarea")).to_have_value("2", timeout=PATIENCE)
    assert page.locator(".selected").evaluate_all("all => all.map(s => s.dataset.number)") == [
        *("2", "2")
    ]
    page.click(".batch-gallery button >> nth=0")
    expect(page.locator("#chosen textarea")).to_have_value("3", timeout=PATIENCE)
    expect(page.locator("#batch_table tr.selected")).to_have_attribute("data-number", "3")


def test_arrows_walk_the_rows_in_the_order_shown(page):
    sort_by(page, "score")
    page.focus("#batch_table tbody tr >> nth=0")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen textarea")).to_have_value("5", timeout=PATIENCE)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#chosen textarea")).to_have_value("4", timeout=PATIENCE)
    page.keyboard.press("ArrowUp")
    expect(page.locator("#chosen textarea")).to_have_value("2", timeout=PATIENCE)
    # The row keeps the keyboard when the server sends the table anew.
    page.evaluate("document.querySelector('#decide').click()")
    expect(page.locator("#batch_table tr[data-number='1'] .decided")).to_have_text(
        "accepted", timeout=PATIENCE
    )
    assert page.evaluate("document.activeElement.dataset.number") == "2"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_the_screen_and_can_be_read(page, width, theme):
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(f"document.body.classList.toggle('dark', {str(theme == 'dark').lower()})")
    page.wait_for_timeout(300)
    page.screenshot(path=OUTPUT / f"batch_{theme}_{width}.png", full_page=True)
    colours = "all => all.map(e => getComputedStyle(e).color)"
    whites = page.locator(".badge .icon, .badge b").evaluate_all(colours)
    assert {*whites} == {"rgb(255, 255, 255)"}
    frames = ".batch-progress, .batch-totals, .batch-gallery, .batch-frame"
    for frame in page.locator(frames).all():
        assert frame.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), frame.inner_html()[:80]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for badge in page.locator(".badge:visible").all():
        assert contrast(badge) >= 4.5
        assert badge.inner_text()
    sizes = picture_sizes(page.locator(".batch-gallery img"))
    assert [width for width, _ in sizes] == [160] * 5
    for tile in page.locator(".tile").all():
        frame = tile.evaluate("e => getComputedStyle(e).borderLeftColor")
        assert contrast_of(frame, ground_of(tile)) >= 3
    texts = page.locator("#batch_table td.file, #batch_table td.note, .batch-totals dt")
    for text in texts.all():
        assert contrast(text) >= 4.5
