"""A small writable Hub on the loopback interface, in memory, for tests with the real client.

    with serve() as hub:
        hub.add_repo("org/parts", {"README.md": b"..."}, kind="dataset")
        subprocess.run([sys.executable, ...], env=hub.environment(tmp_path / "home"))
        assert hub.files("org/parts", "dataset") == ...

A client in the test's own process must be told HfApi(endpoint=hub.endpoint, token=OWNER_TOKEN), and
to upload folders, not to use Xet (huggingface_hub.constants.HF_HUB_DISABLE_XET).

It answers what huggingface_hub, datasets and transformers ask for when they create, fill, tag,
list and download models, datasets and spaces; anything else is a 404 that says so. Large files go
by LFS, decided by their suffix; a repository that a client creates begins, as on the real Hub, with
a commit that holds .gitattributes. There is one namespace, "org": `OWNER_TOKEN` may read and write
everything in it, `READER_TOKEN` belongs to another user, who may read what is public.

Faults are made on purpose with `corrupt`, `fail`, `cut`, `delay` and `stop`, and end with `recover`
and `start`. Their pattern is any part of a request's path, such as "org/parts/resolve", "/commit/"
or "model.safetensors".
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from loopback_api import NAMESPACE, Reply, Request, answer
from loopback_repos import Commit, File, HubError, Repo, Store, is_large

OWNER_TOKEN = "hf_owner"
READER_TOKEN = "hf_reader"
USERS = {OWNER_TOKEN: NAMESPACE, READER_TOKEN: "reader"}


@contextmanager
def serve() -> Iterator[LoopbackHub]:
    """An empty Hub that runs until the block ends."""
    hub = LoopbackHub()
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


@dataclass
class Fault:
    """What goes wrong with requests whose path contains `pattern`, as many `times` as are left."""

    pattern: str
    times: float
    method: str | None = None
    status: int | None = None  # answer this instead
    after: int | None = None  # close the connection after so many bytes of the body
    seconds: float = 0.0  # wait before answering


class LoopbackHub:
    """Content, log and faults of a loopback Hub.

    Attributes:
        endpoint: its address, http://127.0.0.1:PORT.
        downloaded: "org/name/path/in/repo" of every file body sent, in order.
        requests: "METHOD /path?query" of every request, in order.
    """

    def __init__(self) -> None:
        self.endpoint = ""
        self.downloaded: list[str] = []
        self.requests: list[str] = []
        self.store = Store()
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._server: _Server | None = None
        self._port = 0  # any free one at first, then always the same

    def environment(self, home: Path, token: str | None = OWNER_TOKEN) -> dict[str, str]:
        """Environment of a fresh process whose client talks to this Hub.

        Args:
            home: folder for its caches.
            token: whom it is logged in as; None for nobody.

        Returns:
            This process's environment, with this Hub's settings instead of its own.
        """
        own = ("HF_", "HUGGING", "TRANSFORMERS_")
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(own)}
        settings = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_MODULES_CACHE": str(Path(home) / "modules"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return inherited | settings | ({"HF_TOKEN": token} if token else {})

    def add_repo(
        self,
        repo: str,
        files: Mapping[str, bytes] | Path,
        kind: str = "model",
        private: bool = False,
    ) -> str:
        """Add a repository that holds exactly these files.

        Args:
            repo: org/name.
            files: content by path, or a folder, which is read recursively.
            kind: model, dataset or space.
            private: hide it from everyone but the owner.

        Returns:
            Its commit.
        """
        if isinstance(files, Path):
            files = {
                path.relative_to(files).as_posix(): path.read_bytes()
                for path in files.rglob("*")
                if path.is_file()
            }
        tree = {
            path: File.of(content, is_large(path, len(content))) for path, content in files.items()
        }
        with self.lock:
            return self.store.create(Repo(repo, kind, private), tree).oid

    def files(self, repo: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Content by path, as it is served."""
        tree = self._repo(repo, kind).at(revision).tree
        return {path: file.content for path, file in tree.items()}

    def tags(self, repo: str, kind: str = "model") -> dict[str, str]:
        """Commit by tag."""
        return dict(self._repo(repo, kind).tags)

    def branches(self, repo: str, kind: str = "model") -> dict[str, str]:
        """Newest commit by branch."""
        return dict(self._repo(repo, kind).branches)

    def commits(self, repo: str, kind: str = "model", revision: str = "main") -> list[Commit]:
        """The commits that lead to a revision, newest first; each has `.oid` and `.title`."""
        return list(self._repo(repo, kind).log(revision))

    def is_private(self, repo: str, kind: str = "model") -> bool:
        """Whether only the owner may see it."""
        return self._repo(repo, kind).private

    def space_variables(self, repo: str) -> dict[str, str]:
        """Variables of a space, value by name."""
        return dict(self._repo(repo, "space").variables)

    def corrupt(self, repo: str, path: str, content: bytes, kind: str = "model") -> None:
        """Serve other bytes for a file of `main`, whose announced hashes stay as they were."""
        with self.lock:
            self._repo(repo, kind).at("main").tree[path].content = content

    def fail(
        self, pattern: str, status: int = 500, times: int = 1, method: str | None = None
    ) -> None:
        """Answer the next `times` requests (of this method, if given) with an error status."""
        self._add(Fault(pattern, times, method, status=status))

    def cut(self, pattern: str, after: int, times: int = 1) -> None:
        """Break off the next `times` bodies that a GET asks for after so many bytes."""
        self._add(Fault(pattern, times, "GET", after=after))

    def delay(self, pattern: str, seconds: float) -> None:
        """Let every request wait before it is answered."""
        self._add(Fault(pattern, float("inf"), seconds=seconds))

    def recover(self) -> None:
        """End every fault."""
        with self.lock:
            self._faults.clear()

    def empty(self) -> None:
        """Be as a new one, at the same address: without content, log and faults."""
        self.recover()
        with self.lock:
            self.store = Store()
            self.downloaded.clear()
            self.requests.clear()
        if not self._server:
            self.start()

    def start(self) -> None:
        """Listen, after `stop` on the same port as before."""
        self._server = _Server(self, self._port)
        self._port = self._server.server_port
        self.endpoint = f"http://127.0.0.1:{self._port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and close every connection; the content stays."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._server = None

    def take_faults(self, method: str, path: str) -> list[Fault]:
        """The faults that strike this request, each used up once."""
        with self.lock:
            struck = [
                fault
                for fault in self._faults
                if fault.times > 0 and fault.pattern in path and fault.method in (None, method)
            ]
            for fault in struck:
                fault.times -= 1
            return struck

    def _add(self, fault: Fault) -> None:
        with self.lock:
            self._faults.append(fault)

    def _repo(self, repo: str, kind: str) -> Repo:
        return self.store.repos[kind, repo]


