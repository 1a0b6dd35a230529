"""What stands on the page belongs together: photo, product, threshold, language, verdict, batch."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from browsing import (
    DESKTOP,
    EXAMPLES,
    OUTPUT,
    WHILE_BUSY,
    choose,
    chosen,
    give_photo,
    inspect,
    open_page,
    set_threshold,
    shown_verdict,
)
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from running_app import running_app
from starlette.middleware import Middleware

from modeling.pipeline import InspectionPipeline
from page import wiring
from page.components import translate
from page.inspection.inspector import Inspector
from page.languages import NAMES, Translation
from page.models.catalogue import Catalogue
from page.models.entries import shipped_models
from page.server.gradio_internals import head_scripts

TEXT = Translation("en")


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """What the app pictures."""
    return tmp_path_factory.mktemp("app") / "log"


@pytest.fixture(scope="module")
def address(log: Path) -> Iterator[str]:
    with running_app(ROOT, log=log) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport=DESKTOP)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_page(page, f"{address}?category=flange_nut")
    yield page
    page.close()
    assert not errors


def give_many(page: Page, photos: Sequence[Path]) -> None:
    page.click("#ways button[role=tab] >> nth=1")
    page.set_input_files("#files input[type=file]", photos)
    expect(page.locator("#files")).to_contain_text(photos[-1].stem, timeout=30_000)


def inspect_many(page: Page, photos: Sequence[Path]) -> None:
    give_many(page, photos)
    page.click("#start")
    expect(page.locator("#progress .batch-progress")).to_contain_text("done", timeout=WHILE_BUSY)


def test_no_verdict_stands_beside_another_photo_or_category(page, tmp_path):
    example = page.locator("#examples img")
    example.nth(0).click()
    expect(page.locator("#photo img")).to_be_visible()
    page.click("#inspect")
    expect(page.locator("#verdict .badge.fail")).to_be_visible(timeout=WHILE_BUSY)
    example.nth(2).click()
    expect(page.locator("#verdict .message.empty")).to_be_visible()
    expect(page.locator("#pictures img")).to_have_count(0)
    set_threshold(page, 0.6)  # which judges what the server shows
    page.click("#inspect")
    expect(page.locator("#verdict .badge.pass")).to_be_visible(timeout=WHILE_BUSY)

    with Image.open(EXAMPLES / "flange_nut" / "dent.jpg") as part:
        part.resize((4000, 4000)).save(tmp_path / "large.jpg")  # takes long
    give_photo(page, tmp_path / "large.jpg")
    expect(page.locator("#verdict .message.empty")).to_be_visible()
    with page.expect_request("**/queue/join**") as asked:
        page.click("#inspect")
    assert asked.value.response().ok
    choose(page, "category", "key")
    page.wait_for_timeout(3000)  # by then an answer about the nut would be there
    assert page.locator("#verdict .badge").count() == 0
    expect(page.locator("#verdict .message.empty")).to_be_visible()


def test_the_verdict_follows_the_threshold_at_21_positions_and_no_model_runs(page, defective):
    inspect(page, defective)
    score = float(page.locator("#verdict [data-score]").get_attribute("data-score"))
    before = page.locator("[data-picture=original] img").first.get_attribute("src")
    expect(page.locator("#cost")).to_contain_text("would be rejected", timeout=WHILE_BUSY)
    page.wait_for_timeout(1000)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    for step in range(21):
        threshold = step / 20
        set_threshold(page, threshold)
        expected = "FAIL" if score > threshold else "PASS"
        expect(page.locator(f"#verdict .badge.{expected.lower()}")).to_be_visible()
        card = page.locator("#verdict")
        if expected == "PASS":
            expect(card).to_contain_text("No deviation above the limit")
            expect(page.locator("#outlines [data-region]")).to_have_count(0)
        else:
            expect(card).to_contain_text("deviation")
            expect(page.locator("#outlines [data-region]")).not_to_have_count(0)
        assert shown_verdict(page) == expected  # the server agrees with the browser
    assert page.locator("[data-picture=original] img").first.get_attribute("src") == before
    assert not [url for url in requests if "/queue/" in url]  # a run of the model is queued


def test_each_model_keeps_its_threshold_while_the_page_is_open(page):
    threshold = page.locator("#threshold input[type=number]")
    choose(page, "category", "key")
    expect(page.locator("#model input")).to_have_value("key")  # a choice brings its threshold
    set_threshold(page, 0.8)
    expect(page.locator("#cost")).to_contain_text("none of 40 was", timeout=WHILE_BUSY)
    choose(page, "category", "fabric")
    expect(threshold).to_have_value("0.5")
    expect(page.locator("#model input")).to_have_value("fabric")
    choose(page, "category", "key")
    expect(threshold).to_have_value("0.8")


def test_an_example_and_another_category_clear_the_last_verdict(page, defective):
    inspect(page, defective)
    choose(page, "category", "key")
    expect(page.locator("#verdict .message")).to_be_visible()
    expect(page.locator("#pictures img")).to_have_count(0)
    page.locator("#examples button img, #examples img").first.click()
    expect(page.locator("#photo img")).to_be_visible()
    page.click("#inspect")
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
    page.screenshot(path=OUTPUT / "desktop_example.png", full_page=True)


def test_a_category_without_examples_offers_none(page):
    choose(page, "category", "key")
    expect(page.get_by_text(TEXT("page.examples"))).to_be_visible()
    choose(page, "category", "bottle")
    expect(page.get_by_text(TEXT("page.examples"))).not_to_be_visible()


def test_the_address_names_category_and_model(browser, address):
    page = browser.new_page(viewport=DESKTOP)
    open_page(page, f"{address}?category=key")
    assert chosen(page, "category") == "key"
    choose(page, "category", "fabric")
    page.wait_for_url("**category=fabric*")
    again = browser.new_page(viewport=DESKTOP)
    open_page(again, page.url)
    assert (chosen(again, "category"), chosen(again, "model")) == ("fabric", "fabric")
    assert str(ROOT) not in page.url
    open_page(again, f"{address}?category=nonsense&model=<b>")
    assert chosen(again, "category") in ("flange_nut", "fabric")
    again.close()
    page.close()


@pytest.mark.parametrize("language", NAMES)
def test_the_page_speaks_the_visitors_language(browser, address, language):
    text = Translation(language)
    context = browser.new_context(locale=f"{language}-XX" if language != "zh" else "zh-CN")
    page = context.new_page()
    open_page(page, f"{address}?category=flange_nut")
    expect(page.locator("#inspect")).to_have_text(text("page.inspect"))
    inspect(page, EXAMPLES / "flange_nut" / "stain.jpg")
    assert shown_verdict(page) == text("verdict.fail")
    expect(page.locator("#verdict")).to_contain_text(text("verdict.operator_judges"))
    assert page.evaluate("document.documentElement.lang").startswith(language)
    page.screenshot(path=OUTPUT / f"language_{language}.png", full_page=True)
    context.close()


def test_another_language_can_be_chosen_and_is_remembered(browser, address):
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    open_page(page, address)
    page.click("#languages input")
    page.get_by_role("option", name="Deutsch").click()
    expect(page.locator("#inspect")).to_have_text(Translation("de")("page.inspect"), timeout=30_000)
    open_page(page, address)  # without ?lang
    expect(page.locator("#inspect")).to_have_text(Translation("de")("page.inspect"))
    context.close()


def test_the_threshold_of_another_product_leaves_a_batch_as_it_is(page):
    """Choosing a product moves the slider, which is no wish to judge the batch of the last one."""
    set_threshold(page, 0.1)
    inspect_many(page, [EXAMPLES / "flange_nut" / "good.jpg"])
    row = page.locator("#batch_table tr[data-number]")
    expect(row).to_contain_text("FAIL")
    choose(page, "category", "key")
    expect(page.locator("#threshold input[type=number]")).to_have_value("0.5")
    row.click()
    expect(page.locator("#verdict .badge.fail")).to_be_visible(timeout=WHILE_BUSY)
    set_threshold(page, 0.9)
    expect(page.locator("#cost")).to_contain_text("none of 40 was", timeout=WHILE_BUSY)
    page.wait_for_timeout(500)
    expect(row).to_contain_text("FAIL")
    assert shown_verdict(page) == "FAIL"
    assert page.inner_text("#verdict .limit-value") == "0.10"
    choose(page, "category", "flange_nut")
    expect(page.locator("#threshold input[type=number]")).to_have_value("0.1")
    set_threshold(page, 0.5)
    expect(row).to_contain_text("PASS")


def test_a_threshold_that_is_none_is_neither_judged_nor_sent(page, log):
    give_photo(page, EXAMPLES / "flange_nut" / "good.jpg")
    page.click("#inspect")
    expect(page.locator("#verdict .badge.pass")).to_be_visible(timeout=WHILE_BUSY)
    failed = []
    page.on("response", lambda response: failed.append(response.url) if not response.ok else None)
    box = page.locator("#threshold input[type=number]")
    for typed in ("", "5", "-1", ""):
        box.fill(typed)
        page.wait_for_timeout(300)
        assert shown_verdict(page) == "PASS"
        assert page.inner_text("#verdict .limit-value") == "0.50"
    page.click("#inspect")  # leaves the box
    expect(box).to_have_value("0.5")
    page.wait_for_timeout(1000)
    expect(page.locator("#verdict .badge.pass")).to_be_visible(timeout=WHILE_BUSY)
    assert not failed
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("sent", ["NaN", "Infinity", "1.5", "-1", "null", '"0.5"', "true"])
def test_a_threshold_that_only_a_program_can_send_is_refused_with_a_sentence(address, log, sent):
    """The page's own functions have no names for programs, but numbers that everybody can read."""
    with urlopen(f"{address}config") as answer:
        functions = json.load(answer)["dependencies"]
    (number,) = (each["id"] for each in functions if each["api_name"] == "rejudge")
    data = f'[null, {sent}, "flange_nut", "flange_nut", "en"]'
    body = f'{{"data": {data}, "fn_index": {number}, "session_hash": "somebody"}}'
    headers = {"Content-Type": "application/json"}
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{address}gradio_api/run/predict", body.encode(), headers))
    assert "The threshold must be a number from 0 to 1" in refused.value.read().decode()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def stalled(monkeypatch) -> Iterator[threading.Event]:
    """Lets the models work only once it is set; at most one batch at a time is under way."""
    may_work, work = threading.Event(), InspectionPipeline.__call__

    def wait_and_work(self: InspectionPipeline, *words: object, **named: object) -> object:
        assert may_work.wait(WHILE_BUSY / 1000)
        return work(self, *words, **named)

    monkeypatch.setattr(InspectionPipeline, "__call__", wait_and_work)

    monkeypatch.setitem(wiring.QUIET, "concurrency_limit", 1)
    yield may_work
    may_work.set()


