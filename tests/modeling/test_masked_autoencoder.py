from __future__ import annotations

import pytest
import torch

from modeling import MaskedAutoencoder, MaskedAutoencoderConfig
from modeling.masked_autoencoder import complementary_masks, fixed_masks, sine_cosine_positions


@pytest.fixture(scope="module")
def model() -> MaskedAutoencoder:
    torch.manual_seed(0)
    fields = {"image_size": 64, "target": "pixels", "patch_size": 8, "categories": ["bolt"]}
    return MaskedAutoencoder(MaskedAutoencoderConfig(**fields)).eval()


@pytest.mark.parametrize(("side", "count"), [(8, 4), (7, 4), (24, 4), (6, 2), (8, 9)])
def test_masks_hide_every_token_exactly_once(side, count):
    masks = complementary_masks(side, count)
    assert masks.shape == (count, side * side)
    assert (masks.sum(dim=0) == 1).all()
    share = masks.float().mean(dim=1)
    assert share.max() - share.min() < (1e-6 if side % count == 0 else 0.1)


def test_the_nearest_neighbours_of_a_hidden_token_are_seen():
    for mask in complementary_masks(12, 4).view(4, 12, 12):
        assert not (mask[:, 1:] & mask[:, :-1]).any()
        assert not (mask[1:] & mask[:-1]).any()


def test_position_embeddings_are_finite_and_differ():
    positions = sine_cosine_positions(6, 32)
    assert positions.isfinite().all()
    assert positions.abs().max() <= 1
    distances = torch.cdist(positions, positions) + torch.eye(36)
    assert distances.min() > 0.1


def test_a_reloaded_model_has_its_positions(model, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = MaskedAutoencoder.from_pretrained(tmp_path)
    assert torch.equal(loaded.positions, model.positions)
    assert loaded.positions.abs().sum() > 0
    assert torch.equal(loaded.decoder_positions, model.decoder_positions)


def test_no_patch_is_restored_from_itself(model):
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    changed = pictures.clone()
    changed[:, :, 16:24, 24:32] = 1 - changed[:, :, 16:24, 24:32]  # one whole patch
    with torch.no_grad():
        before, after = (
            model.restore(model.target.encode(one)).values for one in (pictures, changed)
        )
    assert torch.equal(before[:, :, 16:24, 24:32], after[:, :, 16:24, 24:32])
    assert not torch.equal(before, after)  # its neighbours are restored from it


def test_training_hides_the_asked_share_and_counts_only_what_is_hidden(model):
    pictures = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    model.train()
    hidden = model.restore(model.target.encode(pictures)).hidden
    model.eval()
    assert hidden.shape == (4, 1, 64, 64)
    assert torch.equal(hidden.mean(dim=(1, 2, 3)), torch.full((4,), model.config.mask_ratio))
    assert not torch.equal(hidden[0], hidden[1])


def test_who_evaluated_first_can_take_gradients_afterwards(model):
    fixed_masks.cache_clear()
    pictures = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        model.detect(pictures)
    pictures.requires_grad_()
    model.restore(model.target.encode(pictures)).values.sum().backward()
    assert pictures.grad.abs().sum() > 0
