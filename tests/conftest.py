"""Shared by all tests: one model, trained by the real trainer as a user would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Small enough to train in seconds, large enough to tell a defect from a good part.
TINY_DATA = "synthetic:flange_nut?train=48&test_good=8&test_per_defect=3&size=192"
TINY_RECIPE = ("--image_size", "128", "--epochs", "10", "--checkpoint_every", "5")


def run_script(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run one of the project's scripts from its root, as the README does."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model trained on the synthetic flange nut."""
    folder = tmp_path_factory.mktemp("models") / "flange_nut"
    finished = run_script(
        "training/train.py", "--data", TINY_DATA, "--output_dir", folder, *TINY_RECIPE
    )
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture(scope="session")
def evaluated_model(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that folder with the results of evaluate.py where the README puts them."""
    folder = tmp_path_factory.mktemp("evaluated") / "flange_nut"
    shutil.copytree(trained_model, folder)
    words = ("--model", folder, "--data", TINY_DATA, "--output_dir", folder / "evaluation")
    finished = run_script("evaluation/evaluate.py", *words)
    assert finished.returncode == 0, finished.stderr
    return folder
