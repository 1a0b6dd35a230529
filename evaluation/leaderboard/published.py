"""Figures that others have published, read from published.yaml and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PUBLISHED = Path(__file__).with_name("published.yaml")
PROTOCOL = {  # key, and its name in words
    "resolution": "resolution",
    "crop": "crop",
    "checkpoint": "checkpoint",
    "mask_threshold": "mask is true",
    "models": "models",
}
FIGURES = ("image_auroc", "pixel_auroc", "aupro")
NEEDED = {"method", "source", "protocol", "results"}
MEAN = "mean of 15"  # the category of a mean over all of MVTec AD


class PublishedError(ValueError):
    """The file of published figures is not of its form; the message names the entry."""


@dataclass(frozen=True)
class Published:
    """What a paper or a repository, the `source`, says of one method.

    Attributes:
        protocol: how it was measured, by `PROTOCOL`, and perhaps a remark; what the source does not
            say is "not stated".
        results: category to figures in 0..1 by `FIGURES`, None where the source has none.
        latency: seconds a photo; None where unknown.
        latency_measured: where and how that was measured.
    """

    method: str
    source: str
    protocol: Mapping[str, str]
    results: Mapping[str, Mapping[str, float | None]]
    latency: float | None = None
    latency_measured: str = ""


def read_published(path: Path = PUBLISHED) -> list[Published]:
    """All entries, in the order of the file.

    An entry without source, with an incomplete protocol, an unknown key, or a figure that is no
    share is a `PublishedError`; a file that can't be read an `OSError`.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise PublishedError(f"{path}: expected YAML, found {error}") from error
    if not isinstance(entries, list):
        raise PublishedError(f"{path}: expected a list of methods, found {type(entries).__name__}.")
    return [_entry(entry, f"{path}, entry {number}") for number, entry in enumerate(entries, 1)]


def _entry(entry: Any, where: str) -> Published:
    _check_keys(entry, NEEDED, NEEDED | {"latency"}, where)
    for key in ("method", "source"):
        if not isinstance(entry[key], str) or not entry[key].strip():
            raise PublishedError(f"{where}: expected text as {key}, found {entry[key]!r}.")
    where += f" ({entry['method']})"
    protocol = entry["protocol"]
    _check_keys(protocol, set(PROTOCOL), {*PROTOCOL, "remark"}, f"{where}, protocol")
    for key, value in protocol.items():
        if value is None:
            raise PublishedError(
                f"{where}, protocol: {key} is empty; write 'not stated' where the source lacks it."
            )
    results = entry["results"]
    _check_keys(results, set(), None, f"{where}, results")
    for category, figures in results.items():
        place = f"{where}, results of {category}"
        _check_keys(figures, set(), set(FIGURES), place)
        for name, value in figures.items():
            if value is not None:
                _check_number(value, f"{place}, {name}", most=1.0)
    latency = entry.get("latency")
    if latency is not None:
        _check_keys(latency, {"seconds", "measured"}, {"seconds", "measured"}, f"{where}, latency")
        _check_number(latency["seconds"], f"{where}, latency")
    return Published(
        method=entry["method"],
        source=" ".join(entry["source"].split()),
        protocol={key: str(value) for key, value in protocol.items()},
        results=results,
        latency=latency and float(latency["seconds"]),
        latency_measured=str(latency["measured"]) if latency else "",
    )


def _check_keys(content: Any, needed: set[str], known: set[str] | None, where: str) -> None:
    if not isinstance(content, dict):
        raise PublishedError(f"{where}: expected names with values, found {content!r}.")
    missing = sorted(needed - content.keys())
    if missing:
        raise PublishedError(f"{where}: {', '.join(missing)} is missing; every entry needs it.")
    unknown = sorted(set(map(str, content)) - known) if known is not None else []
    if unknown:
        raise PublishedError(
            f"{where}: {', '.join(unknown)} is unknown; known are {', '.join(sorted(known))}."
        )


def _check_number(value: Any, where: str, most: float = float("inf")) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        bound = f"in 0..{most:g}" if most < float("inf") else "from 0 up"
        raise PublishedError(f"{where}: expected a number {bound}, found {value!r}.")


def sources_in_words(entries: Sequence[Published]) -> list[list[str]]:
    """A row for each entry: method, the parts of its protocol, remarks, source."""
    rows = []
    for entry in entries:
        remarks = [entry.protocol.get("remark")]
        if entry.latency_measured:
            remarks.append(f"time measured {entry.latency_measured}")
        protocol = [entry.protocol[key] for key in PROTOCOL]
        rows.append([entry.method, *protocol, ". ".join(filter(None, remarks)), entry.source])
    return rows
