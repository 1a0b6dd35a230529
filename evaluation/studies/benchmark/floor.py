"""The least time that a model can take: its operations over what the machine can do."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from modeling import ReconstructionModel

SIDE = 2048  # of the matrices that find the machine's peak; larger ones are not faster
TRIES = 5


def count_operations(model: ReconstructionModel) -> dict[str, float]:
    """Floating-point operations for one picture, a multiplication and an addition as two.

    `whole` is all of `detect`; `trunk`, what a features model takes from its backbone; 0 of pixels.
    """
    side = model.config.image_size
    picture = torch.zeros(1, model.config.num_channels, side, side, device=model.device)
    category = torch.zeros(1, dtype=torch.long, device=model.device)
    counted = {}
    for name, function in (
        ("whole", lambda: model.detect(picture, category)),
        ("trunk", lambda: model.target.extract(picture)),
    ):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            function()
        counted[name] = float(counter.get_total_flops())
    return counted


def peak_operations(device: torch.device) -> float:
    """Operations a second in single precision, as the fastest of some matrix products reaches."""
    left, right = torch.rand(2, SIDE, SIDE, device=device)
    best = torch.inf
    for _ in range(TRIES):
        start = time.perf_counter()
        (left @ right).sum().item()  # the sum waits for a GPU
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best
