"""A read-only Hub on the loopback interface: one folder served as one dataset repository.

Just the part of the Hub's HTTP interface that the real client asks for when it lists and downloads
a dataset. What was downloaded is kept, so that a test can tell that nothing else was.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0" * 39 + "1"


class Hub:
    """Address and log of a running loopback Hub."""

    def __init__(self, folder: Path, repo: str) -> None:
        self.folder = folder
        self.repo = repo
        self.downloaded: list[str] = []
        self.endpoint = ""

    def files(self) -> list[dict]:
        return [
            {
                "type": "file",
                "path": path.relative_to(self.folder).as_posix(),
                "size": path.stat().st_size,
                "oid": _oid(path),
            }
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        ]

    def info(self) -> dict:
        siblings = [{"rfilename": file["path"]} for file in self.files()]
        return {
            "_id": "1",
            "id": self.repo,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
        }


@contextmanager
def serve(folder: Path, repo: str = "org/parts") -> Iterator[Hub]:
    """Serve `folder` as the dataset `repo` until the block ends."""
    hub = Hub(folder, repo)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _oid(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            if path.startswith(f"/api/datasets/{hub.repo}/paths-info"):
                wanted = set(json.loads(body).get("paths", []))
                self.send_json([file for file in hub.files() if file["path"] in wanted])
            else:
                self.send_missing("EntryNotFound")

        def answer(self, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            api, resolve = f"/api/datasets/{hub.repo}", f"/datasets/{hub.repo}/resolve/"
            if path.startswith(f"{api}/tree/"):
                folder = path.removeprefix(f"{api}/tree/").partition("/")[2]
                recursive = "recursive=true" in self.path.lower()
                self.send_json(_listing(hub, folder, recursive), with_body)
            elif path == api or path.startswith(f"{api}/revision/"):
                self.send_json(hub.info(), with_body)
            elif path.startswith(resolve):
                self.send_file(path.removeprefix(resolve).partition("/")[2], with_body)
            else:
                self.send_missing("RepoNotFound")

        def send_json(self, content: object, with_body: bool = True) -> None:
            self.send_content(json.dumps(content).encode(), with_body, "application/json")

        def send_file(self, name: str, with_body: bool) -> None:
            path = hub.folder / name
            if not path.is_file():
                self.send_missing("EntryNotFound")
                return
            if with_body:
                hub.downloaded.append(name)
            self.send_content(path.read_bytes(), with_body, "application/octet-stream", _oid(path))

        def send_content(
            self, content: bytes, with_body: bool, kind: str, etag: str | None = None
        ) -> None:
            first = 0
            wanted = self.headers.get("Range", "")
            if wanted.startswith("bytes="):
                first = int(wanted.removeprefix("bytes=").split("-")[0])
            self.send_response(206 if first else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content) - first))
            self.send_header("X-Repo-Commit", COMMIT)
            if etag:
                self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            if with_body:
                self.wfile.write(content[first:])

        def send_missing(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def _listing(hub: Hub, folder: str, recursive: bool) -> list[dict]:
    inside = [file for file in hub.files() if not folder or file["path"].startswith(f"{folder}/")]
    if recursive:
        return inside
    depth = folder.count("/") + 1 if folder else 0
    entries: dict[str, dict] = {}
    for file in inside:
        parts = file["path"].split("/")
        if len(parts) == depth + 1:
            entries[file["path"]] = file
        else:
            name = "/".join(parts[: depth + 1])
            entries[name] = {"type": "directory", "path": name, "oid": COMMIT, "size": 0}
    return list(entries.values())
