"""The app as a child process: when it serves its page, and how much memory it takes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 180.0  # a busy machine takes long to import Gradio
# The app limits what one address may ask for, and all visitors of a trial come from the same one.
UNLIMITED = {"APP_CALLS_PER_MINUTE": "0", "APP_UPLOAD_MB_PER_MINUTE": "0"}
KINDS = {"resident": "VmRSS", "peak": "VmHWM"}  # as Linux calls them


class AppError(RuntimeError):
    """The app does not start, or does not answer; the message is one sentence."""


@dataclass(frozen=True)
class RunningApp:
    """A process of `python app.py` that serves its page.

    Attributes:
        address: of the page, such as "http://127.0.0.1:7860/".
        process: it.
        seconds: from the start of the process until its first page was there.
    """

    address: str
    process: subprocess.Popen[bytes]
    seconds: float

    def memory(self, kind: str = "resident") -> int | None:
        """Bytes in memory now, or the most so far; None where there is no /proc.

        Args:
            kind: one of `KINDS`.
        """
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.exists():
            return None
        name = f"{KINDS[kind]}:"
        (line,) = (line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        """End it in the middle of what it does, as the kernel does when memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def started_app(
    port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[RunningApp]:
    """Run `python app.py` until the block ends.

    Args:
        port: where it listens; a free one if None.
        environment: variables beside those of this process and `UNLIMITED`.

    Raises:
        AppError: when it ends before it has served a page, or serves none in time.
    """
    port = port or free_port()
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would stop it when full
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **UNLIMITED, **(environment or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for_page(address, process, log)
            yield RunningApp(address, process, time.perf_counter() - start)
        finally:
            if process.poll() is None:
                process.terminate()  # it deletes what its visitors left
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for_page(address: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            words = log.read().decode(errors="replace").strip().splitlines()
            raise AppError(words[-1] if words else f"The app ended with {process.returncode}.")
        try:
            if httpx.get(address, timeout=SECONDS_TO_START).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AppError(f"The app served no page at {address} within {SECONDS_TO_START:.0f} s.")
