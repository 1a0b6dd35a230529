"""Photos seen once show what a model of any normalisation and scale would see of them."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from data.dataset import load_inspection_dataset
from modeling import Autoencoder, AutoencoderConfig, InspectionImageProcessor
from training.calibration.held_out_damage import DamageTrial
from training.calibration.trials import SeenTrial, see_trials, streams_at
from training.photos.decoded import PreparedPhotos
from training.recipe import Recipe
from training.whole_part import learn_whole_part

SIDE, NUT = 64, "flange_nut"
PROCESSOR = InspectionImageProcessor(size={"height": SIDE, "width": SIDE})


@pytest.fixture(scope="module")
def good():
    data = f"synthetic:{NUT}?train=6&test_good=1&test_per_defect=1&size={SIDE}"
    return load_inspection_dataset(data)["train"]


@pytest.fixture(scope="module")
def trial(good) -> DamageTrial:
    return DamageTrial.of_category(PreparedPhotos(good, PROCESSOR), NUT, Recipe())


def seen_by(model: Autoencoder, trial: DamageTrial) -> SeenTrial:
    return see_trials(model, {NUT: trial}, batch_size=4)[NUT]


def assert_alike(streams: torch.Tensor, expected: torch.Tensor) -> None:
    assert torch.allclose(streams, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def on_pixels() -> Autoencoder:
    """A model of one stream, whose residual is measured per location alone."""
    torch.manual_seed(0)
    config = AutoencoderConfig(image_size=SIDE, target="pixels", categories=[NUT])
    return Autoencoder(config).eval()


def test_streams_are_those_of_the_model(good, trial):
    torch.manual_seed(0)
    small = {"whole_part_side": 4, "whole_part_directions": 3, "whole_part_channels": 16}
    config = AutoencoderConfig(
        image_size=SIDE, categories=[NUT], whole_part_layers=[7, 10], **small
    )
    model = Autoencoder(config).eval()
    learn_whole_part(model, good, PROCESSOR, Recipe())
    found = streams_at(seen_by(model, trial), 1.0, 4, model.whole_part)
    assert len(found) == 1 + len(trial.copies)
    for photos, streams in zip((trial.good, *trial.copies), found, strict=True):
        for expected, stream in zip(model.streams(torch.stack(photos)), streams, strict=True):
            assert_alike(stream, expected)


def test_a_place_is_measured_by_the_other_photos(on_pixels, trial):
    sigma = on_pixels.config.map_sigma / on_pixels.config.map_stride
    found = streams_at(seen_by(on_pixels, trial), sigma, per_location=True)
    for left_out in (0, 3):
        others = [photo for number, photo in enumerate(trial.good) if number != left_out]
        on_pixels.fit_good_parts(DataLoader(others, 4))
        for photos, (body, _) in zip((trial.good, *trial.copies), found, strict=True):
            expected, _ = on_pixels.streams(photos[left_out][None])
            assert_alike(body[left_out], expected[0])


def test_without_a_second_stream_it_sees_nothing(on_pixels, trial):
    body, whole = streams_at(seen_by(on_pixels, trial), sigma=1.0)[0]
    assert body.any() and not whole.any() and body.shape == whole.shape
