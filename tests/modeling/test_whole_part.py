"""The whole part knows what belongs where, from good photos alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modeling.whole_part import (
    PICTURE_SIDE,
    ROBUST_DOUBLINGS,
    WholePart,
    WholePartShape,
    coarse_grid,
    frame_of,
    stepped_towards,
)
from modeling.whole_part_fitting import fit_whole_part, subspace

SHAPE = WholePartShape(side=8, channels=6, directions=4)
CHANNELS = 6
PLACE = slice(3, 5)  # rows and columns of a piece on the grid of 8
CELL = PICTURE_SIDE // 8
ONLY = torch.zeros(1, dtype=torch.long)


def grids(count: int, seed: int) -> Tensor:
    """(count, CHANNELS, 8, 8): a part that is lighter or darker, and a little noise."""
    generator = torch.Generator().manual_seed(seed)
    part = torch.randn(CHANNELS, 8, 8, generator=torch.Generator().manual_seed(99))
    lighter = torch.randn(count, 1, 1, 1, generator=generator)
    noise = torch.randn(count, CHANNELS, 8, 8, generator=generator)
    return part * (1 + 0.2 * lighter) + 0.02 * noise


def pictures_of(grid: Tensor) -> Tensor:
    """(count, 3, p, p) in 0..1, drawn from the first three channels."""
    small = (0.5 + grid[:, :3] / 8).clamp(0, 1)
    return torch.nn.functional.interpolate(small, size=(PICTURE_SIDE, PICTURE_SIDE))


@pytest.fixture(scope="module")
def stream() -> WholePart:
    stream = WholePart(SHAPE, categories=1, channels=CHANNELS)
    good = grids(30, seed=0)
    fit_whole_part(stream, 0, good[:, None], pictures_of(good))
    stream.weight.fill_(1)
    return stream


@pytest.fixture
def good() -> Tensor:
    return grids(1, seed=7)


@pytest.fixture
def without_piece(good) -> Tensor:
    damaged = good.clone()
    damaged[..., PLACE, PLACE] = 0
    return damaged


def test_a_good_part_is_unusual_nowhere_and_a_missing_piece_where_it_is_missing(
    stream, good, without_piece
):
    assert stream(good, ONLY).anomaly.max() < stream.limit
    found = stream(without_piece, ONLY).anomaly[0]
    assert found[PLACE, PLACE].min() > 10 * stream.limit
    outside = found.clone()
    outside[PLACE, PLACE] = 0
    assert outside.max() < found[PLACE, PLACE].min() / 5


def test_a_missing_piece_is_shown_in_place_and_all_else_as_the_body_paints_it(
    stream, good, without_piece
):
    body = pictures_of(without_piece)  # a body restores what it is given
    shown = stream.show(body, stream(without_piece, ONLY), ONLY)
    middle = slice(3 * CELL + CELL // 2, 5 * CELL - CELL // 2)
    expected = pictures_of(good)[..., middle, middle]
    assert (shown[..., middle, middle] - expected).abs().mean() < 0.02
    assert (body[..., middle, middle] - expected).abs().mean() > 0.05
    corner = slice(0, CELL)
    assert torch.equal(shown[..., corner, corner], body[..., corner, corner])


def test_a_part_that_is_gone_does_not_pull_its_picture_along(stream, good):
    nothing = torch.zeros_like(good)
    shown = stream.paint(stream(nothing, ONLY).coordinates, ONLY, PICTURE_SIDE)
    assert (shown - pictures_of(good)).abs().mean() < 0.05


def test_without_weight_the_stream_costs_nothing_and_shows_nothing(stream, without_piece):
    residual, picture = torch.rand(1, 16, 16), torch.rand(1, 3, 64, 64)
    view = stream(without_piece, ONLY)
    weight = stream.weight.clone()
    stream.weight.zero_()
    try:
        assert torch.equal(stream.join(residual, view, ONLY), residual)
        assert torch.equal(stream.show(picture, view, ONLY), picture)
    finally:
        stream.weight.copy_(weight)


def ground(level: float, seed: int = 0) -> Tensor:
    """(1, 3, p, p): a place with nothing on it, and its grain."""
    shape = (1, 3, PICTURE_SIDE, PICTURE_SIDE)
    return level + 0.01 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def with_part(picture: Tensor, seed: int) -> Tensor:
    part = torch.rand(60, 60, generator=torch.Generator().manual_seed(seed))
    picture = picture.clone()
    picture[..., 50:110, 50:110] = part
    return picture


def test_an_empty_place_is_told_from_another_product():
    good = torch.cat([with_part(ground(0.5, seed), seed=1) for seed in range(5)])
    stream = WholePart(SHAPE, categories=1, channels=CHANNELS)
    fit_whole_part(stream, 0, grids(5, seed=0)[:, None], good)
    assert stream.empty(ground(0.505, seed=9), ONLY)
    assert not stream.empty(with_part(ground(0.5), seed=2), ONLY)
    frame = frame_of(PICTURE_SIDE, 8)
    assert not stream.empty(torch.where(frame, ground(0.7), ground(0.5)), ONLY)


def test_of_a_surface_that_fills_the_picture_no_part_can_be_gone():
    surface = torch.cat([ground(0.5, seed) for seed in range(5)])
    stream = WholePart(SHAPE, categories=1, channels=CHANNELS)
    fit_whole_part(stream, 0, grids(5, seed=0)[:, None], surface)
    assert not stream.empty(ground(0.5, seed=9), ONLY)


def test_a_subspace_has_orthonormal_directions_and_no_more_than_its_vectors_can_have():
    vectors = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    mean, directions, reach = subspace(vectors, most=8)
    assert torch.allclose(directions[:4] @ directions[:4].T, torch.eye(4), atol=1e-4)
    assert not directions[4:].any() and not reach[4:].any()
    left = vectors - mean
    assert (left - left @ directions.T @ directions).abs().max() < 1e-4


def test_what_good_photos_show_is_judged_by_others(stream):
    """By a subspace that they helped to make, photos would look more usual than new ones."""
    new = [stream(grids(1, seed), ONLY).anomaly.mean().item() for seed in range(100, 130)]
    assert sum(new) / len(new) == pytest.approx(0.5, rel=0.25)  # their spread is counted twice


def test_two_photos_are_too_few():
    stream = WholePart(SHAPE, categories=1, channels=CHANNELS)
    good = grids(2, seed=0)
    with pytest.raises(ValueError, match="at least 3 good photos, found 2"):
        fit_whole_part(stream, 0, good[:, None], pictures_of(good))


def test_layers_of_any_size_are_stacked_on_one_grid():
    layers = [torch.ones(2, 3, 16, 16), 2 * torch.ones(2, 5, 4, 4)]
    grid = coarse_grid(layers, 8)
    assert grid.shape == (2, 8, 8, 8)
    assert grid[:, :3].eq(1).all() and grid[:, 3:].eq(2).all()


def test_doubled_steps_lead_where_steps_one_by_one_lead():
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(3, 40, 6, generator=generator))[0]
    trust = torch.rand(3, 40, 1, generator=generator)
    products = directions.transpose(1, 2) @ (trust * directions)
    wanted, start = (torch.randn(3, 6, generator=generator) for _ in range(2))
    walked = start.clone()
    for _ in range(2**ROBUST_DOUBLINGS):
        walked += wanted - torch.einsum("bde,be->bd", products, walked)
    torch.testing.assert_close(start + stepped_towards(wanted, products, start), walked)
