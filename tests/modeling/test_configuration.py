from __future__ import annotations

import pytest

from modeling import AutoencoderConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"map_sigma": -1.0}, "map_sigma must be a number from 0.0 to 64.0, found -1.0"),
        ({"image_size": 250}, "image_size must be a multiple of 32"),
        ({"image_size": 8}, "image_size must be a whole number from 32 to 2048, found 8"),
        ({"loss_weights": {"l3": 1.0}}, "loss_weights knows l1, ssim, found 'l3'"),
        ({"loss_weights": {"l1": 0.0}}, "at least one weight above 0"),
        ({"residual_weights": {"l1": float("nan")}}, "residual_weights.l1"),
        ({"residual_normalisation": "channel"}, "must be one of none, location"),
        ({"latent_chanels": 8}, "did you mean latent_channels"),
        ({"hidden_sizes": [12]}, "multiples of 8"),
        ({"hidden_sizes": []}, "at least one stage"),
    ],
)
def test_a_wrong_field_is_named_with_its_range_and_value(values, message):
    with pytest.raises(ValueError) as caught:
        AutoencoderConfig(**values)
    assert message in str(caught.value)


def test_a_config_survives_the_round_trip(tmp_path):
    config = AutoencoderConfig(image_size=64, category="bolt", loss_weights={"ssim": 2})
    config.save_pretrained(tmp_path)
    loaded = AutoencoderConfig.from_pretrained(tmp_path)
    assert loaded.to_diff_dict() == config.to_diff_dict()
