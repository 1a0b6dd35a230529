"""The functions for programs as plain HTTP has them: what calls them, and what they answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT
from running_app import running_app

MODEL = ROOT / "assets" / "models" / "flange_nut"
EXAMPLES = ROOT / "assets" / "examples" / "flange_nut"
SECRET = "root:"  # how /etc/passwd begins


@contextmanager
def served_functions(models: Sequence[Path] = ()) -> Iterator[str]:
    """The functions in a process of their own, with the models that ship and others."""
    folder = Path(__file__).parent / "programs_app"
    words = ["--models", *map(str, models)] if models else []
    with running_app(folder, words, os.environ | {"PYTHONPATH": str(ROOT)}) as address:
        yield address


def damaged_copy(folder: Path) -> Path:
    """The model with half a file of weights."""
    shutil.copytree(MODEL, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


def upload(address: str, photo: Path) -> str:
    """POST a file as a form, as `curl -F files=@photo` does; returns its path on the server."""
    border = uuid.uuid4().hex
    head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{photo.name}"'
    body = head.encode() + b"\r\n\r\n" + photo.read_bytes() + f"\r\n--{border}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={border}"}
    request = urllib.request.Request(f"{address}gradio_api/upload", body, kind)
    with urllib.request.urlopen(request) as response:
        return json.load(response)[0]


def call(address: str, function: str, **arguments: object) -> tuple[str, object]:
    """Call a function by plain HTTP with named arguments; returns the last event and its data."""
    return ask(address, f"v2/{function}", function, arguments)


def ask(address: str, route: str, function: str, body: object) -> tuple[str, object]:
    request = urllib.request.Request(
        f"{address}gradio_api/call/{route}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        event = json.load(response)["event_id"]
    with urllib.request.urlopen(f"{address}gradio_api/call/{function}/{event}") as response:
        text = response.read().decode()
    events = re.findall(r"event: (\w+)\ndata: (.*)\n", text)
    name, data = next(pair for pair in events if pair[0] != "heartbeat")
    data = json.loads(data)
    return name, data[0] if name == "complete" else data


def said(answer: tuple[str, object], given: object = "") -> str:
    """The sentence of an answer that must be an error; it tells nothing that was not given."""
    event, data = answer
    assert event == "error"
    sentence = data["error"].replace(str(given), "") if given else data["error"]
    assert sentence.count("\n") == 0
    assert "Traceback" not in sentence
    assert str(ROOT) not in sentence
    assert SECRET not in sentence
    return sentence


def said_of_batch(address: str, given: object) -> str:
    """Why a batch of one photo could not be inspected: by its row, or as a whole."""
    event, data = call(address, "inspect_batch", photos=[given], category="flange_nut")
    if event == "error":
        return said((event, data), given)
    (record,) = data["results"]
    assert "verdict" not in record
    return record["error"]


def without_time(record: dict) -> dict:
    """What is the same of a photo however and whenever it is inspected."""
    return {name: value for name, value in record.items() if name not in ("time", "file")}
