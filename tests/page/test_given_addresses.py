"""What programs give that lies elsewhere: no file of the server, no private address is read."""

from __future__ import annotations

import re
import threading
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gradio as gr
import pytest
from gradio import processing_utils
from gradio.state_holder import SessionState
from gradio_client import Client, handle_file
from gradio_client.utils import synchronize_async

from page.api.given_photos import GivenPhotoError, is_public, keep_given_photo
from page.inspection.inspector import Inspector
from page.inspection.temporary_folder import TemporaryFolder
from page.languages import Translation
from page.models.catalogue import Catalogue
from page.models.entries import find_models
from page.wiring import build
from tests.page.calling import EXAMPLES, MODEL, call, said, said_of_batch, served_functions


@pytest.fixture(scope="module")
def address():
    with served_functions() as address:
        yield address


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


FOREIGN = ("/etc/passwd", "../../../../etc/passwd", "app.py", str(EXAMPLES / "good.jpg"))


@pytest.mark.parametrize("path", FOREIGN)
@pytest.mark.parametrize("kind", ["text", "bare", "described", "stream", "named", "url", "file"])
def test_no_file_of_the_server_is_opened(address, path, kind):
    meta = {"_type": "gradio.FileData"}
    given = {
        "text": path,
        "bare": {"path": path},
        "described": {"path": path, "meta": meta},
        "stream": {"path": path, "meta": meta, "is_stream": True},
        "named": {"path": path, "meta": meta, "orig_name": "part.jpg", "url": "http://a.test/b"},
        "url": f"{address}gradio_api/file={path}",
        "file": f"file://{path}",
    }[kind]
    sentence = said(call(address, "inspect", photo=given, category="flange_nut"), given)
    assert "was not uploaded to this app" in sentence or "could not be fetched" in sentence
    assert "picture" not in sentence  # nobody looked into it
    of_batch = said_of_batch(address, given)
    assert "was not uploaded" in of_batch or "could not be fetched" in of_batch


ENDLESS = "endless"


@pytest.fixture
def camera():
    """A camera's address: each time it shows another photo; /missing shows none.

    /moved-to/ADDRESS leads elsewhere, and /endless never ends.
    """
    photos = [(EXAMPLES / f"{name}.jpg").read_bytes() for name in ("good", "dent", "good")]

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self):
            elsewhere = re.fullmatch("/moved-to/(.*)", self.path)
            found = self.path.startswith("/latest.jpg") and photos
            self.send_response(302 if elsewhere else 200 if found or ENDLESS in self.path else 404)
            if elsewhere:
                self.send_header("Location", elsewhere[1])
            self.end_headers()
            with suppress(ConnectionError):
                while ENDLESS in self.path:
                    self.wfile.write(bytes(2**20))
            if found:
                self.wfile.write(photos.pop(0))

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.mark.parametrize("kind", ["text", "described", "handle_file"])
def test_an_address_is_looked_at_anew_each_time(address, client, camera, kind):
    url = f"http://localhost:{camera}/latest.jpg"
    described = {"path": url, "meta": {"_type": "gradio.FileData"}, "url": url}
    given = {"text": url, "described": described, "handle_file": handle_file(url)}[kind]
    records = [client.predict(given, "flange_nut", api_name="/inspect") for _ in range(3)]
    assert [record["verdict"] for record in records] == ["PASS", "FAIL", "PASS"]
    assert {record["file"] for record in records} == {"latest.jpg"}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://localhost:{port}/missing.jpg", "HTTP status 404"),
        ("http://127.0.0.1:{port}/latest.jpg", "the address is not public"),
        ("http://[::1]:{port}/latest.jpg", "the address is not public"),
        ("http://10.0.0.1/latest.jpg", "the address is not public"),
        ("http://nobody.invalid/latest.jpg", "nothing answers there"),
        ("http://localhost:1/latest.jpg", "nothing answers there"),
        ("http://", "nothing answers there"),
        ("http://localhost:{port}/moved-to/http://127.0.0.1:{port}/latest.jpg", "is not public"),
        ("http://localhost:{port}/moved-to/file:///etc/passwd", "nothing answers there"),
        ("http://localhost:{port}/endless", "is larger than 64 MB"),
        ("http://localhost:{port}/moved-to//endless", "is larger than 64 MB"),
    ],
)
def test_an_address_that_cannot_be_fetched_is_refused(address, camera, url, words):
    url = url.format(port=camera)
    for given in (url, {"path": url, "meta": {"_type": "gradio.FileData"}}):
        assert words in said(call(address, "inspect", photo=given, category="flange_nut"))


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("100.64.0.1", False),  # what a provider's customers share
        ("100.100.100.200", False),  # where a cloud tells its machines their secrets
        ("192.0.0.192", False),
        ("2002:7f00:1::", False),  # 127.0.0.1, as IPv6 ones
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:100.64.0.1", False),
        ("fec0::1", False),
        ("224.0.0.1", False),
    ],
)
def test_only_what_anybody_may_ask_is_fetched(host, public):
    assert is_public(host) == public


@pytest.mark.parametrize("host", ["100.64.0.1", "192.0.0.192", "[2002:7f00:1::]"])
def test_where_providers_keep_their_own_nobody_is_asked(host, tmp_path):
    with pytest.raises(GivenPhotoError, match="the address is not public") as caught:
        keep_given_photo(f"http://{host}/latest.jpg", TemporaryFolder(tmp_path))
    assert str(caught.value.__cause__).endswith(" is not public")


def test_the_page_fetches_no_address_whatever_input_it_is_given_to(camera, monkeypatch, tmp_path):
    monkeypatch.setattr(processing_utils, "PUBLIC_HOSTNAME_WHITELIST", ["localhost"])
    blocks = build(Inspector(Catalogue(find_models([str(MODEL)]))), tmp_path)
    url = f"http://localhost:{camera}/latest.jpg"
    photo = {"path": url, "meta": {"_type": "gradio.FileData"}}
    tried = set()
    for function in blocks.fns.values():
        for place, block in enumerate(function.inputs):
            if block.stateful or not function.fn or function.api_visibility == "public":
                continue
            given: list[object] = [None] * len(function.inputs)
            given[place] = [photo] if block.elem_id == "files" else photo
            for other, language in enumerate(function.inputs):
                if other != place and language.elem_id == "language_code":
                    given[other] = "de"
            with pytest.raises(gr.Error) as caught:
                synchronize_async(blocks.preprocess_data, function, given, SessionState(blocks))
            spoken = "de" if "de" in given else "en"
            assert caught.value.message == Translation(spoken)("guards.no_addresses")
            tried.add((block.elem_id, spoken))
    assert {("photo", "de"), ("files", "de"), ("note", "de"), ("language_code", "en")} <= tried
    with urllib.request.urlopen(url) as answer:  # the first to ask is shown the first photo
        assert answer.read() == (EXAMPLES / "good.jpg").read_bytes()
