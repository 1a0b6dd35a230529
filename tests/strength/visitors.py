"""Visitors of a running app who inspect photos of their own again and again, many at once.

What is right for each photo is known beforehand, so an answer that was meant for somebody else is
seen. They come by plain HTTP, as a program does: upload, call, wait for the answer.
"""

from __future__ import annotations

import itertools
import json
import mimetypes
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from data.synthetic import defects_of, render
from modeling import InspectionPipeline

API = "gradio_api"
PATIENCE = 300.0  # seconds until an answer that does not come is an error
APART = 1e-4  # the least difference between the known scores of two visitors
TOLERANCE = 1e-5  # what another number of threads may change in a score
SIDE = 256  # pixels of a drawn photo's side
# How much of a defect is there, in each of its photos: more would give them all a score of 1.
FADES = (0.0, 0.15, 0.2, 0.25, 0.3)


class NoVerdictError(RuntimeError):
    """The app gave no verdict; the message is what it said, or what failed."""


@dataclass(frozen=True)
class Visitor:
    """Somebody with a photo.

    Attributes:
        category: the product on it.
        photo: the file; no other visitor's has its name.
        score: that the pipeline gives it, at least `APART` from everyone else's.
    """

    category: str
    photo: Path
    score: float  # 0..1


@dataclass
class VisitorResult:
    """What came of a visitor's inspections.

    Attributes:
        seconds: from the beginning of each upload until its verdict.
        errors: what was said, or what failed, where there was no verdict.
        mixed_up: answers that were somebody else's, in words.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    mixed_up: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Crowd:
    """What came of many visitors at once.

    Attributes:
        results: one a visitor.
        seconds: from the first upload until the last verdict.
        samples: of the watched number, one a second from the beginning.
    """

    results: Sequence[VisitorResult]
    seconds: float
    samples: Sequence[int | None]

    @property
    def waits(self) -> list[float]:
        """Seconds until each verdict, of all visitors."""
        return [wait for one in self.results for wait in one.seconds]

    @property
    def errors(self) -> list[str]:
        """All that went wrong."""
        return [error for one in self.results for error in one.errors]

    @property
    def mixed_up(self) -> list[str]:
        """All answers that were somebody else's."""
        return [words for one in self.results for words in one.mixed_up]


def draw_visitors(
    count: int, inspect: InspectionPipeline, category: str, folder: Path
) -> list[Visitor]:
    """Draw a photo for each visitor and ask the pipeline itself what is right.

    Args:
        count: how many visitors.
        inspect: of the model that the app will inspect with.
        category: one of `data.synthetic.PARTS`.
        folder: where the photos are put.

    Raises:
        ValueError: when the model can't tell so many photos apart.
    """
    visitors: list[Visitor] = []
    for picture in itertools.islice(_pictures(category), 10 * count):
        photo = folder / f"visitor-{len(visitors):03d}.png"
        picture.save(photo)
        score = inspect(photo).score
        if all(abs(score - other.score) >= APART for other in visitors):
            visitors.append(Visitor(category, photo, score))
        if len(visitors) == count:
            return visitors
    raise ValueError(
        f"Of {10 * count} photos, only {len(visitors)} have scores that differ by {APART}; "
        f"{count} visitors are too many for this model."
    )


def _pictures(category: str) -> Iterator[Image.Image]:
    """Photos of defects that are there more and more, without end."""
    for seed, kind in enumerate(itertools.cycle(defects_of(category))):
        good, defective = (
            render(category, seed=seed, defect=shown, size=SIDE).image for shown in ("good", kind)
        )
        yield from (Image.blend(good, defective, fade) for fade in FADES)


def inspect_once(client: httpx.Client, category: str, photo: Path) -> dict[str, Any]:
    """Upload a photo and have it inspected.

    Args:
        client: with the app's address as its base.
        category: the product on it.
        photo: the file.

    Returns:
        What `/inspect` answers.

    Raises:
        NoVerdictError: when there is no verdict.
    """
    body = {"photo": upload(client, photo), "category": category}
    record = call(client, "inspect", body)
    if "error" in record:
        raise NoVerdictError(record["error"])
    return record


