"""What the whole part counts for is what tells damage best, and what each stream told is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modeling import Autoencoder, AutoencoderConfig
from training import whole_part
from training.recipe import Recipe
from training.whole_part import USUAL_SHARE, weigh_whole_part

NUT, SIDE, PHOTOS, COPIES = "flange_nut", 64, 8, 4
GOOD, DAMAGED = torch.rand(2, PHOTOS, 4, 4, generator=torch.Generator().manual_seed(0))
TOLD, UNTOLD = DAMAGED + 1, GOOD.flip(0)  # what a stream sees of damage that it does, or doesn't


@pytest.fixture
def model() -> Autoencoder:
    config = AutoencoderConfig(image_size=SIDE, categories=[NUT], whole_part_layers=[7, 10])
    model = Autoencoder(config).eval()
    model.whole_part.directions[0, 0, 0] = 1  # it knows something
    return model


def weigh(model, monkeypatch, body: torch.Tensor, of_whole: torch.Tensor) -> dict[str, float]:
    """Weigh streams that see `GOOD` of good photos, and so much of damaged ones."""
    streams = [(GOOD, GOOD), *[(body, of_whole)] * COPIES]
    monkeypatch.setattr(whole_part, "streams_at", lambda *looks: streams)
    return weigh_whole_part(model, None, NUT, Recipe())


def test_a_body_that_tells_all_leaves_the_other_stream_its_usual_share(model, monkeypatch):
    found = weigh(model, monkeypatch, TOLD, UNTOLD)
    assert found == {"body": 1.0, "whole_part": 0.5, "joined": pytest.approx(1, abs=0.01)}
    assert model.whole_part.weight.item() == pytest.approx(USUAL_SHARE)  # both see good parts alike


def test_a_whole_part_that_alone_tells_damage_counts_more(model, monkeypatch):
    noisy = 3 * torch.rand(PHOTOS, 4, 4, generator=torch.Generator().manual_seed(1))
    found = weigh(model, monkeypatch, noisy - 2, TOLD)
    assert found["whole_part"] == 1.0 > found["body"]
    assert found["joined"] > found["body"]
    assert model.whole_part.weight.item() >= USUAL_SHARE


def test_a_stream_that_knows_nothing_counts_nothing_and_told_nothing(model, monkeypatch):
    model.whole_part.directions.zero_()
    found = weigh(model, monkeypatch, TOLD, torch.zeros_like(GOOD))
    assert model.whole_part.weight.item() == 0
    assert found["body"] == found["joined"] == 1.0


@pytest.mark.parametrize("share", [0.25, 4.0])
def test_the_best_share_is_the_usual_one_unless_another_is_better_beyond_chance(share):
    level = np.array([0.8, 0.82, 0.81, 0.8])
    better = whole_part.Weighed({0.5: level, share: level + 0.05}, level, 1.0)
    chance = whole_part.Weighed({0.5: level, share: level[::-1] + 0.001}, level, 1.0)
    assert (better.best_share, chance.best_share) == (share, 0.5)
