from __future__ import annotations

import os
import subprocess
import sys

from conftest import ROOT

from system.memory import GIGABYTE, memory_room

SCRIPT = """
import sys, torch
from system.memory import keep_freed_memory
print(keep_freed_memory())
large = torch.ones(64, 2**20)
del large
print(torch.ones(2**20).sum().item())
"""


def test_memory_works_as_before_once_it_is_kept():
    """In a process of its own, since the advice can't be taken back."""
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    taken, total = finished.stdout.split()
    assert taken in ("True", "False")
    assert float(total) == 2**20


PEAK = """
from system.memory import peak_memory
before = peak_memory()
large = b"x" * 2**27
del large
print(peak_memory() - before)
"""


def test_the_peak_of_memory_counts_what_was_freed_again():
    finished = subprocess.run(
        [sys.executable, "-c", PEAK], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    assert 2**26 < int(finished.stdout) < 2**28


def test_processes_of_a_machine_divide_its_memory():
    assert memory_room(0.001, 4) == 0.001 * GIGABYTE / 4
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory_room(10**6, 1) == machine / 2
