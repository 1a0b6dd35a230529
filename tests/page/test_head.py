from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from page.server.gradio_internals import head_scripts

PAGE = "<!doctype html><html><head><title>é</title></head><body><head></body></html>"


@pytest.fixture
def client():
    async def page(_):
        return HTMLResponse(PAGE)

    async def pieces(_):
        return StreamingResponse(iter(["<head>", "two"]), media_type="text/html")

    routes = [Route("/", page), Route("/other", pieces)]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(head_scripts)]))


def test_the_script_stands_before_everything_else_in_the_head(client):
    answer = client.get("/?lang=de")
    before, after = answer.text.split("<title>é</title>")
    assert before.startswith("<!doctype html><html><head><script>")
    assert before.index("chooseLanguage") < before.index("showVerdict")
    assert after == PAGE.split("<title>é</title>")[1]
    assert int(answer.headers["content-length"]) == len(answer.content)


def test_nothing_else_is_touched(client):
    assert client.get("/other").text == "<head>two"
    assert client.head("/").text == ""
    assert client.get("/missing").status_code == 404
