from __future__ import annotations

import pytest

from modeling import ARCHITECTURES, AutoencoderConfig, MaskedAutoencoderConfig
from modeling.configuration import TARGETS

WRONG = [
    ({"map_sigma": -1.0}, "map_sigma must be a number from 0.0 to 64.0, found -1.0"),
    ({"image_size": 250}, "image_size must be a multiple of 8 (one map position), found 250"),
    ({"image_size": 8}, "image_size must be a whole number from 32 to 2048, found 8"),
    ({"target": "sound"}, "target must be one of pixels, features, found 'sound'"),
    ({"loss_weights": {"l3": 1.0}}, "loss_weights knows l1, mse, cosine, found 'l3'"),
    ({"loss_weights": {"ssim": 1.0}}, "loss_weights knows l1, mse, cosine, found 'ssim'"),
    ({"loss_weights": {"l1": 0.0}}, "at least one weight above 0"),
    ({"residual_weights": {"l1": float("nan")}}, "residual_weights.l1"),
    ({"target": "pixels", "residual_normalisation": "channel"}, "must be one of none, location"),
    ({"latent_chanels": 8}, "did you mean latent_channels"),
    ({"hidden_sizes": [12]}, "hidden_sizes must be a multiple of 8"),
    ({"hidden_sizes": []}, "hidden_sizes must be a list of 1 to 8 values, found 0"),
    ({"feature_stride": 3}, "feature_stride must be 1 or even, found 3"),
    ({"backbone_layers": [-1]}, "backbone_layers must be a whole number"),
    ({"whole_part_layers": [-1]}, "whole_part_layers must be a whole number"),
    ({"whole_part_layers": [7, 4]}, "whole_part_layers must be ascending"),
    ({"backbone_layers": [4, 4]}, "backbone_layers must be ascending"),
    ({"judged": "ground"}, "judged must be one of part, all, found 'ground'"),
    ({"whole_part_side": 0}, "whole_part_side must be a whole number from 1 to 64"),
    ({"target": "pixels", "whole_part_layers": [4]}, "whole_part_layers need the target features"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_field_is_named_with_its_range_and_value(values, message):
    with pytest.raises(ValueError) as caught:
        AutoencoderConfig(**values)
    assert message in str(caught.value)


def test_a_mask_ratio_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"mask_ratio must be a number from 0.05 to 0.95"):
        MaskedAutoencoderConfig(mask_ratio=1.7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_config_survives_the_round_trip(architecture, target, tmp_path):
    config_class = ARCHITECTURES[architecture].config_class
    config = config_class(image_size=64, target=target, categories=["bolt"], loss_weights={"l1": 2})
    config.save_pretrained(tmp_path)
    loaded = config_class.from_pretrained(tmp_path)
    assert loaded.to_diff_dict() == config.to_diff_dict()
