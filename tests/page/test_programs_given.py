"""What programs give: photos, choices, and paths and addresses, of which no private one is read."""

from __future__ import annotations

import base64
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
from gradio_client.exceptions import AppError
from gradio_client.utils import synchronize_async

from page.api.given_photos import GivenPhotoError, is_public, keep_given_photo, name_of
from page.inspection.inspector import Inspector
from page.inspection.temporary_folder import TemporaryFolder
from page.languages import Translation
from page.models.catalogue import Catalogue
from page.models.entries import find_models
from page.wiring import build
from tests.page.calling import (
    EXAMPLES,
    MODEL,
    ask,
    call,
    said,
    said_of_batch,
    served_functions,
    upload,
    without_time,
)


@pytest.fixture(scope="module")
def address():
    with served_functions() as address:
        yield address


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


# Photos


def test_plain_http_gives_the_same_by_both_routes_and_all_kinds_of_photo(address, client):
    photo = EXAMPLES / "dent.jpg"
    path = upload(address, photo)
    described = {"path": path, "meta": {"_type": "gradio.FileData"}}
    data_uri = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    own_address = f"{address}gradio_api/file={path}"
    expected = client.predict(handle_file(photo), "flange_nut", api_name="/inspect")
    for given in (path, described, data_uri, own_address):
        event, record = call(address, "inspect", photo=given, category="flange_nut")
        assert event == "complete"
        assert without_time(record) == without_time(expected)
    body = {"data": [path, "flange_nut", None, None, None]}
    event, record = ask(address, "inspect", "inspect", body)
    assert (event, without_time(record)) == ("complete", without_time(expected))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("/tmp/gradio/abc/part 7.png", "part 7.png"),
        ({"path": "/tmp/x.png", "orig_name": "..\\..\\a\nb\x1b.png"}, "a_b_.png"),
        ({"path": "/tmp/x.png", "orig_name": 7}, "photo"),
        ("https://a.test/cam%20one.jpg?time=/1", "cam one.jpg"),
        ("data:image/png;base64,AAAA", "photo"),
        ("http://[::1", "[::1"),
        ("/", "photo"),
        ([[0.5]], "photo"),
        ("x" * 10**6, "x" * 200),
    ],
)
def test_a_photo_is_called_by_a_name_that_can_be_shown(given, name):
    assert name_of(given) == name


def test_a_file_that_is_no_photo_is_refused_by_its_name(address, client, holiday):
    path = upload(address, holiday)
    sentence = said(call(address, "inspect", photo=path, category="flange_nut"))
    assert sentence.startswith("holiday.jpg is not a picture that can be read")
    with pytest.raises(AppError, match=r"holiday\.jpg is not a picture that can be read"):
        client.predict(handle_file(holiday), "flange_nut", api_name="/inspect")


@pytest.mark.parametrize("photo", [None, "", 7, [], {}, {"path": None}, ["/etc/passwd"]])
def test_what_is_no_photo_at_all_is_refused(address, photo):
    sentence = said(call(address, "inspect", photo=photo, category="flange_nut"))
    assert sentence.startswith("There is no photo: expected a file that was uploaded")


@pytest.mark.parametrize("photo", ["data:image/jpeg;base64,%%%", "data:image/jpeg,abc", "data:"])
def test_a_data_uri_that_cannot_be_decoded_is_refused(address, photo):
    sentence = said(call(address, "inspect", photo=photo, category="flange_nut"))
    assert sentence.startswith("The photo's data URI can't be decoded")


@pytest.mark.parametrize("photos", [[], None, "photo.jpg", {"path": "a"}, ["a"] * 1001])
def test_a_batch_is_a_list_of_photos(address, photos):
    sentence = said(call(address, "inspect_batch", photos=photos, category="flange_nut"))
    assert sentence.startswith("A batch is a list of 1 to 1000 photos")


# Choices


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"category": "screwdriver"}, "There is no category 'screwdriver'; name one of fabric, "),
        ({"category": ["key"]}, "There is no category ['key']; name one of fabric, "),
        (
            {"category": "key", "model": "flange_nut"},
            "There is no model 'flange_nut' of the category key; name one of key.",
        ),
        ({"model": "nobody"}, "There is no model 'nobody'; name one of fabric, flange_nut, "),
        ({}, "There are several categories: name one of fabric, flange_nut, key, bottle, screw."),
    ],
)
def test_a_choice_that_is_not_on_offer_is_refused_with_what_is(address, chosen, words):
    path = upload(address, EXAMPLES / "good.jpg")
    assert said(call(address, "inspect", photo=path, **chosen)).startswith(words)
    assert said(call(address, "inspect_batch", photos=[path], **chosen)).startswith(words)


def test_a_model_is_enough_where_it_has_one_category(address):
    path = upload(address, EXAMPLES / "dent.jpg")
    _, record = call(address, "inspect", photo=path, model="flange_nut")
    assert (record["category"], record["verdict"]) == ("flange_nut", "FAIL")


@pytest.mark.parametrize("threshold", [1.01, -0.1, "0.5", True, [0.5], {"a": 1}])
def test_a_threshold_that_is_none_is_refused(address, threshold):
    path = upload(address, EXAMPLES / "good.jpg")
    arguments = {"photo": path, "category": "flange_nut", "threshold": threshold}
    assert said(call(address, "inspect", **arguments)).startswith(
        "The threshold must be a number from 0 to 1, found "
    )


@pytest.mark.parametrize("threshold", [0, 1, 0.0, 1.0])
def test_the_ends_of_the_scale_are_thresholds(address, threshold):
    path = upload(address, EXAMPLES / "good.jpg")
    arguments = {"photo": path, "category": "flange_nut", "threshold": threshold}
    event, record = call(address, "inspect", **arguments)
    assert event == "complete"
    assert record["verdict"] == ("FAIL" if record["score"] > threshold else "PASS")


def test_arguments_that_are_missing_are_counted(address):
    told = said(ask(address, "inspect", "inspect", {"data": ["a.jpg"]}))
    assert told.startswith("The function takes 5 arguments, found 1; ")


# What lies elsewhere: no file of the server, no private address is read


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
