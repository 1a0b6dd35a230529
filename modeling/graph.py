"""The way from 8-bit pictures to scores as one graph of tensors, which other runtimes can run."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor, nn

from .configuration import ReconstructionConfig
from .reconstruction import ReconstructionModel

INPUTS = ("pictures", "category")
OUTPUTS = (
    *("reconstruction", "anomaly_map", "raw_score", "anomaly_score", "doubt"),
    *("ground_map", "judged"),
)
# The name under which a graph's file keeps the `digest_of` its model; part of the file format.
DIGEST_KEY = "golden_sample_fingerprint"


class DetectionGraph(nn.Module):
    """What `detect` of a calibrated model computes, with tensors alone at both ends."""

    def __init__(self, model: ReconstructionModel) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, pictures: Tensor, category: Tensor) -> tuple[Tensor, ...]:
        """One tensor for each name in `OUTPUTS`, as `ReconstructionOutput` describes them.

        Of pictures, (B, size, size, 3) uint8, RGB, of the model's size, and their categories, (B,)
        int64, positions in `config.categories`.
        """
        output = self.model.detect(pictures.permute(0, 3, 1, 2).float() / 255, category)
        return tuple(output[name] for name in OUTPUTS)

    def example(self, count: int = 2) -> tuple[Tensor, Tensor]:
        """Inputs of the right shape and type, to trace the graph with."""
        side = self.model.config.image_size
        shape = (count, side, side, self.model.config.num_channels)
        return torch.zeros(shape, dtype=torch.uint8), torch.zeros(count, dtype=torch.long)


def digest_of(model: ReconstructionModel) -> str:
    """SHA-256 of all that decides a score: weights, statistics, calibrations and settings.

    A graph that was exported before a model was trained, calibrated or set anew would judge by the
    old one; this tells the two apart. Only this project's settings count: what transformers adds to
    a config differs from version to version and decides nothing.
    """
    own = {
        name
        for config_class in type(model.config).__mro__
        if issubclass(config_class, ReconstructionConfig)
        for name in config_class.__annotations__
    }
    settings = {name: value for name, value in model.config.to_dict().items() if name in own}
    stored = [model.config.model_type, settings]
    digest = hashlib.sha256(json.dumps(stored, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
