"""Inspect a folder of photos of any number: photos in, a table of verdicts out.

    python evaluation/inspect_folder.py --model runs/bracket --photos DIR --output_dir OUT
    accelerate launch --multi_gpu --num_processes 2 evaluation/inspect_folder.py \
        --model ORG/NAME --photos DIR --output_dir OUT --overlays none

Writes OUT/part-*.parquet, a row a photo, OUT/run.json, which says what made them, and into
OUT/overlays/ the photos that fail, with the deviation painted over them. All folders in DIR are
walked; a photo that can't be read is a row that says why.

Whatever stops it, the same command goes on from there: no photo gets two rows and none is left out,
with any number of processes. A photo is known by its path; add some, and only those are inspected.
Memory does not grow with their number.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

import torch
import transformers
from tqdm import tqdm

from evaluation.documents.wording import UNDEFINED, duration, megabytes, percent, plural
from evaluation.inspect_folder.errors import FolderError, in_plain_words
from evaluation.inspect_folder.inspector import ALL, FAILURES, NONE, Inspector
from evaluation.inspect_folder.parts import PATTERN, PartWriter, read_column
from evaluation.inspect_folder.plan import Plan, make_plan
from evaluation.inspect_folder.run import LOCK, Identity, fingerprint, take_lock
from evaluation.model_source import ModelSource
from modeling import (
    CHECK,
    ERROR,
    FAIL,
    PASS,
    THRESHOLD,
    InspectionPipeline,
    ModelLoadError,
    load_pipeline,
)
from modeling.checks import check_number
from system.batches import map_in_threads
from system.command_line import published_command, run_command
from system.cores import single_threaded, use_fair_share_of_cores
from system.memory import keep_freed_memory, peak_memory
from system.processes import (
    ElsewhereError,
    everywhere,
    on_main,
    processes_here,
    state,
    together,
)

NAME = "inspect_folder.py"
PART_SIZE, GPU_BATCH_SIZE = 256, 8
CPU = torch.device("cpu")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Inspect all photos of a folder and write a table of verdicts as Parquet.",
    )
    add = parser.add_argument
    add("--model", required=True, help="model folder, or Hub repository such as ORG/NAME")
    add("--revision", help="branch, tag or commit of the Hub repository (default: main)")
    add("--photos", required=True, type=Path, help="folder of photos, with all folders in it")
    add("--output_dir", required=True, type=Path, help="folder that gets the results")
    add("--category", help="which product they show; needed if the model knows several")
    add(
        "--threshold",
        type=float,
        default=THRESHOLD,
        help=f"a score above it fails, 0 to 1 (default: {THRESHOLD}, the calibrated one)",
    )
    add(
        "--batch_size",
        type=int,
        help=f"photos at a time (default: {GPU_BATCH_SIZE} on a GPU, and 1 on a CPU, where more "
        "gain nothing and change the last digits of a score)",
    )
    add(
        "--overlays",
        choices=(FAILURES, NONE, ALL),
        default=FAILURES,
        help=f"photos that are written with the deviation painted over them (default: {FAILURES})",
    )
    add(
        "--part_size",
        type=int,
        default=PART_SIZE,
        help="photos of a part file; so many in each process are inspected again after a kill "
        f"(default: {PART_SIZE})",
    )
    options = parser.parse_args(arguments)
    try:
        check_number("--threshold", options.threshold, 0.0, 1.0)
        if options.batch_size is not None:
            check_number("--batch_size", options.batch_size, 1, 4096, whole=True)
        check_number("--part_size", options.part_size, 1, 10**6, whole=True)
    except ValueError as error:
        parser.error(str(error))
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    keep_freed_memory()
    transformers.utils.logging.disable_progress_bar()
    options = parse_arguments(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    use_fair_share_of_cores(processes_here())
    try:
        return run_command(
            NAME,
            lambda: _run(options, words),
            bad_input=(ElsewhereError, FolderError, ModelLoadError),
            speaks=lambda _: state().is_main_process,
        )
    except KeyboardInterrupt:
        print(f"{NAME}: stopped; the same command goes on.", file=sys.stderr)
        return 130
    finally:
        state().destroy_process_group()


def _run(options: argparse.Namespace, words: Sequence[str]) -> None:
    everywhere(lambda: _check_folders(options))
    pipe = everywhere(lambda: _load(options))
    with everywhere(lambda: _lock(options)) as lock:
        # Files may come and go meanwhile: one process looks, and all go by what it saw.
        plan = together(lambda: _plan(options, words, pipe, lock))[0]
        everywhere(lambda: take_lock(lock, alone=False))  # the one that was alone shares already
        start = time.perf_counter()
        everywhere(lambda: _inspect_share(options, pipe, plan))
        seconds = time.perf_counter() - start
        peak = max(together(peak_memory))
        on_main(lambda: _print_summary(options, plan, seconds, peak))


def _check_folders(options: argparse.Namespace) -> None:
    if not options.photos.is_dir():
        raise FolderError(f"--photos {options.photos} is no folder; give the folder of the photos.")
    if options.output_dir.resolve() == options.photos.resolve():
        raise FolderError(
            f"--output_dir {options.output_dir} is the folder of the photos; give another one, or "
            "one in it."
        )


def _load(options: argparse.Namespace) -> InspectionPipeline:
    # Several processes have a device each; a single one takes what is best.
    device = str(state().device) if state().num_processes > 1 else None
    pipe = load_pipeline(options.model, revision=options.revision, device=device)
    known = pipe.model.config.categories
    if options.category is None and len(known) > 1:
        raise FolderError(
            f"The model {options.model} knows {', '.join(known)}; say which with --category."
        )
    if options.category not in (None, *known):
        raise FolderError(
            f"The model {options.model} knows {', '.join(known)}, found --category "
            f"{options.category}; choose one that it knows."
        )
    return pipe


def _lock(options: argparse.Namespace) -> IO[str]:
    with in_plain_words(options.output_dir):
        options.output_dir.mkdir(parents=True, exist_ok=True)
        return (options.output_dir / LOCK).open("a")


def _plan(
    options: argparse.Namespace, words: Sequence[str], pipe: InspectionPipeline, lock: IO[str]
) -> Plan | None:
    """What is to be done, by the main process; None in the others."""
    if not state().is_main_process:
        return None
    with in_plain_words(options.output_dir):
        take_lock(lock, alone=True)
        identity = Identity(
            model=ModelSource(options.model, options.revision).public_name,
            model_sha256=fingerprint(pipe),
            category=options.category or pipe.model.config.categories[0],
            threshold=options.threshold,
            photos=str(options.photos.resolve()),
        )
        batch_size = options.batch_size or (1 if pipe.device.type == "cpu" else GPU_BATCH_SIZE)
        command = published_command("evaluation/inspect_folder.py", words)
        plan = make_plan(identity, options.output_dir, batch_size, command)
        take_lock(lock, alone=False)
    return plan


def _inspect_share(options: argparse.Namespace, pipe: InspectionPipeline, plan: Plan) -> None:
    """Inspect the batches that are this process's own."""
    inspector = Inspector(pipe, plan.identity, options.output_dir, options.overlays)
    rank, count = state().process_index, state().num_processes
    own = plan.batches[rank::count]
    parts = PartWriter(options.output_dir, plan.start, rank, options.part_size)
    title = "inspecting" if count == 1 else f"inspecting, 1 of {count} processes"
    with (
        in_plain_words(options.output_dir),
        single_threaded() as threads,
        # All cores beside a GPU too: it waits for photos to be decoded, and not they for it.
        closing(map_in_threads(inspector, own, CPU, threads)) as inspected,
        tqdm(
            total=sum(map(len, own)),
            desc=title,
            unit="photo",
            mininterval=1,
            disable=not state().is_main_process,
        ) as bar,
    ):
        for rows in inspected:
            parts.add(rows)
            bar.update(len(rows))
        parts.write()


def _print_summary(options: argparse.Namespace, plan: Plan, seconds: float, peak: float) -> None:
    with in_plain_words(options.output_dir):
        counts = Counter(read_column(options.output_dir, "verdict"))
    judged = counts[PASS] + counts[FAIL]
    verdicts = ", ".join(f"{counts[one]} {one}" for one in (PASS, FAIL, CHECK, ERROR))
    share = percent(counts[PASS] / judged) if judged else UNDEFINED
    photos, count = sum(map(len, plan.batches)), state().num_processes
    effort = "All of them were done before"
    if photos:
        effort = (
            f"{photos} of them now, in {duration(seconds)} by "
            f"{count} {'process' if count == 1 else 'processes'}: {photos / seconds:.1f} photos a "
            f"second; peak memory of a process {megabytes(peak)}"
        )
    print(
        f"{plural(counts.total(), 'photo')}: {verdicts}; yield {share} (PASS of PASS and FAIL)\n"
        f"{effort}\n"
        "Read them in Python with "
        f'datasets.load_dataset("parquet", data_files="{options.output_dir / PATTERN}")',
        flush=True,
    )
