"""Callers without a visit are forgotten; whoever has one is kept until the visit ends."""

import gradio as gr
import gradio.routes
import pytest
from gradio.state_holder import StateHolder
from gradio_client.utils import synchronize_async

from page.sessions import KEPT, Sessions, forget_calls


def inspect(photo: int) -> str:
    return f"verdict on {photo}"


@pytest.fixture
def sessions() -> Sessions:
    with gr.Blocks(analytics_enabled=False) as blocks:
        visit = gr.State("nothing yet")
        blocks.load(lambda: "a photo", None, visit, api_name="load")
        gr.api(inspect)
    sessions = Sessions()
    sessions.set_blocks(blocks)
    return sessions


def call(sessions: Sessions, name: str, session: str, *given: object) -> list[object]:
    blocks = sessions.blocks
    (function,) = (each for each in blocks.fns.values() if each.api_name == name)
    state = sessions[session]
    return synchronize_async(blocks.process_api, function, [*given], state=state)["data"]


def test_calls_are_forgotten_and_visits_are_not(sessions):
    call(sessions, "load", "visitor")
    for number in range(3 * KEPT):
        assert call(sessions, "inspect", f"call {number}", number) == [f"verdict on {number}"]
    assert len(sessions.session_data) <= KEPT + 2
    assert sessions.time_last_used.keys() == sessions.session_data.keys()
    assert f"call {3 * KEPT - 1}" in sessions
    assert [*sessions["visitor"].state_data.values()] == ["a photo"]


def test_a_visit_that_has_ended_is_forgotten_too(sessions):
    call(sessions, "load", "visitor")
    sessions.delete_state("visitor")
    for number in range(2 * KEPT):
        call(sessions, "inspect", f"call {number}", number)
    assert "visitor" not in sessions


def test_an_app_is_made_with_them(monkeypatch, sessions):
    monkeypatch.setattr(gradio.routes, "StateHolder", StateHolder)  # given back afterwards
    forget_calls()
    app = gradio.routes.App.create_app(sessions.blocks)
    assert isinstance(app.state_holder, Sessions)
