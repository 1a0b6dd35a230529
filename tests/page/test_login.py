"""The page with a login: who gets in, by browser and by program, and what everybody else gets."""

from __future__ import annotations

import http.cookiejar
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest
from browsing import DESKTOP, EXAMPLES, OUTPUT, PHONE, contrast, open_page
from conftest import ROOT
from gradio_client import Client, handle_file
from gradio_client.exceptions import AuthenticationError
from playwright.sync_api import Page, expect
from running_app import running_app

from page.languages import Translation
from page.server.limits import WRONG_PASSWORDS_PER_MINUTE
from page.server.login import Account

NAME, PASSWORD = "inspector", "Prüf mich: 7 Muttern"
SET = {"APP_USERNAME": NAME, "APP_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def address():
    with running_app(ROOT, environment={**os.environ, **SET}) as address:
        yield address


def status(address: str, path: str, visitor: str, data: bytes | None = None, **headers: str) -> int:
    """What a visitor who brings no session gets."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(
        f"{address}{path}", data, {"X-Forwarded-For": visitor, **named}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def log_in(page: Page, name: str, password: str) -> None:
    page.locator("input, textarea").nth(0).fill(name)
    page.locator("input[type=password]").fill(password)
    page.get_by_role("button", name="Login").click()


def test_the_account_is_what_the_environment_says():
    assert Account.of({}) is None
    assert Account.of({"APP_USERNAME": "", "APP_PASSWORD": ""}) is None
    account = Account.of(SET | {"APP_USERNAME": f" {NAME} "})
    assert account(NAME, PASSWORD)
    for name, password in ((NAME, ""), (NAME, f"{PASSWORD} "), ("", PASSWORD), (PASSWORD, NAME)):
        assert not account(name, password)
    assert PASSWORD not in repr(account)


@pytest.mark.parametrize("name", SET)
def test_one_word_without_the_other_is_refused_at_the_command_line(name):
    environment = {key: value for key, value in os.environ.items() if key not in SET}
    finished = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**environment, name: SET[name]},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 2
    (other,) = SET.keys() - {name}
    assert finished.stderr.startswith(f"app.py: {name} is set and {other} is not")
    assert "Traceback" not in finished.stderr
    assert SET[name] not in finished.stderr


@pytest.mark.parametrize(("name", "viewport"), [("desktop", DESKTOP), ("phone", PHONE)])
def test_an_inspector_logs_in(browser, address, name, viewport):
    page = browser.new_page(viewport=viewport, extra_http_headers={"X-Forwarded-For": name})
    hosts, complaints = set(), []
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    page.goto(address)
    button = page.get_by_role("button", name="Login")
    expect(button).to_be_visible(timeout=30_000)
    assert complaints == []
    expect(page.locator("p.auth")).to_have_text("Golden Sample")
    assert contrast(button) >= 4.5
    page.screenshot(path=OUTPUT / f"login_{name}.png")
    width = page.evaluate("document.documentElement.clientWidth")
    for part in (button, page.locator("input[type=password]")):
        box = part.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    log_in(page, NAME, "wrong")
    expect(page.get_by_text("Incorrect Credentials")).to_be_visible()
    log_in(page, NAME, PASSWORD)
    expect(page.locator("#inspect")).to_be_visible(timeout=30_000)
    open_page(page, address)
    page.click("#programs_box button")
    expect(page.locator("#programs_box pre")).to_contain_text("Client(")
    expect(page.locator("#programs_box")).not_to_contain_text("MCP")  # there is none
    assert hosts == {address.split("/")[2]}
    page.close()


def test_who_tries_many_passwords_is_told_to_wait_on_the_page(browser, address):
    page = browser.new_page(extra_http_headers={"X-Forwarded-For": "198.51.100.9"})
    form = urllib.parse.urlencode({"username": NAME, "password": "wrong"}).encode()
    wrong = [
        status(address, "login", "198.51.100.9", form) for _ in range(WRONG_PASSWORDS_PER_MINUTE)
    ]
    assert {*wrong} == {400}
    page.goto(address)
    expect(page.get_by_role("button", name="Login")).to_be_visible(timeout=30_000)
    while status(address, "login", "198.51.100.9", form) != 429:
        pass  # some have grown back while the page was loading
    log_in(page, NAME, PASSWORD)
    sentence = Translation("en")("guards.too_many_passwords", seconds=0).partition(";")[0]
    told = page.get_by_role("alert")
    expect(told).to_contain_text(sentence)
    assert contrast(told) >= 4.5
    page.screenshot(path=OUTPUT / "login_refused.png")
    page.close()


@pytest.mark.parametrize(
    "path",
    [
        "config",
        "gradio_api/info",
        "gradio_api/openapi.json",
        "gradio_api/file=/etc/passwd",
        "gradio_api/queue/data?session_hash=a",
        "gradio_api/call/models/a",
        "gradio_api/upload_progress?upload_id=a",
        "monitoring",
    ],
)
def test_without_a_login_nothing_is_read(address, path):
    assert status(address, path, "198.51.100.2") == 401


@pytest.mark.parametrize(
    "path",
    ["upload", "queue/join", "call/models", "call/v2/models", "run/predict", "api/models"],
)
def test_without_a_login_nothing_is_called(address, path):
    assert status(address, f"gradio_api/{path}", "198.51.100.2", b"{}") in (401, 422)
    headers = {"Content_Type": "application/json"}
    body = b'{"data": [], "fn_index": 0, "session_hash": "a"}'
    assert status(address, f"gradio_api/{path}", "198.51.100.2", body, **headers) == 401


def test_there_are_no_mcp_tools_with_a_login(address):
    for path in ("gradio_api/mcp/", "gradio_api/mcp/schema", "gradio_api/mcp/sse"):
        assert status(address, path, "198.51.100.2") == 404


def test_a_program_logs_in(address, tmp_path):
    with pytest.raises((AuthenticationError, ValueError)):
        Client(address, verbose=False)
    with pytest.raises((AuthenticationError, ValueError)):
        Client(address, auth=(NAME, "wrong"), verbose=False)
    client = Client(address, auth=(NAME, PASSWORD), verbose=False, download_files=tmp_path)
    assert "flange_nut" in {model["category"] for model in client.predict(api_name="/models")}
    photo = handle_file(EXAMPLES / "flange_nut" / "dent.jpg")
    assert client.predict(photo, "flange_nut", api_name="/inspect")["verdict"] == "FAIL"


def test_plain_http_logs_in_with_a_form_and_goes_on_with_its_cookie(address):
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    )
    form = urllib.parse.urlencode({"username": NAME, "password": PASSWORD}).encode()
    with opener.open(f"{address}login", form) as answer:
        assert answer.status == 200
    with opener.open(f"{address}gradio_api/info") as answer:
        assert b"/inspect_batch" in answer.read()
    # A page of another site could send the same cookie along.
    for site in ("cross-site", "same-site"):
        request = urllib.request.Request(
            f"{address}gradio_api/token", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}
        )
        with pytest.raises(urllib.error.HTTPError, match="403"):
            opener.open(request)
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    with opener.open(urllib.request.Request(address, headers=link)) as answer:
        assert answer.status == 200
