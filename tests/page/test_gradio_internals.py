"""Callers that keep nothing are forgotten; visitors of the page are kept until they have left."""

from pathlib import Path

import gradio as gr
import gradio.routes
import pytest
from gradio.state_holder import StateHolder
from gradio_client.utils import synchronize_async

from page.server.gradio_internals import (
    KEPT,
    SECONDS_UNUSED,
    Sessions,
    tidy_up_after_visitors,
)
from page.session import Session


def inspect(photo: int) -> str:
    return f"verdict on {photo}"


@pytest.fixture
def sessions() -> Sessions:
    with gr.Blocks(analytics_enabled=False) as blocks:
        session = gr.State("nothing yet")
        blocks.load(lambda: "a photo", None, session, api_name="load")
        gr.api(inspect)
    sessions = Sessions()
    sessions.set_blocks(blocks)
    return sessions


def call(sessions: Sessions, name: str, session: str, *given: object) -> list[object]:
    blocks = sessions.blocks
    (function,) = (each for each in blocks.fns.values() if each.api_name == name)
    state = sessions[session]
    return synchronize_async(blocks.process_api, function, [*given], state=state)["data"]


def test_calls_are_forgotten_and_visitors_are_not(sessions):
    call(sessions, "load", "visitor")
    for number in range(3 * KEPT):
        assert call(sessions, "inspect", f"call {number}", number) == [f"verdict on {number}"]
    assert len(sessions.session_data) <= KEPT + 2
    assert sessions.time_last_used.keys() == sessions.session_data.keys()
    assert f"call {3 * KEPT - 1}" in sessions
    assert [*sessions["visitor"].state_data.values()] == ["a photo"]


def test_a_session_that_has_ended_is_forgotten_too(sessions):
    call(sessions, "load", "visitor")
    sessions.delete_state("visitor")
    for number in range(2 * KEPT):
        call(sessions, "inspect", f"call {number}", number)
    assert "visitor" not in sessions


def test_an_app_is_made_with_them(monkeypatch, sessions):
    monkeypatch.setattr(gradio.routes, "StateHolder", StateHolder)  # given back afterwards
    tidy_up_after_visitors()
    app = gradio.routes.App.create_app(sessions.blocks)
    assert isinstance(app.state_holder, Sessions)


class Visitors:
    """Sessions of visitors who have photos, and a clock that is set by hand."""

    def __init__(self, root: Path) -> None:
        self.now = 0.0
        self.sessions = Sessions(lambda: self.now)
        with gr.Blocks(analytics_enabled=False) as blocks:
            self.session = gr.State(Session(root), delete_callback=lambda session: session.end())
        blocks.state_session_capacity = 3
        self.sessions.set_blocks(blocks)

    def come(self, name: str) -> Path:
        """The photo of a visitor, who comes, or comes back."""
        session: Session = self.sessions[name][self.session._id]
        photo = session.folder.path / "photo.png"
        photo.write_bytes(b"of a part")
        return photo


@pytest.fixture
def visitors(tmp_path) -> Visitors:
    return Visitors(tmp_path)


def test_who_has_not_been_there_for_an_hour_has_left(visitors):
    gone, there = visitors.come("gone"), visitors.come("there")
    visitors.now += SECONDS_UNUSED / 2
    visitors.come("there")
    visitors.now += SECONDS_UNUSED / 2
    visitors.sessions.delete_all_expired_state()
    assert gone.exists()  # not longer than an hour
    visitors.now += 1
    visitors.sessions.delete_all_expired_state()
    assert not gone.parent.exists()
    assert there.exists()
    assert [*visitors.sessions.session_data] == [*visitors.sessions.time_last_used] == ["there"]


def test_whose_place_is_taken_leaves_nothing_behind(visitors):
    photos = {name: visitors.come(name) for name in ("a", "b", "c")}
    visitors.come("a")
    photos |= {name: visitors.come(name) for name in ("d", "e")}
    kept = [name for name, photo in photos.items() if photo.exists()]
    assert kept == ["a", "d", "e"]
    assert {*visitors.sessions.session_data} == {*visitors.sessions.time_last_used} == {*kept}
