"""The ways of giving a photo besides choosing a file: taken with a camera, pasted, dropped."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from browsing import (
    DESKTOP,
    EXAMPLES,
    OUTPUT,
    PHONE,
    WHILE_BUSY,
    assert_nothing_overlaps,
    launch,
    open_page,
    picture_sizes,
    shown_verdict,
)
from conftest import ROOT
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, expect
from running_app import running_app

PART = EXAMPLES / "flange_nut" / "dent.jpg"
CAMERA_SIZE = (640, 480)
GREY_LEVELS = 4  # that the way through JPEG changes on average


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_app(ROOT) as address:
        yield address


def before_the_camera() -> Image.Image:
    """The part, large in the middle of what the camera sees."""
    with Image.open(PART) as part:
        return ImageOps.pad(part.convert("RGB"), CAMERA_SIZE, color=part.getpixel((2, 2)))


@pytest.fixture(scope="module")
def with_camera(browser: Browser, tmp_path_factory) -> Iterator[Browser]:
    """A browser with a camera that sees the part: Chromium plays a film of one frame."""
    frame = BytesIO()
    before_the_camera().save(frame, "JPEG", quality=95)
    film = tmp_path_factory.mktemp("camera") / "part.mjpeg"
    film.write_bytes(2 * frame.getvalue())
    chromium = launch(
        browser.browser_type,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    )
    yield chromium
    chromium.close()


def take_photo(page: Page) -> None:
    page.click("#photo [aria-label='Capture from camera']")
    page.click("#photo [title='grant webcam access'] button")
    expect(page.locator("#photo video")).to_be_visible()
    page.wait_for_function("document.querySelector('#photo video').videoWidth > 0")
    page.click("#photo [aria-label='capture photo']")


def inspected(page: Page) -> Image.Image:
    """Press Inspect; the original as the page shows it."""
    expect(page.locator("#photo img:visible")).to_be_visible()
    page.click("#inspect")
    expect(page.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
    original = page.locator("[data-picture=original] img.photo")
    picture_sizes(original)  # waits until it is there
    encoded = original.evaluate(
        """picture => {
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
          canvas.getContext("2d").drawImage(picture, 0, 0);
          return canvas.toDataURL("image/png").split(",")[1];
        }"""
    )
    return Image.open(BytesIO(base64.b64decode(encoded))).convert("RGB")


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference, grey levels."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_a_photo_taken_with_the_camera_is_inspected_and_not_mirrored(
    with_camera, address, name, viewport
):
    context = with_camera.new_context(viewport=viewport, permissions=["camera"])
    page = context.new_page()
    open_page(page, f"{address}?category=flange_nut")
    take_photo(page)
    original, seen = inspected(page), before_the_camera()
    assert original.size == CAMERA_SIZE
    # A film's grey levels are stretched a little, so it is compared with its mirror image.
    assert distance(original, seen) < distance(original, ImageOps.mirror(seen)) / 2
    assert_nothing_overlaps(page, ("photo", "inspect", "verdict"))
    page.screenshot(path=OUTPUT / f"{name}_camera.png", full_page=True)
    context.close()


def test_a_pasted_photo_is_inspected(browser, address):
    context = browser.new_context(
        viewport=DESKTOP, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    open_page(page, f"{address}?category=flange_nut")
    picture = BytesIO()
    with Image.open(PART) as part:
        part.save(picture, "PNG")
    page.evaluate(
        """async encoded => {
          const png = await (await fetch("data:image/png;base64," + encoded)).blob();
          await navigator.clipboard.write([new ClipboardItem({"image/png": png})]);
        }""",
        base64.b64encode(picture.getvalue()).decode(),
    )
    page.click("#photo [aria-label='Paste from clipboard']")
    with Image.open(PART) as part:
        assert distance(inspected(page), part.convert("RGB")) < GREY_LEVELS
    assert shown_verdict(page) == "FAIL"
    context.close()


def test_a_dropped_photo_is_inspected(browser, address):
    page = browser.new_page(viewport=DESKTOP)
    open_page(page, f"{address}?category=flange_nut")
    dropped = page.evaluate_handle(
        """encoded => {
          const bytes = Uint8Array.from(atob(encoded), letter => letter.charCodeAt(0));
          const transfer = new DataTransfer();
          transfer.items.add(new File([bytes], "part.jpg", {type: "image/jpeg"}));
          return transfer;
        }""",
        base64.b64encode(PART.read_bytes()).decode(),
    )
    page.dispatch_event("#photo button[aria-dropeffect]", "drop", {"dataTransfer": dropped})
    with Image.open(PART) as part:
        assert distance(inspected(page), part.convert("RGB")) < GREY_LEVELS
    assert shown_verdict(page) == "FAIL"
    page.close()
