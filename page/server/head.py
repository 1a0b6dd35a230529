"""The page's own scripts, put into its head: they run before Gradio's, which reads the language.

Gradio's `head=` comes too late for that: it is added when the words have been chosen already.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from page.server.guards import NONCE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = b"<head>"
SCRIPTS = ("head.js", "page.js", "batch.js", "waiting.js", "login.js")


class HeadScripts:
    """ASGI middleware that puts scripts into the head of the page, and leaves all else alone.

    Example:
        ```python
        blocks.launch(app_kwargs={"middleware": [Middleware(HeadScripts)]})
        ```
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        folder = Path(__file__).parents[1] / "static"
        scripts = ((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
        self.markup = "".join(f"<script>{script}</script>" for script in scripts).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; only the page itself is changed."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self.app(scope, receive, send)
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
            page = body.replace(HEAD, HEAD + self.markup, 1)
            if nonce := scope.get(NONCE):
                # In what Gradio writes into the page for the browser, every < is escaped.
                page = page.replace(b"<script", f'<script nonce="{nonce}"'.encode())
            kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
            length = (b"content-length", str(len(page)).encode())
            await send({**start, "headers": [*kept, length]})
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, send_with_scripts)
