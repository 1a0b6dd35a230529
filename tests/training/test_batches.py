from __future__ import annotations

import itertools

import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler

from modeling.restoration import painted_of
from training.photos.batches import SharedBatches


def of_all(length, batch_size, processes, seed=5, epoch=0) -> list[SharedBatches]:
    found = [
        SharedBatches(length, batch_size, seed, number, processes) for number in range(processes)
    ]
    for batches in found:
        batches.epoch = epoch
    return found


SIZES = list(itertools.product((1, 7, 11, 12), (1, 2, 3, 4, 8), (1, 2, 3, 4, 8)))
SIZES = [size for size in SIZES if size[2] <= size[1]]


@pytest.mark.parametrize(("length", "batch_size", "processes"), SIZES)
def test_the_shares_make_the_batches_of_one_process(length, batch_size, processes):
    alone = list(SharedBatches(length, batch_size, seed=5))
    assert sorted(itertools.chain(*alone)) == list(range(length))
    shares = of_all(length, batch_size, processes)
    for batch, *parts in zip(alone, *shares, strict=True):
        dealt = [part for number, part in enumerate(parts) if number < len(batch)]
        assert sorted(itertools.chain(*dealt)) == sorted(batch)
        assert all(len(part) == 1 for part in parts[len(batch) :])  # it has to take the step too
    assert {len(one) for one in shares} == {len(alone)}


@pytest.mark.parametrize(("length", "batch_size", "processes"), SIZES)
def test_weighted_means_of_the_shares_average_to_the_mean_of_the_batch(
    length, batch_size, processes
):
    values = torch.randn(length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = SharedBatches(length, batch_size, seed=5)
    shares = of_all(length, batch_size, processes)
    for batch, *parts in zip(
        alone, *(zip(one, one.weights(), strict=True) for one in shares), strict=True
    ):
        average = sum(weight * values[part].mean() for part, weight in parts) / processes
        assert average.item() == pytest.approx(values[batch].mean().item(), abs=1e-12)


@pytest.mark.parametrize(("length", "batch_size", "processes"), SIZES)
def test_the_painter_learns_from_the_photos_of_one_process(length, batch_size, processes):
    values = torch.randn(length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = [
        zip(one, one.weights(), one.painted(), strict=True)
        for one in of_all(length, batch_size, processes)
    ]
    for batch, *parts in zip(SharedBatches(length, batch_size, seed=5), *shares, strict=True):
        count, whole = painted_of(len(batch))
        average = sum(
            weight * share * values[part[:own]].mean() for part, weight, (own, share) in parts
        )
        expected = whole * values[batch[:count]].mean().item()
        assert average.item() / processes == pytest.approx(expected, abs=1e-12)


def test_one_process_counts_every_batch_fully():
    alone = SharedBatches(11, 4, seed=0)
    assert list(alone.weights()) == [1.0, 1.0, 1.0]
    assert list(alone.painted()) == [(1, 1.0)] * 3


def test_the_order_is_decided_by_seed_and_epoch():
    first, again, later, other = (
        list(of_all(12, 4, 1, seed, epoch)[0]) for seed, epoch in ((5, 0), (5, 0), (5, 1), (6, 0))
    )
    assert first == again
    assert first != later
    assert first != other


def test_the_order_is_that_in_which_the_models_that_ship_were_trained():
    sampler = SeedableRandomSampler(range(12), data_seed=3)
    sampler.set_epoch(2)
    batches = SharedBatches(12, 4, seed=3)
    batches.epoch = 2
    assert list(itertools.chain(*batches)) == list(sampler)


def test_without_a_seed_the_photos_come_in_their_own_order():
    assert list(SharedBatches(5, 2)) == [[0, 1], [2, 3], [4]]
