"""The app as a person runs it: in a process of its own, seen through a browser."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

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
    # A pipe that nobody reads would stop the app once it is full.
    with tempfile.TemporaryFile("w+") if log is None else log.open("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py", *arguments, "--port", str(port)],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(address, process, output)
            yield address
        finally:
            process.kill()  # it holds nothing that it would have to put away
            process.wait()


def becomes_true(condition: Callable[[], object]) -> bool:
    """Wait until the app, in its own time, has made a condition true; False if it does not."""
    deadline = time.monotonic() + SECONDS_TO_SEE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def _wait_for(address: str, process: subprocess.Popen[bytes], output: TextIO) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output.seek(0)
            raise AssertionError(output.read())
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"The app served no page at {address} within {SECONDS_TO_START} s")