class _Server(ThreadingHTTPServer):
    """Knows its open connections, which `server_close` leaves open."""

    daemon_threads = True

    def __init__(self, hub: LoopbackHub, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.hub = hub
        self.connections: set[socket.socket] = set()

    def process_request(self, request: socket.socket, client_address: tuple) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in [*self.connections]:
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: socket.socket, client_address: tuple) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client may go away
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, lets its faults strike, and sends what `loopback_api` answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def respond(self) -> None:
        hub = self.server.hub
        request = self.read_request()
        hub.requests.append(f"{self.command} {self.path}")
        faults = hub.take_faults(self.command, unquote(request.path))
        time.sleep(sum(fault.seconds for fault in faults))
        status = next((fault.status for fault in faults if fault.status), None)
        after = next((fault.after for fault in faults if fault.after is not None), None)
        try:
            if status:
                raise HubError(status, None, "This request fails on purpose")
            if self.token() and request.user is None:
                raise HubError(401, None, "Invalid credentials in Authorization header")
            with hub.lock:
                reply = answer(request)
        except HubError as error:
            reply = Reply.of_error(error)
        self.send_reply(reply, after)

    # One way for all of them; `loopback_api` tells them apart.
    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = respond  # noqa: N815

    def read_request(self) -> Request:
        address = urlsplit(self.path)
        return Request(
            self.server.hub.store,
            self.command,
            f"http://{self.headers['Host']}",
            address.path,
            parse_qs(address.query),
            self.read_body(),
            USERS.get(self.token()),
        )

    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def send_reply(self, reply: Reply, after: int | None) -> None:
        """Send it, of its body only the range asked for, and of that only `after` bytes."""
        status, body, headers = reply.status, reply.body, dict(reply.headers)
        if reply.file and self.headers.get("Range"):
            status, body, headers["Content-Range"] = _range(body, self.headers["Range"])
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if reply.file:
            self.server.hub.downloaded.append(reply.file)
        self.wfile.write(body[:after])
        self.close_connection = self.close_connection or after is not None


def _range(body: bytes, wanted: str) -> tuple[int, bytes, str]:
    """Status, body and Content-Range for "bytes=first-last", either of which may be missing."""
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(body) - int(last))
    stop = min(int(last) + 1, len(body)) if first and last else len(body)
    if start >= stop:
        return 416, b"", f"bytes */{len(body)}"
    return 206, body[start:stop], f"bytes {start}-{stop - 1}/{len(body)}"
