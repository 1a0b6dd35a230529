"""What a training has of the machine: devices and processes, precision, threads and workers."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

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
