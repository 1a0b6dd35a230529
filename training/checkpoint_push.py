"""Checkpoints on their way to the Hub while training goes on."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from pathlib import Path

from huggingface_hub import HfApi

from system.errors import first_line
from training.checkpoints import CHECKPOINTS


class CheckpointPush:
    """Pushes checkpoints while training goes on, to a branch of their own, the newest alone.

    `main` only ever holds whole models. A push that fails is told and stops nothing: the checkpoint
    is on the disk, and the next one is tried again.

    Args:
        repo: ORG/NAME, which `publishing.push.check_access` has seen.
    """

    def __init__(self, repo: str) -> None:
        self.repo = repo
        self._api = HfApi()
        self._checkpoint: Path | None = None
        self._running: Future | None = None

    @property
    def under_way(self) -> Path | None:
        """The checkpoint that is being read, if there is one."""
        is_read = self._running is not None and not self._running.done()
        return self._checkpoint if is_read else None

    def start(self, checkpoint: Path) -> None:
        """Push a checkpoint folder in the background, once the last push has ended."""
        self.finish()
        self._checkpoint = checkpoint
        self._running = self._api.run_as_future(self._push, checkpoint)

    def finish(self) -> None:
        """Wait for the push that is under way, and say so if it failed."""
        if self._running is None:
            return
        error = self._running.exception()
        self._running = None
        if error is not None:
            print(
                f"\nThe checkpoint could not be pushed to {self.repo} ({first_line(error)}); it "
                "is on the disk, and training goes on.",
                file=sys.stderr,
            )

    def _push(self, checkpoint: Path) -> None:
        self._api.create_branch(self.repo, branch=CHECKPOINTS, exist_ok=True)
        self._api.upload_folder(
            repo_id=self.repo,
            folder_path=checkpoint.parent,
            path_in_repo=CHECKPOINTS,
            allow_patterns=f"{checkpoint.name}/*",
            delete_patterns="*",
            revision=CHECKPOINTS,
            commit_message=f"Push {checkpoint.name}",
        )
