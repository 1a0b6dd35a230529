"""What is replaced inside Gradio 6.31, which offers no other way; looked through at each update.

| What | Why | Unnecessary once Gradio |
|---|---|---|
| `Sessions` | forgotten visitors' photos stay, and calls fill a gigabyte | ends sessions by age |
| `TidyParser` | an upload that breaks off leaves its part on the disk | deletes it itself |
| `head_scripts` | the page's scripts have to run before Gradio's | puts `head=` before its own |
| `read_with` | a component opens, checks or rejects what the page takes as it is | has a hook |
| `take_as_given`, `refuse_wrong_inputs` | it fetches addresses for anybody | can be told not to |
| `answer_mcp_in_json` | MCP tools would answer in Python's notation | answers in JSON |

tests/page/ shows each of them against the version in requirements.txt. `page.server.guards` and
the environment that app.py sets stand around Gradio and replace nothing in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
import gradio.routes
from gradio import route_utils
from gradio.context import Context
from gradio.exceptions import InvalidPathError
from gradio.state_holder import SessionState, StateHolder
from gradio_client.utils import is_http_url_like, traverse
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from page.languages import text_in
from page.server.guards import NONCE
from page.server.refusals import refusal

KEPT = 100  # sessions in which nothing is kept; more than can be under way at once
SECONDS_UNUSED = 3600  # an open page uses its own every ten minutes
LANGUAGE = "language_code"  # the page's input that says what language the visitor reads
SCRIPTS = ("head.js", "page.js", "batch.js", "waiting.js", "login.js")
Component = TypeVar("Component", bound=gr.components.Component)


def tidy_up_after_visitors() -> None:
    """From now on, apps forget sessions that nobody uses, and delete uploads that break off."""
    gradio.routes.StateHolder = Sessions
    route_utils.GradioMultiPartParser = TidyParser


class Sessions(StateHolder):
    """Forgets a session when nobody has used it for an hour, and then deletes a visitor's files.

    Gradio makes a session for each call of a program and for each name that a caller makes up, a
    tenth of a megabyte, and keeps the latest 10,000. It forgets one only to make room for another,
    and then does not call what `gr.State(delete_callback=...)` names.

    The page keeps a visitor's things (`page.session.Session`) in a session. A program's call keeps
    nothing there, so of such sessions the newest `KEPT` are enough. The clock, in seconds, is one
    that nobody sets: the night when summer time begins would take an hour from everybody.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._used: dict[str, float] = {}

    def __getitem__(self, session_id: str) -> SessionState:
        """A session, made when it is first asked for."""
        if session_id not in self:
            with self.lock:
                sessions = [*self.session_data.items()]  # the most recently used last
            empty = [name for name, session in sessions if not session.state_data]
            self._end(empty[: max(0, len(empty) - KEPT)])
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """Note that a session is used; where there are too many, end the least recently used."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
                self._used[session_id] = self._clock()
            surplus = [*islice(self.session_data, max(0, len(self.session_data) - self.capacity))]
        self._end(surplus)

    def delete_all_expired_state(self) -> None:
        """End what nobody uses any more; Gradio calls this once a second."""
        super().delete_all_expired_state()
        since = self._clock() - SECONDS_UNUSED
        with self.lock:
            unused = [name for name in self.session_data if self._used.get(name, since) < since]
        self._end(unused)

    def _end(self, names: list[str]) -> None:
        """Forget sessions and call what their states name; Gradio's way skips unchanged states."""
        for name in names:
            with self.lock:
                self._used.pop(name, None)
                self.time_last_used.pop(name, None)
                session = self.session_data.pop(name, None)
            for number, value in [] if session is None else [*session.state_data.items()]:
                state = session.blocks_config.blocks.get(number)
                if isinstance(state, gr.State):
                    state.delete_callback(value)


class TidyParser(route_utils.GradioMultiPartParser):
    """Reads an upload into files; deletes them when its connection ends or the disk is full.

    Gradio does so only where the form is wrong.
    """

    async def parse(self) -> Any:
        """The form, its files complete."""
        try:
            return await super().parse()
        except BaseException:  # also when the server stops meanwhile
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            raise


def head_scripts(app: ASGIApp) -> ASGIApp:
    """Middleware that puts the page's own scripts first into its head; it changes nothing else.

    They say which language Gradio reads from the browser. What is given as `head=` is added when
    Gradio has chosen its words already.
    """
    folder = Path(__file__).parents[1] / "static"
    scripts = ((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    markup = "".join(f"<script>{script}</script>" for script in scripts).encode()

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def send_with_scripts(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message  # held back: the page's length is not known yet
                return
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            page = body.replace(b"<head>", b"<head>" + markup, 1)
            if nonce := scope.get(NONCE):
                # In what Gradio writes into the page for the browser, every < is escaped.
                page = page.replace(b"<script", f'<script nonce="{nonce}"'.encode())
            MutableHeaders(scope=start)["Content-Length"] = str(len(page))
            await send(start)
            await send({"type": "http.response.body", "body": page})

        await app(scope, receive, send_with_scripts)

    return answer


def read_with(component: Component, read: Callable[[Any], Any]) -> Component:
    """Let `read` make a function's argument of what the browser sends for a component.

    It replaces a method of the instance because Gradio writes a stub file beside every subclass.
    """
    component.preprocess = read
    return component


def take_as_given(numbers: list[int]) -> None:
    """Let inputs of the app that is being built have an address unfetched.

    Gradio would fetch it itself, and at the next call give what it found the first time.
    """
    for number in numbers:
        Context.root_block.blocks[number].async_move_resource_to_block_cache = _as_given


async def _as_given(source: str) -> str:
    return source


def refuse_wrong_inputs() -> None:
    """Refuse in a sentence: too few arguments, a file that was not uploaded, or an address.

    Of the first two Gradio says nothing to the caller and logs a traceback. What is at an address
    it would fetch for any input of the app that is being built, however much it is.
    """
    blocks = Context.root_block
    preprocess_data = blocks.preprocess_data

    async def refusing(function: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        if len(inputs) < len(function.inputs):
            raise refusal(
                f"The function takes {len(function.inputs)} arguments, found {len(inputs)}; "
                "/gradio_api/info describes them."
            )
        given = [*zip(function.inputs, inputs, strict=False)]
        if any(_would_be_fetched(block, value) for block, value in given):
            language = next((value for block, value in given if block.elem_id == LANGUAGE), None)
            raise refusal(text_in(str(language))("guards.no_addresses"))
        try:
            return await preprocess_data(function, inputs, *args, **kwargs)
        except InvalidPathError as error:
            raise refusal(
                "The file was not uploaded to this app; upload it first, and give the path that "
                "comes back."
            ) from error

    blocks.preprocess_data = refusing


def _would_be_fetched(block: Any, value: Any) -> bool:
    """Whether a file with an address in the place of its path is somewhere in a value."""
    if block.async_move_resource_to_block_cache is _as_given:
        return False

    def is_at_an_address(part: Any) -> bool:
        return isinstance(part, dict) and is_http_url_like(part.get("path"))

    found: list[Any] = []
    traverse(value, found.append, is_at_an_address)
    return bool(found)


def answer_mcp_in_json() -> None:
    """Have an MCP tool answer in JSON; Gradio would write what Python prints of a dictionary."""
    import gradio.mcp

    class Server(gradio.mcp.GradioMCPServer):
        def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
            answers = [each if isinstance(each, str) else json.dumps(each) for each in data]
            return super().postprocess_output_data(answers, root_url)

    gradio.mcp.GradioMCPServer = Server
