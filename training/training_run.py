"""What a training run took and what made it: facts for the card that the recipe does not hold."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import resource
import time
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import torch
import transformers
from accelerate import Accelerator
from torch import nn

FILE = "training.json"


@dataclass(frozen=True)
class TrainingRun:
    """The facts of one run, saved beside the weights as training.json.

    Attributes:
        command: the command line, without paths of the machine.
        date: day on which it ended, ISO 8601.
        versions: library to version.
        n_training: number of good photos that the weights learned from.
        n_weights: number of weights of the model, its frozen backbone included.
        device: what it ran on, in words.
        processes: number of processes.
        wall_seconds: from start to end of the learning, over all resumed parts.
        cpu_seconds: time that the CPU cores worked for it, summed over cores and processes.
    """

    command: str
    date: str
    versions: dict[str, str]
    n_training: int
    n_weights: int
    device: str
    processes: int
    wall_seconds: float
    cpu_seconds: float

    @classmethod
    def of(
        cls, model: nn.Module, command: str, n_training: int, cost: Cost, accelerator: Accelerator
    ) -> TrainingRun:
        """The facts of the run that ends now."""
        return cls(
            command=command,
            date=date.today().isoformat(),
            versions={
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
            },
            n_training=n_training,
            n_weights=sum(parameter.numel() for parameter in model.parameters()),
            device=_device_in_words(accelerator.device),
            processes=accelerator.num_processes,
            wall_seconds=round(cost.wall_seconds, 1),
            cpu_seconds=round(cost.cpu_seconds, 1),
        )

    @classmethod
    def read(cls, folder: Path) -> TrainingRun:
        """The facts beside the weights in a model folder.

        Raises:
            ValueError: when there are none or they are damaged.
        """
        try:
            return cls(**json.loads((folder / FILE).read_text()))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"{folder / FILE} is missing or damaged; expected a folder that training/train.py "
                "wrote: train the model again, or name another folder."
            ) from error

    def write(self, folder: Path) -> None:
        """Save the facts beside the weights."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")


@dataclass
class Cost:
    """Time that a run has taken so far; goes into every checkpoint, so that a resumed run adds up.

    Attributes:
        wall_seconds: of the parts that have ended.
        cpu_seconds: the same, of all cores and processes.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    _wall_start: float = field(default_factory=time.monotonic)
    _cpu_start: float = field(default_factory=lambda: _cpu_seconds())

    def measure(self, accelerator: Accelerator) -> None:
        """Add the time since the last measurement."""
        wall, cpu = time.monotonic(), _cpu_seconds()
        spent = torch.tensor(cpu - self._cpu_start, dtype=torch.float32, device=accelerator.device)
        self.wall_seconds += wall - self._wall_start
        self.cpu_seconds += accelerator.reduce(spent, reduction="sum").item()
        self._wall_start, self._cpu_start = wall, cpu

    def state_dict(self) -> dict[str, float]:
        """For `Checkpoints`."""
        return {"wall_seconds": self.wall_seconds, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """For `Checkpoints`: what earlier parts took, beside what this one has."""
        self.wall_seconds += state["wall_seconds"]
        self.cpu_seconds += state["cpu_seconds"]


def _cpu_seconds() -> float:
    """Of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _device_in_words(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"
