"""Checks of a downloaded model's files, made before the model is built from them.

Anybody can put a model on the Hub. A number in its config.json may ask for terabytes of memory or
for days of work, and a name in it for code that the Hub would send. The configuration checks its
own fields.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from transformers import CONFIG_NAME, BaseImageProcessor, PreTrainedModel
from transformers.image_utils import PILImageResampling
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.hub import extract_commit_hash

from .weights import find_file

MAX_CONFIG_BYTES = 8 * 2**20  # a thousand categories with their calibrations take 2 MB
MAX_WHOLE_NUMBER = 100_000  # of labels, channels, layers: transformers makes objects of so many
MAX_MODULES = 5_000  # of a network; a ViT-L has 400
DTYPES = (None, "float16", "bfloat16", "float32", "float64")
# What torch brings along. The name of anything else may be a repository whose code would be run.
ATTENTION = (None, "eager", "sdpa")
ALLOWED = {
    "dtype": DTYPES,
    "torch_dtype": DTYPES,
    "attn_implementation": ATTENTION,
    "_attn_implementation": ATTENTION,
    "experts_implementation": ATTENTION,
}
FOREIGN_MODEL_TYPES = ("timm_backbone", "timm_wrapper")  # another library fetches what it builds
HUB_BACKBONE = "target.backbone.network."  # where the weights of an `AutoBackbone` lie


class UntrustedError(ValueError):
    """A model is not to be built; the message says what is wrong, to follow the word "found"."""


def check_config(model: str, **where: Any) -> str | None:
    """Check config.json of a folder or Hub id; returns its commit on the Hub, None of a folder.

    `where` says revision, token and local_files_only, as transformers' `cached_file` takes them.
    Raises `UntrustedError` when the file is too large, no JSON object, or holds what is not
    allowed, and when a folder has none; `OSError`, as transformers, when a Hub repository has none.
    """
    path = cached_file(model, CONFIG_NAME, **where)
    if path is None:  # transformers' answer for a folder, where it raises for a Hub id
        raise UntrustedError(f"no {CONFIG_NAME} there")
    size = os.path.getsize(path)
    if size > MAX_CONFIG_BYTES:
        raise UntrustedError(f"a {CONFIG_NAME} of {size} bytes, of at most {MAX_CONFIG_BYTES}")
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UntrustedError(f"a {CONFIG_NAME} that is no JSON") from error
    if not isinstance(config, dict):
        raise UntrustedError(f"a {CONFIG_NAME} that is no JSON object")
    for name, value in _values(config):
        _check_value(name, value)
    return extract_commit_hash(path, None)


def check_weights_fit(
    model_class: type[PreTrainedModel], config: Any, model: str, **where: Any
) -> None:
    """Make sure that a model's weights are those of the network that its config describes.

    Otherwise transformers takes the memory that the config asks for, and draws what is missing.
    `model` and `where` are those of `check_config`. Raises `UntrustedError` when a tensor is
    missing, left over or of another shape, or when there are more parts than any network has;
    `OSError`, as transformers, when there are no weights.
    """
    with torch.device("meta"), _limited_modules():  # shapes alone, no memory
        state = model_class(config).state_dict()
    expected = _regardless_of_names({name: tuple(state[name].shape) for name in state})
    found = _regardless_of_names(_shapes_of(model, where))
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise UntrustedError(
                f"weights that do not fit {CONFIG_NAME}: {name} has the shape "
                f"{found.get(name, 'none, it is missing')}, not {expected.get(name, 'any')}"
            )


def _regardless_of_names(shapes: dict[str, Any]) -> dict[str, Any]:
    """Shapes by name; of a Hub backbone all together, which is saved under older names."""
    kept = {name: shape for name, shape in shapes.items() if not name.startswith(HUB_BACKBONE)}
    others = sorted(shape for name, shape in shapes.items() if name.startswith(HUB_BACKBONE))
    return kept | ({HUB_BACKBONE: others} if others else {})


def check_processor(processor: BaseImageProcessor, image_size: int) -> None:
    """Raise `UntrustedError` unless a processor gives what the model takes: that size and 0..1."""
    expected = {
        "size": {"height": image_size, "width": image_size},
        "do_resize": True,
        "do_center_crop": False,
        "do_pad": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
    }
    for name, value in expected.items():
        found = getattr(processor, name, None) or False
        if name == "size" and found:
            found = {side: found[side] for side in value}
        if found != value:
            raise UntrustedError(f"an image processor with {name} {_shown(found)}, not {value}")
    if processor.resample not in [*PILImageResampling]:
        raise UntrustedError(f"an image processor with resample {_shown(processor.resample)}")


def _values(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All that is in a JSON object, at any depth, with the name of the field that it is in."""
    waiting: list[tuple[str, Any]] = [*config.items()]
    while waiting:
        name, value = waiting.pop()
        yield name, value
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, each) for each in value]


def _check_value(name: str, value: Any) -> None:
    allowed = ALLOWED.get(name)
    if allowed is not None and value not in allowed:
        raise UntrustedError(f"{name} {_shown(value)}, expected one of {', '.join(allowed[1:])}")
    if name == "model_type" and (not isinstance(value, str) or value in FOREIGN_MODEL_TYPES):
        raise UntrustedError(f"model_type {_shown(value)}, which is none of this project's")
    if isinstance(value, float) and not math.isfinite(value):
        raise UntrustedError(f"{name} {value}, expected a finite number")
    if isinstance(value, int) and abs(value) > MAX_WHOLE_NUMBER:
        raise UntrustedError(f"{name} {_shown(value)}, expected at most {MAX_WHOLE_NUMBER}")


def _shown(value: Any) -> str:
    """Short enough for a sentence."""
    is_long = isinstance(value, int) and value.bit_length() > 100  # repr may refuse it
    words = hex(value) if is_long else repr(value)
    return words if len(words) <= 40 else f"{words[:40]}..."


def _shapes_of(model: str, where: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a model's safetensors, from their headers."""
    files = [SAFE_WEIGHTS_NAME]
    if find_file(model, SAFE_WEIGHTS_NAME, **where) is None:
        index = cached_file(model, SAFE_WEIGHTS_INDEX_NAME, **where)
        parts = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
        files = sorted({os.path.basename(part) for part in parts.values()})
    shapes = {}
    for file in files:
        with safe_open(cached_file(model, file, **where), framework="pt") as tensors:
            names = tensors.keys()  # the file itself can't be iterated
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    return shapes


@contextmanager
def _limited_modules() -> Iterator[None]:
    """While the block lasts, this thread builds no network of more than `MAX_MODULES` parts."""
    count, builder = 0, threading.get_ident()

    def refuse_too_many(module: nn.Module, name: str, part: nn.Module) -> None:
        nonlocal count
        count += threading.get_ident() == builder
        if count > MAX_MODULES:
            raise UntrustedError(f"a network of more than {MAX_MODULES} parts")

    hook = register_module_module_registration_hook(refuse_too_many)
    try:
        yield
    finally:
        hook.remove()
