"""The app as a person runs it: in a process of its own, seen through a browser."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from commands import Running, commands

SECONDS_TO_START = 300  # a busy machine takes long to import Gradio
SECONDS_TO_SEE = 60  # and looks late


@contextmanager
def running_app(
    folder: Path,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[str]:
    """Run `python app.py` in `folder` until the block ends; gives the address of its page.

    What it prints goes to `log`; without one, to a file that nobody sees unless it ends early.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    words = ["python", "app.py", *arguments, "--port", str(port)]
    run = commands(environment)
    with run.running(words, folder, log=log) as app:
        _wait_for(address, app)
        yield address


def becomes_true(condition: Callable[[], object]) -> bool:
    """Wait until the app, in its own time, has made a condition true; False if it does not."""
    deadline = time.monotonic() + SECONDS_TO_SEE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def _wait_for(address: str, app: Running) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if app.poll() is not None:
            raise AssertionError(app.output.read_text(errors="replace"))
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"The app served no page at {address} within {SECONDS_TO_START} s")
