"""Write a model as a graph that ONNX Runtime or OpenVINO runs, faster than torch does.

    python -m publishing.export runs/bottle --format onnx
    python -m publishing.export runs/bottle --format openvino

The graph goes from 8-bit pictures of the model's size to score and map, with the calibration
inside, and lies beside the weights, where the pipeline and the app find it. Export again whenever
the model was trained or calibrated anew: a graph of another state is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import transformers
from torch.export import Dim, ExportedProgram

from modeling import ModelLoadError, ReconstructionModel, load_model
from modeling.backends import ONNX_RUNTIME, OPENVINO, RUNTIMES
from modeling.graph import DIGEST_KEY, INPUTS, OUTPUTS, DetectionGraph, digest_of
from system.command_line import run_command
from system.files import whole_file

BATCH = Dim("batch", min=1, max=4096)
NEEDS = {"onnx": ("onnx", "onnxscript"), "openvino": ("openvino",)}
FORMATS = tuple(NEEDS)


class ExportError(RuntimeError):
    """A graph can't be written; the message is one sentence for the person who asked for it."""


def export_model(folder: Path, format: str) -> Path:
    """Write the graph of a model folder into it, and return its file.

    Args:
        folder: what training/train.py wrote.
        format: "onnx" or "openvino", of whose two files the one that names the other is returned.

    Raises:
        ExportError: when a library is missing, the model is not calibrated for each of its
            categories, or the folder can't be written.
        ModelLoadError: when the folder holds no model of this project.
    """
    missing = [name for name in NEEDS[format] if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"Writing {format} needs {' and '.join(missing)}; run pip install {' '.join(missing)}."
        )
    model, _ = load_model(folder)
    uncalibrated = sorted({*model.config.categories} - {*model.config.calibrations})
    if uncalibrated or not model.config.calibrations:
        raise ExportError(
            f"The model {folder} is not calibrated{' for ' * bool(uncalibrated)}"
            f"{', '.join(uncalibrated)}, so its graph would have no score; calibrate it first."
        )
    try:
        write = {"onnx": _write_onnx, "openvino": _write_openvino}[format]
        return write(trace(model), digest_of(model), folder)
    except OSError as error:
        raise ExportError(
            f"The graph could not be written to {folder} ({error.strerror or error}); make room or "
            "choose a folder that can be written."
        ) from error


def trace(model: ReconstructionModel) -> ExportedProgram:
    """The model's `DetectionGraph` as torch's own graph, for any number of pictures."""
    graph = DetectionGraph(model)
    shapes = tuple({0: BATCH} for _ in INPUTS)
    with torch.no_grad(), _quiet():
        graph(*graph.example())  # what a model keeps once it was made must be numbers by now
        return torch.export.export(graph, graph.example(), dynamic_shapes=shapes)


def _write_onnx(program: ExportedProgram, made_from: str, folder: Path) -> Path:
    with _quiet():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=INPUTS, output_names=OUTPUTS, verbose=False
        )
    # Every node says which line of which file it came from: of no use, and a path of this machine.
    for node in exported.model.graph.all_nodes():
        node.metadata_props.clear()
    exported.model.metadata_props[DIGEST_KEY] = made_from
    path = folder / RUNTIMES[ONNX_RUNTIME].file
    with whole_file(path) as draft:
        exported.save(draft, external_data=False)
    return path


def _write_openvino(program: ExportedProgram, made_from: str, folder: Path) -> Path:
    import openvino

    with _quiet():
        graph = openvino.convert_model(program)
    ports = [*graph.inputs, *graph.outputs]
    for port, name in zip(ports, (*INPUTS, *OUTPUTS), strict=True):
        port.get_tensor().set_names({name})
    graph.set_rt_info(made_from, DIGEST_KEY)
    runtime = RUNTIMES[OPENVINO]
    # Beside the files to be replaced, so that a broken export leaves the old ones.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as draft:
        openvino.save_model(graph, Path(draft, runtime.file), compress_to_fp16=False)
        for name in (*runtime.more_files, runtime.file):  # the one that names the others last
            os.replace(Path(draft, name), folder / name)
    return folder / runtime.file


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of torchvision, tracing and deprecations of their own."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nothing:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            with contextlib.redirect_stdout(nothing):
                yield
        finally:
            logging.disable(logging.NOTSET)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 2 on bad input."""
    parser = argparse.ArgumentParser(description="Write a model as a graph for a faster runtime.")
    parser.add_argument("model", type=Path, help="model folder, written by training/train.py")
    parser.add_argument("--format", choices=FORMATS, required=True)
    options = parser.parse_args(arguments)
    transformers.utils.logging.disable_progress_bar()

    def export() -> None:
        path = export_model(options.model, options.format)
        print(f"The graph is {path}, {path.stat().st_size / 1e6:.1f} MB.")

    return run_command("export.py", export, bad_input=(ExportError, ModelLoadError))


if __name__ == "__main__":
    sys.exit(main())