def test_a_batch_that_waits_says_so_and_does_not_begin_once_it_is_stopped(
    browser, stalled, tmp_path
):
    blocks = wiring.build(Inspector(Catalogue(shipped_models())), tmp_path)
    _, address, _ = blocks.launch(
        css="\n".join(
            path.read_text() for path in sorted((ROOT / "page" / "static").glob("*.css"))
        ),
        i18n=translate,
        app_kwargs={"middleware": [Middleware(head_scripts)]},
        prevent_thread_lock=True,
        quiet=True,
    )
    first, second = (browser.new_page(viewport=DESKTOP) for _ in range(2))
    with closing(blocks):
        for visitor in (first, second):
            open_page(visitor, f"{address}?category=flange_nut")
            give_many(visitor, [EXAMPLES / "flange_nut" / "good.jpg"])
            visitor.click("#start")
            expect(visitor.locator("#progress")).not_to_contain_text("Give photos")
            visitor.wait_for_timeout(1000)
        place = second.locator("#progress .place")
        expect(place).to_have_text("You are number 1 in the queue.", timeout=WHILE_BUSY)
        expect(second.locator("#progress .progress-text:visible")).to_have_count(0)
        second.screenshot(path=OUTPUT / "queue-batch.png")
        second.click("#cancel")
        stopped = second.locator("#progress", has_text="Stopped before the first photo.")
        expect(stopped).to_be_visible()
        expect(second.locator("#progress .place:not(:empty)")).to_have_count(0)
        stalled.set()
        expect(first.locator("#progress")).to_contain_text("The photo is done", timeout=WHILE_BUSY)
        expect(second.locator("#start")).to_be_enabled(timeout=WHILE_BUSY)
        expect(stopped).to_be_visible()
        assert second.locator("#batch_table").count() == 0
        first.close()
        second.close()
