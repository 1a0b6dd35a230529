"""Shared by all tests: one model, trained by the real trainer as a user would."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import run_command
from filelock import FileLock
from loopback_hub import LoopbackHub, serve
from playwright.sync_api import Browser

from system.memory import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
# Small enough to train in seconds, large enough to tell a defect from a good part.
TINY_DATA = "synthetic:flange_nut?train=48&test_good=8&test_per_defect=3&size=192"
TINY_RECIPE = ("--image_size", "128", "--epochs", "10", "--checkpoint_every", "5")
# The files that take longest, which `make test` begins with.
LONGEST_FILES = (
    "publishing/test_push.py",
    "test_documents.py",
    "strength/test_load.py",
    "publishing/test_export.py",
    "page/test_page_hub.py",
    "modeling/test_hub_loading.py",
    "training/test_train.py",
    "system/test_several_processes.py",
    "strength/test_fuzz.py",
    "page/test_page_batch.py",
    "training/test_survival.py",
    "training/test_cross_fitting.py",
    "evaluation/test_evaluate_many.py",
    "page/test_programs.py",
    "evaluation/test_evaluate.py",
    "evaluation/test_benchmark.py",
    "page/test_page.py",
    "page/test_page_state.py",
    "test_secrets.py",
    "strength/test_benchmark_app.py",
    "page/test_about.py",
    "page/test_batch.py",
    "evaluation/test_compare_residuals.py",
    "page/test_page_taking.py",
    "page/test_downloads.py",
    "page/test_login.py",
    "page/test_recording.py",
    "data/test_prepare_data.py",
)

keep_freed_memory()  # as the programs do, or large tensors are mapped anew each time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: the last to begin would leave the other processes idle."""
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def made_once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]
) -> Path:
    """A folder that the first of the parallel test processes to need it makes for all of them."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    finished, unfinished = shared / name, shared / f"{name}.unfinished"
    with FileLock(shared / f"{name}.lock"):
        if not finished.exists():
            make(unfinished / "flange_nut")
            unfinished.rename(finished)
    return finished / "flange_nut"


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model trained on the synthetic flange nut; tests leave it as it is."""

    def train(folder: Path) -> None:
        words = ("--data", TINY_DATA, "--output_dir", folder, *TINY_RECIPE)
        finished = run_command("training/train.py", *words)
        assert finished.returncode == 0, finished.stderr

    return made_once(tmp_path_factory, "trained", train)


@pytest.fixture(scope="session")
def evaluated_model(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that folder with the results of evaluate.py where the README puts them."""

    def evaluate(folder: Path) -> None:
        shutil.copytree(trained_model, folder)
        words = ("--model", folder, "--data", TINY_DATA, "--output_dir", folder / "evaluation")
        finished = run_command("evaluation/evaluate.py", *words)
        assert finished.returncode == 0, finished.stderr

    return made_once(tmp_path_factory, "evaluated", evaluate)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests of a process: Playwright takes no second one beside it."""
    from browsing import running_browser  # it needs this module itself

    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def session_hub() -> Iterator[LoopbackHub]:
    with serve() as hub:
        yield hub


@pytest.fixture
def hub(session_hub: LoopbackHub) -> LoopbackHub:
    """An empty Hub, at the same address for all tests of a process: see `commands`."""
    session_hub.empty()
    return session_hub


@pytest.fixture(scope="session")
def session_hub_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub") / "home"


@pytest.fixture
def hub_home(session_hub_home: Path) -> Path:
    """The folder of that Hub's client, in which nothing is at first."""
    shutil.rmtree(session_hub_home, ignore_errors=True)
    return session_hub_home
