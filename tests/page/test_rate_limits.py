"""Who is told to wait, and who is not: a real server where the network matters."""

from __future__ import annotations

import http.client
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from browsing import open_page
from conftest import ROOT
from playwright.sync_api import expect
from running_app import becomes_true, running_app
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import page.server.rate_limits as rate_limits
from page.languages import NAMES, Translation
from page.server.quotas import Quotas
from page.server.rate_limits import (
    PRIVATE_NETWORKS,
    RateLimits,
    believe_the_proxy_of_a_space,
    network_of,
)

CALL, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


class Clock:
    """Time that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def visit(clock):
    """Makes a client whose requests come from an address, of an app with these rates."""

    async def answer(request):
        body = await request.body()
        is_wrong = "/login" in request.url.path and body != b"right"
        return PlainTextResponse(str(len(body)), 400 if is_wrong else 200)

    def make(rates: Quotas):
        limits = Middleware(RateLimits, quotas=rates, clock=clock)
        anything = Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])
        app = Starlette(routes=[anything], middleware=[limits])
        return lambda address: TestClient(app, client=(address, 1))

    return make


def test_a_call_too_many_is_told_how_long_to_wait_and_is_answered_after_that(visit, clock):
    client = visit(Quotas(calls=3))("192.0.2.1")
    assert [client.post(CALL).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.put("/anything")  # whatever has a body may make work
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "20"
    expected = Translation("en")("guards.too_many_calls", limit=3, seconds=20)
    assert refused.json() == {"detail": expected}
    clock.now += 19
    assert client.post(CALL).status_code == 429
    clock.now += 1
    assert client.post(CALL).status_code == 200


def test_reading_is_never_refused(visit):
    client = visit(Quotas(calls=1, upload_bytes=0))("192.0.2.1")
    assert client.post(CALL).status_code == 200
    assert client.post(CALL).status_code == 429
    for path in ("/", "/assets/index.js", "/gradio_api/file=/tmp/photo.png", "/config"):
        assert {client.get(path).status_code for _ in range(50)} == {200}


def test_each_address_has_calls_of_its_own(visit):
    of = visit(Quotas(calls=1))
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
        assert of(address).post(CALL).status_code == 200
        assert of(address).post(CALL).status_code == 429
    assert of("2001:db8:0:1:ffff::2").post(CALL).status_code == 429  # the same house


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("x" * 10**6, "x" * 64),
        ("", ""),
    ],
)
def test_an_address_is_known_by_what_one_house_has(address, network):
    assert network_of({"client": (address, 1)}) == network
    assert network_of({"client": None}) == ""


def test_small_calls_and_uploads_count_an_eighth(visit):
    client = visit(Quotas(calls=2))("192.0.2.1")
    paths = ["/gradio_api/run/predict", UPLOAD] * 8
    assert {client.post(path).status_code for path in paths} == {200}
    assert client.post(UPLOAD).status_code == 429


@pytest.mark.parametrize("announced", [True, False])
def test_bytes_are_counted_whether_their_number_is_announced_or_not(visit, announced):
    client = visit(Quotas(upload_bytes=3 * 2**20))("192.0.2.1")
    piece = b"x" * 2**20
    body = (lambda: piece * 2) if announced else (lambda: iter([piece, piece]))
    assert client.post(CALL, content=body()).text == str(2**21)
    refused = client.post(CALL, content=body())
    assert refused.status_code == 429
    assert "More than 3 MB in a minute" in refused.json()["detail"]
    assert int(refused.headers["retry-after"]) > 0


def test_a_call_with_a_huge_body_is_refused_for_good(visit, monkeypatch):
    monkeypatch.setattr(rate_limits, "MAX_CALL_BYTES", 2**20)
    client = visit(Quotas())("192.0.2.1")
    for body in (b"x" * (2**20 + 1), iter([b"x" * 2**20, b"x"])):
        refused = client.post(CALL, content=body)
        assert refused.status_code == 413
        assert "larger than 1 MB" in refused.json()["detail"]
    assert client.post(UPLOAD, content=b"x" * (2**20 + 1)).status_code == 200


def test_an_upload_that_is_refused_takes_no_bytes(visit, clock):
    client = visit(Quotas(calls=1, upload_bytes=2**20))("192.0.2.1")
    assert {client.post(UPLOAD).status_code for _ in range(8)} == {200}
    for _ in range(3):  # there is no call left
        assert client.post(UPLOAD, content=b"x" * 2**18).status_code == 429
    clock.now += 7.5  # for one upload
    assert client.post(UPLOAD, content=b"x" * (2**20 - 2**10)).status_code == 200


def test_wrong_passwords_run_out_and_right_ones_do_not(visit, clock):
    client = visit(Quotas(wrong_passwords=3))("192.0.2.1")
    assert {client.post("/login", content=b"right").status_code for _ in range(9)} == {200}
    assert [client.post("/login/", content=b"wrong").status_code for _ in range(2)] == [400] * 2
    assert client.post("/login", content=b"right").status_code == 200
    assert client.post("/login", content=b"wrong").status_code == 400
    refused = client.post("/login", content=b"right")  # even the right one: nobody learns it
    assert refused.status_code == 429
    assert refused.text == Translation("en")("guards.too_many_passwords", seconds=20)
    clock.now += 20
    assert client.post("/login", content=b"right").status_code == 200


@pytest.mark.parametrize("language", NAMES)
def test_the_sentence_is_in_the_language_of_the_browser(visit, language):
    client = visit(Quotas(calls=0.125))("192.0.2.1")
    asked = {"Accept-Language": f"fr, {language}-XX;q=0.9"}
    assert client.post(UPLOAD, headers=asked).status_code == 200
    answer = client.post(UPLOAD, headers=asked)
    assert answer.text == Translation(language)("guards.too_many_calls", limit=1, seconds=60)


def test_in_a_space_the_hubs_proxy_is_believed_and_elsewhere_no_network(monkeypatch):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    believe_the_proxy_of_a_space()
    assert "FORWARDED_ALLOW_IPS" not in os.environ
    monkeypatch.setenv("SPACE_ID", "org/space")
    believe_the_proxy_of_a_space()
    assert os.environ["FORWARDED_ALLOW_IPS"] == PRIVATE_NETWORKS
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.9")
    believe_the_proxy_of_a_space()
    assert os.environ["FORWARDED_ALLOW_IPS"] == "192.0.2.9"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """The app with low rates and its folder of uploads."""
    folder = tmp_path_factory.mktemp("uploads")
    rates = {"APP_CALLS_PER_MINUTE": "3", "APP_UPLOAD_MB_PER_MINUTE": "2"}
    environment = {**os.environ, **rates, "GRADIO_TEMP_DIR": str(folder)}
    with running_app(ROOT, environment=environment) as address:
        yield address, folder


def ask(address: str, visitor: str, path: str = "login") -> int:
    """The status of a call whose visitor a proxy on this machine names."""
    request = urllib.request.Request(f"{address}{path}", b"{}", {"X-Forwarded-For": visitor})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_visitors_behind_a_proxy_of_this_machine_are_told_apart(app):
    address, _ = app
    path = "gradio_api/no-such-call"
    answers = [ask(address, "198.51.100.1", path) for _ in range(4)]
    assert answers == [404, 404, 404, 429]
    assert ask(address, "198.51.100.2", path) == 404
    # What the visitor wrote into the header stands before what the proxy adds, and is not believed.
    assert ask(address, "203.0.113.7, 198.51.100.1", path) == 429


def test_the_page_says_in_the_visitor_s_language_how_long_to_wait(app, browser):
    address, _ = app
    visitor = "198.51.100.3"
    page = browser.new_page(locale="de", extra_http_headers={"X-Forwarded-For": visitor})
    open_page(page, address)
    while ask(address, visitor, "gradio_api/no-such-call") != 429:
        pass  # what the page took when it opened has grown back in part
    page.locator("#examples img").first.click()
    page.click("#inspect")
    told = page.get_by_text("Von dieser Adresse kamen mehr als 3 Aufrufe in einer Minute")
    expect(told.first).to_be_visible()
    page.close()


FORM = (
    "POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {visitor}\r\n"
    "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
)
PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def begin_upload(address: str, visitor: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(FORM.format(visitor=visitor).encode() + chunk(PART + b"x" * 2**20))
    return connection


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size >= 2**19]


@pytest.mark.parametrize("end", ["too much", "broken off"])
def test_of_an_upload_that_does_not_end_nothing_stays_on_the_disk(app, end):
    address, folder = app
    before = {*files_in(folder)}
    with begin_upload(address, f"198.51.100.{len(end)}") as connection:
        # It comes onto the disk while it comes.
        assert becomes_true(lambda: {*files_in(folder)} - before)
        if end == "too much":
            connection.sendall(chunk(b"x" * 2**20) + chunk(b"x" * 2**20))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 429
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.read().decode().endswith("or send less at once.")
    assert becomes_true(lambda: not {*files_in(folder)} - before)
