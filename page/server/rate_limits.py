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
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from page.server.guards import sentence_for
from page.server.limits import MAX_ADDRESSES, MAX_CALL_BYTES
from page.server.quotas import Allowance, Quotas

READING = ("GET", "HEAD", "OPTIONS")
LOGIN, UPLOAD = "/login", "/gradio_api/upload"
ANSWERED_AT_ONCE = "/gradio_api/run/"
SMALL = 1 / 8  # of a call; a power of two, so that sums are exact
# What is said where a quota does not suffice, and what its size is told in.
SENTENCES = {
    "calls": ("too_many_calls", 1),
    "upload_bytes": ("too_many_bytes", 2**20),
    "wrong_passwords": ("too_many_passwords", 1),
}
HUNG_UP = {"type": "http.disconnect"}  # as the app sees a visitor who is told to wait
# The hosts of a Space reach it from addresses within their own network.
PRIVATE_NETWORKS = "127.0.0.1,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"


def believe_the_proxy_of_a_space() -> None:
    """In a Space, take a visitor's address from the Hub's proxy, through which all of them come."""
    if "SPACE_ID" in os.environ:
        os.environ.setdefault("FORWARDED_ALLOW_IPS", PRIVATE_NETWORKS)


class RateLimits:
    """ASGI middleware that answers 429, with a sentence and Retry-After, who asks too much."""

    def __init__(
        self, app: ASGIApp, quotas: Quotas, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.app = app
        # Of the addresses that asked last; older ones are forgotten.
        self.allowance_of = lru_cache(MAX_ADDRESSES)(lambda address: Allowance(quotas, clock))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self.app(scope, receive, send)
            return
        allowance = self.allowance_of(network_of(scope))
        allowance.grow()
        request = _Request(scope, receive, send, allowance)
        if not request.refused:
            try:
                await self.app(scope, request.receive, request.send)
            except Exception:
                if request.refused is None:
                    raise
        if request.refused and not request.is_answered:
            await request.refused(scope, receive, send)


class _Request:
    """A request as the app sees it; it is broken off where more comes than its address has left.

    What it costs is taken at once. The bytes that come beyond the announced length are counted as
    they come.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, allowance: Allowance) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._allowance = allowance
        path = scope["path"].rstrip("/")
        self._is_upload, self._is_login = path == UPLOAD, path == LOGIN
        announced = Headers(scope=scope).get("content-length", "")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._came, self._is_whole = 0, False
        is_small = self._is_upload or path.startswith(ANSWERED_AT_ONCE)
        self._cost = {"wrong_passwords" if self._is_login else "calls": SMALL if is_small else 1}
        self.is_answered = False
        self.refused = self._take(self._announced, upload_bytes=self._announced, **self._cost)

    async def receive(self) -> Message:
        if self.refused:
            return HUNG_UP
        message = await self._receive()
        if self._is_whole:
            return message
        self._is_whole = message["type"] == "http.request" and not message.get("more_body")
        before, self._came = self._came, self._came + len(message.get("body", b""))
        more = max(self._came, self._announced) - max(before, self._announced)
        self.refused = self._take(self._came, upload_bytes=more)
        return HUNG_UP if self.refused else message

    async def send(self, message: Message) -> None:
        if self.refused:
            return
        # Only a wrong password counts; one was taken beforehand, since many may ask at once.
        if self._is_login and message["type"] == "http.response.start" and message["status"] < 400:
            self._allowance.give_back(**self._cost)
        self.is_answered = True
        await self._send(message)

    def _take(self, total_bytes: int, **amounts: float) -> Response | None:
        """Take so much, or answer that it is too much; then nothing is taken."""
        if not self._is_upload and total_bytes > MAX_CALL_BYTES:
            sentence = sentence_for(self._scope, "call_too_large", limit=MAX_CALL_BYTES // 2**20)
            return JSONResponse({"detail": sentence}, 413)
        lacking = self._allowance.take(**amounts)
        if lacking is None:
            return None
        seconds = self._allowance.seconds_until(lacking, amounts[lacking])
        name, unit = SENTENCES[lacking]
        limit = math.ceil(self._allowance.most[lacking] / unit)
        sentence = sentence_for(self._scope, name, limit=limit, seconds=seconds)
        headers = {"Retry-After": str(seconds)}
        if self._is_upload or self._is_login:
            return PlainTextResponse(sentence, 429, headers)  # as it is, it gets onto the page
        return JSONResponse({"detail": sentence}, 429, headers)


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
