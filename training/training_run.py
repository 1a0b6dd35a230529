"""What a training run took and what made it, measured while it runs."""

from __future__ import annotations

import os
import platform
import resource
import time
from dataclasses import dataclass, field
from datetime import date

import torch
import transformers
from accelerate import Accelerator
from torch import nn

from model_files import TrainingRun

History = list[dict[str, float]]  # the learning curve, a row an epoch


def facts_of_run(
    model: nn.Module, command: str, n_training: int, cost: Cost, accelerator: Accelerator
) -> TrainingRun:
    """The facts of the run that ends now."""
    return TrainingRun(
        command=command,
        date=date.today().isoformat(),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        n_training=n_training,
        n_weights=sum(parameter.numel() for parameter in model.parameters()),
        device=device_in_words(accelerator.device),
        processes=accelerator.num_processes,
        wall_seconds=round(cost.wall_seconds, 1),
        cpu_seconds=round(cost.cpu_seconds, 1),
    )


@dataclass
class Cost:
    """Time that a run has taken so far; in every checkpoint, so that a resumed run adds up."""

    wall_seconds: float = 0.0  # of the parts that have ended
    cpu_seconds: float = 0.0  # the same, of all cores and processes
    _wall_start: float = field(default_factory=time.monotonic)
    _cpu_start: float = field(default_factory=lambda: _cpu_seconds())

    def add_elapsed(self, accelerator: Accelerator) -> None:
        """Add the time since the last call, of all processes."""
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


def device_in_words(device: torch.device) -> str:
    """The GPU by its name, or how many CPU cores of what kind."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"
