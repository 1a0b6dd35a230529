"""A first look at photos, before hours of training: what is there, and what is wrong with it.

    python evaluation/explore.py --data DIR [--category bottle screw] --output_dir OUT

Writes exploration.html (one file, opens offline) and exploration.json, which docs/exploration.md
explains: counts, sizes, light and sharpness by category and split, defects' extent, photos that are
there twice, good photos unlike the others, sample sheets, and every problem that was found. A bad
file is listed, and the rest goes on. Nothing is changed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import datasets

from data.rows import DatasetError
from evaluation.documents.wording import duration, plural
from evaluation.explore.exploration import Exploration, as_record, count_good, explore
from evaluation.explore.page import exploration_page
from evaluation.explore.problems import NOTE
from evaluation.explore.sources import find_categories
from system.command_line import public_path, published_command, run_command, whole_number_from
from system.cores import single_threaded

LIBRARIES = ("datasets", "numpy", "pillow", "scipy", "torch")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with code 2 and one sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="explore.py", description="Look at photos before training, and list what is wrong."
    )
    add = parser.add_argument
    add(
        "--data",
        required=True,
        help="folder in MVTec AD layout, Hub dataset ORG/NAME, synthetic:PART or synthetic:all",
    )
    add("--category", nargs="+", default=[], help="which products (default: all)")
    add("--output_dir", required=True, type=Path, help="folder that gets the results")
    add(
        "--seed",
        type=whole_number_from(0),
        default=0,
        help="which synthetic parts are drawn (default: 0)",
    )
    add("--revision", help="branch, tag or commit of the Hub dataset (default: main)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input. Problems of the photos are results, and no error."""
    datasets.disable_progress_bars()
    options = parse_arguments(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = published_command("evaluation/explore.py", words)
    return run_command(
        "explore.py",
        lambda: _explore(options, command),
        bad_input=(DatasetError,),
        paths=(options.output_dir, "--data and --output_dir"),
    )


def _explore(options: argparse.Namespace, command: str) -> None:
    start, output_dir = time.perf_counter(), options.output_dir
    output_dir.mkdir(parents=True, exist_ok=True)
    found = find_categories(
        options.data, options.category, seed=options.seed, revision=options.revision
    )
    with single_threaded():  # the matrices are small: threads would wait for one another
        exploration = explore(found, progress=True)
    seconds = round(time.perf_counter() - start, 1)
    record = {**_provenance(options, command, seconds), **as_record(exploration)}
    text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    (output_dir / "exploration.json").write_text(text, encoding="utf-8")
    page = exploration_page(record, exploration)
    (output_dir / "exploration.html").write_text(page, encoding="utf-8")
    _print_summary(output_dir, exploration, seconds)


def _provenance(options: argparse.Namespace, command: str, seconds: float) -> dict[str, Any]:
    versions = {library: version(library) for library in LIBRARIES}
    return {
        "data": public_path(options.data),
        "seed": options.seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": {"python": platform.python_version(), **versions},
        "seconds": seconds,
    }


def _print_summary(output_dir: Path, exploration: Exploration, seconds: float) -> None:
    for name, photos in exploration.photos.items():
        print(f"{name}: {len(photos)} photos, {count_good(photos)} of them to train with")
    serious = [group for group in exploration.problems if group.severity != NOTE]
    for group in serious:
        place = group.problems[0].place
        print(f"{group.severity}: {group.category}: {group.title} ({place} ...)")
    print(
        f"{plural(len(serious), 'problem')}; {duration(seconds)}. "
        f"Look at {output_dir / 'exploration.html'}"
    )
