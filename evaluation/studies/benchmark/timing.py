"""How long one backend takes for one batch size, in this process; answers in JSON."""

from __future__ import annotations

import time

START = time.perf_counter()

import json  # noqa: E402  (what follows is part of what is measured)
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

from evaluation.studies.benchmark.floor import count_operations, peak_operations  # noqa: E402
from evaluation.studies.benchmark.stages import watching  # noqa: E402
from modeling import InspectionPipeline, ModelLoadError, load_pipeline  # noqa: E402
from modeling.backends import BACKENDS, RUNTIMES, TORCH  # noqa: E402
from system.memory import peak_memory  # noqa: E402

IMPORTED = time.perf_counter()
WARM_UP = 3  # inspections before those that count


def time_inspections(
    model: str, photo: str, backend: str, batch_size: int, runs: int, device: str | None
) -> dict[str, Any]:
    """Inspect a photo again and again.

    Returns:
        `backend`, `device`, `cores`, `batch_size`, `image_size`; `start`: seconds to import, load
        and inspect the first photo; `seconds`: by stage, of each run, and `whole`; `trunk`: seconds
        of the backbone alone, of each run (empty of a pixel model); `operations` and `peak` (see
        `floor.py`); `memory`: largest resident set in bytes; `size`: of the file of
        weights, or of the graph.
    """
    start = time.perf_counter()
    known = backend if backend in BACKENDS else TORCH
    inspect = load_pipeline(model, backend=known, device=device)
    if known != backend:
        inspect.model.detect = torch.compile(inspect.model.detect)
    loaded = time.perf_counter()
    inspect(photo)
    first = time.perf_counter()
    photos = [photo] * batch_size
    with watching(inspect) as (watch, judge):
        rounds = []
        for _ in range(WARM_UP + runs):
            begin = time.perf_counter()
            judge(photos, batch_size=batch_size)
            whole = time.perf_counter() - begin
            rounds.append({**watch.take(), "whole": whole})
    memory = peak_memory()
    return {
        "backend": backend,
        "device": str(inspect.model.device),
        "cores": torch.get_num_threads(),
        "batch_size": batch_size,
        "image_size": inspect.model.config.image_size,
        "start": {"import": IMPORTED - START, "load": loaded - start, "first": first - loaded},
        "seconds": {name: [one[name] for one in rounds[WARM_UP:]] for name in rounds[0]},
        "trunk": _time_trunk(inspect, batch_size, runs),
        "operations": count_operations(inspect.model),
        "peak": peak_operations(inspect.model.device),
        "memory": memory,
        "size": _size_of(model, known),
    }


@torch.no_grad()
def _time_trunk(inspect: InspectionPipeline, batch_size: int, runs: int) -> list[float]:
    """Seconds of the frozen backbone alone, in torch."""
    model = inspect.model
    if model.config.target != "features":
        return []
    side = model.config.image_size
    pictures = torch.rand(batch_size, model.config.num_channels, side, side, device=model.device)
    seconds = []
    for _ in range(WARM_UP + runs):
        begin = time.perf_counter()
        sum(layer.sum() for layer in model.target.extract(pictures)).item()  # waits for a GPU
        seconds.append(time.perf_counter() - begin)
    return seconds[WARM_UP:]


def _size_of(model: str, backend: str) -> int | None:
    """Bytes of what is loaded, of a folder."""
    names = ("model.safetensors",)
    if backend in RUNTIMES:
        names = (RUNTIMES[backend].file, *RUNTIMES[backend].more_files)
    paths = [Path(model) / name for name in names]
    return sum(path.stat().st_size for path in paths) if all(map(Path.is_file, paths)) else None


if __name__ == "__main__":
    try:
        print(json.dumps(time_inspections(**json.loads(sys.argv[1]))))
    except ModelLoadError as error:
        sys.exit(str(error))