def upload(client: httpx.Client, photo: Path) -> dict[str, Any]:
    """Upload a photo; what a call names it by.

    Raises:
        NoVerdictError: when the app does not take it.
    """
    kind = mimetypes.guess_type(photo.name)[0] or "application/octet-stream"
    with photo.open("rb") as content, telling_errors():
        files = {"files": (photo.name, content, kind)}
        uploaded = client.post(f"{API}/upload", files=files).raise_for_status().json()[0]
    return {"path": uploaded, "orig_name": photo.name, "meta": {"_type": "gradio.FileData"}}


def call(client: httpx.Client, function: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call one of the app's functions and wait for what it answers.

    Raises:
        NoVerdictError: when there is no answer.
    """
    with telling_errors():
        taken = client.post(f"{API}/call/v2/{function}", json=body).raise_for_status().json()
        with client.stream("GET", f"{API}/call/{function}/{taken['event_id']}") as stream:
            return _read_answer(stream.raise_for_status().iter_lines())


@contextmanager
def telling_errors() -> Iterator[None]:
    """What fails on the way to the app is a `NoVerdictError`."""
    try:
        yield
    except httpx.HTTPError as error:
        raise NoVerdictError(f"{type(error).__name__}: {error}") from error


def inspect_repeatedly(address: str, visitor: Visitor, seconds: float) -> VisitorResult:
    """Inspect the visitor's photo again and again, each time from its upload on.

    Args:
        address: of the app.
        visitor: whose photo, and what is right.
        seconds: after which no further inspection is begun.
    """
    found = VisitorResult()
    with connected(address) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.monotonic()
            try:
                record = inspect_once(client, visitor.category, visitor.photo)
            except NoVerdictError as error:
                found.errors.append(str(error))
                time.sleep(0.2)  # an app that is gone is not asked a thousand times a second
                continue
            found.seconds.append(time.monotonic() - start)
            if words := _differs(visitor, record):
                found.mixed_up.append(words)
    return found


@contextmanager
def connected(address: str) -> Iterator[httpx.Client]:
    """A visitor's own connection to the app, with an `address` that ends with a slash."""
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        yield client


def crowd(
    address: str,
    visitors: Sequence[Visitor],
    seconds: float,
    watch: Callable[[], int | None] = lambda: None,
) -> Crowd:
    """Let many visitors inspect at once.

    Args:
        address: of the app.
        visitors: all of them come at the same time.
        seconds: after which none begins a further inspection.
        watch: a number that is read every second, such as the app's memory.
    """
    start = time.monotonic()
    samples = []
    with ThreadPoolExecutor(len(visitors)) as threads:
        under_way = [
            threads.submit(inspect_repeatedly, address, visitor, seconds) for visitor in visitors
        ]
        while not all(one.done() for one in under_way):
            samples.append(watch())
            time.sleep(1)
        results = [one.result() for one in under_way]
    return Crowd(results, time.monotonic() - start, samples)


def _read_answer(lines: Iterator[str]) -> dict[str, Any]:
    event = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data" and event == "complete":
            (record,) = json.loads(value)
            return record
        elif name == "data" and event == "error":
            raise NoVerdictError(value)
    raise NoVerdictError("The connection ended before there was a verdict.")


def _differs(visitor: Visitor, record: dict[str, Any]) -> str:
    """How an answer differs from what is right; empty where it doesn't."""
    given, answered = visitor.photo.name, record["file"]
    if answered == given and abs(record["score"] - visitor.score) <= TOLERANCE:
        return ""
    return (
        f"{given} with the score {visitor.score:.6f} was answered as {answered} with the score "
        f"{record['score']:.6f}"
    )
