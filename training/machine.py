"""What a training has of the machine, what it takes of it, and the facts of its run."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import torch
import transformers
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, ProjectConfiguration
from torch import nn

from model_files import ToldDamage, TrainingRun
from system.cores import available_cores, use_fair_share_of_cores
from system.processes import processes_here, state
from training.recipe import AUTO, BF16, FULL_PRECISION, Recipe

MOST_WORKERS = 8  # processes that prepare photos for one GPU


def join_processes(recipe: Recipe) -> Accelerator:
    """This process among all of those that train."""
    state()  # before the Accelerator, which would not join processes that have no GPU
    accelerator = Accelerator(
        mixed_precision=_precision(recipe),
        log_with="tensorboard",
        # No buffer changes while the weights learn, and those of the whole part are large.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        project_config=ProjectConfiguration(
            project_dir=recipe.output_dir, logging_dir=recipe.output_dir
        ),
    )
    use_fair_share_of_cores(processes_here())
    return accelerator


def workers_of(recipe: Recipe, accelerator: Accelerator) -> int:
    """How many processes prepare photos for this one: none on a CPU, which is busy itself."""
    if accelerator.device.type != "cuda":
        return 0
    if recipe.num_workers is not None:
        return recipe.num_workers
    return min(MOST_WORKERS, max(1, available_cores() // processes_here()))


def _precision(recipe: Recipe) -> str:
    """The recipe's precision as accelerate calls it."""
    if recipe.mixed_precision != AUTO:
        return "no" if recipe.mixed_precision == FULL_PRECISION else recipe.mixed_precision
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return BF16 if launched == "no" and has_bf16 else launched


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


def facts_of_run(
    model: nn.Module,
    command: str,
    n_training: int,
    cost: Cost,
    accelerator: Accelerator,
    look_defective: Sequence[str],
    on_damage: Mapping[str, dict[str, float]],
) -> TrainingRun:
    """The facts of the run that ends now.

    Good photos that look defective are given by their image ids; how well damage on held-out photos
    was told, by category and stream, as `training.whole_part.weigh_whole_part` says it.
    """
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
        look_defective=list(look_defective),
        on_damage={
            category: ToldDamage(**{stream: round(auroc, 4) for stream, auroc in found.items()})
            for category, found in on_damage.items()
            if found
        },
    )


def _cpu_seconds() -> float:
    """Of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def device_in_words(device: torch.device) -> str:
    """The name of a GPU, or the number and kind of the CPU's cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"
