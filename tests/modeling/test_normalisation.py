from __future__ import annotations

import torch

from modeling.normalisation import (
    ChannelMoments,
    LocationMoments,
    ResidualStatistics,
    apply_whitening,
)


def correlated(count: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 5, generator=generator) + 3 * torch.eye(5)
    noise = torch.randn(count, 5, 40, 40, generator=generator)
    return torch.einsum("ij,bjhw->bihw", mixing, noise) + torch.arange(5.0)[:, None, None]


def test_whitening_gives_unit_covariance():
    residuals = correlated()
    mean, matrix = ChannelMoments.of(residuals).whitening()
    white = apply_whitening(residuals - mean[:, None, None], matrix)
    covariance = white.movedim(1, 0).flatten(1).cov()
    assert torch.allclose(covariance, torch.eye(5), atol=0.1)


def test_taking_moments_away_is_never_having_added_them():
    residuals = correlated()
    everyone, first = ChannelMoments.of(residuals), ChannelMoments.of(residuals[0])
    others = (everyone - first).whitening()
    expected = ChannelMoments.of(residuals[1:]).whitening()
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(others, expected, strict=True))
    maps = residuals[:, 0]
    left = (LocationMoments.of(maps) - LocationMoments.of(maps[:1])).mean_and_deviation()
    expected = LocationMoments.of(maps[1:]).mean_and_deviation()
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(left, expected, strict=True))


def test_a_direction_that_good_parts_never_show_stays_finite():
    flat = torch.zeros(2, 3, 8, 8)
    flat[:, 0] = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1))
    _, matrix = ChannelMoments.of(flat).whitening()
    assert matrix.isfinite().all()
    _, of_nothing = ChannelMoments.of(torch.zeros(2, 3, 8, 8)).whitening()
    assert of_nothing.isfinite().all()


def test_fresh_statistics_change_nothing():
    statistics = ResidualStatistics("channel+location", categories=2, channels=5, side=6)
    mean, matrix = statistics.whitening_of(torch.tensor([1]))
    residuals = correlated(1)
    assert torch.equal(apply_whitening(residuals - mean[..., None, None], matrix), residuals)


def test_each_category_keeps_its_own():
    statistics = ResidualStatistics("channel", categories=2, channels=5, side=6)
    moments = ChannelMoments.of(correlated())
    statistics.channel_mean[1], statistics.whitening[1] = moments.whitening()
    assert torch.equal(statistics.whitening_of(torch.tensor([0]))[1][0], torch.eye(5))
    assert not torch.equal(statistics.whitening_of(torch.tensor([1]))[1][0], torch.eye(5))
