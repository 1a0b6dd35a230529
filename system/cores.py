"""How many CPU cores a process uses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

# Set by `accelerate launch`, and by nobody else, for each process that it starts.
LAUNCHED = "ACCELERATE_MIXED_PRECISION"


def threads_to_use(environment: Mapping[str, str], cores: int, processes_here: int) -> int | None:
    """Threads for one process, or None where the number that it was started with is right.

    `accelerate launch` gives a process a single thread unless it is told otherwise, which on two
    cores trains a third slower than the same script without it. A number other than 1 was asked
    for (`OMP_NUM_THREADS`, `--num_cpu_threads_per_process`) and stays. The cores are those that
    this process may run on, shared by the processes of this training.
    """
    is_default = LAUNCHED in environment and environment.get("OMP_NUM_THREADS") == "1"
    return max(1, cores // processes_here) if is_default else None


def use_fair_share_of_cores(processes_here: int) -> None:
    """Let torch use this process's share of the cores where the launcher gave it one thread."""
    threads = threads_to_use(os.environ, available_cores(), processes_here)
    if threads is not None:
        torch.set_num_threads(threads)


@contextmanager
def single_threaded() -> Iterator[int]:
    """Torch computes with one thread, as the last bits then do not depend on the number of cores.

    Yields how many threads it uses outside.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def available_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
