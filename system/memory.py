"""Memory: how much a process takes and may take, and keeping it, which halves a network's time."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # glibc's malloc.h
LARGEST = 2**31 - 1  # mallopt takes a C int
GIGABYTE = 10**9


def keep_freed_memory() -> bool:
    """Ask glibc not to give freed memory back to the system; called once, when a program starts.

    Large tensors are otherwise mapped anew for every layer of every batch, and the kernel clears
    their pages each time: EfficientNet-Lite0's trunk at 8 x 384 x 384 took 61 ms a photo so and
    27 ms with memory kept (two cores, torch 2.13, 2026-11-24). The price is that the program's
    memory stays at its peak. Returns whether the C library took the advice; others do not know it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    advice = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, LARGEST), (M_MMAP_THRESHOLD, LARGEST // 2))
    return all(mallopt(*pair) == 1 for pair in advice)


def peak_memory() -> int:
    """Bytes that this process had in memory at most."""
    status = Path("/proc/self/status")
    if status.exists():  # the general way also counts what the process that started this one had
        (line,) = (one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory_room(gigabytes: float, processes_here: int) -> float:
    """Bytes for one process: its share of so much, or of half the machine's memory if less."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(gigabytes * GIGABYTE, memory / 2) / processes_here
