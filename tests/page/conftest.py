"""Shared by the tests of the page: a client of a loopback Hub, a full disk, photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from loopback_hub import OWNER_TOKEN

from data.synthetic import render
from system.files import draft_of


@pytest.fixture
def hub_client(hub, tmp_path, monkeypatch):
    """This process's Hub client talks to the loopback Hub and keeps its downloads in a folder."""
    address = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", OWNER_TOKEN)


@pytest.fixture
def full_disk() -> Callable[[Path], None]:
    """Lets the writing of one file find the disk full, as the kernel says it of /dev/full."""
    return lambda path: draft_of(path).symlink_to("/dev/full")


@pytest.fixture(scope="session")
def defective(tmp_path_factory) -> Path:
    """A photo of a nut that lacks a part; a spreadsheet would run its name."""
    path = tmp_path_factory.mktemp("photos") / "=cmd nut.png"
    image = render("flange_nut", seed=900_001, defect="missing_part", size=192).image
    image.resize((240, 192)).save(path)
    return path


@pytest.fixture
def holiday(tmp_path) -> Path:
    """A file that is named as a photo and is none."""
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"this is no picture")
    return path
