"""A person at the page: what they see and do in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import ROOT
from playwright.sync_api import Browser, BrowserType, Locator, Page, expect, sync_playwright

OUTPUT = ROOT / "tests" / "output"  # screenshots, to be looked at
EXAMPLES = ROOT / "assets" / "examples"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PICTURES = ("original", "reconstruction", "difference")
# The first draws pages alone, no browser around them: a page costs half the time.
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser")
WHILE_BUSY = 120_000  # milliseconds in which even a busy machine loads a model
expect.set_options(timeout=30_000)  # in which it does anything else


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        yield launch(playwright.chromium)


def launch(chromium: BrowserType, *words: str) -> Browser:
    """Start Debian's Chromium with these flags, without its windows where that is installed."""
    found = filter(None, map(shutil.which, CHROMIUMS))
    executable = next(found, None)
    assert executable, f"The browser tests need Chromium: apt-get install {CHROMIUMS[0]}"
    return chromium.launch(executable_path=executable, args=["--no-sandbox", *words])


def open_page(page: Page, address: str) -> None:
    """Open the page and wait until it can be used."""
    page.goto(address)
    expect(page.locator("#inspect")).to_be_visible(timeout=30_000)
    # The address's choice has been taken, so what follows is not undone by it.
    language = page.locator("#language_code textarea, #language_code input")
    expect(language).to_have_value(re.compile("[a-z]{2}"), timeout=30_000)


def choose(page: Page, name: str, option: str) -> None:
    """Choose from the list of categories or models as a person does."""
    page.click(f"#{name} input")
    page.get_by_role("option", name=option, exact=True).first.click()


def chosen(page: Page, name: str) -> str:
    """What a list shows."""
    return page.locator(f"#{name} input").input_value()


def give_photo(page: Page, photo: Path) -> None:
    """Upload a photo, in the place of the last one."""
    remove = page.locator("#photo button[aria-label='Remove Image']")
    if remove.count():
        remove.first.click()
    page.set_input_files("#photo input[type=file]", photo)
    expect(page.locator("#photo img")).to_be_visible(timeout=15_000)


def inspect(page: Page, photo: Path) -> None:
    """Upload a photo, press Inspect and wait for the verdict."""
    give_photo(page, photo)
    page.click("#inspect")
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)


def shown_verdict(page: Page) -> str:
    """The word on the verdict card."""
    return page.locator("#verdict .badge:visible .word").inner_text()


def picture_sizes(pictures: Locator) -> list[list[int]]:
    """[width, height] of each picture's own pixels; waits until they are there."""
    return pictures.evaluate_all(
        """pictures => Promise.all(pictures.map(async picture => {
          await picture.decode();
          return [picture.naturalWidth, picture.naturalHeight];
        }))"""
    )


def set_threshold(page: Page, threshold: float) -> None:
    """Type a threshold."""
    number = page.locator("#threshold input[type=number]")
    number.fill(str(threshold))
    number.press("Enter")


def overlap(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two bounding boxes share more than a border."""
    across = min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"])
    down = min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"])
    return across > 1 and down > 1


def assert_nothing_overlaps(page: Page, names: tuple[str, ...]) -> None:
    """None of the elements with these ids covers another one, and none sticks out sideways."""
    boxes = {name: page.locator(f"#{name}").bounding_box() for name in names}
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            assert not overlap(boxes[first], boxes[second]), (first, second)
    width = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def contrast(locator: Locator) -> float:
    """WCAG 2 contrast of an element's text against the nearest opaque ground behind it."""
    return contrast_of(locator.evaluate("e => getComputedStyle(e).color"), ground_of(locator))


def ground_of(locator: Locator) -> str:
    """The nearest opaque colour behind an element."""
    return locator.evaluate(
        """element => {
          const isClear = (colour) => /, 0\\)$|transparent/.test(colour);
          let ground = element;
          while (ground && isClear(getComputedStyle(ground).backgroundColor)) {
            ground = ground.parentElement;
          }
          return ground ? getComputedStyle(ground).backgroundColor : "rgb(255, 255, 255)";
        }"""
    )


def contrast_of(one: str, other: str) -> float:
    """WCAG 2 contrast of two colours as CSS writes them."""
    numbers = [[float(value) for value in re.findall(r"[\d.]+", c)[:3]] for c in (one, other)]
    light, dark = sorted(map(_luminance, numbers), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: list[float]) -> float:
    """Relative luminance of (red, green, blue), 0..255."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
