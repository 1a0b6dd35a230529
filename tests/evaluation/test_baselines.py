from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from data.dataset import load_inspection_dataset
from evaluation.evaluate import baselines as module
from evaluation.evaluate.baselines import (
    BASELINES,
    METRICS,
    REGULARISATION,
    bank_of,
    baseline_metrics,
    detector,
    features,
    gaussian_per_location,
    mean_image,
    nearest_neighbours,
    some_features,
)
from evaluation.evaluate.summary import short_table
from modeling import Autoencoder, AutoencoderConfig, load_pipeline
from modeling.scoring import enlarge, smooth_residual
from system.cores import single_threaded

DATA = "synthetic:flange_nut?train=16&test_good=8&test_per_defect=2&size=128"


@pytest.fixture(scope="module")
def splits():
    return load_inspection_dataset(DATA)


@pytest.fixture(scope="module")
def measured(trained_model, splits):
    pipe = load_pipeline(trained_model)
    return baseline_metrics(pipe.model, pipe.image_processor, splits["train"], splits["test"])


@pytest.fixture(scope="module")
def on_pixels() -> Autoencoder:
    config = AutoencoderConfig(
        target="pixels", image_size=32, hidden_sizes=[8], latent_channels=8, map_sigma=2.0
    )
    return Autoencoder(config).eval()


def learned(learn, batches):
    return learn(batches, sum(map(len, batches)))


def test_baselines_beat_chance_where_the_defects_are(measured):
    assert {*measured} == {*BASELINES}
    for name, found in measured.items():
        assert {*found} == {*METRICS, "seconds"}
        assert found["pixel_auroc"] > 0.7, name
        assert found["aupro"] > 0.3, name  # chance is 0.15
        # Nuts lie a little otherwise on each photo, and their mean is blurred.
        assert found["image_auroc"] > (0.5 if name == "mean_image" else 0.85), name
        assert found["seconds"] > 0
        assert f"{found['aupro']:.3f}" in short_table("baseline", measured)


def test_baselines_are_the_same_every_time_on_any_number_of_cores(measured, trained_model, splits):
    pipe = load_pipeline(trained_model)
    with single_threaded():
        again = baseline_metrics(pipe.model, pipe.image_processor, splits["train"], splits["test"])
    for name in measured:
        assert {key: measured[name][key] for key in METRICS} == {
            key: again[name][key] for key in METRICS
        }


def test_the_mean_image_is_the_mean_whatever_the_batches():
    photos = torch.rand(5, 3, 32, 32)
    residual = learned(mean_image, photos.split(2))
    expected = (photos[:1] - photos.mean(dim=0)).abs().mean(dim=1)
    torch.testing.assert_close(residual(photos[:1]), expected)


def test_the_gaussian_is_numpys_covariance_at_every_place():
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(40, 6, 3, 3, generator=generator) * torch.arange(1, 7).view(1, 6, 1, 1)
    residual = learned(gaussian_per_location, vectors.split(7))
    tested = torch.randn(2, 6, 3, 3, generator=generator)
    found = residual(tested)
    for y in range(3):
        for x in range(3):
            covariance = np.cov(vectors[:, :, y, x].numpy().T) + REGULARISATION * np.eye(6)
            away = tested[:, :, y, x].numpy() - vectors[:, :, y, x].numpy().mean(axis=0)
            distance = np.sqrt(np.sum(away @ np.linalg.inv(covariance) * away, axis=1))
            np.testing.assert_allclose(found[:, y, x], distance, rtol=1e-4)


def test_the_gaussian_takes_a_seeded_choice_of_channels(on_pixels, monkeypatch):
    monkeypatch.setattr(module, "GAUSSIAN_CHANNELS", 5)
    photos = torch.rand(2, 3, 32, 32)
    all_channels = features(on_pixels, photos)
    chosen = some_features(on_pixels, photos)
    assert chosen.shape == (2, 5, *all_channels.shape[2:])
    places = [
        channel
        for channel in range(all_channels.shape[1])
        if any(torch.equal(all_channels[:, channel], one) for one in chosen.unbind(1))
    ]
    assert len(places) == 5
    assert torch.equal(some_features(on_pixels, photos), chosen)


def test_neighbours_are_scikit_learns_neighbours():
    generator = torch.Generator().manual_seed(2)
    vectors = torch.randn(6, 4, 5, 5, generator=generator)
    tested = torch.randn(2, 4, 5, 5, generator=generator)
    residual = learned(nearest_neighbours, vectors.split(4))
    assert bank_of(vectors.split(4), 6).shape == (6 * 25, 4)
    neighbours = NearestNeighbors(n_neighbors=3).fit(vectors.permute(0, 2, 3, 1).reshape(-1, 4))
    distances, _ = neighbours.kneighbors(tested.permute(0, 2, 3, 1).reshape(-1, 4))
    found = residual(tested)
    np.testing.assert_allclose(found.ravel(), distances.mean(axis=1), rtol=1e-4)


def test_the_bank_is_bounded_and_holds_as_much_of_every_photo(monkeypatch):
    monkeypatch.setattr(module, "BANK_SIZE", 20)
    vectors = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 4, 5, 5)  # a photo's number everywhere
    bank = learned(bank_of, vectors.split(4))
    assert bank[:, 0].tolist() == [number for number in range(6) for _ in range(3)]


@pytest.mark.parametrize("name", BASELINES)
def test_map_and_score_are_made_as_the_models_own(name, on_pixels):
    photos = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    baseline = BASELINES[name]
    described = baseline.describe(on_pixels, photos)
    residual_of = baseline.learn([described], 4)
    output = detector(on_pixels, baseline, residual_of)(photos)
    assert output.anomaly_map.shape == (4, 32, 32)
    assert torch.equal(output.raw_score, output.anomaly_map.amax(dim=(1, 2)))
    assert output.is_anomalous is None
    assert all(math.isnan(score) for score in output.anomaly_score)
    residual = residual_of(described)
    cell = residual.shape[-1] * on_pixels.config.map_stride // 32
    smoothed = smooth_residual(
        torch.nn.functional.avg_pool2d(residual[:, None], cell)[:, 0],
        on_pixels.config.map_sigma / on_pixels.config.map_stride,
    )
    torch.testing.assert_close(output.anomaly_map, enlarge(smoothed, 32))


def test_of_pixels_all_within_a_position_are_features(on_pixels):
    stride = on_pixels.config.map_stride
    described = features(on_pixels, torch.rand(1, 3, 32, 32))
    assert described.shape == (1, 3 * stride**2, 32 // stride, 32 // stride)
