"""How long an inspection takes: the whole way from file to verdict and heatmap, stage by stage.

    python -m evaluation.studies.benchmark --model runs/bottle --photo photo.png --output_dir OUT
    python -m evaluation.studies.benchmark --model assets/models/key --backends torch openvino

Every backend and batch size runs in a process of its own, so that none warms another up, and start
and memory are its own. Prints a table in Markdown; with --output_dir, benchmark.md and
benchmark.csv hold it. Figures depend on the machine and on what else runs there: compare only those
of one run, and see `--runs`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.synthetic import PARTS, defects_of, render
from evaluation.studies.benchmark.report import as_markdown, write_csv
from modeling import ModelLoadError, PhotoError, load_model, open_photo
from modeling.backends import BACKENDS, TORCH
from system.command_line import published_command, run_command

COMPILED = "torch-compile"
SIDE = 1024  # pixels of the photo's side, as a camera of one megapixel gives it
ROOT = Path(__file__).resolve().parents[3]


class BenchmarkError(RuntimeError):
    """Something can't be measured; the message is one sentence."""


def time_in_a_process(**what: Any) -> dict[str, Any]:
    """What `timing.time_inspections` measures in a process of its own, or a BenchmarkError."""
    finished = subprocess.run(
        [sys.executable, "-m", "evaluation.studies.benchmark.timing", json.dumps(what)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise BenchmarkError(finished.stderr.strip().splitlines()[-1])
    return json.loads(finished.stdout)


def draw_photo(model: str, folder: Path) -> Path:
    """A photo of a defective part of the model's product, as PNG.

    Raises as `load_model` does, and a BenchmarkError where the product is none that can be drawn.
    """
    categories = load_model(model)[0].config.categories
    drawn = [category for category in categories if category in PARTS]
    if not drawn:
        raise BenchmarkError(
            f"The model {model} inspects {', '.join(categories) or 'an unknown product'}, of which "
            "there is no drawing; give a photo with --photo."
        )
    path = folder / "photo.png"
    render(drawn[0], seed=0, defect=defects_of(drawn[0])[0], size=SIDE).image.save(path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(description="Measure how long an inspection takes.")
    add = parser.add_argument
    add("--model", required=True, help="model folder or Hub id ORG/NAME")
    add("--photo", type=Path, help="file to inspect; a part is drawn where the model knows it")
    add("--backends", nargs="+", choices=(*BACKENDS, COMPILED), default=[TORCH])
    add("--batch_sizes", nargs="+", type=int, default=[1, 32])
    add("--runs", type=int, default=30, help="inspections, or batches, that are timed (30)")
    add("--device", help="such as cpu or cuda (default: a GPU if there is one)")
    add("--output_dir", type=Path, help="folder for benchmark.md and benchmark.csv")
    options = parser.parse_args(arguments)
    if min(*options.batch_sizes, options.runs) < 1:
        parser.error("--batch_sizes and --runs: expected whole numbers from 1 up")
    if os.path.isdir(options.model):
        options.model = str(Path(options.model).resolve())
    words = sys.argv[1:] if arguments is None else arguments
    command = published_command("-m evaluation.studies.benchmark", words)
    return run_command(
        "benchmark.py",
        lambda: _benchmark(options, command),
        bad_input=(BenchmarkError, ModelLoadError, PhotoError),
        paths=(options.output_dir, "--output_dir"),
    )


def _benchmark(options: argparse.Namespace, command: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        photo = options.photo or draw_photo(options.model, Path(folder))
        size = open_photo(photo).size
        fixed = {"model": options.model, "photo": str(photo.resolve()), "runs": options.runs}
        timings = [
            time_in_a_process(
                **fixed, backend=backend, batch_size=batch_size, device=options.device
            )
            for backend in options.backends
            for batch_size in options.batch_sizes
        ]
    report = as_markdown(timings, size, command)
    if options.output_dir:
        options.output_dir.mkdir(parents=True, exist_ok=True)
        (options.output_dir / "benchmark.md").write_text(report, encoding="utf-8")
        write_csv(options.output_dir / "benchmark.csv", timings)
    print(report)
