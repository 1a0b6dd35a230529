"""Middleware around Gradio: headers for the browser, and refusals in one sentence.

The headers tell a browser to load from this app alone, and to show it in no other site. If a
file's name or a note ever got onto the page as markup, a script in it would still not run.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from gradio.route_utils import FnIndexInferError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from page.languages import closest_language, text_in

NONCE = "golden_sample.nonce"  # in the scope of a request: what marks a script as the app's own
FILE_ELSEWHERE = re.compile("/gradio_api/file[=/]https?:", re.IGNORECASE)
CALLS = tuple(f"/gradio_api/{name}" for name in ("call", "queue/join", "run", "api", "component_"))
MAX_PROBLEM = 200  # characters of what is repeated to who sent it
# A Space is shown in a frame of the Hub's page.
MAY_SHOW_THE_APP = "'self' https://huggingface.co https://*.hf.space"
POLICY = {
    "default-src": "'self'",
    # Gradio makes functions of the text in js=, hence 'unsafe-eval'; 'unsafe-inline' would let in
    # every script that gets into the page, and the nonce keeps that out.
    "script-src": "'self' 'nonce-{nonce}' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'none'",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": MAY_SHOW_THE_APP,
}
# A visitor's file that is opened by itself may do nothing at all.
FILE_POLICY = {
    "default-src": "'none'",
    "style-src": "'unsafe-inline'",
    "img-src": "'self' data:",
    "sandbox": "",
    "frame-ancestors": MAY_SHOW_THE_APP,
}
# Gradio's page about MCP, which shows nothing of anybody's, has a script without a nonce.
MCP_POLICY = POLICY | {"script-src": "'unsafe-inline'"}
# By how a path begins.
POLICIES = {"/gradio_api/file=": FILE_POLICY, "/gradio_api/mcp": MCP_POLICY, "": POLICY}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # file addresses and what is inspected stay here
    "Permissions-Policy": (
        "camera=(self), accelerometer=(), autoplay=(), browsing-topics=(), display-capture=(), "
        "geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), "
        "serial=(), usb=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}


def security_headers(app: ASGIApp) -> ASGIApp:
    """Middleware that adds the headers to every answer, and to nothing else.

    `scope[NONCE]` is what the page's own scripts carry. There is no X-Frame-Options: it can't name
    the Hub, and browsers that know `frame-ancestors` ignore it. Strict-Transport-Security is left
    to the proxy, which knows whether there is https.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        nonce = scope[NONCE] = secrets.token_urlsafe(16)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Content-Security-Policy"] = policy_of(scope["path"], nonce)
            await send(message)

        await app(scope, receive, send_with_headers)

    return answer


def refuse(app: ASGIApp, why: Callable[[Scope], str | None]) -> ASGIApp:
    """Middleware that answers 403 with the sentence that `why` has for a request, if it has one."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        sentence = why(scope) if scope["type"] == "http" else None
        answering = JSONResponse({"detail": sentence}, 403) if sentence else app
        await answering(scope, receive, send)

    return answer


def file_elsewhere(scope: Scope) -> str | None:
    """Why no file of another server is shown; None for any other request.

    Gradio would fetch it for anybody, of any size, and pass it on in this app's name. A path's
    %-codes are decoded already.
    """
    return sentence_for(scope, "own_files_only") if FILE_ELSEWHERE.search(scope["path"]) else None


def errors_in_sentences(app: ASGIApp) -> ASGIApp:
    """Middleware, innermost, that answers with one sentence where Gradio raises an error.

    The web server's own answer would lack the headers of the other guards. An error that the
    caller did not cause is raised again, for the server's log.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False  # an answer that has begun can't be mended

        async def send_and_see(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await app(scope, receive, send_and_see)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception as error:
            if has_begun or scope["type"] != "http":
                raise
            mistake = mistake_in_a_call(scope["path"], error)
            status, sentence = mistake or (500, sentence_for(scope, "broke"))
            await JSONResponse({"detail": sentence}, status)(scope, receive, send)
            if mistake is None:
                raise

    return answer


def mistake_in_a_call(path: str, error: Exception) -> tuple[int, str] | None:
    """Status and sentence for a call of no function, or with arguments that don't fit; else None.

    Gradio itself answers errors of the functions. What is raised at a call's path comes from its
    search for the function and its reading of the arguments.
    """
    if not path.startswith(CALLS):
        return None
    if isinstance(error, FnIndexInferError | KeyError):
        return 404, "There is no such function; there are models, inspect and inspect_batch."
    if isinstance(error, TypeError):
        problem = str(error).partition(". Please")[0][:MAX_PROBLEM]
        return 422, f"{problem}; /gradio_api/info describes the arguments."
    return None


def sentence_for(scope: Scope, name: str, **values: object) -> str:
    """What a guard says, in the language of the browser; programs name none and get English."""
    languages = Headers(scope=scope).get("accept-language", "")
    wanted = (part.partition(";")[0] for part in languages.split(","))
    return text_in(closest_language(wanted))(f"guards.{name}", **values)


def policy_of(path: str, nonce: str) -> str:
    """The Content-Security-Policy of what is answered at a path."""
    policy = next(policy for start, policy in POLICIES.items() if path.startswith(start))
    directives = "; ".join(f"{name} {value}".strip() for name, value in policy.items())
    return directives.format(nonce=nonce)
