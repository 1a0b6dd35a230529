from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from system.cores import LAUNCHED, threads_to_use


@pytest.mark.parametrize(
    ("environment", "processes", "threads"),
    [
        ({LAUNCHED: "no", "OMP_NUM_THREADS": "1"}, 1, 8),
        ({LAUNCHED: "no", "OMP_NUM_THREADS": "1"}, 2, 4),
        ({LAUNCHED: "no", "OMP_NUM_THREADS": "1"}, 16, 1),
        ({LAUNCHED: "no", "OMP_NUM_THREADS": "3"}, 1, None),  # asked for
        ({"OMP_NUM_THREADS": "1"}, 1, None),  # asked for, without the launcher
        ({}, 1, None),
    ],
)
def test_cores_are_shared_only_where_the_launcher_chose_one_thread(environment, processes, threads):
    assert threads_to_use(environment, 8, processes) == threads


def test_a_launched_process_gets_all_cores(tmp_path):
    script = tmp_path / "threads.py"
    script.write_text(
        "import json, os, torch\n"
        "from system.cores import use_fair_share_of_cores\n"
        "before = torch.get_num_threads()\n"
        "use_fair_share_of_cores(1)\n"
        "print(json.dumps([before, torch.get_num_threads(), len(os.sched_getaffinity(0))]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    finished = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", str(script)],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, cores = json.loads(finished.stdout.splitlines()[-1])
    assert before == 1  # else the launcher has changed, and this room can go
    assert after == cores
