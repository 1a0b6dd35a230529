"""What the functions for programs answer, over gradio_client, plain HTTP and MCP."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import numpy as np
import pytest
from conftest import ROOT
from fresh_process import run_code
from gradio_client import Client, handle_file
from PIL import Image

from page.api.programs import Programs
from page.inspection.inspector import Inspector
from page.languages import Translation
from page.models.catalogue import Catalogue
from page.models.entries import ModelEntry, find_models, name_models
from page.views.programs import programs_html
from tests.page.calling import (
    EXAMPLES,
    MODEL,
    call,
    damaged_copy,
    said,
    served_functions,
    upload,
    without_time,
)


@pytest.fixture(scope="module")
def address(trained_model, tmp_path_factory):
    """Models that ship, a damaged one, one just trained."""
    damaged = damaged_copy(tmp_path_factory.mktemp("models") / "broken")
    with served_functions([damaged, trained_model]) as address:
        yield address


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture(scope="module")
def pipeline():
    from modeling import load_pipeline

    return load_pipeline(MODEL)


def test_the_models_are_listed_with_their_categories_and_no_path(client):
    models = client.predict(api_name="/models")
    assert [(entry["category"], entry["model"]) for entry in models if entry["default"]] == [
        (name, name) for name in ("fabric", "flange_nut", "key", "bottle", "screw")
    ]
    (broken,) = (entry for entry in models if entry["model"] == "broken")
    assert broken["category"] == "flange_nut"
    assert not broken["default"]
    assert {entry["architecture"] for entry in models} == {"autoencoder"}
    assert str(ROOT) not in json.dumps(models)


def test_listing_models_loads_none(tmp_path):
    code = """
import json, sys
from pathlib import Path
from page.inspection.inspector import Inspector
from page.models.catalogue import Catalogue
from page.models.entries import shipped_models
from page.api.programs import Programs
models = Programs(Inspector(Catalogue(shipped_models())), Path(".")).models()
print(json.dumps([len(models), "torch" in sys.modules, "transformers" in sys.modules]))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert run_code(code, environment, tmp_path) == [5, False, False]


@pytest.mark.parametrize("threshold", [0.5, 0.9])
@pytest.mark.parametrize("name", ["good", "dent", "scratch", "missing_part"])
def test_an_inspection_says_what_the_pipeline_says(client, pipeline, name, threshold):
    photo = EXAMPLES / f"{name}.jpg"
    record = client.predict(
        handle_file(photo), "flange_nut", threshold=threshold, api_name="/inspect"
    )
    expected = pipeline(photo, threshold=threshold)
    at_least = pipeline.model.calibration_of(None).at_least(expected.score)
    assert without_time(record) == {
        "category": "flange_nut",
        "model": "flange_nut",
        "revision": None,
        "score": expected.score,
        "threshold": threshold,
        "verdict": expected.verdict,
        "doubt": expected.doubt,
        "note": expected.notes,
        "regions": [
            {**region._asdict(), "number": number, "box": list(region.box)}
            for number, region in enumerate(expected.regions, start=1)
        ],
        "good_parts_at_least": {"count": at_least.count, "total": at_least.total},
        "photo_size": {"width": expected.photo.width, "height": expected.photo.height},
    }
    assert record["file"] == photo.name
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", record["time"])


