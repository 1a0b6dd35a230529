from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_divergence

from modeling import VariationalAutoencoder, VariationalAutoencoderConfig
from modeling.variational_autoencoder import kl_divergence


def build(**fields) -> VariationalAutoencoder:
    torch.manual_seed(0)
    fields = {"image_size": 64, "target": "pixels", "categories": ["bolt"], **fields}
    return VariationalAutoencoder(VariationalAutoencoderConfig(**fields))


@pytest.fixture
def photos() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_kl_divergence_equals_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 4, 5, 5, 5, generator=generator).unbind()
    posterior = Normal(mean, (0.5 * log_variance).exp())
    expected = reference_divergence(posterior, Normal(0.0, 1.0)).mean()
    assert torch.allclose(kl_divergence(mean, log_variance), expected, rtol=1e-5)


def test_training_samples_and_inference_does_not(photos):
    model = build()
    values = model.target.encode(photos)
    with torch.no_grad():
        model.train()
        assert not torch.equal(model.restore(values).values, model.restore(values).values)
        model.eval()
        assert torch.equal(model.restore(values).values, model.restore(values).values)
        assert model.restore(values).regulariser is None


def test_the_kl_weight_rises_in_training_and_travels_with_the_weights(photos, tmp_path):
    model = build(kl_weight=0.5, kl_warmup_steps=4).train()
    weights = [model._kl_weight() for _ in range(6)]
    assert weights == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    model.save_pretrained(tmp_path)
    assert VariationalAutoencoder.from_pretrained(tmp_path).warmup_step.item() == 6
    model.eval()(photos)
    assert model.warmup_step.item() == 6


def test_the_reconstruction_probability_is_a_score_of_its_own_and_deterministic(photos):
    mode, sampled = build().eval(), build(probability_samples=3).eval()
    sampled.load_state_dict(mode.state_dict())
    scores = sampled.detect(photos).raw_score
    assert not torch.allclose(scores, mode.detect(photos).raw_score)
    assert torch.equal(scores, sampled.detect(photos).raw_score)
    singles = torch.cat([sampled.detect(photo[None]).raw_score for photo in photos])
    assert torch.allclose(scores, singles, rtol=1e-4)
    # What is painted stays the mode.
    assert torch.equal(sampled.detect(photos).reconstruction, mode.detect(photos).reconstruction)
