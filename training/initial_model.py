"""The model before it has learned anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelerate.utils import set_seed
from torch import nn

from modeling import ARCHITECTURES, ReconstructionModel
from modeling.backbones import load_backbone
from training.model_folder import round_to_half
from training.recipe import Recipe, without_folder

BackboneAndConfig = tuple[nn.Module, dict[str, Any] | None]


def build_model(
    recipe: Recipe, categories: Sequence[str] = (), backbone: BackboneAndConfig | None = None
) -> tuple[ReconstructionModel, BackboneAndConfig | None]:
    """An untrained model that knows the categories, its weights decided by the recipe's seed.

    Its backbone's weights are published ones, rounded to half as they will be saved. It comes with
    the backbone and its config, None for pixels, which another call does not load again. A recipe
    that does not make a valid model is a ValueError, a backbone that can't be had a BackboneError.
    """
    set_seed(recipe.seed)
    model_class = ARCHITECTURES[recipe.architecture]
    fields = {**recipe.model_fields(), "categories": list(categories)}
    config = model_class.config_class(**fields)
    if recipe.target == "pixels":
        return model_class(config), None
    backbone = backbone or load_backbone(config.backbone, config.trunk_layers)
    network, config.backbone_config = backbone
    config.backbone = without_folder(config.backbone)
    model = model_class(config)
    model.target.backbone.load_state_dict(network.state_dict())
    round_to_half(model.target.backbone)
    return model, backbone