def test_a_full_disk_is_said_and_ends_no_batch(monkeypatch, tmp_path):
    def find_it_full(**_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    programs = Programs(Inspector(Catalogue(find_models([str(MODEL)]))), tmp_path)
    monkeypatch.setattr(tempfile, "mkdtemp", find_it_full)
    sentence = Translation("en")("batch.no_room")
    with pytest.raises(gr.Error) as caught:
        programs.inspect("data:image/png;base64,")
    assert caught.value.message == sentence
    answer = programs.inspect_batch(["data:image/png;base64,"] * 2)
    assert [record["error"] for record in answer["results"]] == [sentence] * 2


def test_both_verdicts_occur_in_these_tests(pipeline):
    verdicts = {pipeline(EXAMPLES / f"{name}.jpg").verdict for name in ("good", "dent")}
    assert verdicts == {"PASS", "FAIL"}


def test_a_photo_that_cannot_be_judged_is_to_check_and_says_why(client, trained_model, tmp_path):
    from modeling import load_pipeline

    photo = tmp_path / "black.png"
    Image.new("RGB", (320, 240)).save(photo)
    expected = load_pipeline(trained_model)(photo)
    assert expected.verdict == "CHECK"
    record = client.predict(handle_file(photo), model="flange_nut-2", api_name="/inspect")
    fields = ("verdict", "doubt", "note", "regions")
    assert [record[name] for name in fields] == ["CHECK", expected.doubt, expected.notes, []]
    given = [handle_file(photo), handle_file(EXAMPLES / "dent.jpg")]
    batch = client.predict(given, model="flange_nut-2", api_name="/inspect_batch")
    assert batch["totals"]["to_check"] == 1
    assert batch["totals"]["yield"] == 0


@pytest.mark.parametrize("name", ["dent", "good"])
def test_pictures_come_as_files_of_the_photo_s_size(client, pipeline, name):
    photo = EXAMPLES / f"{name}.jpg"
    record = client.predict(handle_file(photo), "flange_nut", pictures=True, api_name="/inspect")
    expected = pipeline(photo)
    for picture in ("heatmap", "reconstruction"):
        with Image.open(record[picture]) as image:
            difference = np.abs(np.asarray(image, float) - np.asarray(expected[picture], float))
        assert difference.mean() < 4  # what JPEG takes, of 255
    with Image.open(record["mask"]) as image:
        mask = np.asarray(image)
    assert mask.shape == (expected.photo.height, expected.photo.width)
    assert set(np.unique(mask)) == ({0, 255} if expected.regions else {0})
    if expected.regions:
        rows, columns = np.nonzero(mask)
        boxes = np.array([region.box for region in expected.regions])
        outer = [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.subtract(found, outer)).max() <= 2  # pixels


def test_plain_http_gives_addresses_of_the_pictures(address):
    path = upload(address, EXAMPLES / "dent.jpg")
    _, record = call(address, "inspect", photo=path, category="flange_nut", pictures=True)
    for picture in ("heatmap", "reconstruction", "mask"):
        with (
            urllib.request.urlopen(record[picture]["url"]) as response,
            Image.open(response) as image,
        ):
            assert image.size == (record["photo_size"]["width"], record["photo_size"]["height"])


def test_a_damaged_model_says_so(address):
    path = upload(address, EXAMPLES / "good.jpg")
    for function, given in (("inspect", {"photo": path}), ("inspect_batch", {"photos": [path]})):
        sentence = said(call(address, function, **given, model="broken"))
        assert "broken" in sentence
        assert "damaged or cut off" in sentence
        assert "/" not in sentence.replace("training/", "")


def test_a_batch_keeps_the_order_and_goes_on_after_an_unreadable_file(
    client, pipeline, holiday, tmp_path
):
    names = ["dent", "good", "scratch"]
    photos = [EXAMPLES / f"{name}.jpg" for name in names]
    photos.insert(1, holiday)
    given = [handle_file(photo) for photo in photos]
    answer = client.predict(given, "flange_nut", api_name="/inspect_batch")
    files = [record["file"] for record in answer["results"]]
    assert files == ["dent.jpg", "holiday.jpg", "good.jpg", "scratch.jpg"]
    unreadable = answer["results"].pop(1)
    assert unreadable["error"].startswith("holiday.jpg is not a picture that can be read")
    assert "verdict" not in unreadable
    verdicts = [pipeline(EXAMPLES / f"{name}.jpg").verdict for name in names]
    assert [record["verdict"] for record in answer["results"]] == verdicts
    passed = verdicts.count("PASS")
    assert 0 < passed < 3
    assert answer["totals"] == {
        "photos": 4,
        "passed": passed,
        "failed": 3 - passed,
        "to_check": 0,
        "unreadable": 1,
        "yield": passed / 3,
    }
    single = client.predict(given[0], "flange_nut", api_name="/inspect")
    assert without_time(single) == without_time(answer["results"][0])


def test_a_batch_of_nothing_readable_has_no_yield(client, holiday):
    answer = client.predict([handle_file(holiday)], "flange_nut", api_name="/inspect_batch")
    assert answer["totals"]["unreadable"] == 1
    assert answer["totals"]["yield"] is None


def test_many_calls_at_once_get_their_own_answers(address, pipeline):
    photos = sorted(EXAMPLES.glob("*.jpg"))
    expected = {
        photo.name: [list(region.box) for region in pipeline(photo).regions] for photo in photos
    }
    assert len({str(boxes) for boxes in expected.values()}) == len(photos)
    paths = [upload(address, photo) for photo in photos]

    def inspect(path: str) -> tuple[str, list]:
        arguments = {"photo": path, "category": "flange_nut", "pictures": True}
        event, record = call(address, "inspect", **arguments)
        assert event == "complete", record
        with urllib.request.urlopen(record["mask"]["url"]) as response:
            Image.open(response).load()
        return record["file"], [region["box"] for region in record["regions"]]

    with ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(inspect, paths * 4))
    assert answers == list(expected.items()) * 4


