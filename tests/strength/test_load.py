"""Many visitors at once, and what the world does to a server: slow, aborted, killed, broken.

`make test` lets the crowd stay for 12 seconds; `LOAD_SECONDS=120 python -m pytest
tests/strength/test_load.py` for two minutes, which is what to do after a change to queue, turns or
memory.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from browsing import DESKTOP, EXAMPLES, OUTPUT, PHONE, WHILE_BUSY, give_photo, inspect, open_page
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from starlette.middleware import Middleware

import app as page_of_the_app
import page.wiring
from modeling import InspectionPipeline, load_pipeline
from page.components import translate
from page.inspection.inspector import UNEXPECTED, Inspector
from page.languages import DEFAULT, Translation
from page.models.catalogue import Catalogue
from page.models.entries import shipped_models
from page.server.gradio_internals import head_scripts
from tests.strength.app_process import free_port, started_app
from tests.strength.benchmark_app import CATEGORY, SHIPPED, growth
from tests.strength.visitors import (
    TOLERANCE,
    NoVerdictError,
    Visitor,
    connected,
    crowd,
    draw_visitors,
    inspect_once,
)

VISITORS = 50
SECONDS = float(os.environ.get("LOAD_SECONDS", "12"))
MAX_GROWTH = 40_000_000  # bytes after the warm-up, however long the crowd stays
PATIENCE = 300  # seconds until what has to happen has happened, even on a busy machine
PHOTO = EXAMPLES / CATEGORY / "dent.jpg"


@pytest.fixture(scope="module")
def disk(tmp_path_factory) -> Path:
    """The folder of temporary files of the app."""
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def app(disk):
    """The app as a person starts it."""
    with started_app(environment={"TMPDIR": str(disk)}) as app:
        yield app


@pytest.fixture(scope="module")
def visitors(tmp_path_factory) -> list[Visitor]:
    """Each with a photo and a score that nobody else has."""
    pipeline = load_pipeline(SHIPPED / CATEGORY)
    return draw_visitors(VISITORS, pipeline, CATEGORY, tmp_path_factory.mktemp("photos"))


def of_visitors(disk: Path) -> list[Path]:
    return [path for path in disk.glob("golden-sample-*/visitors/**/*") if path.is_file()]


def begun_uploads(disk: Path) -> list[Path]:
    """Those that are not complete lie beside the folders of those that are."""
    return [path for path in disk.glob("golden-sample-*/uploads/*") if path.is_file()]


def becomes_true(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def test_everyone_of_a_crowd_gets_their_own_answer_and_memory_stays_flat(app, disk, visitors):
    with connected(app.address) as client:
        inspect_once(client, CATEGORY, PHOTO)  # the model is there before the crowd
    found = crowd(app.address, visitors, SECONDS, app.memory)
    assert not found.errors
    assert not found.mixed_up
    assert all(session.seconds for session in found.results)
    assert not of_visitors(disk)
    grown = growth(found.samples)
    assert grown is None or grown < MAX_GROWTH, found.samples


def test_a_visitor_whose_upload_comes_byte_by_byte_is_served_and_so_is_everyone_else(app, visitors):
    slow, other = visitors[:2]
    body, kind = form_with(slow.photo.read_bytes()[:2000], "slow.png")
    half = len(body) // 2
    with connection(app.address) as stream:
        stream.sendall(head_of(app.address, kind, len(body)))
        drip(stream, body[:half])
        with connected(app.address) as client:
            record = inspect_once(client, CATEGORY, other.photo)
        drip(stream, body[half:])
        answer = stream.recv(10_000)
    assert abs(record["score"] - other.score) <= TOLERANCE
    assert b" 200 OK" in answer


def test_nothing_is_left_of_an_upload_that_breaks_off(app, disk, visitors):
    body, kind = form_with(bytes(4_000_000), "broken-off.png")
    with connection(app.address) as stream:
        stream.sendall(head_of(app.address, kind, len(body)))
        stream.sendall(body[: len(body) // 2])
        assert becomes_true(lambda: begun_uploads(disk))
        # Gone without a farewell, as when a cable is pulled.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert becomes_true(lambda: not begun_uploads(disk))
    with connected(app.address) as client:
        record = inspect_once(client, CATEGORY, visitors[0].photo)
    assert abs(record["score"] - visitors[0].score) <= TOLERANCE


@contextmanager
def connection(address: str) -> Iterator[socket.socket]:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield stream


def drip(stream: socket.socket, content: bytes) -> None:
    for place in range(len(content)):
        stream.sendall(content[place : place + 1])
        time.sleep(0.001)


def form_with(content: bytes, name: str) -> tuple[bytes, str]:
    """The body of an upload and its content type."""
    request = httpx.Request("POST", "http://app/", files={"files": (name, content, "image/png")})
    return request.read(), request.headers["Content-Type"]


def head_of(address: str, kind: str, length: int) -> bytes:
    lines = ("POST /gradio_api/upload HTTP/1.1", f"Host: {urlsplit(address).netloc}")
    return "\r\n".join(
        (*lines, f"Content-Type: {kind}", f"Content-Length: {length}", "", "")
    ).encode()


@pytest.fixture
def large_photo(tmp_path) -> Path:
    """Its inspection takes long enough to be killed in the middle."""
    path = tmp_path / "large.jpg"
    with Image.open(PHOTO) as photo:
        photo.resize((7000, 7000)).save(path, quality=70)
    return path


def test_a_server_that_is_killed_is_missed_in_words_and_its_next_start_tidies_up(
    browser, disk, large_photo
):
    port, own = free_port(), disk / "killed"
    own.mkdir()
    environment, text = {"TMPDIR": str(own)}, Translation("de")
    with started_app(port, environment) as first:
        pages = [browser.new_page(viewport=size) for size in (DESKTOP, PHONE)]
        for visitor in pages:
            open_page(visitor, f"{first.address}?category={CATEGORY}&lang=de")
        inspect(pages[0], PHOTO)
        give_photo(pages[0], large_photo)
        kept = {*of_visitors(own)}  # of which the page may still be deleting the last part's
        pages[0].click("#inspect")
        assert becomes_true(lambda: {*of_visitors(own)} - kept)
        first.kill()
        looks_again(pages[1])  # who only looked is told too
        for visitor, name in zip(pages, ("desktop", "phone"), strict=True):
            expect(visitor.locator("#connection")).to_have_text(text("waiting.lost"))
            expect(visitor.locator(".toast-wrap:visible")).to_have_count(0)
            visitor.screenshot(path=OUTPUT / f"lost-{name}.png")
        assert of_visitors(own)
    with started_app(port, environment):
        for visitor, name in zip(pages, ("desktop", "phone"), strict=True):
            told = visitor.locator("#connection p")
            expect(told).to_have_text(text("waiting.back"), timeout=WHILE_BUSY)
            expect(visitor.locator("#inspect")).to_be_visible(timeout=WHILE_BUSY)
            visitor.screenshot(path=OUTPUT / f"back-{name}.png")
        assert not of_visitors(own)
        assert len([*own.glob("golden-sample-*")]) == 1
        pages[1].get_by_role("button", name=text("waiting.reload")).click()
        for visitor in pages:
            expect(visitor.locator("#inspect")).to_be_visible(timeout=WHILE_BUSY)
            inspect(visitor, PHOTO)
            visitor.close()
    assert not [*own.glob("golden-sample-*")]


def looks_again(visitor: Page) -> None:
    """As when the visitor comes back from another tab."""
    visitor.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


@pytest.fixture
def stalled(monkeypatch) -> threading.Event:
    """Lets the models work only once it is set; at most one visitor of the page at a time."""
    may_work, work = threading.Event(), InspectionPipeline.__call__

    def wait_and_work(self: InspectionPipeline, *words: object, **named: object) -> object:
        assert may_work.wait(PATIENCE)
        return work(self, *words, **named)

    monkeypatch.setattr(InspectionPipeline, "__call__", wait_and_work)
    monkeypatch.setattr(page.wiring, "VISITORS_AT_ONCE", 1)
    return may_work


@contextmanager
def served_here(root: Path) -> Iterator[str]:
    """The page in this process, where a test can change what the models do."""
    blocks = page.wiring.build(Inspector(Catalogue(shipped_models())), root)
    with closing(blocks):
        yield blocks.launch(
            theme=page_of_the_app.theme(),
            css=page_of_the_app.style(),
            i18n=translate,
            app_kwargs={"middleware": [Middleware(head_scripts)]},
            footer_links=[],
            prevent_thread_lock=True,
            quiet=True,
        )[1]


def test_who_waits_reads_their_place_in_the_queue(browser: Browser, stalled, tmp_path):
    languages = {"en": DESKTOP, "de": DESKTOP, "es": PHONE}
    with ExitStack() as stack:
        address = stack.enter_context(served_here(tmp_path))
        stack.callback(stalled.set)
        pages = {}
        for language, size in languages.items():
            visitor = pages[language] = browser.new_page(viewport=size)
            open_page(visitor, f"{address}?category={CATEGORY}&lang={language}")
            give_photo(visitor, PHOTO)
            visitor.click("#inspect")
            expect(visitor.locator("#verdict .wrap:not(.hide)")).to_be_visible(timeout=WHILE_BUSY)
        for place, language in ((1, "de"), (2, "es")):
            words = Translation(language)("waiting.place", place=place)
            expect(pages[language].locator("#verdict .place")).to_have_text(words)
            expect(pages[language].locator("#verdict .place")).to_be_in_viewport()
            expect(pages[language].locator("#verdict .progress-text:visible")).to_have_count(0)
            pages[language].screenshot(path=OUTPUT / f"queue-{language}.png")
        expect(pages["en"].locator("#verdict .place:not(:empty)")).to_have_count(0)
        stalled.set()
        for visitor in pages.values():
            expect(visitor.locator("#verdict .badge:visible")).to_be_visible(timeout=WHILE_BUSY)
            expect(visitor.locator("#verdict .place:not(:empty)")).to_have_count(0)
            visitor.close()


def test_an_inspection_that_breaks_takes_nobody_elses_turn(browser, monkeypatch, tmp_path):
    work, broken = InspectionPipeline.__call__, threading.Event()

    def break_or_work(self: InspectionPipeline, *words: object, **named: object) -> object:
        if broken.is_set():
            raise RuntimeError("a secret of the server")
        return work(self, *words, **named)

    monkeypatch.setattr(InspectionPipeline, "__call__", break_or_work)

    def ask(address: str) -> str:
        with connected(address) as client:
            try:
                return inspect_once(client, CATEGORY, PHOTO)["verdict"]
            except NoVerdictError as error:
                return str(error)

    sentence = Translation(DEFAULT)(UNEXPECTED)
    calls = 2 * page.wiring.VISITORS_AT_ONCE + 1  # more than may be under way
    with served_here(tmp_path) as address, ThreadPoolExecutor(calls) as threads:
        visitor = browser.new_page(viewport=DESKTOP)
        open_page(visitor, f"{address}?category={CATEGORY}")
        broken.set()
        answers = [*threads.map(ask, [address] * calls)]
        assert all(sentence in answer and "secret" not in answer for answer in answers)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        give_photo(visitor, PHOTO)
        visitor.click("#inspect")
        expect(visitor.locator("#verdict section.error")).to_have_text(sentence)
        visitor.screenshot(path=OUTPUT / "broken.png")
        broken.clear()
        inspect(visitor, PHOTO)
        visitor.close()
        assert [*threads.map(ask, [address] * calls)] == ["FAIL"] * calls
