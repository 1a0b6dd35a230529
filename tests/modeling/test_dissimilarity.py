from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter

from modeling.dissimilarity import (
    FEATURE_DISSIMILARITIES,
    PIXEL_DISSIMILARITIES,
    gaussian_blur,
    gradient_dissimilarity,
    structural_dissimilarity,
)

ALL = {**PIXEL_DISSIMILARITIES, **FEATURE_DISSIMILARITIES}


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ALL)
def test_zero_where_the_pictures_agree_and_symmetric(name, pictures):
    other = pictures.flip(0)
    dissimilarity = ALL[name]
    assert dissimilarity(pictures, other).shape == (2, 40, 48)
    assert dissimilarity(pictures, pictures).abs().max() < 1e-5
    assert torch.allclose(dissimilarity(pictures, other), dissimilarity(other, pictures))


@pytest.mark.parametrize("name", ALL)
def test_a_local_change_is_found_where_it_is(name, pictures):
    changed = pictures.clone()
    changed[:, :, 10:14, 20:24] = 1 - changed[:, :, 10:14, 20:24]
    difference = ALL[name](pictures, changed)
    assert difference[:, 10:14, 20:24].mean() > 10 * difference[:, 30:, :].mean()


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_finite_on_flat_pictures(name):
    flat = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    ALL[name](torch.full((1, 3, 16, 16), 0.5), flat).mean().backward()
    assert flat.grad.isfinite().all()


def test_gradient_similarity_ignores_brightness_and_sees_edges(pictures):
    brighter = gradient_dissimilarity(pictures, pictures + 0.2)
    assert brighter.abs().max() < 1e-4
    assert gradient_dissimilarity(pictures, torch.zeros_like(pictures)).mean() > 0.5


def test_ssim_equals_the_textbook_formula(pictures):
    target, other = pictures[0, 0].double().numpy(), pictures[1, 0].double().numpy()

    def blur(values):
        return gaussian_filter(values, 1.5, mode="mirror", truncate=3.5)

    mean_t, mean_o = blur(target), blur(other)
    var_t, var_o = blur(target**2) - mean_t**2, blur(other**2) - mean_o**2
    covariance = blur(target * other) - mean_t * mean_o
    ssim = (2 * mean_t * mean_o + 1e-4) * (2 * covariance + 9e-4)
    ssim /= (mean_t**2 + mean_o**2 + 1e-4) * (var_t + var_o + 9e-4)
    ours = structural_dissimilarity(pictures[:1, :1].double(), pictures[1:, :1].double())
    assert torch.allclose(ours[0], torch.from_numpy((1 - ssim) / 2), atol=1e-6)


@pytest.mark.parametrize("sigma", [0.8, 4.0])
def test_blur_equals_scipy(sigma, pictures):
    ours = gaussian_blur(pictures.double(), sigma)
    reference = gaussian_filter(
        pictures.double().numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=3.5
    )
    assert torch.allclose(ours, torch.from_numpy(reference), atol=1e-6)


def test_blur_of_nothing_is_the_picture_itself(pictures):
    assert gaussian_blur(pictures, 0) is pictures
