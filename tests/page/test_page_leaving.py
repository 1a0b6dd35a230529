"""What stays of a visitor who has left, seen from the disk of the server."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest
from browsing import DESKTOP, EXAMPLES, WHILE_BUSY, give_photo, inspect, open_page
from conftest import ROOT
from gradio.state_holder import StateHolder
from gradio_client.utils import synchronize_async
from playwright.sync_api import expect
from running_app import becomes_true, running_app

from page.components import PULSE_SECONDS
from page.inspection.inspector import Inspector
from page.models.catalogue import Catalogue
from page.models.entries import shipped_models
from page.session import Session
from page.wiring import build


@pytest.fixture
def app(tmp_path):
    """The app's address and the folder of its temporary files.

    Gradio's own switch for such tests: it forgets who has left after a second, not after an hour.
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path), "GRADIO_IS_E2E_TEST": "1"}
    with running_app(ROOT, environment=environment) as address:
        yield address, tmp_path


def files_of_visitors(folder: Path) -> set[Path]:
    return {path for path in folder.glob("golden-sample-*/visitors/**/*") if path.is_file()}


def test_files_are_deleted_when_their_visitor_leaves_and_not_before(browser, app):
    address, folder = app
    stays, leaves = (browser.new_page(viewport=DESKTOP) for _ in range(2))
    for page in (stays, leaves):
        open_page(page, f"{address}?category=flange_nut")
    inspect(stays, EXAMPLES / "flange_nut" / "good.jpg")
    kept = files_of_visitors(folder)
    inspect(leaves, EXAMPLES / "flange_nut" / "dent.jpg")
    single = files_of_visitors(folder) - kept
    leaves.click("#ways button[role=tab] >> nth=1")
    leaves.set_input_files("#files input[type=file]", [EXAMPLES / "flange_nut" / "stain.jpg"])
    expect(leaves.locator("#files")).to_contain_text("stain", timeout=30_000)
    leaves.click("#start")
    expect(leaves.locator("#progress .batch-progress")).to_contain_text("done", timeout=WHILE_BUSY)
    batch = files_of_visitors(folder) - kept - single
    assert kept and single and batch

    leaves.close()
    assert becomes_true(lambda: not (single | batch) & files_of_visitors(folder))
    assert kept <= files_of_visitors(folder)
    give_photo(stays, EXAMPLES / "flange_nut" / "dent.jpg")  # and the page still answers
    stays.click("#inspect")
    expect(stays.locator("#verdict .badge.fail")).to_be_visible(timeout=WHILE_BUSY)
    stays.close()
    assert becomes_true(lambda: not files_of_visitors(folder))


def test_the_hour_after_which_a_session_ends_begins_anew_while_its_page_is_open(tmp_path):
    """A connection that was lost for a moment counts as closed, though the visitor is there."""
    blocks = build(Inspector(Catalogue(shipped_models())), tmp_path)
    holder = StateHolder()
    holder.set_blocks(blocks)
    kept = holder["visitor"]
    assert PULSE_SECONDS < kept.STATE_TTL_WHEN_CLOSED / 2
    (pulse,) = (fn for fn in blocks.fns.values() if any(kind == "tick" for _, kind in fn.targets))

    def pulse_and_begin() -> datetime:
        """When the hour of the session begins after a pulse."""
        synchronize_async(blocks.process_api, pulse, [None], state=kept)
        (part,) = (part for part, value, _ in kept.state_components if isinstance(value, Session))
        return kept._state_ttl[part._id][1]

    begun = pulse_and_begin()
    assert pulse_and_begin() > begun
