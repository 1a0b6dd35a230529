"""What runs a model: torch, or a graph that publishing/export.py wrote, in a faster runtime.

An exported graph holds the calibration too, and gives the same scores as torch to 1e-4.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging

from .calibration import THRESHOLD
from .errors import first_line
from .graph import DIGEST_KEY, INPUTS, OUTPUTS, digest_of
from .loading import ModelLoadError
from .output import ReconstructionOutput
from .reconstruction import Category, ReconstructionModel
from .scoring import exceeds
from .weights import find_file

logger = logging.get_logger(__name__)

TORCH, ONNX_RUNTIME, OPENVINO = "torch", "onnxruntime", "openvino"
AUTO = "auto"  # the fastest that is installed and has its graph beside the model

Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]  # inputs by name -> `OUTPUTS`


class ExportedModel:
    """A graph in the place of the `detect` of the model that it was exported from."""

    def __init__(self, model: ReconstructionModel, run: Run) -> None:
        self.model = model
        self._run = run

    def detect(self, pixel_values: Tensor, category: Category = None) -> ReconstructionOutput:
        """As `ReconstructionModel.detect`; values between two 8-bit levels are rounded to one."""
        self.model.check_shape(pixel_values)
        numbers = self.model.category_numbers(category, len(pixel_values))
        pictures = (pixel_values * 255).round().byte().permute(0, 2, 3, 1).contiguous()
        arrays = (pictures.numpy(), numbers.numpy())
        values = self._run(dict(zip(INPUTS, arrays, strict=True)))
        tensors = dict(zip(OUTPUTS, map(torch.from_numpy, values), strict=True))
        verdict = exceeds(tensors["anomaly_score"], THRESHOLD)
        return ReconstructionOutput(**tensors, is_anomalous=verdict)


Detector = ReconstructionModel | ExportedModel  # what judges pictures


class Runtime(NamedTuple):
    """A library that runs graphs."""

    file: str  # the graph's name beside the weights
    more_files: tuple[str, ...]  # what belongs to it
    # path -> what computes the graph, and the digest of the model it was made from
    load: Callable[[Path], tuple[Run, str | None]]


def _load_onnx_runtime(path: Path) -> tuple[Run, str | None]:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait by spinning keep the cores from the work of others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    made_from = session.get_modelmeta().custom_metadata_map.get(DIGEST_KEY)
    return lambda inputs: session.run(list(OUTPUTS), dict(inputs)), made_from


def _load_openvino(path: Path) -> tuple[Run, str | None]:
    openvino = importlib.import_module("openvino")
    graph = openvino.Core().read_model(path)
    settings = {
        # Left to itself it computes in bfloat16 where the machine can, and differs by a hundredth.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    own = threading.local()  # a request serves one thread at a time

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        found = own.request.infer(dict(inputs))
        return [found[name].copy() for name in OUTPUTS]

    has_digest = graph.has_rt_info(DIGEST_KEY)
    return run, str(graph.get_rt_info(DIGEST_KEY).astype(str)) if has_digest else None


# The fastest first.
RUNTIMES: Mapping[str, Runtime] = {
    OPENVINO: Runtime("openvino_model.xml", ("openvino_model.bin",), _load_openvino),
    ONNX_RUNTIME: Runtime("model.onnx", (), _load_onnx_runtime),
}
BACKENDS = (*RUNTIMES, TORCH)


def load_detector(
    model: ReconstructionModel, source: str | os.PathLike, backend: str, **where: Any
) -> tuple[Detector, str]:
    """What judges pictures for a model, and the name of the backend that runs it.

    `backend` is one of `BACKENDS`, or `AUTO`. The graph lies where the model was loaded from: in
    the folder or Hub id `source`, `where` says revision, token and local_files_only. Raises
    `ModelLoadError` when the backend is unknown or not installed, or when its graph is missing,
    damaged, or was exported from another state of the model.
    """
    if backend == TORCH:
        return model, TORCH
    if backend == AUTO:
        return _load_fastest(model, source, where)
    if backend not in RUNTIMES:
        raise ModelLoadError(
            f"The backend must be one of {', '.join([AUTO, *BACKENDS])}, found {backend}."
        )
    if find_spec(backend) is None:
        raise ModelLoadError(
            f"The backend {backend} is not installed; run pip install {backend}, or choose {TORCH}."
        )
    path = _find_graph(source, RUNTIMES[backend], where)
    if path is None:
        raise ModelLoadError(
            f"The model {source} has no {RUNTIMES[backend].file} for the backend {backend}; write "
            f"it with python -m publishing.export, or choose {TORCH}."
        )
    return _load_graph(model, path, backend), backend


def _load_fastest(
    model: ReconstructionModel, source: str | os.PathLike, where: dict[str, Any]
) -> tuple[Detector, str]:
    if model.device.type != "cpu":
        return model, TORCH  # the graphs run on a CPU
    for backend, runtime in RUNTIMES.items():
        path = _find_graph(source, runtime, where) if find_spec(backend) else None
        if path is None:
            continue
        try:
            return _load_graph(model, path, backend), backend
        except ModelLoadError as error:  # the model itself still works, only slower
            logger.warning("%s Going on with %s.", error, TORCH)
    return model, TORCH


def _find_graph(source: str | os.PathLike, runtime: Runtime, where: dict[str, Any]) -> Path | None:
    found = [find_file(source, name, **where) for name in (runtime.file, *runtime.more_files)]
    return None if None in found else found[0]


def _load_graph(model: ReconstructionModel, path: Path, backend: str) -> ExportedModel:
    again = f"write it again with python -m publishing.export, or choose the backend {TORCH}"
    try:
        run, made_from = RUNTIMES[backend].load(path)
    except Exception as error:  # each runtime raises its own kinds
        reason = first_line(error)
        raise ModelLoadError(f"{path.name} could not be read ({reason}); {again}.") from error
    if made_from != digest_of(model):
        raise ModelLoadError(
            f"{path.name} was exported from other weights, settings or another calibration than "
            f"those of the model beside it; {again}."
        )
    return ExportedModel(model, run)
