"""What is being downloaded while a visitor waits for a model, and how far it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)

from hub_models import MODEL_FILES, read_config

COMMIT = re.compile(r"[0-9a-f]{40}")
ANSWER_SECONDS = 10.0  # for the Hub's first word; a silent one is left to the model's own loading
# The client's own 10 MB would bring a whole model at once, and its bar from nothing to full.
constants.DOWNLOAD_CHUNK_SIZE = 128 * 1024


@dataclass(frozen=True)
class DownloadProgress:
    """How far a model is on its way into memory."""

    model: str  # ORG/NAME, or the name of a folder
    file: str = ""  # what is being downloaded; empty while nothing is
    done: int = 0  # bytes of it that are there
    total: int = 0  # bytes that it has; 0 while that is not known


def download(repo: str, revision: str | None, report: Callable[[DownloadProgress], None]) -> None:
    """Bring the files of ORG/NAME into the Hub client's cache, unless they are there.

    Of a branch, tag or commit; of the newest commit if that is None. `report` is told how far it
    is, from this thread. Raises what the many libraries that take part do.
    """
    is_commit = revision is not None and COMMIT.fullmatch(revision)
    cached = (try_to_load_from_cache(repo, file, revision=revision) for file in MODEL_FILES)
    if is_commit and all(isinstance(path, str) for path in cached):
        return
    # One question, asked once: without it a Hub that is down would be tried for half a minute
    # here, and again when the model is loaded. It also makes all files those of one commit.
    address = hf_hub_url(repo, MODEL_FILES[0], revision=revision)
    commit = get_hf_file_metadata(address, timeout=ANSWER_SECONDS).commit_hash
    for file in MODEL_FILES:
        bar = partial(_Bar, report, DownloadProgress(repo, file))
        path = Path(hf_hub_download(repo, file, revision=commit, tqdm_class=bar))
        if file == MODEL_FILES[0] and read_config(path) is None:
            return  # not of this project: loading says so, and needs no gigabytes for it


class _Bar(AbstractContextManager):
    """Stands where the Hub's client wants a tqdm bar; reports how far it is, and shows nothing.

    The client reports bytes written (`update`) and, where it knows them apart, bytes received
    (`update_transfer`), which run ahead of the disk.
    """

    def __init__(
        self,
        report: Callable[[DownloadProgress], None],
        progress: DownloadProgress,
        total: int | None = None,
        initial: int = 0,
        **_: Any,
    ) -> None:
        self._report, self._progress = report, progress
        self.total = total
        self.n = self._received = initial
        self._tell()

    def update(self, count: float | None = 1) -> None:
        self.n += int(count or 0)
        self._tell()

    def update_transfer(self, count: float | None = 1) -> None:
        self._received += int(count or 0)
        self._tell()

    def _tell(self) -> None:
        total = self.total or 0
        done = min(max(self.n, self._received), total)
        self._report(replace(self._progress, done=done, total=total))

    def _do_nothing(self, *_: Any, **__: Any) -> None:
        """What the client asks of a bar that is to be seen."""

    set_postfix_str = set_transfer_postfix_str = refresh = close = _do_nothing

    def __exit__(self, *_: object) -> None:
        pass
