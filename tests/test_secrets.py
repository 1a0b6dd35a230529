"""What is secret in the environment appears nowhere: page, answers, errors, logs, cards, files.

The app is driven over HTTP with and without a login, a model is trained and its upload refused, all
with secrets whose values nothing else contains.
"""

from __future__ import annotations

import base64
import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import DESKTOP, EXAMPLES
from commands import commands
from conftest import ROOT
from gradio_client import Client, handle_file
from running_app import running_app

NAME = "inspector"
SECRETS = {
    "HF_TOKEN": "hf_qZ7vRk2mXw9tLb4nYc6d",
    "APP_PASSWORD": "Wd8!sVq&3 <Tfj>5pLx",
    "AWS_SECRET_ACCESS_KEY": "uJ4+rN/9kPz0/EoGm2hB",
    "DATABASE_URL": "postgres://app:Yx6bCq1tRv8z@db.internal/parts",
}
# A model on the Hub that can't be read, so that the app has errors to tell.
BROKEN = {
    "README.md": b"---\ntags:\n- golden-sample\n- category:bolt\n---\n",
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"no weights",
}
RECIPE = "training/configs/autoencoder_pixels.yaml"
FEW = "synthetic:flange_nut?train=12&test_good=2&test_per_defect=1&size=64"
TINY = ("--image_size", "64", "--epochs", "1")


@pytest.fixture
def environment(hub, hub_home) -> dict[str, str]:
    """Of a process whose Hub does not know the token."""
    hub.add_repo("org/broken", BROKEN)
    return hub.environment(hub_home) | SECRETS | {"APP_USERNAME": NAME, "MODEL_NAMESPACE": "org"}


def written_as(secret: str) -> set[bytes]:
    """What a secret looks like in text, JSON, HTML, addresses and headers."""
    plain = {secret, secret.rpartition("@")[0].rpartition(":")[2] or secret}
    html = {text.replace("&", "&amp;").replace("<", "&lt;") for text in plain}
    json_text = {json.dumps(text)[1:-1] for text in plain}
    unicode = {text.replace("&", "\\u0026").replace("<", "\\u003c") for text in plain}
    address = {function(text) for text in plain for function in (_quote, urllib.parse.quote_plus)}
    coded = {base64.b64encode(text.encode()).decode().rstrip("=") for text in plain}
    coded |= {base64.b64encode(f"{NAME}:{secret}".encode()).decode()}
    return {text.encode() for text in plain | html | json_text | unicode | address | coded}


def _quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def secrets_in(content: bytes) -> set[str]:
    return {
        name for name, secret in SECRETS.items() if any(t in content for t in written_as(secret))
    }


def test_a_secret_is_found_however_it_is_written():
    for name, secret in SECRETS.items():
        for text in (secret, _quote(secret), json.dumps({"a": secret})):
            assert secrets_in(f"... {text} ...".encode()) == {name}
    assert secrets_in(b"nothing of the kind") == set()


def answers_of(opener: urllib.request.OpenerDirector, address: str) -> Iterator[tuple[str, bytes]]:
    """What the app answers, headers included, to what may be asked by who knows it well."""
    calls = {
        "call/v2/inspect": {"photo": "/proc/self/environ", "category": "flange_nut"},
        "call/inspect": {"data": ["data:image/png;base64,AAAA", "no such product"]},
        "call/v2/models": {},
        "run/predict": {"data": [], "fn_index": 10**6},
        "queue/join": {"data": [None], "fn_index": 0, "session_hash": "a"},
    }
    pages = ["", "?category=bolt&lang=de", "config", "theme.css", "manifest.json", "no/such/page"]
    pages += [
        f"gradio_api/{name}"
        for name in (
            "info",
            "openapi.json",
            "token",
            "user",
            "app_id",
            "startup-events",
            "file=/proc/self/environ",
            "file=../../proc/self/environ",
            "file=.env",
            "mcp/schema",
        )
    ]
    for path, body in [*((path, None) for path in pages), *calls.items()]:
        data = None if body is None else json.dumps(body).encode()
        where = path if body is None else f"gradio_api/{path}"
        request = urllib.request.Request(
            address + where, data, {"Content-Type": "application/json"}
        )
        try:
            with opener.open(request, timeout=60) as answer:
                content = answer.read()
                if b"event_id" in content and path.startswith("call/"):
                    event = json.loads(content)["event_id"]
                    function = path.rpartition("/")[2]
                    with opener.open(f"{address}gradio_api/call/{function}/{event}") as said:
                        content += said.read()
                yield path, str(answer.headers).encode() + content
        except urllib.error.HTTPError as error:
            yield path, str(error.headers).encode() + error.read()


def test_no_page_no_answer_and_no_log_has_a_secret(browser, environment, tmp_path):
    log = tmp_path / "log.txt"
    with running_app(ROOT, environment=environment, log=log) as address:
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        stranger, inspector = urllib.request.build_opener(), urllib.request.build_opener(jar)
        words = {"username": NAME, "password": SECRETS["APP_PASSWORD"]}
        form = urllib.parse.urlencode(words).encode()
        assert inspector.open(f"{address}login", form).status == 200
        found = {}
        for opener in (stranger, inspector):
            found |= {path: secrets_in(content) for path, content in answers_of(opener, address)}
        assert len(found) > 15
        assert {path: names for path, names in found.items() if names} == {}

        client = Client(address, auth=(NAME, SECRETS["APP_PASSWORD"]), verbose=False)
        photo = handle_file(EXAMPLES / "flange_nut" / "dent.jpg")
        with pytest.raises(Exception) as refused:
            client.predict(photo, "bolt", api_name="/inspect")
        assert secrets_in(str(refused.value).encode()) == set()

        page = browser.new_page(viewport=DESKTOP)
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(address)
        page.locator("input, textarea").nth(0).fill(NAME)
        page.locator("input[type=password]").fill(SECRETS["APP_PASSWORD"])
        page.get_by_role("button", name="Login").click()
        page.locator("#inspect").wait_for(timeout=30_000)
        page.click("#about_box button")
        page.click("#programs_box button")
        page.wait_for_timeout(500)
        assert secrets_in((page.content() + "\n".join(said)).encode()) == set()
        page.close()
    assert log.stat().st_size > 0
    assert secrets_in(log.read_bytes()) == set()


def test_no_card_no_file_and_no_message_of_a_training_has_a_secret(environment, tmp_path):
    folder = tmp_path / "model"
    steps = {
        "train": ("training/train.py", RECIPE, "--data", FEW, "--output_dir", folder, *TINY),
        "card": ("-m", "publishing.model_card", folder),
        "push": ("-m", "publishing.push", folder, "org/nut"),
        "deploy": ("-m", "publishing.deploy", "org/space"),
    }
    run = commands(environment)
    for name, words in steps.items():
        finished = run(["python", *map(str, words)], ROOT)
        # The Hub does not know the token, and says so.
        is_refused = name in ("push", "deploy")
        assert bool(finished.returncode) == is_refused, finished.stderr
        assert secrets_in(finished.output.encode()) == set(), name
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"README.md", "config.json", "model.safetensors"} <= {path.name for path in files}
    assert {path: secrets_in(path.read_bytes()) for path in files} == {
        path: set() for path in files
    }


def test_what_is_deployed_holds_no_environment_and_no_secret():
    from publishing.deploy import Deployment, space_files

    assert not {path for path in space_files() if Path(path).name.startswith(".")}
    assert {*Deployment("org/space", "org", "v1").variables} == {
        "MODEL_NAMESPACE",
        "MODEL_REVISION",
    }
