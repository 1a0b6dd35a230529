"""How the app bears many visitors: its start, its memory, a large batch, and a crowd at once.

    python -m tests.strength.benchmark_app
    python -m tests.strength.benchmark_app --visitors 50 --seconds 120 --batch 200
    python -m tests.strength.benchmark_app --url http://127.0.0.1:7860/

Starts `python app.py` on a free port, or asks an app that runs, which then has to inspect with the
models that ship, and without limits for one address. Every visitor has a photo of his own, of which
the pipeline has said the score beforehand. Prints a table in Markdown. Visitors and app share the
machine: what the visitors take, the app lacks.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.documents.document import markdown_table
from evaluation.documents.wording import megabytes
from modeling import load_pipeline
from system.command_line import run_command
from tests.strength.app_process import ROOT, AppError, RunningApp, started_app
from tests.strength.large_batch import Batch, measure_batch
from tests.strength.visitors import (
    Crowd,
    NoVerdictError,
    Visitor,
    connected,
    crowd,
    draw_visitors,
    inspect_once,
)

SHIPPED = ROOT / "assets" / "models"
NAME = "benchmark_app.py"
CATEGORY = "flange_nut"  # of the visitors' photos
WARM_UP = 1 / 4  # of the crowd's time, before memory has to be flat
Row = tuple[str, str]


@dataclass(frozen=True)
class Start:
    """What the start of the app takes.

    Attributes:
        page: seconds from the start of the process to the first page.
        verdict: seconds from then to the first verdict.
        one: bytes in memory with one model.
        peak: the most bytes until then.
        further: bytes that each further model added.
    """

    page: float
    verdict: float
    one: int | None
    peak: int | None
    further: Sequence[int]


def measure_start(app: RunningApp, photo: Path) -> Start:
    """Ask an app that has just served its first page for a verdict of every model that ships.

    Args:
        app: that nobody else has asked.
        photo: of `CATEGORY`; what the other models say of it does not matter.

    Raises:
        NoVerdictError: when there is no verdict.
    """
    with connected(app.address) as client:
        begin = time.perf_counter()
        inspect_once(client, CATEGORY, photo)
        verdict = time.perf_counter() - begin
        one, peak = app.memory(), app.memory("peak")
        taken = [one]
        for folder in sorted(SHIPPED.iterdir()):
            if folder.name != CATEGORY:
                inspect_once(client, folder.name, photo)
                taken.append(app.memory())
    known = [bytes_ for bytes_ in taken if bytes_ is not None]
    return Start(app.seconds, verdict, one, peak, [int(step) for step in np.diff(known)])


def growth(samples: Sequence[int | None]) -> int | None:
    """By how many bytes memory grew once the crowd had warmed the app up; None if unknown.

    The medians of the first and the last quarter of what follows the warm-up are compared, because
    a single sample catches a photo that is being decoded.
    """
    known = [sample for sample in samples if sample is not None]
    flat = known[int(WARM_UP * len(known)) :]
    if not flat:
        return None
    part = max(1, len(flat) // 4)
    return int(np.median(flat[-part:]) - np.median(flat[:part]))


def start_rows(start: Start) -> list[Row]:
    """Rows of the table about the start."""
    steps = " ".join(f"{step / 1e6:+.0f}" for step in start.further)
    return [
        ("first page after", f"{start.page:.1f} s"),
        ("first verdict after that", f"{start.verdict:.1f} s"),
        ("memory with one model", f"{megabytes(start.one)} (peak {megabytes(start.peak)})"),
        ("each further model", f"{steps} MB" if steps else "unknown"),
    ]


def batch_rows(found: Batch) -> list[Row]:
    """Rows of the table about a batch and the visitor beside it."""
    alone, meanwhile = np.median(found.alone), found.meanwhile or [np.nan]
    rows = [
        ("batch", f"{found.results} photos in {found.seconds:.0f} s"),
        (
            "wait of another visitor meanwhile",
            f"median {np.median(meanwhile):.2f} s, longest {max(meanwhile):.2f} s "
            f"(alone {alone:.2f} s)",
        ),
    ]
    if (grown := growth(found.samples)) is not None:
        rows.append(("growth during the batch", f"{grown / 1e6:+.1f} MB"))
    return rows


def crowd_rows(found: Crowd) -> list[Row]:
    """Rows of the table about the crowd."""
    waits, known = found.waits, [sample for sample in found.samples if sample is not None]
    half, most = np.percentile(waits, (50, 95)) if waits else (np.nan, np.nan)
    memory = f"{megabytes(known[0])} to {megabytes(known[-1])}" if known else "unknown"
    rows = [
        ("visitors", f"{len(found.results)} for {found.seconds:.0f} s"),
        ("answers", f"{len(waits)}, {len(waits) / found.seconds:.1f} a second"),
        ("wait from upload to verdict", f"median {half:.2f} s, 95 % within {most:.2f} s"),
        ("errors", str(len(found.errors))),
        ("mixed-up answers", str(len(found.mixed_up))),
        ("memory from beginning to end", memory),
    ]
    if (grown := growth(found.samples)) is not None:
        rows.append(("growth after the warm-up", f"{grown / 1e6:+.1f} MB"))
    return rows


def measure(options: argparse.Namespace, folder: Path) -> tuple[list[Row], Crowd]:
    """Rows of the table, and the crowd.

    Args:
        options: of the command line.
        folder: where the visitors' photos are put.

    Raises:
        AppError: when the app does not start.
        NoVerdictError: when the app gives no first verdict.
        ValueError: when the model can't tell so many visitors apart.
    """
    inspect = load_pipeline(SHIPPED / CATEGORY)
    visitors = draw_visitors(options.visitors, inspect, CATEGORY, folder)
    rows: list[Row] = []
    with ExitStack() as stack:
        if options.url:
            address, memory = options.url, lambda: None
            check(address, visitors[0])
        else:
            app = stack.enter_context(started_app())
            address, memory = app.address, app.memory
            rows += start_rows(measure_start(app, visitors[0].photo))
        if options.batch:
            rows += batch_rows(measure_batch(address, visitors, options.batch, memory))
        found = crowd(address, visitors, options.seconds, memory)
    return [*rows, *crowd_rows(found)], found


def check(address: str, visitor: Visitor) -> None:
    """Ask a running app once.

    Raises:
        NoVerdictError: when it gives no verdict.
    """
    with connected(address) as client:
        inspect_once(client, visitor.category, visitor.photo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 1 when an answer was wrong or missing, 2 on bad input."""
    options = _parse(arguments)
    bad_input = (AppError, NoVerdictError, ValueError, OSError)
    return run_command(NAME, lambda: _benchmark(options), bad_input=bad_input)


