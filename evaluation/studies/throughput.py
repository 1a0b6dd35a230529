"""How many photos a second training prepares and learns from, by what it keeps: a Markdown table.

    python -m evaluation.studies.throughput --data synthetic:flange_nut
    accelerate launch -m evaluation.studies.throughput --data DIR --category bottle

It takes what training/train.py takes, uses training's own loader and steps, and writes no model.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import datasets
import torch
import transformers
from accelerate import Accelerator

from data.dataset import load_categories
from data.rows import DatasetError
from evaluation.documents.document import markdown_table
from modeling import InspectionImageProcessor, PhotoError
from modeling.backbones import BackboneError
from system.command_line import run_command
from system.errors import DiskError
from system.memory import keep_freed_memory
from system.processes import ElsewhereError, main_first, state, together
from training.initial_model import build_model
from training.learner import Learner
from training.machine import device_in_words, join_processes, workers_of
from training.photos.batches import SharedLoader
from training.photos.decoded import decoded_once
from training.photos.restoration import restoration_photos
from training.recipe import Recipe, parse_recipe

PHOTOS = 48  # that are measured; more take longer and change nothing


def speeds_of(
    recipe: Recipe, folder: Path, accelerator: Accelerator
) -> Iterator[tuple[str, float, float]]:
    """Measure with nothing kept, with decoded photos in a folder, and with all that training keeps.

    Yields:
        What is kept from the pass before, in words, and photos a second of all processes together:
        those that the loader gives while nobody learns from them, and those with the steps.

    Raises:
        DatasetError, DiskError: when photos can't be read or there are none, or can't be written.
        ElsewhereError: when one of these happened in another process.
    """
    dataset = main_first(lambda: load_categories(recipe.data, recipe.category or ()))["train"]
    if not len(dataset):
        raise DatasetError(f"{recipe.data} has no good photos under train; give other --data.")
    good = dataset.select(range(min(len(dataset), PHOTOS)))
    model, _ = build_model(recipe, list(dict.fromkeys(good["category"])))
    side = model.config.image_size
    processor = InspectionImageProcessor(size={"height": side, "width": side})
    model.to(accelerator.device, memory_format=torch.channels_last)
    decoded = decoded_once(good, processor, folder, recipe.cache_disk_gb)
    learner = Learner(model, recipe, PHOTOS, accelerator)
    has_features = recipe.target == "features" and accelerator.device.type == "cpu"
    all_kept = "decoded photos, variants" + (" and their features" if has_features else "")

    def walk(loader: SharedLoader) -> None:
        for _ in loader:
            pass

    def learn(loader: SharedLoader) -> None:
        learner.learn(loader, after_step=lambda _: None)

    anew = replace(recipe, cache_memory_gb=0.0)
    for kept, photos, settings in (
        ("nothing", good, anew),
        ("decoded photos", decoded, anew),
        (all_kept, decoded, recipe),
    ):
        loader = SharedLoader(
            restoration_photos(photos, model, processor, settings),
            recipe.batch_size,
            accelerator,
            recipe.seed,
            workers_of(recipe, accelerator),
        )
        learn(loader)  # warms up, and fills what is kept
        prepared, learned = (_seconds(work, loader, accelerator) for work in (walk, learn))
        yield kept, len(good) / prepared, len(good) / learned


def _seconds(
    work: Callable[[SharedLoader], None], loader: SharedLoader, accelerator: Accelerator
) -> float:
    """How long all processes take, the device's work included."""
    accelerator.wait_for_everyone()
    start = time.perf_counter()
    work(loader)
    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()
    accelerator.wait_for_everyone()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input, 1 when the disk could not be written."""
    keep_freed_memory()
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    return run_command(
        "throughput.py",
        lambda: _run(arguments),
        bad_input=(BackboneError, DatasetError, ElsewhereError, PhotoError, ValueError),
        failed=(DiskError,),
        paths=(Path(tempfile.gettempdir()), "--output_dir"),
        speaks=lambda _: state().is_main_process,
    )


def _run(arguments: Sequence[str] | None) -> None:
    recipe = parse_recipe(arguments)
    if not recipe.data:
        raise ValueError("--data is missing; `--help` says what it takes.")
    recipe = replace(recipe, output_dir=recipe.output_dir or tempfile.gettempdir())
    accelerator = join_processes(recipe)
    Path(recipe.output_dir).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=recipe.output_dir) as own:
        folder = Path(together(lambda: own)[0])  # one for all processes
        speeds = list(speeds_of(recipe, folder, accelerator))
    if not accelerator.is_main_process:
        return
    rows = [(kept, f"{prepared:.1f}", f"{learned:.1f}") for kept, prepared, learned in speeds]
    precision = "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision
    print(
        f"{markdown_table(('kept', 'prepared, photos/s', 'learned, photos/s'), rows)}\n\n"
        f"{recipe.architecture} on {recipe.target}, {recipe.image_size} x {recipe.image_size} "
        f"pixels, {recipe.batch_size} photos a step, {accelerator.num_processes} process(es) on "
        f"{device_in_words(accelerator.device)}, {precision}, torch {torch.__version__}."
    )


if __name__ == "__main__":
    sys.exit(main())
