"""What made the figures of an evaluation and what it cost, to stand beside them in metrics.json."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from transformers.utils import SAFE_WEIGHTS_NAME

from evaluation.model_source import ModelSource
from model_files import RECIPE, TRAINING, RecipeFacts, TrainingRun, bounded_text
from modeling import ReconstructionModel
from system.command_line import public_path, published_command
from system.processes import state

LIBRARIES = ("torch", "transformers", "datasets", "numpy", "scikit-learn", "scipy", "pillow")


def provenance(
    model: ReconstructionModel, source: ModelSource, data: str, category: str, words: Sequence[str]
) -> dict[str, Any]:
    """What made the figures, so that somebody else can make them again.

    The model, loaded from `source`, saw one category of `data`; `words` are the command line's.
    """
    recipe = RecipeFacts.parse_untrusted(bounded_text(source.file(RECIPE)))
    return {
        "category": category,
        "model": public_path(source.name),
        "model_revision": source.commit(),
        "model_categories": model.config.categories,
        "architecture": model.config.model_type,
        "data": public_path(data),
        "seed": recipe and recipe.seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": published_command("evaluation/evaluate.py", words),
        "versions": versions_used(),
        # Not its number: each of several processes has a device of its own.
        "device": model.device.type if state().num_processes > 1 else str(model.device),
    }


def versions_used() -> dict[str, str]:
    """The version of Python and of each library that takes part in the figures."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def cost(
    model: ReconstructionModel, source: ModelSource, photos: int, seconds: float
) -> dict[str, Any]:
    """What a model weighs and takes; None where its files do not say.

    It saw so many photos in so many seconds, from the first one read to the last one judged.
    """
    weights = source.file(SAFE_WEIGHTS_NAME)
    run = TrainingRun.parse_untrusted(bounded_text(source.file(TRAINING)))
    return {
        "photos": photos,
        "inference_seconds": round(seconds, 3),
        "seconds_per_photo": round(seconds / photos, 6),
        "weights_bytes": weights.stat().st_size if weights else None,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_seconds": run and run.wall_seconds,
        "cores": torch.get_num_threads() * state().num_processes,
        "processes": state().num_processes,
    }
