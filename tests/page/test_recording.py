"""The pictures of the README: the app at work, recorded in a real browser.

They lie in tests/output afterwards; `make pictures` takes them from there into assets/.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from browsing import EXAMPLES, OUTPUT, give_photo, inspect, open_page, set_threshold, shown_verdict
from conftest import ROOT
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from running_app import running_app

WINDOW = {"width": 1366, "height": 900}
SHOWN_WIDTH = 920  # pixels of the recording
NUT = EXAMPLES / "flange_nut"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with running_app(ROOT) as address:
        page = browser.new_page(viewport=WINDOW)
        open_page(page, f"{address}?category=flange_nut")
        yield page
        page.close()


def move(page: Page, setting: str, percent: int) -> None:
    """Move one of the sliders under the pictures."""
    page.locator(f"[data-setting={setting}]").evaluate(
        "(input, value) => { input.value = value;"
        " input.dispatchEvent(new Event('input', { bubbles: true })); }",
        str(percent),
    )


class Recorder:
    """Collects frames of a page, each with the time for which it is shown."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.milliseconds: list[int] = []

    def shoot(self, milliseconds: int) -> None:
        """Take one frame."""
        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        height = round(SHOWN_WIDTH * picture.height / picture.width)
        self.frames.append(picture.resize((SHOWN_WIDTH, height), Image.Resampling.LANCZOS))
        self.milliseconds.append(milliseconds)

    def save(self, path: str) -> None:
        """Write a looping animation."""
        first, *others = self.frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=self.milliseconds,
            loop=0,
            quality=70,
            method=4,
        )


def test_the_app_is_recorded_at_work(page):
    recorder = Recorder(page)
    give_photo(page, NUT / "scratch.jpg")
    page.wait_for_timeout(500)
    recorder.shoot(1200)
    page.click("#inspect")
    expect(page.locator("#verdict .badge.fail")).to_be_visible(timeout=120_000)
    expect(page.locator("#cost")).to_contain_text("known defects", timeout=60_000)
    page.wait_for_timeout(800)
    page.screenshot(path=OUTPUT / "screenshot.png")
    recorder.shoot(2200)
    for percent in (*range(10, 101, 15), 100, *range(85, -1, -17)):
        move(page, "wipe", percent)
        page.wait_for_timeout(60)
        recorder.shoot(110)
    for percent in (60, 20, 60, 100):
        move(page, "heat", percent)
        page.wait_for_timeout(60)
        recorder.shoot(250)
    for threshold in (0.6, 0.7, 0.8, 0.9, 1.0, 0.5):
        set_threshold(page, threshold)
        page.wait_for_timeout(500)
        recorder.shoot(450)
    inspect(page, NUT / "good.jpg")
    page.wait_for_timeout(800)
    assert shown_verdict(page) == "PASS"
    recorder.shoot(2200)
    recorder.save(OUTPUT / "recording.webp")
    with Image.open(OUTPUT / "recording.webp") as recording:
        assert recording.n_frames >= 20
        assert recording.info["loop"] == 0
    assert (OUTPUT / "recording.webp").stat().st_size < 3_000_000
