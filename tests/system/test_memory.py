from __future__ import annotations

import subprocess
import sys

from conftest import ROOT

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
