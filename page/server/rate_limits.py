"""An address that makes too many calls, sends too much or guesses passwords is told to wait.

Requests with a body are counted; reading the page, its pictures and its static files is free. A
call that the server answers at once, such as the threshold's, and an upload, whose bytes are
counted anyway, count an eighth.

The address is the one that uvicorn names: that of the connection or, where it comes from one of
FORWARDED_ALLOW_IPS (this machine, unless it is set), the one that this proxy names. Nobody else
is believed: a visitor could name a new address each time.
"""

from __future__ import annotations

import ipaddress
import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response

from page.server.guards import sentence_for
from page.server.limits import MAX_CALL_BYTES
from page.server.quotas import Addresses, Allowance, Quotas

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

READING = ("GET", "HEAD", "OPTIONS")
LOGIN, UPLOAD = "/login", "/gradio_api/upload"
ANSWERED_AT_ONCE = "/gradio_api/run/"
SMALL = 1 / 8  # of a call; a power of two, so that sums are exact
# What is said where a quota does not suffice, and what its size is told in.
SENTENCES = {
    "calls": "too_many_calls",
    "upload_bytes": "too_many_bytes",
    "wrong_passwords": "too_many_passwords",
}
UNITS = {"upload_bytes": 2**20}
HUNG_UP = {"type": "http.disconnect"}  # as the app sees a visitor who is told to wait
# The hosts of a Space reach it from addresses within their own network.
PRIVATE_NETWORKS = "127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"


def believe_the_proxy_of_a_space() -> None:
    """In a Space, take a visitor's address from the Hub's proxy, through which all of them come."""
    if "SPACE_ID" in os.environ:
        os.environ.setdefault("FORWARDED_ALLOW_IPS", PRIVATE_NETWORKS)


class RateLimits:
    """ASGI middleware that answers 429, with a sentence and Retry-After, who asks too much.

    Args:
        app: what answers all others.
        quotas: what one address may do.
        clock: tells the time in seconds.

    Example:
        ```python
        limits = Middleware(RateLimits, quotas=Quotas.of(os.environ))
        blocks.launch(app_kwargs={"middleware": [limits]})
        ```
    """

    def __init__(
        self, app: ASGIApp, quotas: Quotas, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app = app
        self.addresses = Addresses(quotas, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self.app(scope, receive, send)
            return
        visitor = _Visitor(scope, self.addresses[network_of(scope)])
        if refused := visitor.refusal():
            await refused(scope, receive, send)
            return
        body = _Body(visitor, receive, visitor.seeing_logins(send))
        try:
            await self.app(scope, body.receive, body.send)
        except Exception:
            if body.refused is None:
                raise
        if body.refused and not body.is_answered:
            await body.refused(scope, receive, send)


class _Visitor:
    """Who makes a request, and what it costs them."""

    def __init__(self, scope: Scope, allowance: Allowance) -> None:
        self._scope, self._allowance = scope, allowance
        path = scope["path"].rstrip("/")
        self.is_upload, self._is_login = path == UPLOAD, path == LOGIN
        announced = Headers(scope=scope).get("content-length", "")
        self.announced = int(announced) if announced.isdecimal() else 0
        is_small = self.is_upload or path.startswith(ANSWERED_AT_ONCE)
        self._cost = {"wrong_passwords" if self._is_login else "calls": SMALL if is_small else 1}

    def refusal(self) -> Response | None:
        """Take what the request costs, or answer that it is too much; then it costs nothing."""
        return self._refusal(self.announced, upload_bytes=self.announced, **self._cost)

    def refusal_of_bytes(self, more: int, total: int) -> Response | None:
        """Take so many bytes more, or answer that it is too much."""
        return self._refusal(total, upload_bytes=more)

    def _refusal(self, total_bytes: int, **amounts: float) -> Response | None:
        if not self.is_upload and total_bytes > MAX_CALL_BYTES:
            sentence = sentence_for(self._scope, "call_too_large", limit=MAX_CALL_BYTES // 2**20)
            return JSONResponse({"detail": sentence}, 413)
        lacking = self._allowance.take(**amounts)
        return self._wait(lacking, amounts[lacking]) if lacking else None

    def seeing_logins(self, send: Send) -> Send:
        """Only a wrong password counts; one was taken beforehand, since many may ask at once."""

        async def send_and_see(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self._allowance.give_back(**self._cost)
            await send(message)

        return send_and_see if self._is_login else send

    def _wait(self, name: str, amount: float) -> Response:
        seconds = self._allowance.seconds_until(name, amount)
        limit = math.ceil(self._allowance.most(name) / UNITS.get(name, 1))
        sentence = sentence_for(self._scope, SENTENCES[name], limit=limit, seconds=seconds)
        headers = {"Retry-After": str(seconds)}
        if self.is_upload or self._is_login:
            return PlainTextResponse(sentence, 429, headers)  # as it is, it gets onto the page
        return JSONResponse({"detail": sentence}, 429, headers)


class _Body:
    """Counts what comes beyond the length that was announced, and breaks off where it is much."""

    def __init__(self, visitor: _Visitor, receive: Receive, send: Send) -> None:
        self._visitor, self._receive, self._send = visitor, receive, send
        self._came, self._is_whole = 0, False
        self.refused: Response | None = None
        self.is_answered = False

    async def receive(self) -> Message:
        if self.refused:
            return HUNG_UP
        message = await self._receive()
        if self._is_whole:
            return message
        self._is_whole = message["type"] == "http.request" and not message.get("more_body")
        announced, before = self._visitor.announced, self._came
        self._came += len(message.get("body", b""))
        more = max(self._came, announced) - max(before, announced)
        self.refused = self._visitor.refusal_of_bytes(more, self._came)
        return HUNG_UP if self.refused else message

    async def send(self, message: Message) -> None:
        if self.refused is None:
            self.is_answered = True
            await self._send(message)


def network_of(scope: Scope) -> str:
    """Who asks: an IPv4 address, or the network (/64) of an IPv6 one, for a house has all of it."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