def _benchmark(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        rows, found = measure(options, Path(folder))
    print(f"{os.cpu_count()} cores, which visitors and app share.\n")
    print(markdown_table(("what", "figure"), rows))
    wrong = [*found.errors, *found.mixed_up]
    for words in dict.fromkeys(wrong):
        print(f"{NAME}: {words}", file=sys.stderr)
    return 1 if wrong else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how the app bears many visitors.")
    add = parser.add_argument
    add("--visitors", type=int, default=50, help="how many inspect at once (50)")
    add("--seconds", type=float, default=120.0, help="how long they go on (120)")
    add("--batch", type=int, default=200, help="photos of a batch before that (200); 0: none")
    add("--url", help="of an app that runs, in place of one that is started here")
    options = parser.parse_args(arguments)
    if options.visitors < 1 or not options.seconds > 0:
        parser.error("--visitors and --seconds: expected numbers above 0")
    if options.batch < 0:
        parser.error(f"--batch: expected a number from 0 on, found {options.batch}")
    if options.url and not options.url.startswith(("http://", "https://")):
        parser.error(
            f"--url: expected an address such as http://127.0.0.1:7860/, found {options.url}"
        )
    options.url = options.url and options.url.rstrip("/") + "/"
    return options


if __name__ == "__main__":
    sys.exit(main())
