"""The page with models from a loopback Hub, driven by a real browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from browsing import DESKTOP, OUTPUT, PHONE, WHILE_BUSY, assert_nothing_overlaps, choose, chosen
from commands import commands
from conftest import ROOT
from loopback_hub import LoopbackHub
from playwright.sync_api import Page, expect
from running_app import running_app

from page.languages import Translation

FABRIC = ROOT / "assets" / "models" / "fabric"  # of the category that the page shows first
TEXT = Translation("en")
NAMESPACE = {"MODEL_NAMESPACE": "org"}
SECONDS_TO_LIST = 15  # in which a list that the Hub gave in time is on the page


@pytest.fixture
def page(browser, hub, hub_home):
    """The page of an app that offers the models of "org" on an empty Hub."""
    with running_app(ROOT, environment=hub.environment(hub_home) | NAMESPACE) as address:
        page = browser.new_page(viewport=DESKTOP)
        open_page(page, address)
        expect(page.locator("#notice")).to_contain_text("no model of org", timeout=30_000)
        yield page
        page.close()


def open_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#inspect")).to_be_visible(timeout=30_000)


def add_model(hub: LoopbackHub, name: str, *categories: str, weights: int | None = None) -> None:
    """A model on the Hub with these categories; `weights` cuts its file off there."""
    files = {path.name: path.read_bytes() for path in FABRIC.iterdir() if path.is_file()}
    tags = ["golden-sample", *(f"category:{category}" for category in categories)]
    lines = ["---", "tags:", *(f"- {tag}" for tag in tags), "---", ""]
    files["README.md"] = "\n".join(lines).encode()
    files["model.safetensors"] = files["model.safetensors"][:weights]
    hub.add_repo(f"org/{name}", files)


def options_of(page: Page, name: str) -> list[str]:
    page.click(f"#{name} input")
    options = page.get_by_role("option").all_inner_texts()
    page.locator(f"#{name} input").blur()
    expect(page.get_by_role("option")).to_have_count(0)
    return [option.strip("✓ \n") for option in options]


def refresh_until(page: Page, name: str, option: str, *, offered: bool = True) -> None:
    """Press Refresh until a list offers an option, or offers it no longer.

    On a busy machine the Hub may take longer than the page waits for it, which the page then says.
    """
    deadline = time.monotonic() + WHILE_BUSY / 1000
    pressed = float("-inf")
    while (option in options_of(page, name)) != offered:
        assert time.monotonic() < deadline, f"{option} is still {'not ' if offered else ''}there"
        if time.monotonic() - pressed > SECONDS_TO_LIST:
            page.click("#refresh")
            pressed = time.monotonic()


def inspect_example(page: Page) -> None:
    page.locator("#examples img").first.click()
    expect(page.locator("#photo img")).to_be_visible(timeout=15_000)
    page.click("#inspect")


def test_a_model_pushed_while_the_app_runs_appears_after_refresh_and_inspects(
    page, hub, trained_model, hub_home
):
    choose(page, "category", "flange_nut")
    assert "nut-lab (org)" not in options_of(page, "model")
    words = ["python", "-m", "publishing.push", str(trained_model), "org/nut-lab"]
    pushed = commands(hub.environment(hub_home))(words, ROOT)
    assert pushed.returncode == 0, pushed.stderr
    refresh_until(page, "model", "nut-lab (org)")
    choose(page, "model", "nut-lab (org)")
    inspect_example(page)
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
    assert "org/nut-lab/model.safetensors" in hub.downloaded


def test_a_category_that_is_new_since_the_page_was_opened_can_be_inspected(page, hub):
    add_model(hub, "washer-lab", "washer")
    refresh_until(page, "category", "washer")
    choose(page, "category", "washer")
    expect(page.locator("#model input")).to_have_value("washer-lab (org)")
    page.set_input_files("#photo input[type=file]", ROOT / "assets/examples/fabric/stain.jpg")
    expect(page.locator("#photo img")).to_be_visible(timeout=15_000)
    page.click("#inspect")
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
    with page.expect_download() as download:
        page.click("#csv")
    commit = hub.commits("org/washer-lab")[0].oid
    assert f"org/washer-lab@{commit}" in Path(download.value.path()).read_text()


def test_refresh_keeps_the_choice_the_photo_and_the_verdict(page, hub):
    choose(page, "category", "key")
    expect(page.locator("#model input")).to_have_value("key")
    inspect_example(page)
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
    verdict = page.inner_text("#verdict")
    add_model(hub, "another", "key", "washer")
    refresh_until(page, "category", "washer")
    expect(page.locator("#notice")).to_have_count(0)
    assert (chosen(page, "category"), chosen(page, "model")) == ("key", "key")
    assert options_of(page, "model") == ["key", "another (org)"]
    page.wait_for_timeout(2000)  # lists were opened and left, which must not count as a choice
    assert page.inner_text("#verdict") == verdict
    expect(page.locator("#photo img")).to_be_visible()


def test_a_choice_that_is_gone_from_the_hub_says_so_and_refresh_leaves_it(page, hub, browser):
    add_model(hub, "washer-lab", "washer")
    refresh_until(page, "category", "washer")
    choose(page, "category", "washer")
    other = browser.new_page()
    open_page(other, page.url)
    choose(other, "category", "washer")  # so the question of its opening is answered
    del hub.store.repos["model", "org/washer-lab"]
    refresh_until(other, "category", "washer", offered=False)
    other.close()
    page.set_input_files("#photo input[type=file]", ROOT / "assets/examples/fabric/stain.jpg")
    expect(page.locator("#photo img")).to_be_visible(timeout=15_000)
    page.click("#inspect")
    expect(page.locator("#verdict .error")).to_have_text(TEXT("page.gone"), timeout=WHILE_BUSY)
    page.click("#refresh")
    expect(page.locator("#category input")).to_have_value("fabric")
    expect(page.locator("#verdict .error")).to_have_count(0)
    expect(page.locator("#notice")).to_contain_text("no model of org")


def test_a_damaged_model_on_the_hub_says_why_and_leaves_the_others_usable(page, hub):
    add_model(hub, "damaged", "fabric", weights=1000)
    add_model(hub, "good", "fabric")
    refresh_until(page, "model", "good (org)")
    choose(page, "model", "damaged (org)")
    inspect_example(page)
    expect(page.locator("#verdict .error")).to_contain_text("org/damaged", timeout=WHILE_BUSY)
    choose(page, "model", "good (org)")
    page.click("#inspect")
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)


def test_a_slow_hub_holds_nobody_and_the_page_says_what_it_shows(browser, hub, hub_home):
    hub.delay("/api/models", 60.0)
    with running_app(ROOT, environment=hub.environment(hub_home) | NAMESPACE) as address:
        page = browser.new_page(viewport=DESKTOP)
        started = time.monotonic()
        open_page(page, address)
        inspect_example(page)
        expect(page.locator("#notice")).to_have_text(
            "The model Hub did not answer within 5 s; showing the models that ship and those "
            "downloaded earlier.",
            timeout=30_000,
        )
        assert 5 <= time.monotonic() - started < 55  # and not when the Hub answers
        page.click("#refresh")
        expect(page.locator("#refresh")).to_have_text(TEXT("page.refreshing"))
        expect(page.locator("#refresh")).to_be_disabled()
        expect(page.locator("#refresh")).to_have_text(TEXT("page.refresh"), timeout=30_000)
        expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
        assert [request for request in hub.requests if "/api/models" in request]
        page.close()


def test_a_model_named_by_its_id_is_the_first_choice_with_the_categories_of_its_card(
    browser, hub, hub_home
):
    add_model(hub, "key-lab", "key")
    models = ["--models", "org/key-lab"]
    with running_app(ROOT, models, environment=hub.environment(hub_home)) as address:
        page = browser.new_page(viewport=DESKTOP)
        open_page(page, address)
        expect(page.locator("#category input")).to_have_value("key", timeout=15_000)
        assert chosen(page, "model") == "key-lab (org)"
        expect(page.locator("#refresh")).to_be_visible()
        inspect_example(page)
        expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
        page.close()


@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_the_choice_of_models_fits_the_page_with_its_button_and_its_notice(
    browser, hub, hub_home, name, viewport
):
    hub.stop()
    with running_app(ROOT, environment=hub.environment(hub_home) | NAMESPACE) as address:
        page = browser.new_page(viewport=viewport)
        open_page(page, address)
        expect(page.locator("#notice")).to_contain_text("could not be reached", timeout=30_000)
        page.screenshot(path=OUTPUT / f"hub_down_{name}.png", full_page=True)
        assert_nothing_overlaps(
            page, ("category", "model", "refresh", "notice", "photo", "inspect")
        )
        page.close()