def test_the_description_of_the_api_names_arguments_and_fields(client):
    described = client.view_api(return_format="dict")["named_endpoints"]
    assert set(described) == {"/models", "/inspect", "/inspect_batch"}
    arguments = {
        argument["parameter_name"]: argument for argument in described["/inspect"]["parameters"]
    }
    assert list(arguments) == ["photo", "category", "model", "threshold", "pictures"]
    assert not arguments["photo"]["parameter_has_default"]
    assert arguments["threshold"]["parameter_default"] == 0.5
    assert "verdict" in json.dumps(described["/inspect"]["returns"])


def test_models_get_names_that_show_no_path():
    entries = [
        ModelEntry("nut", "nut", "/srv/models/nut"),
        ModelEntry("nut", "nut", "/home/somebody/nut"),
        ModelEntry("nut", "bolt", "/home/somebody/nut"),
        ModelEntry("nut", "nut", "org/nut", "v1", on_hub=True),
        ModelEntry("nut", "nut", "org/nut", "a" * 40, on_hub=True),
    ]
    assert list(name_models(entries)) == [
        ("nut", "nut"),
        ("nut", "nut-2"),
        ("bolt", "nut"),
        ("nut", "org/nut@v1"),
        ("nut", "org/nut"),
    ]
    assert list(name_models(entries).values()) == entries


def test_the_panel_shows_the_three_names_and_an_example(address):
    panel = programs_html(Translation("en"), "http://a.test/", "<b>'\"", has_mcp=False)
    for name in ("/models", "/inspect", "/inspect_batch"):
        assert f"<code>{name}</code>" in panel
    assert 'handle_file("photo.jpg")' in panel
    assert "<b>" not in panel
    assert "MCP" not in panel
    assert "http://a.test/gradio_api/mcp/" in programs_html(
        Translation("en"), "http://a.test/", "a", True
    )


def test_assistants_find_the_same_three_functions_as_mcp_tools(address, client):
    photo = f"{address}gradio_api/file={upload(address, EXAMPLES / 'dent.jpg')}"
    expected = client.predict(handle_file(EXAMPLES / "dent.jpg"), "flange_nut", api_name="/inspect")

    async def converse() -> tuple[list, dict, dict, str]:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamable_http_client

        async with (
            streamable_http_client(f"{address}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            arguments = {"photo": photo, "category": "flange_nut", "pictures": True}
            inspected = await session.call_tool("inspect", arguments)
            batch = {"photos": [photo, photo], "category": "flange_nut"}
            inspected_all = await session.call_tool("inspect_batch", batch)
            refused = await session.call_tool("inspect", {"photo": "/etc/passwd", "model": "key"})
            assert not inspected.isError
            assert refused.isError
            return (
                tools,
                json.loads(inspected.content[0].text),
                json.loads(inspected_all.content[0].text),
                refused.content[0].text,
            )

    with ThreadPoolExecutor() as pool:  # this thread's loop may be that of the browser
        tools, record, batch, refused = pool.submit(asyncio.run, converse()).result()
    assert [tool.name for tool in tools] == ["models", "inspect", "inspect_batch"]
    schema = tools[1].inputSchema
    assert schema["required"] == ["photo"]
    assert "data URI" in schema["properties"]["photo"]["description"]
    with urllib.request.urlopen(record["heatmap"]["url"]) as response:
        assert response.status == 200
    pictures = ("heatmap", "reconstruction", "mask")
    record = {name: value for name, value in record.items() if name not in pictures}
    assert without_time(record) == without_time(expected)
    assert [without_time(one) for one in batch["results"]] == [without_time(expected)] * 2
    assert "was not uploaded to this app" in refused
