"""The headers, and a browser that obeys them: what must load loads, and nothing else does."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import pytest
from browsing import DESKTOP, EXAMPLES, WHILE_BUSY, give_photo, inspect, open_page, set_threshold
from conftest import ROOT
from playwright.sync_api import Page, expect
from running_app import running_app
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.testclient import TestClient

from page.languages import Translation
from page.server.guards import HEADERS, errors_in_sentences, security_headers

SPACE, OTHER = "https://org-parts.hf.space/", "https://other.test/"
HTML, JSON = {"Content-Type": "text/html"}, {"Content-Type": "application/json"}
DENT, STAIN = (EXAMPLES / "flange_nut" / f"{name}.jpg" for name in ("dent", "stain"))


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    """What the app pictures."""
    return tmp_path_factory.mktemp("app") / "log"


@pytest.fixture(scope="module")
def address(log):
    with running_app(ROOT, log=log) as address:
        yield address


@pytest.fixture
def page(browser, address) -> Page:
    """The page; the test fails where the browser refuses, or a script fails, unless it expects so.

    The browser has a camera, as a phone does.
    """
    context = browser.new_context(viewport=DESKTOP, permissions=["camera"])
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda said: said.type == "error" and page.complaints.append(said.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    open_page(page, f"{address}?category=flange_nut")
    yield page
    context.close()


def headers_of(address: str, data: bytes | None = None) -> Message:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data)) as answer:
            return answer.headers
    except urllib.error.HTTPError as error:
        return error.headers


def status_of(address: str, body: object) -> int:
    request = urllib.request.Request(address, json.dumps(body).encode(), JSON)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def policy_in(headers: Message) -> dict[str, str]:
    directives = headers["Content-Security-Policy"].split("; ")
    return {name: value for name, _, value in (each.partition(" ") for each in directives)}


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("", None),
        ("config", None),
        ("gradio_api/info", None),
        ("theme.css", None),
        ("assets/missing.js", None),
        ("gradio_api/call/v2/models", b"{}"),
        ("gradio_api/upload", b"no form"),
        ("gradio_api/file=/etc/passwd", None),
    ],
)
def test_every_answer_has_the_headers(address, path, data):
    headers = headers_of(f"{address}{path}", data)
    assert {name: headers[name] for name in HEADERS} == HEADERS
    policy = policy_in(headers)
    assert policy["frame-ancestors"] == "'self' https://huggingface.co https://*.hf.space"
    own = {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"}
    sources = {word for name, value in policy.items() for word in value.split()}
    elsewhere = {word for word in sources - own if not word.startswith("'nonce-")}
    assert elsewhere == {"https://huggingface.co", "https://*.hf.space"}


def test_nobody_goes_past_the_queue(address):
    with urllib.request.urlopen(f"{address}config") as answer:
        functions = json.load(answer)["dependencies"]
    queued = [each["id"] for each in functions if each["backend_fn"] and each["queue"]]
    assert len(queued) > 5
    for route in ("run", "api"):
        for name in ("models", "inspect", "inspect_batch"):
            assert status_of(f"{address}gradio_api/{route}/{name}", {"data": []}) == 404
        for number in queued:
            body = {"data": [], "fn_index": number, "session_hash": "a"}
            assert status_of(f"{address}gradio_api/{route}/predict", body) == 404


@pytest.mark.parametrize(
    "path",
    [
        "file=http://192.0.2.1/",
        "file=https://192.0.2.1/a.jpg",
        "file=HtTp://192.0.2.1/",
        "file=%68ttp%3A//192.0.2.1/",
        "f%69le%3dhttp:%2f%2f192.0.2.1/",
        "file/http://192.0.2.1/",
    ],
)
def test_no_file_from_elsewhere_is_shown(address, path):
    for method in ("GET", "HEAD"):
        asked = urllib.request.Request(f"{address}gradio_api/{path}", method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(asked)
        assert caught.value.code == 403
        assert caught.value.headers["X-Content-Type-Options"] == "nosniff"
        if method == "GET":
            assert json.load(caught.value) == {"detail": Translation("en")("guards.own_files_only")}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("call/v2/inspect", {"bad": 1}, 422, "Parameter `bad` is not a valid key-word argument; "),
        ("call/v2/inspect", {}, 422, "No value provided for required argument: photo; "),
        ("call/v2/nope", {}, 404, "There is no such function; "),
        ("call/nope", {"data": []}, 404, "There is no such function; "),
        ("run/nope", {"data": []}, 404, "There is no such function; "),
        ("queue/join", {"data": [], "fn_index": 999, "session_hash": "a"}, 404, "There is no such"),
    ],
)
def test_a_call_of_what_is_not_there_is_told_so_quietly(address, log, path, body, status, words):
    before = log.read_text()
    asked = urllib.request.Request(f"{address}gradio_api/{path}", json.dumps(body).encode(), JSON)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked)
    assert caught.value.code == status
    assert {name: caught.value.headers[name] for name in HEADERS} == HEADERS
    told = json.load(caught.value)["detail"]
    assert told.startswith(words)
    assert "\n" not in told
    assert log.read_text() == before


@pytest.mark.parametrize("path", ["/gradio_api/call/inspect", "/config"])
def test_what_nobody_expected_is_told_with_the_headers_and_raised_for_the_log(path):
    async def break_down(_):
        raise RuntimeError("of /srv/secret")

    within = [Middleware(security_headers), Middleware(errors_in_sentences)]
    app = Starlette(routes=[Route(path, break_down)], middleware=within)
    answer = TestClient(app, raise_server_exceptions=False).get(
        path, headers={"Accept-Language": "de"}
    )
    assert answer.status_code == 500
    assert answer.json() == {"detail": Translation("de")("guards.broke")}
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    with pytest.raises(RuntimeError, match="of /srv/secret"):
        TestClient(app).get(path)


def test_the_page_s_scripts_have_a_nonce_that_is_new_each_time(address):
    nonces = set()
    for _ in range(2):
        with urllib.request.urlopen(address) as answer:
            page, script_sources = answer.read().decode(), policy_in(answer.headers)["script-src"]
        (nonce,) = set(re.findall(r"<script nonce=\"([^\"]+)\"", page))
        assert f"'nonce-{nonce}'" in script_sources
        assert "'unsafe-inline'" not in script_sources
        assert len(re.findall("<script", page)) == len(re.findall("<script nonce", page)) > 5
        nonces.add(nonce)
    assert len(nonces) == 2


def test_a_visitor_s_file_may_do_nothing(page, address):
    give_photo(page, DENT)
    shown = page.locator("#photo img").first.get_attribute("src")
    assert "/gradio_api/file=" in shown
    policy = policy_in(headers_of(shown))
    assert policy["default-src"] == "'none'"
    assert "sandbox" in policy
    assert "script-src" not in policy


def test_the_browser_has_nothing_to_complain_of_while_a_part_is_inspected(page):
    inspect(page, DENT)
    set_threshold(page, 0.9)
    with page.expect_download():
        page.click("#csv")
    with page.expect_download():
        page.click("#zip")
    page.click("#ways button[role=tab] >> nth=1")
    page.set_input_files("#files input[type=file]", [STAIN])
    expect(page.locator("#files")).to_contain_text("stain", timeout=30_000)
    page.click("#start")
    expect(page.locator("#progress .batch-progress")).to_contain_text("done", timeout=WHILE_BUSY)
    with page.expect_download():
        page.click("#batch_csv")
    page.click("#about_box button")
    page.click("#programs_box button")
    page.wait_for_timeout(500)
    assert page.complaints == []


def test_what_comes_from_elsewhere_and_what_is_slipped_in_does_not_run(page):
    ran = page.evaluate(
        """async () => {
          const elsewhere = await fetch("https://example.com/").then(() => "read", () => "refused");
          document.body.insertAdjacentHTML("beforeend", "<img src=x: onerror='window.ran = 1'>");
          const script = document.createElement("script");
          script.textContent = "window.ran = 2";
          document.body.append(script);
          const frame = document.createElement("iframe");
          frame.src = "https://example.com/";
          document.body.append(frame);
          await new Promise(resolve => setTimeout(resolve, 500));
          return [elsewhere, window.ran ?? null];
        }"""
    )
    assert ran == ["refused", None]
    refused = [each for each in page.complaints if "Content Security Policy" in each]
    for directive in ("connect-src", "script-src", "frame-src"):
        assert any(directive in each for each in refused), directive


def test_the_camera_may_be_used_and_nothing_else_of_the_device(page):
    allowed = page.evaluate("document.featurePolicy.allowedFeatures()")
    assert "camera" in allowed
    assert not {"microphone", "geolocation", "usb"} & {*allowed}


@pytest.mark.parametrize(
    ("site", "is_shown"),
    [("https://huggingface.co/", True), ("https://org-x.hf.space/", True), (OTHER, False)],
)
def test_the_hub_may_show_the_app_in_a_frame_and_no_other_site_may(
    browser, address, site, is_shown
):
    page = browser.new_page()
    frame = f'<iframe src="{SPACE}"></iframe>'
    page.route("https://**", lambda route: route.abort())
    page.route(SPACE, lambda route: route.fulfill(response=route.fetch(url=address)))
    page.route(site, lambda route: route.fulfill(body=frame, headers=HTML))
    page.goto(site)
    assert bool(page.frames[1].query_selector("gradio-app")) == is_shown
    page.close()
