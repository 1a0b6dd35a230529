from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_orthogonalising_brings_singular_values_near_one(shape, scale):
    matrix = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    ours = orthogonalise(matrix)
    assert ours.shape == shape
    assert torch.linalg.svdvals(ours).max() < 1.3
    # The smallest values of a square matrix may need more iterations; those of others do not.
    assert torch.linalg.svdvals(ours).median() > 0.6
    rotated = left.T @ ours @ right.T  # the singular vectors stay what they were
    assert torch.allclose(rotated, rotated.diagonal().diag(), atol=1e-3)


def test_no_gradient_moves_nothing():
    assert torch.equal(orthogonalise(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_a_step_has_the_size_of_the_learning_rate_whatever_the_gradient():
    for scale in (1e-3, 1e3):
        kernel = nn.Parameter(torch.zeros(32, 16, 3, 3))
        kernel.grad = scale * torch.randn(kernel.shape, generator=torch.Generator().manual_seed(0))
        Muon([kernel], lr=0.01, weight_decay=0).step()
        assert 0.1 * 0.01 < kernel.detach().square().mean().sqrt() < 0.3 * 0.01


def test_vectors_move_as_adamw_moves_them():
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    muon = Muon([ours], lr=0.1, weight_decay=0.01)
    adamw = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.01)
    for step in range(5):
        for parameter, optimizer in ((ours, muon), (theirs, adamw)):
            parameter.grad = torch.arange(5.0) - step
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_memory_format_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(8, 16, 3)
    last = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    gradient = torch.randn(plain.weight.shape, generator=generator)
    for layer in (plain, last):
        layer.weight.grad = gradient.clone().contiguous(
            memory_format=torch.channels_last if layer is last else torch.contiguous_format
        )
        Muon(layer.parameters()).step()
    assert torch.allclose(plain.weight, last.weight, atol=1e-6)


def test_a_saved_state_goes_on_as_the_unbroken_run():
    def advance(layer: nn.Module, optimizer: Muon, steps: range) -> None:
        for step in steps:
            layer(torch.full((2, 3), float(step + 1))).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    layer = nn.Linear(3, 4)
    optimizer = Muon(layer.parameters())
    advance(layer, optimizer, range(3))
    resumed = copy.deepcopy(layer)
    other = Muon(resumed.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    advance(layer, optimizer, range(3, 6))
    advance(resumed, other, range(3, 6))
    assert torch.equal(layer.weight, resumed.weight)
    assert torch.equal(layer.bias, resumed.bias)
