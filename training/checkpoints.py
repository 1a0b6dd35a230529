"""Checkpoints of a training, OUTPUT_DIR/checkpoints/epoch-00010: written, found again, pushed."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from accelerate import Accelerator
from huggingface_hub import HfApi
from torch.distributed.checkpoint.stateful import Stateful

from system.errors import DiskError, ElsewhereError, disk_errors_told, first_line
from system.files import discard, draft_of, put_in_place, remove_unfinished
from system.processes import everywhere, on_main, state

CHECKPOINTS = "checkpoints"  # folder of checkpoints, and the branch that they are pushed to
LATEST = "latest"
NAME = re.compile(r"epoch-(\d+)")
History = list[dict[str, float]]  # the learning curve, a row an epoch
STATES = "states.json"  # what accelerate does not know; it would read a pickle and run its code


class CheckpointError(RuntimeError):
    """There is nothing to resume from; the message is one sentence for the person who asked."""


class Checkpoints:
    """The checkpoints in a model folder, of which the newest are kept; 0 keeps all.

    By name, `states` are what goes into each beside the accelerator's own: anything whose state is
    numbers, words, and lists and dicts of them.
    """

    def __init__(
        self, output_dir: Path, kept: int = 0, states: Mapping[str, Stateful] | None = None
    ) -> None:
        self.output_dir = output_dir
        self.folder = output_dir / CHECKPOINTS
        self.kept = kept
        self.states = states or {}

    def newest(self) -> Path | None:
        """The one of the latest epoch, or None."""
        return max(self._all(), key=_epoch, default=None)

    def named(self, wanted: str) -> Path:
        """The checkpoint to go on from: the one in this folder, or the "latest"."""
        if wanted != LATEST:
            if not Path(wanted).is_dir():
                raise CheckpointError(
                    f"The checkpoint {wanted} is not a folder; give one that training wrote under "
                    f"{CHECKPOINTS}/, or {LATEST}."
                )
            return Path(wanted)
        newest = self.newest()
        if newest is None:
            raise CheckpointError(
                f"There is no checkpoint under {self.folder}; train without "
                "--resume_from_checkpoint first."
            )
        return newest

    def way_on(self) -> str:
        """How to go on after a failure; ends a sentence."""
        newest = self.newest()
        if newest is None:
            return "there is no checkpoint to go on from"
        return f"--resume_from_checkpoint {LATEST} goes on from {newest}, which is whole"

    def write(self, accelerator: Accelerator, epoch: int, in_use: Path | None = None) -> Path:
        """Save the state of all processes, then remove what is no longer kept, unless it is in use.

        Those of later epochs are of an earlier training in the same folder, and go too: else
        "latest" would name one of them. Called in every process; returns the checkpoint's folder.
        After a `DiskError`, since the disk is full, say, the checkpoints before are whole.
        """
        checkpoint = self.folder / f"epoch-{epoch:05d}"
        draft = draft_of(checkpoint)
        remedy = f"make room, then train again: {self.way_on()}"
        try:
            with disk_errors_told("The checkpoint", checkpoint, remedy):
                on_main(lambda: remove_unfinished(self.folder))
                everywhere(lambda: accelerator.save_state(draft))
                on_main(lambda: self._write_states(draft))
                on_main(lambda: put_in_place(draft, checkpoint))
        except (DiskError, ElsewhereError):
            if state().is_main_process:
                shutil.rmtree(draft, ignore_errors=True)  # its room is needed
            raise
        on_main(lambda: self._prune(checkpoint, in_use))
        return checkpoint

    def load(self, accelerator: Accelerator, wanted: str) -> Path:
        """Bring back the state of all processes; returns the checkpoint's folder.

        One that is missing, damaged or of another model is a `CheckpointError`.
        """
        checkpoint = self.named(wanted)
        try:
            everywhere(lambda: accelerator.load_state(checkpoint))
            everywhere(lambda: self._load_states(checkpoint))
        except ElsewhereError:
            raise
        except Exception as error:  # each file's reader raises its own kinds
            raise CheckpointError(
                f"The checkpoint {checkpoint} can't be read or is of another model "
                f"({first_line(error)}); give the recipe that it was trained with, or an earlier "
                "checkpoint."
            ) from error
        return checkpoint

    def _all(self) -> list[Path]:
        return [path for path in self.folder.glob("*") if NAME.fullmatch(path.name)]

    def _write_states(self, draft: Path) -> None:
        states = {name: state.state_dict() for name, state in self.states.items()}
        (draft / STATES).write_text(json.dumps(states), encoding="utf-8")

    def _load_states(self, checkpoint: Path) -> None:
        states = json.loads((checkpoint / STATES).read_text(encoding="utf-8"))
        for name, stateful in self.states.items():
            stateful.load_state_dict(states[name])

    def _prune(self, newest: Path, in_use: Path | None) -> None:
        found = sorted(self._all(), key=_epoch)
        own = [path for path in found if _epoch(path) <= _epoch(newest)]
        kept = {*own[-self.kept :], in_use}  # all of its own where `kept` is 0
        for path in found:
            if path not in kept:
                discard(path)


def _epoch(checkpoint: Path) -> int:
    return int(NAME.fullmatch(checkpoint.name)[1])


class CheckpointPush:
    """Pushes checkpoints while training goes on, to a branch of their own, the newest alone.

    The branch `main` only ever holds whole models. A push that fails is told and stops nothing: the
    checkpoint is on the disk, and the next one is tried again. The repository, ORG/NAME, is one
    that `publishing.push.check_access` has seen.
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
